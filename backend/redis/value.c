/* Values, through a hold. The script checks the hold and the time, so a write
 * of a handle that lost its lock never takes effect, however late it arrives.
 *
 * An operation whose answer was lost is sent again while the hold stands:
 * all but an append are idempotent, and that one carries a number by which
 * the server knows it.
 */
#include "backend/redis/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define OFFSET_FAR (INT64_C(1) << 40)

enum rval_op { VAL_READ, VAL_WRITE, VAL_TRUNCATE, VAL_SYNC, VAL_REMOVE, VAL_RENAME };

struct rval {
	struct redis_backend *b;
	struct rhold *h, *h2; /* h2: VAL_RENAME's target */
	enum rval_op op;
	int64_t off;
	uint64_t size; /* to read, to truncate to, of data */
	uint64_t id;
	char *data;
	lk_io_cb io;
	lk_done_cb done;
	void *arg;
	bool sent, ended;
	int err; /* for `later` */
	struct pl_timer *unavailable;
	struct pl_task later;
	struct rval *prev, *next;
};

static void drop(struct rval *v)
{
	DL_DELETE(v->b->vals, v);
	pl_timer_stop(v->b->base.loop, v->unavailable);
	pl_undefer(v->b->base.loop, &v->later);
	rhold_unref(v->h);
	if (v->h2)
		rhold_unref(v->h2);
	free(v->data);
	free(v);
}

/* Answers the caller. What is at the server still waits for its answer there. */
static void end(struct rval *v, ssize_t n, const void *data)
{
	v->ended = true;
	if (v->io)
		v->io(v->arg, n, n < 0 ? NULL : data);
	else
		v->done(v->arg, n < 0 ? (int)n : 0);
	if (!v->sent)
		drop(v);
}

static void run_later(struct pl_task *task)
{
	struct rval *v = (struct rval *)((char *)task - offsetof(struct rval, later));

	end(v, v->err, NULL);
}

static void end_later(struct rval *v, int err)
{
	if (v->ended || v->b->stopping)
		return;
	v->err = err;
	v->later.run = run_later;
	pl_defer(v->b->base.loop, &v->later);
}

static bool stale(const struct rval *v)
{
	return v->h->pub.lost || v->h->released || (v->h2 && (v->h2->pub.lost || v->h2->released));
}

static void on_replicated(void *arg, int err, const redisReply *reply)
{
	struct rval *v = arg;

	v->sent = false;
	if (v->b->stopping)
		return; /* value_free */
	if (v->ended) {
		drop(v);
		return;
	}
	if (stale(v))
		err = -ESTALE;
	else if (err == 0 && (reply->type != REDIS_REPLY_INTEGER || reply->integer < (long long)v->b->replicas))
		err = -EIO;
	end(v, err, NULL);
}

/* On the beats' lane: a WAIT blocks those behind it, and a beat may wait as long. */
static void replicate(struct rval *v)
{
	char n[16], ms[24];
	const char *argv[] = { "WAIT", n, ms };

	snprintf(n, sizeof(n), "%u", v->b->replicas);
	snprintf(ms, sizeof(ms), "%" PRIu64, v->b->ttl_ns / 4 / PL_MS);
	v->sent = wire_command(v->b->conn, LANE_BEATS, 3, argv, NULL, on_replicated, v) == 0;
	if (!v->sent)
		end_later(v, -EHOSTDOWN);
}

static void on_answer(void *arg, int err, const redisReply *reply)
{
	struct rval *v = arg;
	struct redis_backend *b = v->b;
	const char *word = err || b->stopping ? "" : script_word(b, reply), *data = NULL;
	ssize_t n = 0;
	bool again = err == -EHOSTDOWN || script_again(word);

	v->sent = false;
	if (b->stopping)
		return; /* value_free */
	if (v->ended) {
		drop(v);
		return;
	}
	/* The lease may have ended while the answer was on its way. */
	session_check(b);
	if (v->later.queued)
		return; /* just decided: the lock is lost */
	if (stale(v)) {
		end(v, -ESTALE, NULL);
		return;
	}
	if (again) {
		retry_soon(b);
		return;
	}
	if (err == 0)
		err = script_errno(word);
	if (err == -ESTALE && strcmp(word, "LOST") == 0)
		rhold_lose(v->h, true);
	if (err == 0 && v->op == VAL_READ)
		n = reply_bytes(reply, 1, v->size, &data);
	if (err)
		end(v, err, NULL);
	else if (v->op == VAL_READ)
		end(v, n, data);
	else if (v->op == VAL_SYNC && b->replicas)
		replicate(v);
	else
		end(v, v->op == VAL_WRITE ? (ssize_t)v->size : 0, NULL);
}

static void send_op(struct rval *v)
{
	static const char *const ops[] = { "rd", "wr", "trunc", "sync_value", "rm", "mv" };
	struct redis_backend *b = v->b;
	struct script_call c;

	script_begin(b, &c, ops[v->op]);
	script_handle(&c, v->h->handle, v->h->name->kn);
	script_kn(&c, v->h->name->kn);
	if (v->op == VAL_READ) {
		script_num(&c, v->off);
		script_num(&c, (int64_t)v->size);
	} else {
		script_num(&c, (int64_t)session_limit(b));
	}
	if (v->op == VAL_WRITE) {
		script_num(&c, (int64_t)b->config.max_value);
		script_num(&c, v->off);
		script_num(&c, (int64_t)v->id);
		script_bytes(&c, v->data, v->size);
	} else if (v->op == VAL_TRUNCATE) {
		script_num(&c, (int64_t)v->size);
	} else if (v->op == VAL_RENAME) {
		script_num(&c, (int64_t)v->h2->handle);
		script_str(&c, v->h2->name->kn);
	}
	/* What WAIT is to cover must go over the connection that waits. */
	v->sent = script_send(b, v->op == VAL_SYNC && b->replicas ? LANE_BEATS : LANE_COMMANDS, &c, on_answer, v) == 0;
}

static void on_unavailable(void *arg)
{
	struct rval *v = arg;

	v->unavailable = NULL;
	if (!v->later.queued && !v->ended)
		end_later(v, -EHOSTDOWN);
}

static int start(struct lk_backend *base, struct lk_hold *hold, const struct rval *what)
{
	struct redis_backend *b = rb_of(base);
	struct rval *v;

	if (!session_check(b) || hold->lost) {
		free(what->data);
		return -ESTALE;
	}
	v = malloc(sizeof(*v));
	if (!v) {
		free(what->data);
		return -ENOMEM;
	}
	*v = *what;
	v->b = b;
	v->h = (struct rhold *)hold;
	v->h->ops++;
	if (v->h2)
		v->h2->ops++;
	v->id = ++b->seq;
	/* A name whose file is open gets another lock by that, and what holds it goes along: none to keep. */
	if (v->op == VAL_REMOVE || v->op == VAL_RENAME)
		keep_end(v->h);
	DL_APPEND(b->vals, v);
	v->unavailable = pl_timer_start(base->loop, b->unavailable_ns, on_unavailable, v);
	if (!v->unavailable)
		end_later(v, -ENOMEM);
	else if (b->state == SESSION_UP)
		send_op(v);
	return 0;
}

void value_resend(struct redis_backend *b)
{
	struct rval *v, *tmp;

	DL_FOREACH_SAFE(b->vals, v, tmp) {
		if (v->sent || v->ended || v->later.queued)
			continue;
		if (stale(v))
			end_later(v, -ESTALE);
		else
			send_op(v);
	}
}

/* Whoever lost its lock is told now. */
void value_lost(struct redis_backend *b)
{
	struct rval *v;

	DL_FOREACH(b->vals, v) {
		if (stale(v))
			end_later(v, -ESTALE);
	}
}

void value_stop(struct redis_backend *b)
{
	struct rval *v;

	DL_FOREACH(b->vals, v) {
		pl_undefer(b->base.loop, &v->later);
		pl_timer_stop(b->base.loop, v->unavailable);
		v->unavailable = NULL;
	}
}

void value_free(struct redis_backend *b)
{
	struct rval *v, *tmp;

	DL_FOREACH_SAFE(b->vals, v, tmp)
		drop(v);
}

int rb_read(struct lk_backend *b, struct lk_hold *h, size_t size, off_t off, lk_io_cb cb, void *arg)
{
	struct rval v = { .op = VAL_READ, .size = size, .off = off, .io = cb, .arg = arg };

	/* Past any value there is nothing, however far: the script counts in doubles. */
	if (v.off > OFFSET_FAR)
		v.off = OFFSET_FAR;
	return start(b, h, &v);
}

int rb_write(struct lk_backend *b, struct lk_hold *h, const void *data, size_t size, off_t off, lk_io_cb cb, void *arg)
{
	struct rval v = { .op = VAL_WRITE, .size = size, .off = off, .io = cb, .arg = arg };

	if (size > rb_of(b)->config.max_value || (off > 0 && (uint64_t)off > rb_of(b)->config.max_value - size))
		return -EFBIG;
	v.data = malloc(size + 1);
	if (!v.data)
		return -ENOMEM;
	memcpy(v.data, data, size);
	return start(b, h, &v);
}

int rb_truncate(struct lk_backend *b, struct lk_hold *h, uint64_t size, lk_done_cb cb, void *arg)
{
	const struct rval v = { .op = VAL_TRUNCATE, .size = size, .done = cb, .arg = arg };

	return size > rb_of(b)->config.max_value ? -EFBIG : start(b, h, &v);
}

int rb_sync(struct lk_backend *b, struct lk_hold *h, lk_done_cb cb, void *arg)
{
	const struct rval v = { .op = VAL_SYNC, .done = cb, .arg = arg };

	return start(b, h, &v);
}

int rb_remove(struct lk_backend *b, struct lk_hold *h, lk_done_cb cb, void *arg)
{
	const struct rval v = { .op = VAL_REMOVE, .done = cb, .arg = arg };

	return start(b, h, &v);
}

int rb_rename(struct lk_backend *b, struct lk_hold *from, struct lk_hold *to, lk_done_cb cb, void *arg)
{
	const struct rval v = { .op = VAL_RENAME, .h2 = (struct rhold *)to, .done = cb, .arg = arg };

	return start(b, from, &v);
}
