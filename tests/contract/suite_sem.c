/* Semaphores: slots, bounds of one's own, who gets a freed slot. */
#include "tests/contract/suite.h"

static void test_n_holders(void **state)
{
	struct fixture *f = *state;
	struct ask *a[4], *w;
	bool taken[4] = { false };
	int i;

	for (i = 0; i < 4; i++) {
		a[i] = ask_slots(f, "pool", 0, 4, i % 2);
		granted(a[i]);
		assert_false(taken[a[i]->hold->slot]);
		taken[a[i]->hold->slot] = true;
		assert_int_not_equal(a[i]->hold->token, 0);
	}
	assert_int_equal(answer(ask_slots(f, "pool", 0, 4, true)), -EAGAIN);
	w = ask_slots(f, "pool", 0, 4, false);
	in_queue(w);
	settle(f);
	still_waits(w);
	assert_int_equal(lk_counters(f->b)->granted_sem, 4);
	i = (int)a[2]->hold->slot;
	let_go(a[2]);
	assert_int_equal(granted(w)->slot, i);
}

static void test_one_slot(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_slots(f, "pool", 2, 3, false), *any, *w;

	assert_int_equal(granted(a)->slot, 2);
	assert_int_equal(answer(ask_slots(f, "pool", 2, 3, true)), -EAGAIN);
	any = ask_slots(f, "pool", 0, 3, true);
	assert_int_not_equal(granted(any)->slot, 2);
	granted(ask_slots(f, "pool", 0, 3, true));
	assert_int_equal(answer(ask_slots(f, "pool", 0, 3, true)), -EAGAIN);
	w = ask_slots(f, "pool", 2, 3, false);
	in_queue(w);
	let_go(any);
	settle(f);
	still_waits(w); /* not its slot */
	let_go(a);
	assert_int_equal(granted(w)->slot, 2);
}

/* sems/pool/3 and sems/pool/5 are slots 0-2 and 0-4 of one pool. */
static void test_bounds_differ(void **state)
{
	struct fixture *f = *state;
	struct ask *a[3], *wide, *narrow;
	int i;

	for (i = 0; i < 3; i++) {
		a[i] = ask_slots(f, "pool", 0, 3, true);
		granted(a[i]);
	}
	assert_int_equal(answer(ask_slots(f, "pool", 0, 3, true)), -EAGAIN);
	wide = ask_slots(f, "pool", 0, 5, true);
	assert_in_range(granted(wide)->slot, 3, 4);
	granted(ask_slots(f, "pool", 0, 5, true));
	assert_int_equal(answer(ask_slots(f, "pool", 0, 5, true)), -EAGAIN);
	narrow = ask_slots(f, "pool", 0, 3, false);
	in_queue(narrow);
	let_go(wide); /* slot 3 or 4: no use for it */
	settle(f);
	still_waits(narrow);
	granted(ask_slots(f, "pool", 0, 5, true));
	let_go(a[1]);
	assert_in_range(granted(narrow)->slot, 0, 2);
}

/* A freed slot goes to the earliest waiter that can use it. */
static void test_earliest_that_can(void **state)
{
	struct fixture *f = *state;
	struct ask *a[3], *w[3];
	int i;

	for (i = 0; i < 3; i++) {
		a[i] = ask_slots(f, "pool", (unsigned)i, (unsigned)i + 1, true);
		granted(a[i]);
	}
	w[0] = ask_slots(f, "pool", 0, 1, false); /* only slot 0 */
	in_queue(w[0]);
	w[1] = ask_slots(f, "pool", 0, 3, false);
	in_queue(w[1]);
	w[2] = ask_slots(f, "pool", 2, 3, false);
	in_queue(w[2]);
	let_go(a[2]);
	assert_int_equal(granted(w[1])->slot, 2); /* came before w[2] */
	settle(f);
	still_waits(w[0]);
	still_waits(w[2]);
	let_go(w[1]);
	assert_int_equal(granted(w[2])->slot, 2);
	let_go(a[0]);
	assert_int_equal(granted(w[0])->slot, 0);
}

/* One who waits for other slots keeps nobody out. */
static void test_not_held_up(void **state)
{
	struct fixture *f = *state;
	struct ask *a[3], *high, *low;
	int i;

	for (i = 0; i < 3; i++) {
		a[i] = ask_slots(f, "pool", (unsigned)i, (unsigned)i + 1, true);
		granted(a[i]);
	}
	high = ask_slots(f, "pool", 1, 3, false);
	in_queue(high);
	low = ask_slots(f, "pool", 0, 2, false);
	in_queue(low);
	let_go(a[0]);
	assert_int_equal(granted(low)->slot, 0);
	settle(f);
	still_waits(high);
	granted(ask_slots(f, "pool", 3, 4, true));
	let_go(a[1]);
	assert_int_equal(granted(high)->slot, 1);
}

static void test_first_come_first_served(void **state)
{
	struct fixture *f = *state;
	struct ask *a[2], *w[6];
	int i;

	for (i = 0; i < 2; i++) {
		a[i] = ask_slots(f, "pool", 0, 2, false);
		granted(a[i]);
	}
	for (i = 0; i < 6; i++) {
		w[i] = ask_slots(f, "pool", 0, 2, false);
		in_queue(w[i]);
	}
	assert_int_equal(answer(ask_slots(f, "pool", 0, 2, true)), -EAGAIN);
	let_go(a[0]);
	let_go(a[1]);
	granted(w[0]);
	granted(w[1]);
	settle(f);
	for (i = 2; i < 6; i++) {
		still_waits(w[i]);
		let_go(w[i - 2]);
		granted(w[i]);
		if (i < 5)
			still_waits(w[i + 1]);
	}
}

static void test_cancel_one(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_slots(f, "pool", 0, 1, false), *w[3];
	int i;

	granted(a);
	for (i = 0; i < 3; i++) {
		w[i] = ask_slots(f, "pool", 0, 1, false);
		in_queue(w[i]);
	}
	give_up(w[0], -EINTR);
	give_up(w[1], -ETIMEDOUT);
	let_go(a);
	granted(w[2]);
}

static void test_contended(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_slots(f, "pool", 0, 2, false), *b = ask_slots(f, "pool", 0, 2, false), *w;

	granted(a);
	granted(b);
	w = ask_slots(f, "pool", 0, 2, false);
	in_queue(w);
	while (!a->hold->contended || !b->hold->contended)
		turn(f);
	give_up(w, -EINTR);
	while (a->hold->contended || b->hold->contended)
		turn(f);
}

static void test_lost(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_slots(f, "pool", 0, 2, false), *b = ask_slots(f, "pool", 0, 2, false), *w;
	unsigned slot;

	granted(a);
	slot = granted(b)->slot;
	w = ask_slots(f, "pool", 0, 2, false);
	in_queue(w);
	break_it(b);
	assert_true(b->hold->lost);
	assert_false(a->hold->lost);
	assert_int_equal(granted(w)->slot, slot);
	let_go(b); /* gives nothing of w's back */
	assert_int_equal(answer(ask_slots(f, "pool", 0, 2, true)), -EAGAIN);
}

static void test_bad_slots(void **state)
{
	static const unsigned bad[][2] = { { 0, 0 }, { 1, 1 }, { 2, 1 }, { 0, LK_SLOTS_MAX + 1 }, { 5, 0 } };
	struct fixture *f = *state;
	struct ask *a;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		a = ask_slots(f, "pool", bad[i][0], bad[i][1], false);
		assert_true(a->refused);
		assert_int_equal(a->err, -EINVAL);
	}
	a = ask_new(f, f->b, LK_LOCK, LK_EXCLUSIVE, "job");
	a->req.slot_hi = 2; /* a lock has one */
	ask_go(a);
	assert_int_equal(answer(a), -EINVAL);
	assert_int_equal(granted(ask_slots(f, "pool", LK_SLOTS_MAX - 1, LK_SLOTS_MAX, false))->slot, LK_SLOTS_MAX - 1);
}

/* Tokens of one semaphore rise over all its slots. */
static void test_tokens(void **state)
{
	struct fixture *f = *state;
	uint64_t last = 0;
	struct ask *a;
	int i;

	for (i = 0; i < 12; i++) {
		a = ask_slots(f, "pool", (unsigned)i % 4, (unsigned)i % 4 + 1, false);
		assert_true(granted(a)->token > last);
		last = a->hold->token;
		if (i % 5 != 4)
			let_go(a);
		if (i % 5 == 4)
			fixture_reopen(f);
	}
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_n_holders),	   CONTRACT_TEST(test_one_slot),
	CONTRACT_TEST(test_bounds_differ), CONTRACT_TEST(test_earliest_that_can),
	CONTRACT_TEST(test_not_held_up),   CONTRACT_TEST(test_first_come_first_served),
	CONTRACT_TEST(test_cancel_one),	   CONTRACT_TEST(test_contended),
	CONTRACT_TEST(test_lost),	   CONTRACT_TEST(test_bad_slots),
	CONTRACT_TEST(test_tokens),
};

const struct test_list sem_list = TEST_LIST(tests);
