/* What wire.c (calls, going down) and dial.c (coming up) share. */
#ifndef BACKEND_REDIS_WIRE_INTERNAL_H
#define BACKEND_REDIS_WIRE_INTERNAL_H

#include "backend/redis/address.h"
#include "backend/redis/tls.h"
#include "backend/redis/wire.h"
#include "base/log.h"
#include "base/loop.h"

#include <errno.h>
#include <hiredis/async.h>
#include <uv.h>

#define RETRY_FIRST (50 * PL_MS)
#define LANES 3
#define LANE_CHANNELS 2

enum stage { STAGE_IDLE, STAGE_RESOLVE, STAGE_SENTINEL, STAGE_CONNECT, STAGE_UP };

/* One connection of one attempt: outlives the attempt until hiredis lets go. */
struct lane {
	struct wire *c; /* NULL: of an attempt that is over */
	redisAsyncContext *ac;
	unsigned n;
	bool odd;	    /* something came that a Redis server does not say */
	bool refused;	    /* TLS failed for a reason that stays */
	struct ssl_st *ssl; /* of OpenSSL; belongs to ac. NULL: no TLS */
};

struct call {
	struct wire *c;
	wire_cb cb;
	void *arg;
	enum wire_lane lane;
	bool script;
	struct call *prev, *next;
};

struct resolving {
	uv_getaddrinfo_t req;
	struct wire *c; /* NULL: nobody wants it any more */
	char host[sizeof(((struct host_port *)NULL)->host)];
};

struct wire {
	struct wire_config config;
	struct address address, home; /* home: as it was asked for, before any MOVED */
	char where[512], ip[64], sha[WIRE_SCRIPTS][48], run_id[64], why[320];
	char *password;
	struct tls *tls; /* of this attempt; NULL: none */
	enum stage stage;
	struct lane *lanes[LANES]; /* [0] is Sentinel's while asking that */
	unsigned sentinel, steps;
	struct resolving *resolving; /* goes on beyond the attempt that began it: it may take longer */
	char found[sizeof(((struct host_port *)NULL)->host)]; /* whose address is in ip, from such a one; or "" */
	struct pl_timer *timer;				      /* of the attempt, or until the next */
	struct pl_task failed;				      /* `down` comes from a turn of its own */
	char said[256];					      /* the last error reply */
	bool fatal, freeing, was_up;			      /* was_up: this attempt succeeded */
	uint64_t backoff;
	struct call *calls;
	unsigned owed[LANES]; /* calls without an answer */
	uint64_t owed_since[LANES];
	struct pl_log_limit log;
};

/* wire.c: whatever goes wrong; the only way down. From a turn of its own the connections are
 * dropped and `down` is told, so it may be called inside their callbacks. */
void wire_fail(struct wire *c, bool fatal, const char *why);
/* What an error reply means; fails where the connection is of no use any more. */
int wire_error(struct wire *c, const char *text);

/* poll.c: has the loop watch the socket. 0 or -ENOMEM. */
int wire_attach(redisAsyncContext *ac, struct pl_loop *loop);
/* One read or write, of nothing else of the loop. False: not possible within the time. May be the end of ac. */
bool wire_serve(redisAsyncContext *ac, int time_ms);

/* guard.c: what a server must not send is found before hiredis aborts for it; `odd` then, and the connection ends. */
void wire_guard(struct lane *l);

/* dial.c: one attempt to connect. */
void dial(struct wire *c);

#endif
