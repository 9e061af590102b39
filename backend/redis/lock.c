/* Waits of this mount: acquire, cancel, grant.
 *
 * The grant/cancel race: `finished` decides. A cancel that comes first answers
 * the caller at once and sends a release for the handle; a grant that was
 * already on its way then finds no wait here, and that same release undoes it
 * at the server. A grant that comes first makes a hold, and a later cancel
 * finds nothing to end.
 */
#include "backend/redis/files.h"
#include "backend/tally.h"

#include "base/zalloc.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* --- again --- */

static void on_retry(void *arg)
{
	struct redis_backend *b = arg;

	b->retry_timer = NULL;
	if (b->state != SESSION_UP)
		return;
	lock_resend(b);
	ranges_resend(b, false);
	value_resend(b);
	calls_resend(b);
	again_run(b);
}

/* The connection stands but the server could not do it now (-BUSY, say). */
void retry_soon(struct redis_backend *b)
{
	if (wire_is_up(b->conn) && !b->retry_timer && !b->stopping)
		b->retry_timer = pl_timer_start(b->base.loop, RETRY_TIME, on_retry, b);
}

/* --- waits --- */

static void run_finish(struct pl_task *task)
{
	struct rwait *w = (struct rwait *)((char *)task - offsetof(struct rwait, finish));
	struct lk_request *req = w->req;
	struct lk_hold *result = w->result;
	int err = w->err;

	DL_DELETE(w->b->finished, w);
	req->priv = NULL;
	free(w);
	req->done(req, err, result);
}

void rwait_finish(struct rwait *w, int err, struct lk_hold *hold)
{
	struct redis_backend *b = w->b;
	struct rname *n = w->name;

	w->finished = true;
	w->err = err;
	w->result = hold;
	pl_timer_stop(b->base.loop, w->unavailable);
	w->unavailable = NULL;
	convert_canceled(w);
	again_drop(&w->again);
	turn_leave(w);
	if (n) {
		HASH_DEL(b->waits, w);
		n->n_waits--;
		w->name = NULL;
		if (n->leader == w) {
			n->leader = NULL;
			n->pins++;
			if (err && !b->stopping)
				turn_lead(b, n);
			turns_tell(n);
			n->pins--;
		}
		rname_settle(b, n);
	}
	if (w->req->waiting) {
		w->req->waiting = false;
		b->base.counters.waiting--;
	}
	if (err)
		tally_refusal(&b->base.counters, err);
	DL_APPEND(b->finished, w);
	if (!b->stopping)
		pl_defer(b->base.loop, &w->finish);
}

void rwait_fail(struct rwait *w, int err)
{
	if (w->finished)
		return;
	/* Also when no answer came yet: it may have been granted, or be in the queue. */
	if (w->sent && w->name)
		release_handle(w->b, w->handle, w->name->kn, w->keep ? RELEASE_KEPT : RELEASE_CLEAN);
	if (!w->finished)
		rwait_finish(w, err, NULL);
}

void rb_cancel(struct lk_backend *base, struct lk_request *req, int err)
{
	(void)base;
	if (req->priv)
		rwait_fail(req->priv, err);
}

void rwait_granted(struct rwait *w, const char *record, bool contended)
{
	struct redis_backend *b = w->b;
	struct rhold *h;

	if (w->finished)
		return;
	/* Believed only while the lease stands; else this makes a new session, under
	 * which the wait is entered again. */
	if (!session_check(b))
		return;
	h = rhold_new(w, record, contended);
	if (h)
		keep_begin(h, w->kept, w->keep);
	if (h)
		rwait_finish(w, 0, &h->pub);
	else
		rwait_fail(w, -ENOLCK);
	/* Who waits behind it at the server is of another mount, then. */
	if (h && contended && rname_at_server(h->name) == 0) {
		keep_wanted(b, h->name->kn);
		turns_enter(h->name);
	}
}

void rwait_tell(struct rwait *w)
{
	if (w->req->waiting || w->b->stopping)
		return;
	w->req->waiting = true;
	w->b->base.counters.waiting++;
	if (w->req->queued)
		w->req->queued(w->req);
}

void rwait_queued(struct rwait *w)
{
	pl_timer_stop(w->b->base.loop, w->unavailable);
	w->unavailable = NULL;
	w->queued = true;
	rwait_tell(w);
}

static void on_unavailable(void *arg)
{
	struct rwait *w = arg;

	w->unavailable = NULL;
	rwait_fail(w, -EHOSTDOWN);
}

static void begin_unavailable(struct rwait *w)
{
	uint64_t limit = w->b->unavailable_ns;

	if (w->unavailable || w->finished)
		return;
	/* A try gets one attempt. */
	if (w->req->try_only && limit > w->b->conn_config.attempt_ns)
		limit = w->b->conn_config.attempt_ns;
	w->unavailable = pl_timer_start(w->b->base.loop, limit, on_unavailable, w);
	if (!w->unavailable)
		rwait_fail(w, -EHOSTDOWN);
}

static void answered(struct rwait *w, int err, const redisReply *reply, const char *word)
{
	if (err == -EHOSTDOWN || script_again(word)) {
		w->sent = 0;
		retry_soon(w->b); /* or asked again after the hello */
	} else if (err) {
		rwait_fail(w, err == -ENOSPC ? -ENOLCK : err);
	} else if (strcmp(word, "AGAIN") == 0) {
		w->sent = 0; /* nothing is at the server */
		again_later(&w->again);
	} else if (strcmp(word, "OK") == 0) {
		w->kept = reply_num(reply, 3) == 1;
		/* What was told over the other connection may have overtaken this. */
		rwait_granted(w, reply_str(reply, 1), *reply_str(reply, 2) == '1' || w->name->wanted >= w->sent);
	} else if (strcmp(word, "WAIT") == 0) {
		w->ticket = reply_num(reply, 1);
		rwait_queued(w);
		if (w->name->holds)
			turns_tell(w->name);
		else /* somebody else's */
			turns_enter(w->name);
	} else {
		err = script_errno(word);
		if (err == -EAGAIN && w->full && !w->req->try_only) {
			pl_log_limited(&w->b->log_odd, PL_WARN, "max_waiters=%u reached: no wait for '%s'",
				       w->b->config.max_waiters, w->req->name);
			err = -ENOLCK;
		}
		w->sent = 0; /* nothing is at the server */
		rwait_fail(w, err ? err : -EIO);
	}
}

struct asking {
	struct redis_backend *b;
	uint64_t handle, sent;
	unsigned generation;
};

static void on_acquire(void *arg, int err, const redisReply *reply)
{
	struct asking *a = arg;
	struct redis_backend *b = a->b;
	struct rwait *w = rwait_find(b, a->handle);
	const char *word = err ? "" : script_word(b, reply);

	b->answered = a->sent;
	/* script_word may have begun a new session: then nothing of this counts. */
	if (w && a->generation == b->generation && w->sent == a->sent && !w->finished)
		answered(w, err, reply, word);
	turns_answered(b, a->sent);
	free(a);
}

void rwait_send(struct rwait *w)
{
	struct redis_backend *b = w->b;
	const struct lk_request *req = w->req;
	struct asking *a = pl_zalloc(sizeof(*a));
	struct script_call c;
	char who[256];

	if (!a) {
		rwait_fail(w, -ENOLCK);
		return;
	}
	record_who(b, &req->owner, who);
	/* The handles that the server should know are those given before it was asked (sync). */
	if (w->turn) {
		turn_leave(w);
		HASH_DEL(b->waits, w);
		w->handle = ++b->handle;
		HASH_ADD(hh, b->waits, handle, sizeof(w->handle), w);
	}
	if (!req->try_only && !w->full)
		w->name->leader = w;
	w->sent = w->name->asked = ++b->seq;
	a->b = b;
	a->handle = w->handle;
	a->sent = w->sent;
	a->generation = b->generation;
	script_begin(b, &c, "acq");
	script_handle(&c, w->handle, w->name->kn);
	script_kn(&c, w->name->kn);
	script_str(&c, req->mode == LK_SHARED ? "s" : "x");
	script_num(&c, req->slot_lo);
	script_num(&c, req->slot_hi);
	script_num(&c, req->try_only || w->full);
	script_num(&c, (int64_t)w->ticket);
	script_str(&c, who);
	script_num(&c, w->keep);
	begin_unavailable(w);
	if (w->finished || script_send(b, LANE_COMMANDS, &c, on_acquire, a) < 0) {
		w->sent = 0;
		free(a);
	}
}

/* --- acquire --- */

static void run_again(struct ragain *again)
{
	struct rwait *w = (struct rwait *)((char *)again - offsetof(struct rwait, again));

	if (!w->sent && !w->queued && !w->turn && w->b->state == SESSION_UP)
		rwait_send(w);
}

/* True when the answer is known here: there is an idle hold for it, or one of ours is in the way of a try. */
static bool answer_here(struct rwait *w, struct rname *n)
{
	struct rhold *h = keep_take(w->b, n, w->req);

	if (h) {
		rwait_finish(w, 0, &h->pub);
		return true;
	}
	/* The server would only send us to ask ourselves. */
	if (w->req->try_only && !w->req->file && n->holds && n->holds->kept) {
		rwait_finish(w, -EAGAIN, NULL);
		return true;
	}
	return false;
}

int rwait_enter(struct rwait *w)
{
	struct redis_backend *b = w->b;
	const struct lk_request *req = w->req;
	struct rname *n = req->file ? rname_get(b, 'F', req->file->ln) : rname_get(b, kind_char(req->kind), req->name);

	if (!n)
		return -ENOLCK;
	n->n_waits++; /* so it stays */
	if (!req->convert && answer_here(w, n)) {
		n->n_waits--;
		return 0;
	}
	/* It may have the lock if that is free, but not wait for it. */
	w->full = b->config.max_waiters && b->base.counters.waiting >= b->config.max_waiters;
	if (req->mode == LK_EXCLUSIVE && !req->convert)
		w->keep = keep_wish(b, n->kn);
	w->name = n;
	w->handle = w->came = ++b->handle;
	HASH_ADD(hh, b->waits, handle, sizeof(w->handle), w);
	if (turn_wait(w))
		return 0;
	turns_enter(n); /* before it */
	if (req->file)
		turns_enter_name(b, 'L', req->file->ln); /* the same lock, by its other door */
	if (b->state == SESSION_UP)
		rwait_send(w);
	else
		begin_unavailable(w);
	return 0;
}

int rb_acquire(struct lk_backend *base, struct lk_request *req)
{
	struct redis_backend *b = rb_of(base);
	struct rwait *w = pl_zalloc(sizeof(*w));
	int err;

	if (!w)
		return -ENOLCK;
	if (req->file && (!session_check(b) || req->file->lost)) {
		free(w);
		tally_refusal(&base->counters, -ESTALE);
		return -ESTALE;
	}
	req->asked = pl_wall(base->loop);
	w->b = b;
	w->req = req;
	w->finish.run = run_finish;
	w->again.b = b;
	w->again.run = run_again;
	req->priv = w;
	err = req->convert ? rwait_convert(w) : rwait_enter(w);
	if (err) {
		tally_refusal(&base->counters, err);
		req->priv = NULL;
		free(w);
	}
	return err;
}

/* --- connection --- */

static int by_coming(const struct rwait *a, const struct rwait *b)
{
	return a->came < b->came ? -1 : a->came > b->came;
}

void lock_resend(struct redis_backend *b)
{
	struct rwait *w, *wtmp;

	releases_resend(b);
	HASH_SORT(b->waits, by_coming);
	HASH_ITER(hh, b->waits, w, wtmp) {
		if (!w->queued && !w->sent && !w->turn && !w->finished)
			rwait_send(w);
	}
}

void lock_down(struct redis_backend *b)
{
	struct rwait *w, *tmp;

	HASH_ITER(hh, b->waits, w, tmp)
		begin_unavailable(w);
}

void lock_files_lost(struct redis_backend *b)
{
	struct rwait *w, *wtmp;
	struct rhold *h, *htmp;

	HASH_ITER(hh, b->waits, w, wtmp) {
		if (w->name->kn[0] == 'F')
			rwait_fail(w, -ESTALE);
	}
	HASH_ITER(hh, b->holds, h, htmp) {
		if (h->name->kn[0] == 'F')
			rhold_lose(h, false);
	}
}

void lock_stop(struct redis_backend *b)
{
	struct rwait *w;

	DL_FOREACH(b->finished, w) {
		pl_undefer(b->base.loop, &w->finish);
	}
}
