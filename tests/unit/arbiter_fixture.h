/* The queue of one name, over slots that are only numbers here. */
#ifndef TESTS_UNIT_ARBITER_FIXTURE_H
#define TESTS_UNIT_ARBITER_FIXTURE_H

#include "backend/arbiter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SLOTS 8

/* One request, from asking to giving back. */
struct party {
	struct arb_waiter w; /* first */
	struct arb_holder h;
	bool holds, contended;
	unsigned told; /* how often contended was called */
	int err;
	unsigned order; /* of its grant */
};

struct world {
	struct arb arb;	    /* first */
	int outside[SLOTS]; /* what a program outside, or an error, makes obtain answer; 0: nothing */
	bool had[SLOTS];
	unsigned asked, waited, grants;
};

static inline int obtain(struct arb *a, unsigned slot, enum lk_mode mode, bool may_wait)
{
	struct world *w = (struct world *)a;

	(void)mode;
	w->asked++;
	assert_true(slot < SLOTS);
	if (a->kind == LK_SEM && w->had[slot])
		return -EBUSY;
	if (w->outside[slot] == -EINPROGRESS && !may_wait)
		return -EBUSY;
	if (w->outside[slot] == -EINPROGRESS)
		w->waited++;
	return w->outside[slot];
}

static inline void hold(struct world *w, struct party *p, enum lk_mode mode, unsigned slot)
{
	arb_hold(&w->arb, &p->h, mode, slot);
	w->had[slot] = true;
	p->holds = true;
	p->order = ++w->grants;
}

static inline void grant(struct arb *a, struct arb_waiter *aw, unsigned slot)
{
	assert_false(aw->queued);
	hold((struct world *)a, (struct party *)aw, aw->mode, slot);
}

static inline void refuse(struct arb *a, struct arb_waiter *aw, int err)
{
	(void)a;
	assert_false(aw->queued);
	((struct party *)aw)->err = err;
}

static inline void contended(struct arb *a, struct arb_holder *h, bool yes)
{
	struct party *p = (struct party *)((char *)h - offsetof(struct party, h));

	(void)a;
	assert_int_not_equal(p->contended, yes);
	p->contended = yes;
	p->told += yes;
}

static const struct arb_ops ops = { .obtain = obtain, .grant = grant, .fail = refuse, .contended = contended };

static inline struct world new_world(enum lk_kind kind)
{
	return (struct world){ .arb = { .ops = &ops, .kind = kind } };
}

/* True: had at once. */
static inline bool ask_slots(struct world *w, struct party *p, enum lk_mode mode, unsigned lo, unsigned hi)
{
	unsigned slot;
	int err = arb_try(&w->arb, mode, lo, hi, &slot);

	*p = (struct party){ .w = { .mode = mode, .lo = lo, .hi = hi } };
	if (err == 0) {
		hold(w, p, mode, slot);
		return true;
	}
	assert_int_equal(err, -EAGAIN);
	arb_wait(&w->arb, &p->w);
	arb_pump(&w->arb);
	return p->holds;
}

static inline bool ask(struct world *w, struct party *p, enum lk_mode mode)
{
	return ask_slots(w, p, mode, 0, 1);
}

static inline void give_back(struct world *w, struct party *p)
{
	struct arb_holder *h;

	arb_unhold(&w->arb, &p->h);
	p->holds = p->contended = false;
	w->had[p->h.slot] = false;
	DL_FOREACH(w->arb.holders, h)
		w->had[h->slot] = true;
	arb_pump(&w->arb);
}

#endif
