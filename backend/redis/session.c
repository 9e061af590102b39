/* The session: hello, and what follows it; the end.
 *
 * A hello finds the server as we left it (sync), or without our session (all
 * is lost, a new one begins), or as another incarnation that remembers nothing
 * (what we hold is claimed again, within our old deadline; waits are entered
 * again with their old ticket). docs/protocol.md has the argument.
 */
#include "backend/redis/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static void hello(struct redis_backend *b);

/* --- what follows a hello --- */

static void on_bye(void *arg, int err, const redisReply *reply)
{
	struct redis_backend *b = arg;
	struct script_call c;

	if (b->stopping && (err || strcmp(reply_str(reply, 0), "MORE") != 0)) {
		b->bye_said = true;
		return;
	}
	if (err)
		return;
	if (strcmp(reply_str(reply, 0), "MORE") != 0) {
		b->old_sid[0] = '\0';
		return;
	}
	script_begin(b, &c, "bye");
	script_str(&c, b->stopping ? b->sid : b->old_sid);
	(void)script_send(b, LANE_COMMANDS, &c, on_bye, b);
}

static void say_bye(struct redis_backend *b, const char *sid)
{
	struct script_call c;

	script_begin(b, &c, "bye");
	script_str(&c, sid);
	if (script_send(b, LANE_COMMANDS, &c, on_bye, b) < 0)
		b->bye_said = true;
}

struct syncing {
	struct redis_backend *b;
	uint64_t seq;
	unsigned generation;
};

static void sync_entry(struct redis_backend *b, const char *id, const char *record, const char *at)
{
	uint64_t handle = strtoull(id, NULL, 10);
	struct rrange *r = rrange_find(b, handle);
	char kn[LK_NAME_MAX + 2];
	struct rwait *w = rwait_find(b, handle);
	struct rhold *h = keep_find(b, handle); /* it may have become idle meanwhile */

	if (!*at)
		return;
	snprintf(kn, sizeof(kn), "%s", at);
	if (*id && id[strlen(id) - 1] == 'f')
		kn[0] = 'F';
	if (r) {
		rrange_synced(r);
		if (*record)
			rrange_granted(r, record);
	} else if (h) {
		h->synced = b->syncs;
	} else if (!w) {
		release_handle(b, handle, kn, RELEASE_KEPT);
	} else {
		w->synced = b->syncs;
		rwait_queued(w);
		if (*record)
			rwait_granted(w, record, false);
		h = rhold_find(b, handle);
		if (h)
			h->synced = b->syncs;
	}
}

/* What the server does not know: holds are lost, waits are entered again. */
static void sync_missing(struct redis_backend *b, uint64_t seq)
{
	struct rhold *h, *htmp;
	struct rwait *w, *wtmp;

	HASH_ITER(hh, b->holds, h, htmp) {
		if (h->handle <= seq && h->synced != b->syncs)
			rhold_lose(h, true);
	}
	HASH_ITER(hh, b->waits, w, wtmp) {
		if (w->queued && w->handle <= seq && w->synced != b->syncs && !w->finished) {
			w->queued = false;
			rwait_send(w);
		}
	}
	keep_missing(b, seq);
	ranges_missing(b, seq);
}

static void on_sync(void *arg, int err, const redisReply *reply)
{
	struct syncing *s = arg;
	struct redis_backend *b = s->b;
	size_t i;

	if (err == 0 && s->generation == b->generation && strcmp(script_word(b, reply), "OK") == 0) {
		b->syncs++;
		for (i = 1; i + 2 < reply->elements; i += 3)
			sync_entry(b, reply_str(reply, i), reply_str(reply, i + 1), reply_str(reply, i + 2));
		sync_missing(b, s->seq);
	}
	free(s);
}

/* The server tells what it has for us; calls sent from here on are not in it. */
void session_sync(struct redis_backend *b)
{
	struct syncing *s = calloc(1, sizeof(*s));
	struct script_call c;

	if (!s)
		return; /* the next beat finds the difference again */
	keep_release_all(b);
	s->b = b;
	s->seq = b->handle;
	s->generation = b->generation;
	script_begin(b, &c, "sync");
	if (script_send(b, LANE_COMMANDS, &c, on_sync, s) < 0)
		free(s);
}

static void on_poked(void *arg, int err, const redisReply *reply)
{
	if (err == 0)
		(void)script_word(arg, reply);
}

static void on_grace_over(void *arg)
{
	struct redis_backend *b = arg;
	struct rname *n, *tmp;
	struct script_call c;

	b->grace_timer = NULL;
	HASH_ITER(hh, b->names, n, tmp) {
		if (!n->n_waits)
			continue;
		script_begin(b, &c, "poke");
		script_kn(&c, n->kn);
		(void)script_send(b, LANE_COMMANDS, &c, on_poked, b);
	}
	ranges_resend(b, true);
}

void session_claimed(struct redis_backend *b)
{
	if (b->claims && --b->claims == 0)
		lease_set(b, b->claims_sent);
}

static void claim_all(struct redis_backend *b, uint64_t sent)
{
	struct rhold *h, *tmp;

	b->claims_sent = sent;
	b->claims = 1; /* so that it does not end before all are sent */
	HASH_ITER(hh, b->holds, h, tmp) {
		b->claims++;
		rhold_claim(h);
	}
	session_claimed(b);
}

static void drop_waiters_places(struct redis_backend *b)
{
	struct rwait *w, *tmp;

	HASH_ITER(hh, b->waits, w, tmp) {
		w->queued = false;
		w->sent = 0;
	}
}

/* We do not want this server, or it does not want us: b->why. on_down says it. */
static void refuse(struct redis_backend *b)
{
	char why[sizeof(b->why)];

	memcpy(why, b->why, sizeof(why));
	b->fatal = true;
	b->state = SESSION_DOWN;
	if (b->starting)
		pl_loop_stop(b->base.loop);
	else
		wire_reset(b->conn, why);
}

static void refused_hello(struct redis_backend *b, int err, const redisReply *reply)
{
	if (err)
		snprintf(b->why, sizeof(b->why), "%s", wire_said(b->conn));
	else if (strcmp(reply_str(reply, 0), "TTL") == 0)
		snprintf(b->why, sizeof(b->why), "the other mounts of this prefix use ttl=%" PRIu64 "ms: use the same",
			 reply_num(reply, 1));
	else
		snprintf(b->why, sizeof(b->why), "unexpected answer of the server");
	refuse(b);
}

/* An answered hello. */
struct greeting {
	struct redis_backend *b;
	uint64_t seq, sent, server_ms, grace, granted, wanted;
	bool known;
	char inc[INC_MAX];
};

static void begin(const struct greeting *t)
{
	struct redis_backend *b = t->b;
	bool first = !*b->inc, renewed = strcmp(t->inc, b->inc) != 0;

	if (!renewed && !t->known && b->deadline) {
		session_lose(b, "the server has given up this mount's session");
		hello(b);
		return;
	}
	if (renewed && !first)
		files_lost(b);
	if (renewed && !first)
		pl_log(PL_WARN, "%s has lost its memory or is another server: claiming %u locks again",
		       wire_where(b->conn), HASH_COUNT(b->holds));
	memcpy(b->inc, t->inc, sizeof(b->inc));
	lease_compare_clocks(b, t->server_ms, t->sent, first || renewed || !t->known);
	if (b->was_down)
		pl_log(PL_INFO, "%s answers again", wire_where(b->conn));
	b->was_down = false;
	b->said_why[0][0] = b->said_why[1][0] = '\0';
	b->state = SESSION_UP;
	wire_settled(b->conn);
	b->beat_pending = 0;
	b->told = 0;
	if (renewed || !t->known) {
		drop_waiters_places(b);
		releases_drop(b);
	}
	b->granted_seen = b->granted_said = t->granted;
	b->wanted_seen = b->wanted_said = t->wanted;
	if (renewed || !t->known)
		keep_lost(b);
	else
		keep_doubt(b);
	/* Also when the connection broke while the claims were under way: what is not confirmed must not get a lease.
	 */
	if ((renewed || b->claims) && b->holds) {
		claim_all(b, t->sent);
	} else {
		b->claims = 0;
		lease_set(b, t->sent);
	}
	lock_resend(b);
	ranges_resend(b, false);
	if (!renewed && t->known)
		session_sync(b);
	if (*b->old_sid)
		say_bye(b, b->old_sid);
	value_resend(b);
	calls_resend(b);
	again_run(b);
	ns_refresh(b);
	if (t->grace)
		lease_arm(b, &b->grace_timer, t->grace + 2 * PL_MS, on_grace_over);
	lease_beats(b);
	if (b->starting)
		pl_loop_stop(b->base.loop);
}

/* The server could not do now what a session begins with (-BUSY, say), and the connection may stand: a new one
 * begins again. */
static void begin_again(struct redis_backend *b)
{
	char why[sizeof(b->why)];

	if (!*wire_said(b->conn) || b->stopping)
		return;
	snprintf(why, sizeof(why), "%s", wire_said(b->conn));
	wire_reset(b->conn, why);
}

/* Of the last hello, and still wanted? */
static bool greeting_counts(const struct greeting *t)
{
	struct redis_backend *b = t->b;

	if (t->seq != b->hellos || b->state != SESSION_HELLO)
		return false;
	/* The deadline passed meanwhile: that makes another session, with its own hello. */
	return !b->deadline || session_check(b);
}

static void on_replicas(void *arg, int err, const redisReply *reply)
{
	struct greeting *t = arg;
	struct redis_backend *b = t->b;

	if (err == 0 && greeting_counts(t)) {
		if (reply->type == REDIS_REPLY_INTEGER && reply->integer >= b->replicas) {
			begin(t);
		} else {
			snprintf(b->why, sizeof(b->why), "fewer than %u replicas confirm the lease", b->replicas);
			wire_reset(b->conn, b->why);
		}
	} else if (err && t->seq == b->hellos) {
		begin_again(b);
	}
	free(t);
}

static void on_hello(void *arg, int err, const redisReply *reply)
{
	struct greeting *t = arg;
	struct redis_backend *b = t->b;

	if (err == -EHOSTDOWN || !greeting_counts(t)) {
		/* Another follows, with another connection at the latest. */
		if (err == -EHOSTDOWN && t->seq == b->hellos)
			begin_again(b);
		free(t);
		return;
	}
	b->contact = pl_wall(b->base.loop);
	if (err || strcmp(reply_str(reply, 0), "OK") != 0) {
		refused_hello(b, err, reply);
		free(t);
		return;
	}
	snprintf(t->inc, sizeof(t->inc), "%s", reply_str(reply, 1));
	t->server_ms = reply_num(reply, 2);
	t->known = reply_num(reply, 3) == 1;
	t->grace = reply_num(reply, 4) * PL_MS;
	t->granted = reply_num(reply, 5);
	t->wanted = reply_num(reply, 7);
	/* Nor does a hello give a lease before it is as safe as a heartbeat. */
	if (b->replicas) {
		if (lease_replicas(b, LANE_COMMANDS, on_replicas, t) < 0)
			free(t);
		return;
	}
	begin(t);
	free(t);
}

static void on_slow(void *arg)
{
	struct redis_backend *b = arg;

	b->beat_timer = NULL;
	wire_reset(b->conn, "no answer");
}

/* An answer with which a session begins must come in time: no heartbeat watches over the connection yet. */
static void expect(struct redis_backend *b)
{
	lease_arm(b, &b->beat_timer, b->conn_config.attempt_ns + (b->replicas ? b->ttl_ns / 4 : 0), on_slow);
}

static void hello(struct redis_backend *b)
{
	struct greeting *t = calloc(1, sizeof(*t));
	struct script_call c;

	b->state = SESSION_HELLO;
	if (!t) {
		wire_reset(b->conn, "out of memory");
		return;
	}
	expect(b);
	t->b = b;
	t->seq = ++b->hellos; /* also makes the server deaf to what old connections still send */
	t->sent = pl_now(b->base.loop);
	script_begin(b, &c, "hello");
	script_str(&c, b->run_id);
	script_num(&c, (int64_t)(b->ttl_ns / PL_MS));
	script_num(&c, (int64_t)b->floor);
	if (script_send(b, LANE_COMMANDS, &c, on_hello, t) < 0)
		free(t);
}

void session_again(struct redis_backend *b)
{
	if (wire_is_up(b->conn) && b->state != SESSION_DOWN && !b->stopping)
		hello(b);
}

/* --- up and down --- */

/* A server that throws keys away when memory is short would throw away locks. */
static void on_memory_info(void *arg, int err, const redisReply *reply)
{
	struct redis_backend *b = arg;
	const char *policy = !err && reply->type == REDIS_REPLY_STRING ? strstr(reply->str, "maxmemory_policy:") : NULL;

	if (err == -EHOSTDOWN) {
		begin_again(b);
		return;
	}
	if (policy && strncmp(policy + 17, "allkeys", 7) == 0) {
		snprintf(b->why, sizeof(b->why), "its maxmemory-policy (%.*s) may evict locks: set noeviction",
			 (int)strcspn(policy + 17, "\r\n"), policy + 17);
		refuse(b);
		return;
	}
	hello(b);
}

void session_up(struct redis_backend *b, const char *run_id)
{
	static const char *const argv[] = { "INFO", "memory" };

	snprintf(b->run_id, sizeof(b->run_id), "%s", run_id);
	b->fatal = false;
	b->state = SESSION_HELLO;
	expect(b);
	(void)wire_command(b->conn, LANE_COMMANDS, 2, argv, NULL, on_memory_info, b);
}

void session_down(struct redis_backend *b)
{
	b->state = SESSION_DOWN;
	b->beat_pending = 0;
	lease_disarm(b, &b->beat_timer);
	lease_disarm(b, &b->extra_timer);
	lease_disarm(b, &b->grace_timer);
	lease_disarm(b, &b->retry_timer);
	turns_enter_all(b); /* the next connection finds all of them in the order in which they came */
	lock_down(b);
	ranges_down(b);
	again_run(b); /* what has no answer when the connection ends fails */
}

void session_stop(struct redis_backend *b)
{
	lease_disarm(b, &b->beat_timer);
	lease_disarm(b, &b->extra_timer);
	lease_disarm(b, &b->grace_timer);
	lease_disarm(b, &b->deadline_timer);
	lease_disarm(b, &b->retry_timer);
	lease_disarm(b, &b->stale_timer);
	lease_disarm(b, &b->idle_timer);
	b->deadline = 0;
	if (b->state != SESSION_UP)
		return;
	keep_tell(b);
	keep_release_all(b);
	/* Half a second for the server to hear that nobody needs to wait for our lease. */
	say_bye(b, b->sid);
	wire_finish(b->conn, &b->bye_said, PL_SEC / 2);
}
