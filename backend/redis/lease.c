/* The lease: one heartbeat keeps all that a mount holds.
 *
 * The deadline is reckoned from when the last answered beat was *sent*, on our
 * own CLOCK_BOOTTIME, and lies a margin before the end of the lease at the
 * server. At it every hold is lost here, so before the server may give a lock
 * to anybody else. No answer that comes later revives a hold (docs/protocol.md).
 */
#include "backend/redis/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS(ns) ((double)(ns) / (double)PL_SEC)

static uint64_t margin(const struct redis_backend *b)
{
	return b->ttl_ns / 5;
}

static uint64_t interval(const struct redis_backend *b)
{
	return b->ttl_ns / 4;
}

void lease_arm(struct redis_backend *b, struct pl_timer **t, uint64_t delay, pl_timer_fn fn)
{
	pl_timer_stop(b->base.loop, *t);
	*t = pl_timer_start(b->base.loop, delay, fn, b);
}

void lease_disarm(struct redis_backend *b, struct pl_timer **t)
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

void lease_set(struct redis_backend *b, uint64_t sent)
{
	uint64_t now = pl_now(b->base.loop), at = sent + b->ttl_ns - margin(b);

	b->deadline = at;
	lease_arm(b, &b->deadline_timer, at > now ? at - now : 0, on_deadline);
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
	lease_disarm(b, &b->deadline_timer);
	b->claims = 0;
	HASH_ITER(hh, b->holds, h, tmp)
		rhold_lose(h, false);
	/* Those who wait keep their place: under the new session, with their old ticket. */
	HASH_ITER(hh, b->waits, w, wtmp) {
		w->queued = false;
		w->sent = 0;
	}
	value_lost(b);
	files_lost(b);
	keep_lost(b);
	releases_drop(b);
	new_sid(b);
	b->granted_seen = b->granted_said = b->wanted_seen = b->wanted_said = 0;
	if (b->state == SESSION_UP)
		b->state = SESSION_HELLO;
}

/* Does the server's clock agree with ours since the last beat? If not we cannot
 * vouch for anything that was before. */
void lease_compare_clocks(struct redis_backend *b, uint64_t server_ms, uint64_t sent, bool anew)
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

int lease_replicas(struct redis_backend *b, enum wire_lane lane, wire_cb cb, void *arg)
{
	char n[16], ms[24];
	const char *argv[] = { "WAIT", n, ms };

	snprintf(n, sizeof(n), "%u", b->replicas);
	snprintf(ms, sizeof(ms), "%" PRIu64, interval(b) / PL_MS);
	return wire_command(b->conn, lane, 3, argv, NULL, cb, arg);
}

static void send_beat(struct redis_backend *b);

static void on_beat_due(void *arg)
{
	struct redis_backend *b = arg;
	uint64_t since;

	b->beat_timer = NULL;
	if (b->state != SESSION_UP)
		return;
	if (b->beat_pending && pl_now(b->base.loop) - b->beat_pending > b->ttl_ns / 2) {
		b->beat_pending = 0;
		wire_reset(b->conn, "the server does not answer");
		return;
	}
	/* Each connection may be dead by itself: a firewall that has forgotten it tells nobody. */
	since = wire_owed_since(b->conn, LANE_COMMANDS);
	if (since && pl_now(b->base.loop) - since > b->ttl_ns / 2) {
		wire_reset(b->conn, "the server answers heartbeats only");
		return;
	}
	if (b->heard < b->told) {
		wire_reset(b->conn, "the subscription is dead");
		return;
	}
	send_beat(b);
	lease_arm(b, &b->beat_timer, interval(b), on_beat_due);
}

void lease_beats(struct redis_backend *b)
{
	lease_arm(b, &b->beat_timer, interval(b), on_beat_due);
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
	lease_compare_clocks(b, t->server_ms, t->sent, false);
	/* While claims are out, only what was held before is believed. */
	if (!b->claims)
		lease_set(b, t->sent);
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
	if (lease_replicas(t->b, LANE_BEATS, on_wait, t) < 0)
		free(t);
}

static void on_extra(void *arg)
{
	struct redis_backend *b = arg;

	b->extra_timer = NULL;
	if (b->state == SESSION_UP && !b->beat_pending)
		send_beat(b);
}

/* Messages come in order: when that of a heartbeat is here, so is all that the server told us before. */
void lease_compare_messages(struct redis_backend *b)
{
	if (!b->told || b->told != b->heard)
		return;
	if (b->granted_said > b->granted_heard)
		session_sync(b);
	if (b->wanted_said > b->wanted_heard)
		keep_doubt(b);
	/* More than were told: counted twice, around a hello or a sync. */
	b->granted_seen += b->granted_said - b->granted_heard;
	b->wanted_seen += b->wanted_said - b->wanted_heard;
	b->granted_heard = b->granted_said;
	b->wanted_heard = b->wanted_said;
}

static void beat_news(struct redis_backend *b, const redisReply *reply)
{
	uint64_t next = reply_num(reply, 4) * PL_MS;
	struct rhold *h;
	bool differs;
	size_t i;

	b->granted_said = reply_num(reply, 2);
	if (reply_num(reply, 3) != b->namespaces_version)
		ns_refresh(b);
	/* Another number of entries at the server than here, twice running: of calls whose
	 * answer was lost, say. Under load it differs now and then by what is on its way. */
	differs = reply_num(reply, 5) !=
		  HASH_COUNT(b->holds) + HASH_COUNT(b->idle) + HASH_COUNT(b->waits) - turns_count(b) + b->ranges_queued;
	if (differs && b->differed)
		session_sync(b);
	b->differed = differs;
	b->wanted_said = reply_num(reply, 6);
	lease_compare_messages(b);
	for (i = 7; i < reply->elements; i++) {
		h = rhold_find(b, reply_num(reply, i));
		if (h)
			rhold_lose(h, true);
	}
	/* Another session's lease ends before our next beat, unless it beats: be there. */
	if (next < interval(b))
		lease_arm(b, &b->extra_timer, next + PL_MS, on_extra);
}

static void on_beat(void *arg, int err, const redisReply *reply)
{
	struct beat *t = arg;
	struct redis_backend *b = t->b;

	if (err || !beat_counts(t)) {
		if (beat_counts(t) && !b->stopping) {
			b->beat_pending = 0;
			/* It may be about to end, as -BUSY does: there are not many beats in a lease. */
			lease_arm(b, &b->extra_timer, RETRY_TIME, on_extra);
		}
		free(t);
		return;
	}
	if (strcmp(script_word(b, reply), "OK") != 0) {
		b->beat_pending = 0;
		free(t);
		return;
	}
	t->server_ms = b->told = reply_num(reply, 1);
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
