/* Arbitration of one name among the requests of one mount: first come, first
 * served, consecutive shared waiters together, no starvation.
 *
 * Pure: what a slot really takes (a flock, nothing in a fake) is asked of the
 * backend through arb_ops. A lock has the one slot 0; a semaphore's waiter
 * takes any slot of [lo, hi), and a freed slot goes to the earliest waiter
 * that can use it.
 */
#ifndef BACKEND_ARBITER_H
#define BACKEND_ARBITER_H

#include "backend/backend.h"

struct arb_waiter {
	enum lk_mode mode;
	unsigned lo, hi;
	struct arb_waiter *prev, *next;
	bool queued;
};

struct arb_holder {
	enum lk_mode mode;
	unsigned slot;
	struct arb_holder *prev, *next;
};

struct arb;

struct arb_ops {
	/* Take `slot` in `mode` for the mount. 0: it is had; -EBUSY: a holder here
	 * or a program outside has it; -EINPROGRESS (only when may_wait): not now,
	 * arb_pump will be called when it may be had; other < 0: an error. Called
	 * only when no holder here is in the way (of a lock; of a semaphore's slot
	 * the backend knows itself). */
	int (*obtain)(struct arb *a, unsigned slot, enum lk_mode mode, bool may_wait);
	/* The waiter, already out of the queue, gets the slot: must arb_hold. */
	void (*grant)(struct arb *a, struct arb_waiter *w, unsigned slot);
	/* The waiter, already out of the queue, gets an errno. */
	void (*fail)(struct arb *a, struct arb_waiter *w, int err);
	/* Somebody waits behind this holder now, or nobody any more. */
	void (*contended)(struct arb *a, struct arb_holder *h, bool yes);
};

struct arb {
	const struct arb_ops *ops;
	enum lk_kind kind;
	struct arb_holder *holders; /* utlist DL */
	struct arb_waiter *waiters; /* utlist DL, queue order */
	unsigned n_holders, n_waiters;
	unsigned max_hi; /* the widest waiter since the queue was empty */
	bool told;	 /* holders know that somebody waits */
	bool pumping;
};

/* A new request: 0 and *slot when it may be granted at once (then arb_hold),
 * -EAGAIN when it would have to wait, other < 0 an error. */
int arb_try(struct arb *a, enum lk_mode mode, unsigned lo, unsigned hi, unsigned *slot);
void arb_hold(struct arb *a, struct arb_holder *h, enum lk_mode mode, unsigned slot);
/* The holder is gone; arb_pump follows when the slot may go to somebody. */
void arb_unhold(struct arb *a, struct arb_holder *h);
/* At the tail of the queue. */
void arb_wait(struct arb *a, struct arb_waiter *w);
/* Out of the queue; arb_pump follows, those behind it may enter now. */
void arb_unwait(struct arb *a, struct arb_waiter *w);
/* Grants whatever can be granted. Cost: what it grants, not the queue. */
void arb_pump(struct arb *a);

#endif
