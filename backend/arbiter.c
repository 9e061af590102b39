/* The queue of one name. */
#include "backend/arbiter.h"

#include <errno.h>
#include <stddef.h>
#include <utlist.h>

static bool compatible(const struct arb *a, enum lk_mode mode)
{
	/* Holders are all shared or one exclusive: the first tells. */
	return !a->holders || (mode == LK_SHARED && a->holders->mode == LK_SHARED);
}

/* One slot of [lo, hi): the first that can be had. */
static int obtain_any(struct arb *a, unsigned lo, unsigned hi, bool may_wait, unsigned *slot)
{
	int err = -EBUSY, e;
	unsigned i;

	for (i = lo; i < hi; i++) {
		e = a->ops->obtain(a, i, LK_EXCLUSIVE, false);
		if (e == 0) {
			*slot = i;
			return 0;
		}
		if (e != -EBUSY)
			return e;
	}
	/* All taken: now wait for those that programs outside have. */
	for (i = lo; may_wait && i < hi; i++) {
		e = a->ops->obtain(a, i, LK_EXCLUSIVE, true);
		if (e == 0) {
			*slot = i;
			return 0;
		}
		if (e == -EINPROGRESS)
			err = e;
		else if (e != -EBUSY)
			return e;
	}
	return err;
}

static int obtain(struct arb *a, enum lk_mode mode, unsigned lo, unsigned hi, bool may_wait, unsigned *slot)
{
	if (a->kind == LK_SEM)
		return obtain_any(a, lo, hi, may_wait, slot);
	if (!compatible(a, mode))
		return -EBUSY;
	*slot = 0;
	return a->ops->obtain(a, 0, mode, may_wait);
}

static bool competes(const struct arb_waiter *w, unsigned lo, unsigned hi)
{
	return w->lo < hi && lo < w->hi;
}

int arb_try(struct arb *a, enum lk_mode mode, unsigned lo, unsigned hi, unsigned *slot)
{
	const struct arb_waiter *w;
	int err;

	if (a->kind == LK_LOCK && a->waiters)
		return -EAGAIN;
	/* A waiter that could use the same slots waits because all of its own are
	 * taken, so a free one among ours is none of its: no need to give way. */
	if (a->kind == LK_SEM && hi - lo == 1) {
		DL_FOREACH(a->waiters, w) {
			if (competes(w, lo, hi))
				return -EAGAIN;
		}
	}
	err = obtain(a, mode, lo, hi, false, slot);
	return err == -EBUSY || err == -EINPROGRESS ? -EAGAIN : err;
}

static void tell(struct arb *a, bool yes)
{
	struct arb_holder *h, *tmp;

	if (a->told == yes)
		return;
	a->told = yes;
	DL_FOREACH_SAFE(a->holders, h, tmp)
		a->ops->contended(a, h, yes);
}

void arb_hold(struct arb *a, struct arb_holder *h, enum lk_mode mode, unsigned slot)
{
	h->mode = mode;
	h->slot = slot;
	DL_APPEND(a->holders, h);
	a->n_holders++;
	if (a->told)
		a->ops->contended(a, h, true);
}

void arb_unhold(struct arb *a, struct arb_holder *h)
{
	DL_DELETE(a->holders, h);
	a->n_holders--;
}

void arb_wait(struct arb *a, struct arb_waiter *w)
{
	DL_APPEND(a->waiters, w);
	w->queued = true;
	if (a->n_waiters++ == 0)
		a->max_hi = 0;
	if (w->hi > a->max_hi)
		a->max_hi = w->hi;
	tell(a, true);
}

void arb_unwait(struct arb *a, struct arb_waiter *w)
{
	DL_DELETE(a->waiters, w);
	w->queued = false;
	if (--a->n_waiters == 0)
		tell(a, false);
}

void arb_pump(struct arb *a)
{
	unsigned failed_hi = 0, slot = 0;
	struct arb_waiter *w, *next;
	int err;

	if (a->pumping)
		return;
	a->pumping = true;
	for (w = a->waiters; w; w = next) {
		next = w->next;
		/* [0, failed_hi) is taken: nobody behind who wants only those gets in. */
		if (w->hi <= failed_hi)
			continue;
		err = obtain(a, w->mode, w->lo, w->hi, true, &slot);
		if (err == -EBUSY || err == -EINPROGRESS) {
			if (a->kind == LK_LOCK)
				break;
			if (w->lo == 0)
				failed_hi = w->hi;
			if (failed_hi >= a->max_hi)
				break;
			continue;
		}
		arb_unwait(a, w);
		if (err)
			a->ops->fail(a, w, err);
		else
			a->ops->grant(a, w, slot);
	}
	a->pumping = false;
}
