/* The fake backend's holds and waits. As in the file backend, `finished`
 * decides between a grant and a cancel. */
#include "tests/support/fake_internal.h"

#include "backend/tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* --- what the arbiter asks --- */

static int obtain(struct arb *a, unsigned slot, enum lk_mode mode, bool may_wait)
{
	const struct fake_name *n = (struct fake_name *)a;
	const struct arb_holder *h;

	(void)mode;
	if (a->kind == LK_SEM) {
		DL_FOREACH(a->holders, h) {
			if (h->slot == slot)
				return -EBUSY;
		}
	}
	if (n->world->held_back)
		return may_wait ? -EINPROGRESS : -EBUSY;
	return 0;
}

static void run_finish(struct pl_task *task)
{
	struct fake_wait *w = (struct fake_wait *)((char *)task - offsetof(struct fake_wait, finish));
	struct lk_request *req = w->req;
	struct lk_hold *hold = w->result;
	int err = w->err;

	DL_DELETE(w->b->waits, w);
	free(w);
	req->priv = NULL;
	req->done(req, err, hold);
}

static void finish(struct fake_wait *w, int err, struct lk_hold *hold)
{
	w->finished = true;
	w->err = err;
	w->result = hold;
	if (w->req->waiting) {
		w->req->waiting = false;
		w->b->n_waits--;
		w->b->base.counters.waiting--;
	}
	if (err)
		tally_refusal(&w->b->base.counters, err);
	pl_defer(w->b->base.loop, &w->finish);
}

static void run_lost(struct pl_task *task)
{
	struct fake_hold *h = (struct fake_hold *)((char *)task - offsetof(struct fake_hold, lost));

	if (h->pub.on_lost)
		h->pub.on_lost(&h->pub);
}

static void give_token(struct fake_hold *h)
{
	if (h->pub.mode == LK_EXCLUSIVE)
		h->name->token = ++h->name->world->token;
	h->pub.token = h->name->token;
	h->pub.since = pl_wall(h->b->base.loop);
}

static struct lk_hold *make_hold(const struct fake_wait *w, unsigned slot)
{
	struct fake_hold *h = calloc(1, sizeof(*h) + strlen(w->path) + 1);

	if (!h)
		return NULL;
	h->b = w->b;
	h->by_file = w->by_file;
	strcpy(h->path, w->path);
	h->name = w->name;
	h->serial = ++w->b->world->serial;
	h->lost.run = run_lost;
	h->pub.kind = w->req->kind;
	h->pub.mode = w->req->mode;
	h->pub.name = h->path;
	h->pub.slot = slot;
	h->pub.owner = w->req->owner;
	give_token(h);
	DL_APPEND(w->b->holds, h);
	arb_hold(&w->name->arb, &h->arb, w->req->mode, slot);
	tally_grant(&w->b->base.counters, &h->pub, h->pub.since > w->req->asked ? h->pub.since - w->req->asked : 0);
	return &h->pub;
}

static void on_grant(struct arb *a, struct arb_waiter *aw, unsigned slot)
{
	struct fake_wait *w = (struct fake_wait *)aw;
	struct lk_hold *hold = make_hold(w, slot);

	(void)a;
	finish(w, hold ? 0 : -ENOLCK, hold);
}

static void on_fail(struct arb *a, struct arb_waiter *aw, int err)
{
	(void)a;
	finish((struct fake_wait *)aw, err, NULL);
}

static void on_contended(struct arb *a, struct arb_holder *ah, bool yes)
{
	struct fake_hold *h = (struct fake_hold *)((char *)ah - offsetof(struct fake_hold, arb));

	(void)a;
	h->pub.contended = yes;
	if (h->pub.on_contended)
		h->pub.on_contended(&h->pub);
}

const struct arb_ops fake_arb_ops = {
	.obtain = obtain,
	.grant = on_grant,
	.fail = on_fail,
	.contended = on_contended,
};

/* --- holds --- */

static void detach(struct fake_hold *h)
{
	struct fake_name *n = h->name;

	h->name = NULL;
	h->pub.name = "";
	arb_unhold(&n->arb, &h->arb);
	h->b->base.counters.held--;
	arb_pump(&n->arb);
	fake_put(n);
}

void fake_release(struct lk_backend *base, struct lk_hold *hold)
{
	struct fake_hold *h = (struct fake_hold *)hold;

	pl_undefer(base->loop, &h->lost);
	base->counters.released++;
	DL_DELETE(h->b->holds, h);
	if (h->name) {
		if (h->pub.mode == LK_EXCLUSIVE)
			h->name->abandoned = false;
		detach(h);
	}
	free(h);
}

void fake_lose(struct lk_backend *b, struct lk_hold *hold)
{
	struct fake_hold *h = (struct fake_hold *)hold;

	(void)b;
	if (h->pub.lost)
		return;
	h->pub.lost = true;
	h->b->base.counters.lost++;
	if (h->pub.mode == LK_EXCLUSIVE)
		h->name->abandoned = true;
	pl_defer(h->b->base.loop, &h->lost);
	detach(h);
}

/* --- acquire --- */

static int enqueue(struct fake_wait *w)
{
	struct fake_backend *b = w->b;

	if (b->config.max_waiters && b->n_waits >= b->config.max_waiters)
		return -ENOLCK;
	w->arb.mode = w->req->mode;
	w->arb.lo = w->req->slot_lo;
	w->arb.hi = w->req->slot_hi;
	w->serial = ++b->world->serial;
	w->req->waiting = true;
	b->n_waits++;
	b->base.counters.waiting++;
	arb_wait(&w->name->arb, &w->arb);
	if (w->req->queued)
		w->req->queued(w->req);
	return 0;
}

static int convert(struct fake_wait *w)
{
	struct fake_hold *h = (struct fake_hold *)w->req->convert;
	struct fake_name *n = h->name;
	int err;

	if (h->pub.lost)
		return -ESTALE;
	w->name = n;
	if (h->pub.mode == w->req->mode || w->req->mode == LK_SHARED ||
	    (n->arb.n_holders == 1 && !n->world->held_back && !(w->req->try_only && n->arb.waiters))) {
		if (h->pub.mode != w->req->mode) {
			h->pub.mode = h->arb.mode = w->req->mode;
			n->abandoned = n->abandoned && w->req->mode == LK_EXCLUSIVE;
			give_token(h);
		}
		finish(w, 0, &h->pub);
		arb_pump(&n->arb);
		return 0;
	}
	if (w->req->try_only)
		return -EAGAIN;
	w->req->convert = NULL;
	err = enqueue(w);
	if (err) {
		w->req->convert = &h->pub;
		return err;
	}
	if (w->req->gave_up)
		w->req->gave_up(w->req);
	fake_release(&w->b->base, &h->pub);
	return 0;
}

/* What the request is about: w->name. */
static int find_name(struct fake_wait *w)
{
	const struct lk_request *req = w->req;
	int err;

	if (req->file) {
		w->name = req->file->name;
		return fake_file_check(req->file);
	}
	err = req->kind == LK_LOCK ? fake_way(w->b->world, req->name) : 0;
	if (err)
		return err;
	if (req->kind == LK_LOCK && fake_space_find(w->b->world, req->name))
		return -EISDIR;
	w->name = fake_get(w->b->world, req->kind, req->name);
	if (w->name && w->name->link)
		return -ELOOP;
	return w->name ? 0 : -ENOLCK;
}

static int begin(struct fake_wait *w)
{
	struct lk_request *req = w->req;
	struct lk_hold *hold;
	unsigned slot = 0;
	int err;

	if (req->convert)
		return convert(w);
	err = find_name(w);
	if (err)
		return err;
	err = arb_try(&w->name->arb, req->mode, req->slot_lo, req->slot_hi, &slot);
	if (err == -EAGAIN && !req->try_only)
		return enqueue(w);
	if (err)
		return err;
	hold = make_hold(w, slot);
	if (!hold)
		return -ENOLCK;
	finish(w, 0, hold);
	return 0;
}

static const char *path_of(const struct lk_request *req)
{
	if (req->convert)
		return req->convert->name;
	return req->file ? req->file->name->name : req->name;
}

int fake_acquire(struct lk_backend *base, struct lk_request *req)
{
	struct fake_backend *b = fake_of(base);
	struct fake_wait *w = calloc(1, sizeof(*w) + strlen(path_of(req)) + 1);
	int err;

	if (!w)
		return -ENOLCK;
	strcpy(w->path, path_of(req));
	w->by_file = req->convert ? ((struct fake_hold *)req->convert)->by_file : req->file != NULL;
	req->asked = pl_wall(base->loop);
	w->req = req;
	w->b = b;
	w->finish.run = run_finish;
	req->priv = w;
	DL_APPEND(b->waits, w);
	err = begin(w);
	if (err == -EAGAIN) {
		finish(w, err, NULL);
		return 0;
	}
	if (err) {
		tally_refusal(&base->counters, err);
		req->priv = NULL;
		DL_DELETE(b->waits, w);
		free(w);
	}
	return err;
}

void fake_wait_fail(struct fake_wait *w, int err)
{
	if (w->finished)
		return;
	arb_unwait(&w->name->arb, &w->arb);
	finish(w, err, NULL);
	arb_pump(&w->name->arb);
	fake_put(w->name);
}

void fake_cancel(struct lk_backend *base, struct lk_request *req, int err)
{
	(void)base;
	if (req->priv)
		fake_wait_fail(req->priv, err);
}
