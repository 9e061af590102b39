/* The connections of one mount to its Redis server.
 *
 * Two lanes: COMMANDS (every script of locking) and BEATS (the heartbeat and
 * WAIT, which must not queue behind the others), and a subscription. They go up
 * and down together: one that breaks takes all down, every call under way is
 * called back with -EHOSTDOWN (whether it took effect is unknown), then `down`,
 * and a new attempt follows by itself, resolving the name, Sentinel and
 * MOVED anew. Calls while down fail at once. Nothing here blocks the loop.
 */
#ifndef BACKEND_REDIS_WIRE_H
#define BACKEND_REDIS_WIRE_H

#include "backend/redis/tls.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pl_loop;
struct wire;

#define WIRE_SCRIPTS 10

enum wire_lane { LANE_COMMANDS, LANE_BEATS };

struct wire_config {
	struct pl_loop *loop;
	const char *source;	    /* redis[s]://[USER@]HOST[:PORT][/DB], unix:///PATH[?db=N],
				       redis+sentinel://H1[:P],H2.../NAME */
	const char *password;	    /* NULL: none; copied */
	struct tls_files tls;	    /* with rediss:// only; not copied */
	const char *key;	    /* KEYS[1] of every script: carries the hash tag */
	const char *const *scripts; /* Lua scripts, at most WIRE_SCRIPTS; NULL ends. Not copied */
	const char *channels[4];    /* to subscribe to; NULL ends */
	const bool *quiet;	    /* while true, errors are told by callbacks and `down` only, not in the log */
	uint64_t attempt_ns;	    /* one attempt to connect takes at most this */
	uint64_t retry_ns;	    /* and between two there is at most this */
	/* Everything is connected, the channels are subscribed, the scripts are loaded. run_id: of the server. */
	void (*up)(void *ctx, const char *run_id);
	/* why: one line for the log, without a password. fatal: trying again cannot help without
	 * the operator (wrong password, not a Redis server, too old, TLS missing); it is tried again all the same. */
	void (*down)(void *ctx, const char *why, bool fatal);
	void (*message)(void *ctx, const char *channel, const char *data, size_t len);
	void *ctx;
};

/* err 0 with the reply; -EHOSTDOWN: lost on the way, or -LOADING, -BUSY, -READONLY, -MASTERDOWN, -CLUSTERDOWN,
 * -TRYAGAIN, -NOREPLICAS (connection goes down where another server may be right); -EACCES: -NOPERM; -ENOSPC: -OOM,
 * -MISCONF; -EIO: any other error (logged). The reply is valid only inside. */
typedef void (*wire_cb)(void *arg, int err, const redisReply *reply);

/* Starts the first attempt from the loop. 0, -EINVAL with *why (static or in c) for a source that cannot be understood
 * or TLS that cannot be had, -ENOMEM. */
int wire_new(const struct wire_config *config, struct wire **out, const char **why);
/* Calls under way are called back with -EHOSTDOWN first; then nothing comes any more. Not inside a callback. */
void wire_free(struct wire *c);
bool wire_is_up(const struct wire *c);
/* Runs scripts[script] with KEYS[1] and these ARGV (binary safe; copied). -EHOSTDOWN when down (cb never runs),
 * else 0 and cb runs exactly once, from a later turn. Replies of one lane come in order. */
int wire_script(struct wire *c, enum wire_lane lane, unsigned script, int argc, const char *const *argv,
		const size_t *argvlen, wire_cb cb, void *arg);
/* A plain command ("WAIT", ...), same rules. */
int wire_command(struct wire *c, enum wire_lane lane, int argc, const char *const *argv, const size_t *argvlen,
		 wire_cb cb, void *arg);
/* Serves the lane of commands, and nothing else of the loop, until *done or the time is over. For the end. */
void wire_finish(struct wire *c, const bool *done, uint64_t time_ns);
/* Drops the connections and tries anew, as if they had broken. */
void wire_reset(struct wire *c, const char *why);
/* The server is one that we can work with: should it go, the next attempt is soon. */
void wire_settled(struct wire *c);
/* pl_now() since when it owes an answer on this lane, and gave none; 0: it owes none. */
uint64_t wire_owed_since(const struct wire *c, enum wire_lane lane);
/* The last error that the server answered with, "" when none came or the connection was lost since. */
const char *wire_said(const struct wire *c);
/* "redis://host:port/db" as connected or to be connected; no secrets. */
const char *wire_where(const struct wire *c);

#endif
