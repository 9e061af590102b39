/* The queue of one name: what a pump costs, and that its rules hold under everything at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/arbiter_fixture.h"

#define MANY 2000

static void a_pump_does_not_ask_for_the_whole_queue(void **state)
{
	static struct party p[MANY];
	enum lk_kind kind;
	unsigned i;

	(void)state;
	for (kind = LK_LOCK; kind <= LK_SEM; kind++) {
		unsigned slots = kind == LK_LOCK ? 1 : 4, before;
		struct world w = new_world(kind);

		for (i = 0; i < MANY; i++)
			ask_slots(&w, &p[i], LK_EXCLUSIVE, 0, slots);
		before = w.asked;
		for (i = 0; i < 100; i++)
			give_back(&w, &p[i]);
		/* For the one that gets in, and for the next that does not: each slot, at most twice. */
		assert_true(w.asked - before <= 100 * 4 * slots);
		assert_int_equal(w.arb.n_waiters, MANY - 100 - slots);
	}
}

static void no_pump_inside_a_pump(void **state)
{
	struct world w = new_world(LK_LOCK);
	struct party a, b;

	(void)state;
	ask(&w, &a, LK_EXCLUSIVE);
	ask(&w, &b, LK_EXCLUSIVE);
	w.arb.pumping = true;
	give_back(&w, &a);
	assert_false(b.holds);
	w.arb.pumping = false;
	arb_pump(&w.arb);
	assert_true(b.holds);
}

static void check_exclusion(const struct world *w)
{
	unsigned seen[SLOTS] = { 0 }, n = 0;
	const struct arb_holder *h;

	DL_FOREACH(w->arb.holders, h) {
		const struct party *p = (const struct party *)((const char *)h - offsetof(struct party, h));

		assert_int_equal(p->contended, w->arb.waiters != NULL);
		n++;
		if (w->arb.kind == LK_LOCK) {
			assert_true(h->mode == LK_SHARED || w->arb.n_holders == 1);
			continue;
		}
		assert_true(h->slot >= p->w.lo && h->slot < p->w.hi);
		assert_int_equal(seen[h->slot]++, 0);
	}
	assert_int_equal(n, w->arb.n_holders);
}

/* Whoever still waits has a reason to. */
static void check_nobody_forgotten(const struct world *w)
{
	const struct arb_waiter *aw = w->arb.waiters;
	unsigned i;

	if (w->arb.kind == LK_LOCK) {
		assert_true(!aw || w->arb.holders);
		assert_false(aw && aw->mode == LK_SHARED && w->arb.holders->mode == LK_SHARED);
		return;
	}
	DL_FOREACH(w->arb.waiters, aw) {
		for (i = aw->lo; i < aw->hi; i++)
			assert_true(w->had[i]);
	}
}

static void random_slots(enum lk_kind kind, unsigned *lo, unsigned *hi)
{
	*lo = 0;
	*hi = 1;
	if (kind == LK_SEM && rand() % 3 == 0) {
		*lo = (unsigned)rand() % SLOTS;
		*hi = *lo + 1;
	} else if (kind == LK_SEM) {
		*hi = 1 + (unsigned)rand() % SLOTS;
	}
}

static void one_step(struct world *w, struct party *p)
{
	unsigned lo, hi, before = w->grants, head = 0;
	struct party *first = (struct party *)w->arb.waiters;

	if (p->holds) {
		give_back(w, p);
		head = w->grants > before;
	} else if (p->w.queued) {
		first = NULL;
		arb_unwait(&w->arb, &p->w);
		arb_pump(&w->arb);
	} else {
		random_slots(w->arb.kind, &lo, &hi);
		ask_slots(w, p, rand() % 2 && w->arb.kind == LK_LOCK ? LK_SHARED : LK_EXCLUSIVE, lo, hi);
	}
	/* Of a lock's queue the head goes first. */
	if (head && first && w->arb.kind == LK_LOCK)
		assert_int_equal(first->order, before + 1);
}

static void everything_at_random(void **state)
{
	static struct party p[24];
	enum lk_kind kind;
	unsigned i;

	(void)state;
	srand(1);
	for (kind = LK_LOCK; kind <= LK_SEM; kind++) {
		struct world w = new_world(kind);

		memset(p, 0, sizeof(p));
		for (i = 0; i < 50000; i++) {
			one_step(&w, &p[(unsigned)rand() % 24]);
			check_exclusion(&w);
			check_nobody_forgotten(&w);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pump_does_not_ask_for_the_whole_queue),
		cmocka_unit_test(no_pump_inside_a_pump),
		cmocka_unit_test(everything_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
