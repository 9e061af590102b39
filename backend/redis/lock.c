/* Holds and waits of this mount.
 *
 * The grant/cancel race: `finished` decides. A cancel that comes first answers
 * the caller at once and sends a release for the handle; a grant that was
 * already on its way then finds no wait here, and that same release undoes it
 * at the server. A grant that comes first makes a hold, and a later cancel
 * finds nothing to end.
 */
#include "backend/redis/internal.h"
#include "backend/tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define RETRY_TIME (100 * PL_MS)

/* --- names --- */

struct rname *rname_find(struct redis_backend *b, enum lk_kind kind, const char *name)
{
	char kn[LK_NAME_MAX + 2];
	size_t len = strlen(name);
	struct rname *n;

	kn[0] = kind == LK_LOCK ? 'L' : 'S';
	memcpy(kn + 1, name, len);
	HASH_FIND(hh, b->names, kn, len + 1, n);
	return n;
}

static struct rname *rname_get(struct redis_backend *b, enum lk_kind kind, const char *name)
{
	struct rname *n = rname_find(b, kind, name);
	size_t len = strlen(name);

	if (n)
		return n;
	n = calloc(1, sizeof(*n) + len + 2);
	if (!n)
		return NULL;
	n->kn[0] = kind == LK_LOCK ? 'L' : 'S';
	memcpy(n->kn + 1, name, len + 1);
	n->keylen = len + 1;
	HASH_ADD_KEYPTR(hh, b->names, n->kn, n->keylen, n);
	return n;
}

static void rname_settle(struct redis_backend *b, struct rname *n)
{
	if (n->holds || n->n_waits)
		return;
	HASH_DEL(b->names, n);
	free(n);
}

struct rhold *rhold_find(struct redis_backend *b, uint64_t handle)
{
	struct rhold *h;

	HASH_FIND(hh, b->holds, &handle, sizeof(handle), h);
	return h;
}

struct rwait *rwait_find(struct redis_backend *b, uint64_t handle)
{
	struct rwait *w;

	HASH_FIND(hh, b->waits, &handle, sizeof(handle), w);
	return w;
}

/* --- again --- */

static void on_retry(void *arg)
{
	struct redis_backend *b = arg;

	b->retry_timer = NULL;
	if (b->state != SESSION_UP)
		return;
	lock_resend(b);
	value_resend(b);
}

/* The connection stands but the server could not do it now (-BUSY, say). */
void retry_soon(struct redis_backend *b)
{
	if (wire_is_up(b->conn) && !b->retry_timer && !b->stopping)
		b->retry_timer = pl_timer_start(b->base.loop, RETRY_TIME, on_retry, b);
}

/* --- giving back --- */

static void release_send(struct rrelease *r);

static void on_released(void *arg, int err, const redisReply *reply)
{
	struct rrelease *r = arg;
	struct redis_backend *b = r->b;

	r->sent = false;
	/* Lost on the way: sent again after the reconnect. */
	if (err == -EHOSTDOWN && *r->sid) {
		retry_soon(b);
		return;
	}
	if (err == 0)
		(void)script_word(b, reply);
	else if (*r->sid)
		pl_log_limited(&b->log_odd, PL_ERROR, "%s: cannot release '%s': %s", wire_where(b->conn), r->kn + 1,
			       strerror(-err));
	DL_DELETE(b->releases, r);
	free(r);
}

static void release_send(struct rrelease *r)
{
	struct script_call c;

	script_begin(r->b, &c, "rel");
	script_num(&c, (int64_t)r->handle);
	script_str(&c, r->kn);
	script_str(&c, r->lost ? "l" : "c");
	r->sent = script_send(r->b, LANE_COMMANDS, &c, on_released, r) == 0;
}

void release_handle(struct redis_backend *b, uint64_t handle, const char *kn, bool lost)
{
	size_t len = strlen(kn);
	struct rrelease *r = calloc(1, sizeof(*r) + len + 1);

	if (!r) {
		/* The server would keep it as long as this session lives: so it must not. */
		session_lose(b, "out of memory");
		session_again(b);
		return;
	}
	r->b = b;
	r->handle = handle;
	r->lost = lost;
	memcpy(r->sid, b->sid, sizeof(r->sid));
	memcpy(r->kn, kn, len + 1);
	DL_APPEND(b->releases, r);
	if (b->state == SESSION_UP)
		release_send(r);
}

void releases_drop(struct redis_backend *b)
{
	struct rrelease *r, *tmp;

	DL_FOREACH_SAFE(b->releases, r, tmp) {
		r->sid[0] = '\0';
		if (r->sent)
			continue; /* freed by its answer */
		DL_DELETE(b->releases, r);
		free(r);
	}
}

/* --- holds --- */

static void run_lost(struct pl_task *task)
{
	struct rhold *h = (struct rhold *)((char *)task - offsetof(struct rhold, lost));

	if (h->pub.on_lost)
		h->pub.on_lost(&h->pub);
}

static void detach(struct rhold *h)
{
	struct redis_backend *b = h->b;
	struct rname *n = h->name;

	HASH_DEL(b->holds, h);
	DL_DELETE(n->holds, h);
	b->base.counters.held--;
	h->name = NULL;
	h->pub.name = "";
	rname_settle(b, n);
}

void rhold_unref(struct rhold *h)
{
	if (--h->ops == 0 && h->released)
		free(h);
}

void rhold_lose(struct rhold *h, bool tell_server)
{
	struct redis_backend *b = h->b;

	if (h->pub.lost || !h->name)
		return;
	h->pub.lost = true;
	b->base.counters.lost++;
	if (tell_server)
		release_handle(b, h->handle, h->name->kn, true);
	/* Of the session: a loss of that session may have taken it already. */
	if (h->name)
		detach(h);
	pl_defer(b->base.loop, &h->lost);
}

void rb_release(struct lk_backend *base, struct lk_hold *hold)
{
	struct rhold *h = (struct rhold *)hold;

	pl_undefer(base->loop, &h->lost);
	base->counters.released++;
	if (h->name) {
		release_handle(h->b, h->handle, h->name->kn, false);
		if (h->name)
			detach(h);
	}
	h->released = true;
	h->ops++;
	rhold_unref(h);
}

/* NULL: garbage, or no memory. */
static struct rhold *rhold_new(struct rwait *w, const char *record, bool contended)
{
	struct redis_backend *b = w->b;
	struct rhold *h = calloc(1, sizeof(*h));
	uint64_t since_ms;
	const char *who;

	if (!h || !record_read_hold(record, &h->pub.mode, &h->pub.slot, &h->pub.token, &since_ms, &who)) {
		free(h);
		return NULL;
	}
	h->b = b;
	h->handle = w->handle;
	h->lost.run = run_lost;
	h->name = w->name;
	h->pub.kind = w->req->kind;
	h->pub.name = w->name->kn + 1;
	h->pub.since = since_ms * PL_MS;
	h->pub.owner = w->req->owner;
	h->pub.contended = contended;
	if (h->pub.token > b->floor)
		b->floor = h->pub.token;
	DL_APPEND(w->name->holds, h);
	HASH_ADD(hh, b->holds, handle, sizeof(h->handle), h);
	tally_grant(&b->base.counters, &h->pub,
		    pl_wall(b->base.loop) > w->req->asked ? pl_wall(b->base.loop) - w->req->asked : 0);
	return h;
}

/* --- waits --- */

static void run_finish(struct pl_task *task)
{
	struct rwait *w = (struct rwait *)((char *)task - offsetof(struct rwait, finish));
	struct lk_request *req = w->req;
	struct lk_hold *result = w->result;
	int err = w->err;

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
	if (n) {
		HASH_DEL(b->waits, w);
		n->n_waits--;
		w->name = NULL;
		rname_settle(b, n);
	}
	if (w->req->waiting) {
		w->req->waiting = false;
		b->base.counters.waiting--;
	}
	if (err)
		tally_refusal(&b->base.counters, err);
	pl_defer(b->base.loop, &w->finish);
}

void rwait_fail(struct rwait *w, int err)
{
	if (w->finished)
		return;
	/* Also when no answer came yet: it may have been granted, or be in the queue. */
	if (w->sent && w->name)
		release_handle(w->b, w->handle, w->name->kn, false);
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
		rwait_finish(w, 0, &h->pub);
	else
		rwait_fail(w, -ENOLCK);
}

void rwait_queued(struct rwait *w)
{
	pl_timer_stop(w->b->base.loop, w->unavailable);
	w->unavailable = NULL;
	w->queued = true;
	if (w->req->waiting)
		return;
	w->req->waiting = true;
	w->b->base.counters.waiting++;
	if (w->req->queued)
		w->req->queued(w->req);
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

static void answered(struct rwait *w, const redisReply *reply, const char *word)
{
	int err;

	if (strcmp(word, "INC") == 0 || strcmp(word, "GONE") == 0) {
		w->sent = 0;
		return; /* asked again after the hello */
	}
	if (strcmp(word, "OK") == 0) {
		rwait_granted(w, reply_str(reply, 1), *reply_str(reply, 2) == '1');
	} else if (strcmp(word, "WAIT") == 0) {
		w->ticket = reply_num(reply, 1);
		rwait_queued(w);
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

	/* script_word may have begun a new session: then nothing of this counts. */
	if (!w || a->generation != b->generation || w->sent != a->sent || w->finished) {
		free(a);
		return;
	}
	free(a);
	if (err == -EHOSTDOWN) {
		w->sent = 0;
		retry_soon(b);
	} else if (err) {
		rwait_fail(w, err == -ENOSPC ? -ENOLCK : err);
	} else {
		answered(w, reply, word);
	}
}

void rwait_send(struct rwait *w)
{
	struct redis_backend *b = w->b;
	const struct lk_request *req = w->req;
	struct asking *a = calloc(1, sizeof(*a));
	struct script_call c;
	char who[256];

	if (!a) {
		rwait_fail(w, -ENOLCK);
		return;
	}
	record_who(b, &req->owner, who);
	w->sent = ++b->seq;
	a->b = b;
	a->handle = w->handle;
	a->sent = w->sent;
	a->generation = b->generation;
	script_begin(b, &c, "acq");
	script_num(&c, (int64_t)w->handle);
	script_str(&c, w->name->kn);
	script_str(&c, req->mode == LK_SHARED ? "s" : "x");
	script_num(&c, req->slot_lo);
	script_num(&c, req->slot_hi);
	script_num(&c, req->try_only || w->full);
	script_num(&c, (int64_t)w->ticket);
	script_str(&c, who);
	begin_unavailable(w);
	if (w->finished || script_send(b, LANE_COMMANDS, &c, on_acquire, a) < 0) {
		w->sent = 0;
		free(a);
	}
}

/* --- acquire --- */

int rwait_enter(struct rwait *w)
{
	struct redis_backend *b = w->b;

	/* It may have the lock if that is free, but not wait for it. */
	w->full = b->config.max_waiters && b->base.counters.waiting >= b->config.max_waiters;
	w->name = rname_get(b, w->req->kind, w->req->name);
	if (!w->name)
		return -ENOLCK;
	w->handle = ++b->handle;
	w->name->n_waits++;
	HASH_ADD(hh, b->waits, handle, sizeof(w->handle), w);
	if (b->state == SESSION_UP)
		rwait_send(w);
	else
		begin_unavailable(w);
	return 0;
}

int rb_acquire(struct lk_backend *base, struct lk_request *req)
{
	struct redis_backend *b = rb_of(base);
	struct rwait *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOLCK;
	req->asked = pl_wall(base->loop);
	w->b = b;
	w->req = req;
	w->finish.run = run_finish;
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

void lock_resend(struct redis_backend *b)
{
	struct rrelease *r, *rtmp;
	struct rwait *w, *wtmp;

	DL_FOREACH_SAFE(b->releases, r, rtmp) {
		if (!r->sent)
			release_send(r);
	}
	HASH_ITER(hh, b->waits, w, wtmp) {
		if (!w->queued && !w->sent)
			rwait_send(w);
	}
}

void lock_down(struct redis_backend *b)
{
	struct rwait *w, *tmp;

	HASH_ITER(hh, b->waits, w, tmp)
		begin_unavailable(w);
}

static void on_claim(void *arg, int err, const redisReply *reply)
{
	struct asking *a = arg;
	struct redis_backend *b = a->b;
	struct rhold *h = rhold_find(b, a->handle);
	const char *word = err ? "" : script_word(b, reply);

	if (a->generation == b->generation && a->sent == b->hellos && err == 0) {
		if (h && strcmp(word, "OK") != 0 && strcmp(word, "INC") != 0)
			rhold_lose(h, false);
		session_claimed(b);
	}
	free(a);
}

void rhold_claim(struct rhold *h)
{
	struct redis_backend *b = h->b;
	struct asking *a = calloc(1, sizeof(*a));
	struct script_call c;
	char who[256];

	if (!a)
		return; /* never answered: the deadline stays as it was */
	a->b = b;
	a->handle = h->handle;
	a->sent = b->hellos;
	a->generation = b->generation;
	record_who(b, &h->pub.owner, who);
	script_begin(b, &c, "claim");
	script_num(&c, (int64_t)h->handle);
	script_str(&c, h->name->kn);
	script_str(&c, h->pub.mode == LK_SHARED ? "s" : "x");
	script_num(&c, h->pub.slot);
	script_num(&c, (int64_t)h->pub.token);
	script_num(&c, (int64_t)(h->pub.since / PL_MS));
	script_str(&c, who);
	if (script_send(b, LANE_COMMANDS, &c, on_claim, a) < 0)
		free(a);
}
