/* Byte ranges. One that must wait is an entry in a queue at the server, as a
 * wait for a lock is, and is found again in the same ways; a grant stays there
 * under the wait's handle until it is confirmed.
 *
 * The grant/cancel race: while connected the server decides, and says so. Else
 * the caller is answered at once, and a release that follows undoes a grant
 * where the owner had nothing before. Where it had something the bytes stay
 * locked until they are unlocked: safe, for nobody believes that they are free.
 */
#include "backend/redis/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct rrange {
	struct redis_backend *b;
	struct lk_range_request *req;
	uint64_t handle, ticket, synced;
	uint64_t sent; /* b->seq when it was last sent and is not answered; 0: to be sent */
	bool asked;    /* the server may know of it */
	bool queued;   /* the server has said so */
	bool full;     /* max_waiters was reached when it came */
	bool cancel_sent;
	bool finished;
	int wish; /* of a cancel; 0: none */
	int err;
	struct rowner *slot; /* for the file's list */
	struct pl_timer *unavailable;
	struct pl_task finish;
	struct rrange *prev, *next;
	UT_hash_handle hh;
};

struct rrange *rrange_find(struct redis_backend *b, uint64_t handle)
{
	struct rrange *r;

	HASH_FIND(hh, b->ranges, &handle, sizeof(handle), r);
	return r;
}

/* --- the end of one --- */

static void set_queued(struct rrange *r, bool queued)
{
	if (queued && !r->queued)
		r->b->ranges_queued++;
	else if (!queued && r->queued)
		r->b->ranges_queued--;
	r->queued = queued;
}

static void run_finish(struct pl_task *task)
{
	struct rrange *r = (struct rrange *)((char *)task - offsetof(struct rrange, finish));
	struct lk_range_request *req = r->req;
	int err = r->err;

	DL_DELETE(r->b->ranges_ended, r);
	req->priv = NULL;
	free(r->slot);
	free(r);
	req->done(req, err);
}

static void finish(struct rrange *r, int err)
{
	struct redis_backend *b = r->b;

	r->finished = true;
	r->err = err;
	set_queued(r, false);
	pl_timer_stop(b->base.loop, r->unavailable);
	r->unavailable = NULL;
	HASH_DEL(b->ranges, r);
	DL_APPEND(b->ranges_ended, r);
	if (!b->stopping)
		pl_defer(b->base.loop, &r->finish);
}

static void give_back(struct rrange *r, bool undo)
{
	char kn[LK_NAME_MAX + 2];

	snprintf(kn, sizeof(kn), "R%s", r->req->file->ln);
	release_handle(r->b, r->handle, kn, undo);
}

/* Without an answer of the server. */
static void give_up(struct rrange *r, int err)
{
	if (r->finished)
		return;
	if (r->asked && r->req->wait)
		give_back(r, true);
	if (!r->finished)
		finish(r, err);
}

static void had(struct rrange *r, bool nothing_left)
{
	const struct lk_range_request *req = r->req;

	if (nothing_left)
		range_forget(r->b, req->file->ln, req->want.who.owner);
	else if (req->want.mode != RANGES_NONE && range_note(req->file, req->want.who.owner, r->slot))
		r->slot = NULL;
	finish(r, 0);
}

void rrange_granted(struct rrange *r, const char *record)
{
	/* Believed only while the lease stands. */
	if (!session_check(r->b) || r->finished)
		return;
	give_back(r, false);
	if (r->finished)
		return;
	if (strncmp(record, "nolck", 5) == 0)
		finish(r, -ENOLCK);
	else
		had(r, false);
}

/* --- asking --- */

static void on_unavailable(void *arg)
{
	struct rrange *r = arg;

	r->unavailable = NULL;
	give_up(r, r->wish ? r->wish : -EHOSTDOWN);
}

static void begin_unavailable(struct rrange *r)
{
	uint64_t limit = r->b->unavailable_ns;

	if (r->unavailable || r->finished)
		return;
	/* A try gets one attempt. */
	if (!r->req->wait && r->req->want.mode != RANGES_NONE && limit > r->b->conn_config.attempt_ns)
		limit = r->b->conn_config.attempt_ns;
	r->unavailable = pl_timer_start(r->b->base.loop, limit, on_unavailable, r);
	if (!r->unavailable)
		give_up(r, -ENOLCK);
}

struct asking {
	struct redis_backend *b;
	uint64_t handle, sent;
};

static struct asking *asking_new(const struct rrange *r)
{
	struct asking *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->b = r->b;
	a->handle = r->handle;
	a->sent = r->sent;
	return a;
}

static bool is_unknown(int err, const char *word)
{
	return err == -EHOSTDOWN || script_again(word);
}

static void answered(struct rrange *r, const redisReply *reply, const char *word)
{
	int err;

	if (strcmp(word, "OK") == 0) {
		had(r, reply_num(reply, 1) == 0);
	} else if (strcmp(word, "HAD") == 0) {
		rrange_granted(r, reply_str(reply, 1));
	} else if (strcmp(word, "WAIT") == 0) {
		r->ticket = reply_num(reply, 1);
		pl_timer_stop(r->b->base.loop, r->unavailable);
		r->unavailable = NULL;
		set_queued(r, true);
	} else {
		err = script_errno(word);
		if (strcmp(word, "LOST") == 0)
			file_lose(r->req->file);
		if (err == -EAGAIN && r->full)
			err = -ENOLCK;
		finish(r, err ? err : -EIO);
	}
}

static void on_set(void *arg, int err, const redisReply *reply)
{
	struct asking *a = arg, is = *a;
	const char *word = err || is.b->stopping ? "" : script_word(is.b, reply);
	struct rrange *r;

	free(a);
	if (is.b->stopping)
		return;
	session_check(is.b);
	r = rrange_find(is.b, is.handle);
	if (!r || r->sent != is.sent)
		return;
	r->sent = 0;
	if (is_unknown(err, word))
		retry_soon(is.b);
	else if (err)
		finish(r, err == -ENOSPC ? -ENOLCK : err);
	else
		answered(r, reply, word);
}

static void send_set(struct rrange *r)
{
	const struct lk_range_request *req = r->req;
	struct redis_backend *b = r->b;
	char want[RANGE_TEXT];
	struct script_call c;
	struct asking *a;

	r->sent = ++b->seq;
	a = asking_new(r);
	if (!a) {
		give_up(r, -ENOLCK);
		return;
	}
	range_write(b, &req->want, want);
	script_begin(b, &c, "rset");
	script_num(&c, (int64_t)session_limit(b));
	script_num(&c, 0);
	script_num(&c, 0);
	script_num(&c, (int64_t)req->file->handle);
	if (req->wait && !r->full)
		script_handle(&c, r->handle, "R");
	else
		script_str(&c, "");
	script_num(&c, (int64_t)r->ticket);
	script_str(&c, want);
	r->asked = true;
	if (script_send(b, LANE_COMMANDS, &c, on_set, a) < 0) {
		r->sent = 0;
		free(a);
	}
}

/* --- cancel --- */

static void on_cancel(void *arg, int err, const redisReply *reply)
{
	struct asking *a = arg, is = *a;
	const char *word = err || is.b->stopping ? "" : script_word(is.b, reply);
	struct rrange *r;

	free(a);
	if (is.b->stopping)
		return;
	session_check(is.b);
	r = rrange_find(is.b, is.handle);
	if (!r || !r->wish)
		return;
	r->cancel_sent = false;
	if (is_unknown(err, word))
		retry_soon(is.b);
	else if (err == 0 && strncmp(reply_str(reply, 1), "nolck", 5) != 0 && *reply_str(reply, 1))
		had(r, false);
	else
		finish(r, r->wish);
}

static void send_cancel(struct rrange *r)
{
	struct asking *a = asking_new(r);
	struct script_call c;

	if (!a) {
		give_up(r, r->wish);
		return;
	}
	script_begin(r->b, &c, "rcancel");
	script_num(&c, (int64_t)session_limit(r->b));
	script_num(&c, 0);
	script_num(&c, 0);
	script_handle(&c, r->handle, "R");
	r->cancel_sent = script_send(r->b, LANE_COMMANDS, &c, on_cancel, a) == 0;
	if (!r->cancel_sent)
		free(a);
	begin_unavailable(r);
}

void rf_range_cancel(struct lk_backend *base, struct lk_range_request *req, int err)
{
	struct rrange *r = req->priv;

	if (!r || r->finished || r->wish || !req->wait)
		return;
	r->wish = err;
	if (rb_of(base)->state == SESSION_UP && r->asked)
		send_cancel(r);
	else
		give_up(r, err);
}

/* --- the calls --- */

int rf_range_set(struct lk_backend *base, struct lk_range_request *req)
{
	struct redis_backend *b = rb_of(base);
	struct rrange *r;

	if (!session_check(b) || req->file->lost)
		return -ESTALE;
	r = calloc(1, sizeof(*r));
	if (r)
		r->slot = calloc(1, sizeof(*r->slot));
	if (!r || !r->slot) {
		free(r);
		return -ENOLCK;
	}
	if (req->want.mode == RANGES_NONE)
		req->wait = false;
	r->b = b;
	r->req = req;
	r->finish.run = run_finish;
	r->handle = ++b->handle;
	/* It may have the range if that is free, but not wait for it. */
	r->full = req->wait && b->config.max_waiters &&
		  b->base.counters.waiting + b->ranges_queued >= b->config.max_waiters;
	req->priv = r;
	HASH_ADD(hh, b->ranges, handle, sizeof(r->handle), r);
	begin_unavailable(r);
	if (!r->finished && b->state == SESSION_UP)
		send_set(r);
	return 0;
}

/* --- the connection --- */

void rrange_synced(struct rrange *r)
{
	r->synced = r->b->syncs;
	set_queued(r, true);
}

void ranges_missing(struct redis_backend *b, uint64_t seq)
{
	struct rrange *r, *tmp;

	HASH_ITER(hh, b->ranges, r, tmp) {
		if (!r->queued || r->handle > seq || r->synced == b->syncs)
			continue;
		set_queued(r, false);
		begin_unavailable(r);
		if (!r->finished && !r->wish)
			send_set(r);
	}
}

void ranges_resend(struct redis_backend *b, bool queued)
{
	struct rrange *r, *tmp;

	HASH_ITER(hh, b->ranges, r, tmp) {
		if (r->wish && !r->cancel_sent)
			send_cancel(r);
		else if (!r->wish && !r->sent && (queued || !r->queued))
			send_set(r);
	}
}

void ranges_down(struct redis_backend *b)
{
	struct rrange *r, *tmp;

	HASH_ITER(hh, b->ranges, r, tmp) {
		if (r->wish)
			give_up(r, r->wish);
		else
			begin_unavailable(r);
	}
}

void ranges_lost(struct redis_backend *b)
{
	struct rrange *r, *tmp;

	HASH_ITER(hh, b->ranges, r, tmp)
		finish(r, -ESTALE);
}

void ranges_stop(struct redis_backend *b)
{
	struct rrange *r, *tmp;

	HASH_ITER(hh, b->ranges, r, tmp) {
		pl_timer_stop(b->base.loop, r->unavailable);
		r->unavailable = NULL;
	}
	DL_FOREACH(b->ranges_ended, r)
		pl_undefer(b->base.loop, &r->finish);
}

void ranges_free(struct redis_backend *b)
{
	struct rrange *r, *tmp;

	HASH_ITER(hh, b->ranges, r, tmp) {
		HASH_DEL(b->ranges, r);
		free(r->slot);
		free(r);
	}
	DL_FOREACH_SAFE(b->ranges_ended, r, tmp) {
		free(r->slot);
		free(r);
	}
}
