/* The session: one lease for all that a mount holds, one heartbeat to keep it.
 *
 * The deadline is reckoned from when the last answered beat was *sent*, on our
 * own CLOCK_BOOTTIME, and lies a margin before the end of the lease at the
 * server. At it every hold is lost here, so before the server may give a lock
 * to anybody else. No answer that comes later revives a hold (docs/protocol.md).
 */
#include "backend/redis/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SECONDS(ns) ((double)(ns) / (double)PL_SEC)

static void hello(struct redis_backend *b);
static void send_beat(struct redis_backend *b);

static uint64_t margin(const struct redis_backend *b)
{
	return b->ttl_ns / 5;
}

static uint64_t interval(const struct redis_backend *b)
{
	return b->ttl_ns / 4;
}

static void rearm(struct redis_backend *b, struct pl_timer **t, uint64_t delay, pl_timer_fn fn)
{
	pl_timer_stop(b->base.loop, *t);
	*t = pl_timer_start(b->base.loop, delay, fn, b);
}

static void disarm(struct redis_backend *b, struct pl_timer **t)
{
	pl_timer_stop(b->base.loop, *t);
	*t = NULL;
}

/* --- the deadline --- */

static void on_deadline(void *arg)
{
	struct redis_backend *b = arg;

	b->deadline_timer = NULL;
	session_check(b);
}

static void set_deadline(struct redis_backend *b, uint64_t sent)
{
	uint64_t now = pl_now(b->base.loop), at = sent + b->ttl_ns - margin(b);

	b->deadline = at;
	rearm(b, &b->deadline_timer, at > now ? at - now : 0, on_deadline);
}

bool session_check(struct redis_backend *b)
{
	char why[160];

	if (!b->deadline || pl_now(b->base.loop) < b->deadline)
		return b->deadline != 0;
	snprintf(why, sizeof(why), "no heartbeat was answered for %.1f s", SECONDS(b->ttl_ns - margin(b)));
	session_lose(b, why);
	session_again(b);
	return false;
}

uint64_t session_limit(const struct redis_backend *b)
{
	return b->beat_at + (b->ttl_ns - margin(b)) / PL_MS;
}

static void new_sid(struct redis_backend *b)
{
	snprintf(b->old_sid, sizeof(b->old_sid), "%s", b->sid);
	snprintf(b->sid, sizeof(b->sid), "%s.%u", b->mount, ++b->generation);
}

void session_lose(struct redis_backend *b, const char *why)
{
	struct rhold *h, *tmp;
	struct rwait *w, *wtmp;
	unsigned n = HASH_COUNT(b->holds);

	if (n)
		pl_log_limited(&b->log_lost, PL_ERROR, "%u locks lost: %s", n, why);
	b->deadline = 0;
	disarm(b, &b->deadline_timer);
	b->claims = 0;
	HASH_ITER(hh, b->holds, h, tmp)
		rhold_lose(h, false);
	/* Those who wait keep their place: under the new session, with their old ticket. */
	HASH_ITER(hh, b->waits, w, wtmp) {
		w->queued = false;
		w->sent = 0;
	}
	value_lost(b);
	releases_drop(b);
	new_sid(b);
	b->granted_seen = b->granted_said = 0;
	if (b->state == SESSION_UP)
		b->state = SESSION_HELLO;
}

/* --- what follows a hello --- */

static void on_bye(void *arg, int err, const redisReply *reply)
{
	struct redis_backend *b = arg;
	struct script_call c;

	if (b->stopping && (err || strcmp(reply_str(reply, 0), "MORE") != 0)) {
		pl_loop_stop(b->base.loop);
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
	if (script_send(b, LANE_COMMANDS, &c, on_bye, b) < 0 && b->stopping)
		pl_loop_stop(b->base.loop);
}

struct syncing {
	struct redis_backend *b;
	uint64_t seq;
	unsigned generation;
};

static void sync_entry(struct redis_backend *b, uint64_t handle, const char *record, const char *kn)
{
	struct rwait *w = rwait_find(b, handle);
	struct rhold *h = rhold_find(b, handle);

	if (h) {
		h->synced = b->syncs;
	} else if (!w) {
		release_handle(b, handle, kn, false);
	} else {
		w->synced = b->syncs;
		rwait_queued(w);
		if (*record)
			rwait_granted(w, record, false);
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
		if (w->queued && w->handle <= seq && w->synced != b->syncs) {
			w->queued = false;
			rwait_send(w);
		}
	}
}

static void on_sync(void *arg, int err, const redisReply *reply)
{
	struct syncing *s = arg;
	struct redis_backend *b = s->b;
	size_t i;

	if (err == 0 && s->generation == b->generation && strcmp(script_word(b, reply), "OK") == 0) {
		b->granted_seen = reply_num(reply, 1);
		b->syncs++;
		for (i = 2; i + 2 < reply->elements; i += 3)
			sync_entry(b, reply_num(reply, i), reply_str(reply, i + 1), reply_str(reply, i + 2));
		sync_missing(b, s->seq);
	}
	free(s);
}

/* The server tells what it has for us; calls sent from here on are not in it. */
static void send_sync(struct redis_backend *b)
{
	struct syncing *s = calloc(1, sizeof(*s));
	struct script_call c;

	if (!s)
		return; /* the next beat finds the difference again */
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
		script_str(&c, n->kn);
		(void)script_send(b, LANE_COMMANDS, &c, on_poked, b);
	}
}

void session_claimed(struct redis_backend *b)
{
	if (b->claims && --b->claims == 0)
		set_deadline(b, b->claims_sent);
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

/* Does the server's clock agree with ours since the last beat? If not we cannot
 * vouch for anything that was before. */
static void compare_clocks(struct redis_backend *b, uint64_t server_ms, uint64_t sent, bool anew)
{
	int64_t theirs = (int64_t)server_ms - (int64_t)b->beat_at;
	int64_t ours = (int64_t)((sent - b->beat_sent) / PL_MS);
	int64_t slack = (int64_t)(b->ttl_ns / 10 / PL_MS);

	if (slack < 50)
		slack = 50;
	if (anew || theirs - ours > slack || ours - theirs > slack)
		b->watch_since = server_ms;
	b->beat_at = server_ms;
	b->beat_sent = sent;
}

static void on_beat_due(void *arg)
{
	struct redis_backend *b = arg;

	b->beat_timer = NULL;
	if (b->state != SESSION_UP)
		return;
	if (b->beat_pending && pl_now(b->base.loop) - b->beat_pending > b->ttl_ns / 2) {
		b->beat_pending = 0;
		wire_reset(b->conn, "the server does not answer");
		return;
	}
	send_beat(b);
	rearm(b, &b->beat_timer, interval(b), on_beat_due);
}

static void refused_hello(struct redis_backend *b, const redisReply *reply)
{
	if (strcmp(reply_str(reply, 0), "TTL") == 0)
		snprintf(b->why, sizeof(b->why), "the other mounts of this prefix use ttl=%" PRIu64 "ms: use the same",
			 reply_num(reply, 1));
	else
		snprintf(b->why, sizeof(b->why), "unexpected answer of the server");
	pl_log_limited(&b->log_down, PL_ERROR, "%s: %s", wire_where(b->conn), b->why);
	b->fatal = true;
	b->state = SESSION_DOWN;
	if (b->starting)
		pl_loop_stop(b->base.loop);
	else
		wire_reset(b->conn, b->why);
}

/* An answered hello. */
struct greeting {
	struct redis_backend *b;
	uint64_t seq, sent, server_ms, grace;
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
		pl_log(PL_WARN, "%s has lost its memory or is another server: claiming %u locks again",
		       wire_where(b->conn), HASH_COUNT(b->holds));
	memcpy(b->inc, t->inc, sizeof(b->inc));
	compare_clocks(b, t->server_ms, t->sent, first || renewed || !t->known);
	b->state = SESSION_UP;
	b->beat_pending = 0;
	if (renewed || !t->known) {
		drop_waiters_places(b);
		releases_drop(b);
		b->granted_seen = 0;
	}
	b->granted_said = b->granted_seen;
	if (renewed && b->holds)
		claim_all(b, t->sent);
	else
		set_deadline(b, t->sent);
	lock_resend(b);
	if (!renewed && t->known)
		send_sync(b);
	if (*b->old_sid)
		say_bye(b, b->old_sid);
	value_resend(b);
	ns_refresh(b);
	if (t->grace)
		rearm(b, &b->grace_timer, t->grace + 2 * PL_MS, on_grace_over);
	rearm(b, &b->beat_timer, interval(b), on_beat_due);
	if (b->starting)
		pl_loop_stop(b->base.loop);
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
	}
	free(t);
}

static int ask_replicas(struct redis_backend *b, enum wire_lane lane, wire_cb cb, void *arg)
{
	char n[16], ms[24];
	const char *argv[] = { "WAIT", n, ms };

	snprintf(n, sizeof(n), "%u", b->replicas);
	snprintf(ms, sizeof(ms), "%" PRIu64, interval(b) / PL_MS);
	return wire_command(b->conn, lane, 3, argv, NULL, cb, arg);
}

static void on_hello(void *arg, int err, const redisReply *reply)
{
	struct greeting *t = arg;
	struct redis_backend *b = t->b;

	if (err == -EHOSTDOWN || !greeting_counts(t)) {
		free(t); /* another follows */
		return;
	}
	b->contact = pl_wall(b->base.loop);
	if (err || strcmp(reply_str(reply, 0), "OK") != 0) {
		refused_hello(b, reply);
		free(t);
		return;
	}
	snprintf(t->inc, sizeof(t->inc), "%s", reply_str(reply, 1));
	t->server_ms = reply_num(reply, 2);
	t->known = reply_num(reply, 3) == 1;
	t->grace = reply_num(reply, 4) * PL_MS;
	/* Nor does a hello give a lease before it is as safe as a heartbeat. */
	if (b->replicas) {
		if (ask_replicas(b, LANE_COMMANDS, on_replicas, t) < 0)
			free(t);
		return;
	}
	begin(t);
	free(t);
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
	t->b = b;
	t->seq = ++b->hellos;
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

	if (err == -EHOSTDOWN)
		return;
	if (policy && strncmp(policy + 17, "allkeys", 7) == 0) {
		snprintf(b->why, sizeof(b->why), "its maxmemory-policy (%.*s) may evict locks: set noeviction",
			 (int)strcspn(policy + 17, "\r\n"), policy + 17);
		pl_log_limited(&b->log_down, PL_ERROR, "%s: %s", wire_where(b->conn), b->why);
		b->fatal = true;
		if (b->starting)
			pl_loop_stop(b->base.loop);
		else
			wire_reset(b->conn, b->why);
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
	(void)wire_command(b->conn, LANE_COMMANDS, 2, argv, NULL, on_memory_info, b);
}

void session_down(struct redis_backend *b)
{
	b->state = SESSION_DOWN;
	b->beat_pending = 0;
	disarm(b, &b->beat_timer);
	disarm(b, &b->extra_timer);
	disarm(b, &b->grace_timer);
	disarm(b, &b->retry_timer);
	lock_down(b);
}

static void on_enough(void *arg)
{
	struct redis_backend *b = arg;

	b->deadline_timer = NULL;
	pl_loop_stop(b->base.loop);
}

void session_stop(struct redis_backend *b)
{
	disarm(b, &b->beat_timer);
	disarm(b, &b->extra_timer);
	disarm(b, &b->grace_timer);
	disarm(b, &b->deadline_timer);
	disarm(b, &b->retry_timer);
	b->deadline = 0;
	b->stopping = true;
	if (b->state != SESSION_UP)
		return;
	/* Half a second for the server to hear that nobody needs to wait for our lease. */
	rearm(b, &b->deadline_timer, PL_SEC / 2, on_enough);
	if (!b->deadline_timer)
		return;
	say_bye(b, b->sid);
	pl_loop_run(b->base.loop);
	disarm(b, &b->deadline_timer);
}

/* --- the heartbeat --- */

struct beat {
	struct redis_backend *b;
	uint64_t sent, server_ms;
	unsigned generation;
	char inc[INC_MAX];
};

static bool beat_counts(const struct beat *t)
{
	return t->generation == t->b->generation && t->b->state == SESSION_UP && strcmp(t->inc, t->b->inc) == 0;
}

static void beat_done(struct beat *t)
{
	struct redis_backend *b = t->b;

	b->beat_pending = 0;
	if (!session_check(b) && b->deadline == 0) {
		free(t);
		return;
	}
	compare_clocks(b, t->server_ms, t->sent, false);
	/* While claims are out, only what was held before is believed. */
	if (!b->claims)
		set_deadline(b, t->sent);
	free(t);
}

static void on_wait(void *arg, int err, const redisReply *reply)
{
	struct beat *t = arg;
	struct redis_backend *b = t->b;

	if (err == 0 && beat_counts(t) && reply->type == REDIS_REPLY_INTEGER && reply->integer >= b->replicas) {
		beat_done(t);
		return;
	}
	if (err == 0 && beat_counts(t)) {
		b->beat_pending = 0;
		pl_log_limited(&b->log_odd, PL_WARN,
			       "%s: a heartbeat reached fewer than %u replicas and does not count", wire_where(b->conn),
			       b->replicas);
	}
	free(t);
}

static void wait_for_replicas(struct beat *t)
{
	if (ask_replicas(t->b, LANE_BEATS, on_wait, t) < 0)
		free(t);
}

static void on_extra(void *arg)
{
	struct redis_backend *b = arg;

	b->extra_timer = NULL;
	if (b->state == SESSION_UP && !b->beat_pending)
		send_beat(b);
}

static void beat_news(struct redis_backend *b, const redisReply *reply)
{
	uint64_t said = reply_num(reply, 2), next = reply_num(reply, 4) * PL_MS;
	struct rhold *h;
	size_t i;

	/* A grant told at the beat before, and still not here: the message was lost. */
	if (b->granted_said > b->granted_seen)
		send_sync(b);
	b->granted_said = said;
	if (reply_num(reply, 3) != b->namespaces_version)
		ns_refresh(b);
	for (i = 5; i < reply->elements; i++) {
		h = rhold_find(b, reply_num(reply, i));
		if (h)
			rhold_lose(h, true);
	}
	/* Another session's lease ends before our next beat, unless it beats: be there. */
	if (next < interval(b))
		rearm(b, &b->extra_timer, next + PL_MS, on_extra);
}

static void on_beat(void *arg, int err, const redisReply *reply)
{
	struct beat *t = arg;
	struct redis_backend *b = t->b;

	if (err || !beat_counts(t)) {
		if (beat_counts(t))
			b->beat_pending = 0;
		free(t);
		return;
	}
	if (strcmp(script_word(b, reply), "OK") != 0) {
		b->beat_pending = 0;
		free(t);
		return;
	}
	t->server_ms = reply_num(reply, 1);
	beat_news(b, reply);
	if (b->replicas)
		wait_for_replicas(t);
	else
		beat_done(t);
}

static void send_beat(struct redis_backend *b)
{
	struct beat *t;
	struct script_call c;

	if (b->beat_pending)
		return;
	t = calloc(1, sizeof(*t));
	if (!t)
		return;
	t->b = b;
	t->sent = pl_now(b->base.loop);
	t->generation = b->generation;
	memcpy(t->inc, b->inc, sizeof(t->inc));
	script_begin(b, &c, "beat");
	if (script_send(b, LANE_BEATS, &c, on_beat, t) < 0) {
		free(t);
		return;
	}
	b->beat_pending = t->sent;
}
