/* Names, holds and waits of this mount: acquire, cancel, release, lose.
 *
 * The grant/cancel race is decided in one place: `finished`. Whoever sets it,
 * a grant or a cancel, has taken the wait out of the queue, and what the
 * callback will say is fixed; a cancel that comes later does nothing, and the
 * caller releases the grant it is then told of.
 */
#include "backend/file/inode.h"
#include "backend/tally.h"

#include "base/zalloc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

/* --- names --- */

struct fname *fname_find(struct file_backend *b, enum lk_kind kind, const char *name)
{
	char key[LK_NAME_MAX + 2];
	size_t len = strlen(name);
	struct fname *n;

	key[0] = (char)kind;
	memcpy(key + 1, name, len);
	HASH_FIND(hh, b->names, key, len + 1, n);
	return n;
}

/* --- finishing a request --- */

static void run_finish(struct pl_task *task)
{
	struct fwait *w = (struct fwait *)((char *)task - offsetof(struct fwait, finish));
	struct lk_request *req = w->req;
	int err = w->err;
	struct lk_hold *hold = w->result;

	req->priv = NULL;
	free(w);
	req->done(req, err, hold);
}

/* Out of the queue, with an answer: nothing changes it any more. */
static void finish(struct fwait *w, int err, struct lk_hold *hold)
{
	struct file_backend *b = w->b;

	w->finished = true;
	w->err = err;
	w->result = hold;
	if (w->req->waiting) {
		w->req->waiting = false;
		HASH_DEL(b->waits, w);
		b->n_waits--;
		b->base.counters.waiting--;
	}
	if (err)
		tally_refusal(&b->base.counters, err);
	pl_defer(b->base.loop, &w->finish);
}

static void drop_finish(struct pl_task *task)
{
	free((char *)task - offsetof(struct fwait, finish));
}

static void run_lost(struct pl_task *task)
{
	struct fhold *h = (struct fhold *)((char *)task - offsetof(struct fhold, lost));

	if (h->pub.on_lost)
		h->pub.on_lost(&h->pub);
}

/* Enters an exclusive hold among those that must be given back. */
static uint32_t exclusive_here(struct fhold *h)
{
	bool from_here = h->pub.mode == LK_EXCLUSIVE && h->slot->handoffs > 0;

	/* What another mount leaves behind began with a token that it took. */
	if (!from_here && (h->b->floor.others || !held_quiet(h->b->held))) {
		h->b->floor.others = false;
		held_refresh(h->b->held);
	}
	return held_add(h->b->held, held_key(h->pub.name));
}

/* Makes the hold for a slot that was obtained. */
static int make_hold(struct fname *n, const struct fwait *w, unsigned slot, struct fhold **out)
{
	struct file_backend *b = n->b;
	struct fslot *s = fslot_find(n, slot);
	struct fhold *h = pl_zalloc(sizeof(*h));
	const struct lk_request *req = w->req;
	int err = h ? 0 : -ENOLCK;

	if (err == 0) {
		if (req->mode == LK_EXCLUSIVE)
			err = fb_next_token(b, n, &h->pub.token);
		else
			h->pub.token = n->token ? n->token : floor_last(&b->floor);
	}
	if (err) {
		free(h);
		fslot_idle(s);
		return err;
	}
	h->b = b;
	h->name = n;
	h->slot = s;
	h->serial = ++b->serial;
	h->lost.run = run_lost;
	h->lost.owner = b;
	h->pub.kind = n->arb.kind;
	h->pub.mode = req->mode;
	h->pub.name = fname_str(n);
	h->pub.slot = slot;
	h->pub.since = pl_wall(b->base.loop);
	h->pub.owner = req->owner;
	h->inode = req->file ? req->file->inode : NULL;
	if (req->mode == LK_EXCLUSIVE && h->pub.kind == LK_LOCK) {
		h->entry = exclusive_here(h);
	}
	s->users++;
	s->handoffs++;
	HASH_ADD(hh, b->holds, serial, sizeof(h->serial), h);
	arb_hold(&n->arb, &h->arb, req->mode, slot);
	tally_grant(&b->base.counters, &h->pub, h->pub.since > req->asked ? h->pub.since - req->asked : 0);
	*out = h;
	return 0;
}

/* In the inode's own entry, wherever its name is by now. Called by the pump of the one it leaves, which must
 * find its queue as it was. */
static void wait_elsewhere(struct fwait *w)
{
	struct fslot *s = fslot_find(w->name, 0);
	struct fname *to;

	if (s)
		fslot_idle(s);
	to = fname_of_file(w->b, w->req->file, NULL);
	if (!to) {
		finish(w, -ENOLCK, NULL);
		return;
	}
	w->name = to;
	arb_wait(&to->arb, &w->arb);
	arb_pump(&to->arb);
	fname_settle(to);
}

static void on_grant(struct arb *a, struct arb_waiter *aw, unsigned slot)
{
	struct fwait *w = (struct fwait *)aw;
	struct fhold *h = NULL;
	int err;

	/* While it waited the name was given to another file. */
	if (w->req->file && !fname_has(w->name, w->req->file)) {
		wait_elsewhere(w);
		return;
	}
	err = make_hold((struct fname *)a, w, slot, &h);
	finish(w, err, h ? &h->pub : NULL);
}

static void on_fail(struct arb *a, struct arb_waiter *aw, int err)
{
	(void)a;
	finish((struct fwait *)aw, err, NULL);
}

static void on_contended(struct arb *a, struct arb_holder *ah, bool yes)
{
	struct fhold *h = (struct fhold *)((char *)ah - offsetof(struct fhold, arb));

	(void)a;
	h->pub.contended = yes;
	if (h->pub.on_contended)
		h->pub.on_contended(&h->pub);
}

static const struct arb_ops arb_ops = {
	.obtain = fslot_obtain,
	.grant = on_grant,
	.fail = on_fail,
	.contended = on_contended,
};

struct fname *fname_get(struct file_backend *b, enum lk_kind kind, const char *name)
{
	struct fname *n = fname_find(b, kind, name);
	size_t len = strlen(name);

	if (n)
		return n;
	n = pl_zalloc(sizeof(*n) + len + 2);
	if (!n)
		return NULL;
	n->arb.ops = &arb_ops;
	n->arb.kind = kind;
	n->b = b;
	n->key[0] = (char)kind;
	memcpy(n->key + 1, name, len + 1);
	n->keylen = len + 1;
	HASH_ADD_KEYPTR(hh, b->names, n->key, n->keylen, n);
	return n;
}

/* --- acquire --- */

static int enqueue(struct fwait *w)
{
	struct file_backend *b = w->b;
	struct fname *n = w->name;

	if (b->config.max_waiters && b->n_waits >= b->config.max_waiters) {
		pl_log_limited(&b->log_limit, PL_WARN, "max_waiters=%u reached: no wait for '%s'",
			       b->config.max_waiters, fname_str(n));
		return -ENOLCK;
	}
	w->arb.mode = w->req->mode;
	w->arb.lo = w->req->slot_lo;
	w->arb.hi = w->req->slot_hi;
	w->serial = ++b->serial;
	w->req->waiting = true;
	HASH_ADD(hh, b->waits, serial, sizeof(w->serial), w);
	b->n_waits++;
	b->base.counters.waiting++;
	arb_wait(&n->arb, &w->arb);
	if (w->req->queued)
		w->req->queued(w->req);
	/* The head of the queue begins to wait for programs outside. */
	if (n->arb.waiters == &w->arb || n->arb.kind == LK_SEM)
		arb_pump(&n->arb);
	return 0;
}

/* No longer exclusive, by the holder's will: the value is whole. */
static void given_back(struct fhold *h)
{
	if (h->pub.mode == LK_EXCLUSIVE && h->pub.kind == LK_LOCK)
		held_clear(h->b->held, h->entry, held_key(h->pub.name));
	h->entry = 0;
}

/* flock(2) on a handle: see lk_request.convert. */
static int convert(struct fwait *w)
{
	struct fhold *h = (struct fhold *)w->req->convert;
	struct fname *n = h->name;
	int err = 0;

	if (h->pub.lost)
		return -ESTALE;
	if (h->pub.mode == w->req->mode) {
		finish(w, 0, &h->pub);
		return 0;
	}
	if (w->req->mode == LK_SHARED) {
		err = fslot_convert(h->slot, LK_SHARED);
	} else if (n->arb.n_holders > 1 || (w->req->try_only && n->arb.waiters)) {
		err = -EAGAIN;
	} else {
		err = fslot_convert(h->slot, LK_EXCLUSIVE);
		if (err == 0)
			err = fb_next_token(w->b, n, &h->pub.token);
		/* Without a token it is no exclusive hold, so its flock may not stay one. */
		if (err && h->slot->phys == LK_EXCLUSIVE && fslot_convert(h->slot, LK_SHARED) < 0)
			err = -ESTALE;
	}
	/* A file's flock is converted as the kernel does it: another may come in between, and that is a refusal. */
	if (err == -ESTALE && h->inode)
		err = -EAGAIN;
	if (err == -ESTALE)
		fhold_lose(h);
	if (err == 0) {
		if (w->req->mode == LK_SHARED)
			given_back(h);
		else
			h->entry = exclusive_here(h);
		h->pub.mode = h->arb.mode = w->req->mode;
		h->pub.since = pl_wall(w->b->base.loop);
		finish(w, 0, &h->pub);
		arb_pump(&n->arb); /* shared waiters may come in now */
		return 0;
	}
	if (err != -EAGAIN || w->req->try_only)
		return err;
	/* As flock(2): the old lock is given up before waiting for the new one. */
	w->req->convert = NULL;
	err = enqueue(w);
	if (err) {
		w->req->convert = &h->pub;
		return err;
	}
	if (w->req->gave_up)
		w->req->gave_up(w->req);
	fb_release(&w->b->base, &h->pub);
	return 0;
}

/* A flock by file that finds another inode under the name: the file's own entry is the right one. */
static int try_now(struct fwait *w, unsigned *slot)
{
	const struct lk_request *req = w->req;
	int err = arb_try(&w->name->arb, req->mode, req->slot_lo, req->slot_hi, slot);
	struct fname *to;

	if (err || !req->file || fname_has(w->name, req->file))
		return err;
	fslot_idle(fslot_find(w->name, 0));
	to = fname_of_file(w->b, req->file, NULL);
	if (!to)
		return -ENOLCK;
	w->name = to;
	return arb_try(&to->arb, req->mode, req->slot_lo, req->slot_hi, slot);
}

int fb_acquire(struct lk_backend *base, struct lk_request *req)
{
	struct file_backend *b = fb_of(base);
	struct fwait *w = pl_zalloc(sizeof(*w));
	struct fhold *h = NULL;
	struct fname *n;
	unsigned slot = 0;
	int err;

	if (!w)
		return -ENOLCK;
	req->asked = pl_wall(base->loop);
	w->b = b;
	w->req = req;
	w->finish.run = run_finish;
	w->finish.drop = drop_finish;
	w->finish.owner = b;
	n = req->file && !req->convert ? fname_of_file(b, req->file, req->name) : fname_get(b, req->kind, req->name);
	if (!n) {
		free(w);
		return -ENOLCK;
	}
	w->name = n;
	req->priv = w;
	n->pins++;
	if (req->convert) {
		err = convert(w);
	} else {
		err = try_now(w, &slot);
		if (err == 0) {
			err = make_hold(w->name, w, slot, &h);
			if (err == 0)
				finish(w, 0, &h->pub);
		} else if (err == -EAGAIN && !req->try_only) {
			err = enqueue(w);
		}
	}
	n->pins--;
	if (w->name != n) /* it has another inode by now */
		fname_settle(n);
	if (err == 0)
		return 0;
	if (err != -EAGAIN)
		tally_refusal(&b->base.counters, err);
	if (err == -EAGAIN) {
		finish(w, err, NULL);
		fname_settle(w->name);
		return 0;
	}
	req->priv = NULL;
	fname_settle(w->name);
	free(w);
	return err;
}

void fwait_fail(struct fwait *w, int err)
{
	struct fname *n = w->name;

	if (w->finished)
		return;
	arb_unwait(&n->arb, &w->arb);
	finish(w, err, NULL);
	arb_pump(&n->arb);
	fname_settle(n);
}

void fb_cancel(struct lk_backend *base, struct lk_request *req, int err)
{
	(void)base;
	if (req->priv)
		fwait_fail(req->priv, err);
}

/* --- release, loss --- */

static void detach(struct fhold *h)
{
	struct fname *n = h->name;
	struct fslot *s = h->slot;

	h->slot = NULL;
	arb_unhold(&n->arb, &h->arb);
	s->users--;
	h->b->base.counters.held--;
	HASH_DEL(h->b->holds, h);
}

void fhold_unref(struct fhold *h)
{
	if (--h->ops == 0 && h->released)
		free(h);
}

void fb_release(struct lk_backend *base, struct lk_hold *hold)
{
	struct fhold *h = (struct fhold *)hold;
	struct fname *n = h->name;

	pl_undefer(base->loop, &h->lost);
	if (h->pub.lost)
		DL_DELETE(h->b->lost, h);
	base->counters.released++;
	if (h->slot) {
		detach(h);
		given_back(h);
		arb_pump(&n->arb);
		fname_settle(n);
	}
	h->pub.name = "";
	h->released = true;
	h->ops++;
	fhold_unref(h);
}

void fhold_lose(struct fhold *h)
{
	struct fname *n = h->name;
	struct file_backend *b = h->b;

	if (h->pub.lost)
		return;
	h->pub.lost = true;
	b->base.counters.lost++;
	held_abandon(b->held, h->entry);
	h->entry = 0;
	/* The caller learns in a turn of its own, but nobody is granted before
	 * `lost` is set: nothing more goes through this hold. */
	pl_defer(b->base.loop, &h->lost);
	DL_APPEND(b->lost, h);
	detach(h);
	h->name = NULL;
	h->pub.name = "";
	arb_pump(&n->arb);
	fname_settle(n);
}

void fslot_lose(struct fslot *s, const char *why)
{
	struct fname *n = s->name;
	struct arb_holder *ah, *tmp;
	struct fslot *still;
	unsigned idx = s->idx;

	pl_log_limited(&n->b->log_io, PL_ERROR, "lock '%s' lost: %s", fname_str(n), why);
	/* The file is not the one at the path any more: close it before the pump
	 * can hand it on. */
	close(s->fd);
	s->fd = -1;
	n->pins++;
	n->arb.pumping = true;
	DL_FOREACH_SAFE(n->arb.holders, ah, tmp) {
		if (ah->slot == idx)
			fhold_lose((struct fhold *)((char *)ah - offsetof(struct fhold, arb)));
	}
	n->arb.pumping = false;
	still = fslot_find(n, idx);
	if (still)
		fslot_idle(still);
	n->pins--;
	arb_pump(&n->arb);
	fname_settle(n);
}
