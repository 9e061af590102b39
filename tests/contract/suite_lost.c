/* Lost holds, breaking, ending waits; tokens. */
#include "tests/contract/suite.h"

#include <stdio.h>

static void check_stale(struct ask *a)
{
	char out[8];

	assert_true(a->hold->lost);
	assert_int_equal(put(a, "gone", 0), -ESTALE);
	assert_int_equal(put(a, "gone", -1), -ESTALE);
	assert_int_equal(get(a, out, 4, 0), -ESTALE);
	assert_int_equal(cut(a, 0), -ESTALE);
	assert_int_equal(synced(a), -ESTALE);
	assert_int_equal(removed(a), -ESTALE);
}

static void lose(struct ask *a)
{
	if (contract->lose) {
		contract->lose(a->b, a->hold);
		while (!a->lost)
			turn(a->f);
	} else {
		break_it(a);
	}
}

static void test_every_call_is_stale(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *b = ask_lock(f, LK_EXCLUSIVE, "other");

	granted(a);
	granted(b);
	assert_int_equal(put(a, "kept", 0), 4);
	break_it(a);
	check_stale(a);
	assert_int_equal(renamed(a, b), -ESTALE);
	assert_int_equal(renamed(b, a), -ESTALE);
	assert_int_equal(lk_counters(f->b)->lost, 1);
	assert_int_equal(lk_counters(f->b)->broken, 1);
	assert_int_equal(lk_counters(f->b)->held, 1);
	settle(f);
	assert_int_equal(a->lost, 1);
	let_go(a);
	a = ask_lock(f, LK_SHARED, "job");
	granted(a);
	value_is(a, "kept");
}

/* The next one has it; the old hold changes nothing any more, nor does its release. */
static void test_next_holder_is_safe(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w;
	uint64_t token = granted(a)->token;

	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	break_it(a);
	assert_true(granted(w)->token > token);
	assert_int_equal(put(w, "next", 0), 4);
	check_stale(a);
	value_is(w, "next");
	let_go(a);
	settle(f);
	assert_false(w->hold->lost);
	assert_int_equal(answer(ask_try(f, LK_SHARED, "job")), -EAGAIN);
	value_is(w, "next");
	let_go(w);
	granted(ask_try(f, LK_EXCLUSIVE, "job"));
}

/* From below, not by rm. */
static void test_taken_away(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *other = ask_lock(f, LK_EXCLUSIVE, "other"), *next;

	granted(a);
	granted(other);
	lose(a);
	check_stale(a);
	next = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(next);
	let_go(a);
	settle(f);
	assert_int_equal(a->lost, 1);
	assert_false(next->hold->lost);
	assert_false(other->hold->lost);
}

static void test_abandoned(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job");
	struct lk_stat st;

	granted(a);
	assert_int_equal(put(a, "half", 0), 4);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "job", &st), 0);
	assert_false(st.abandoned);
	break_it(a);
	let_go(a);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "job", &st), 0);
	assert_true(st.abandoned);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "job", &st), 0);
	assert_true(st.abandoned); /* until somebody gives it back cleanly */
	let_go(a);
	settle(f);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "job", &st), 0);
	assert_false(st.abandoned);
}

/* Of three shared holders one. */
static void test_one_of_many(void **state)
{
	struct fixture *f = *state;
	struct ask *s[3], *x;
	int i;

	for (i = 0; i < 3; i++) {
		s[i] = ask_lock(f, LK_SHARED, "job");
		granted(s[i]);
	}
	x = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(x);
	break_it(s[1]);
	settle(f);
	still_waits(x);
	assert_false(s[0]->hold->lost);
	assert_false(s[2]->hold->lost);
	value_is(s[0], "");
	let_go(s[1]);
	let_go(s[0]);
	settle(f);
	still_waits(x);
	let_go(s[2]);
	granted(x);
}

/* Released in the same breath: nobody is told of anything. */
static void test_released_while_lost(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job");

	granted(a);
	if (contract->lose)
		contract->lose(f->b, a->hold);
	let_go(a);
	settle(f);
	assert_int_equal(a->lost, 0);
	granted(ask_lock(f, LK_EXCLUSIVE, "job"));
}

static void test_end_wait(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w[3];
	const struct seen *s;
	char id[256];
	int i;

	granted(a);
	for (i = 0; i < 3; i++) {
		w[i] = ask_lock(f, LK_EXCLUSIVE, "job");
		in_queue(w[i]);
	}
	s = view_of(f->b, f, LK_LOCK, "job");
	assert_int_equal(s->n_waiters, 3);
	snprintf(id, sizeof(id), "%s", s->waiters[1].id);
	assert_int_equal(wait_ended(f->b, f, id), 0);
	assert_int_equal(answer(w[1]), -ECANCELED);
	assert_int_equal(wait_ended(f->b, f, id), -ENOENT);
	settle(f);
	still_waits(w[0]);
	still_waits(w[2]);
	let_go(a);
	granted(w[0]);
	let_go(w[0]);
	granted(w[2]);
}

static void test_unknown_ids(void **state)
{
	static const char *const bad[] = { "", "x", "1/2", "/", "../x/1", "nobody/18446744073709551615", "4294967296" };
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w;
	char holder[256], waiter[256];
	size_t i;

	granted(a);
	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(broken(f->b, f, bad[i]), -ENOENT);
		assert_int_equal(wait_ended(f->b, f, bad[i]), -ENOENT);
	}
	snprintf(holder, sizeof(holder), "%s", view_of(f->b, f, LK_LOCK, "job")->holders[0].id);
	snprintf(waiter, sizeof(waiter), "%s", view_of(f->b, f, LK_LOCK, "job")->waiters[0].id);
	assert_int_equal(broken(f->b, f, waiter), -ENOENT);
	assert_int_equal(wait_ended(f->b, f, holder), -ENOENT);
	assert_false(a->hold->lost);
	still_waits(w);
	let_go(a);
	granted(w);
	/* The id of one that is gone does not name the next holder. */
	assert_int_equal(broken(f->b, f, holder), -ENOENT);
	assert_false(w->hold->lost);
}

static void test_tokens_rise(void **state)
{
	struct fixture *f = *state;
	uint64_t last[2] = { 0, 0 };
	struct ask *a;
	int i;

	for (i = 0; i < 40; i++) {
		a = ask_lock(f, LK_EXCLUSIVE, i % 2 ? "job" : "other");
		assert_true(granted(a)->token > last[i % 2]);
		last[i % 2] = a->hold->token;
		if (i % 7 == 3)
			break_it(a);
		let_go(a);
		if (i % 10 == 9)
			fixture_reopen(f);
	}
	a = ask_lock(f, LK_SHARED, "job");
	assert_true(granted(a)->token >= last[1]);
	a = ask_convert(a, LK_EXCLUSIVE, false);
	assert_true(granted(a)->token > last[1]);
}

/* Held when the mount goes down: the next mount's tokens are higher all the same. */
static void test_tokens_after_a_stop(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job");
	uint64_t token = granted(a)->token;

	fixture_reopen(f);
	assert_true(granted(ask_lock(f, LK_EXCLUSIVE, "job"))->token > token);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_every_call_is_stale),
	CONTRACT_TEST(test_next_holder_is_safe),
	CONTRACT_TEST(test_taken_away),
	CONTRACT_TEST(test_abandoned),
	CONTRACT_TEST(test_one_of_many),
	CONTRACT_TEST(test_released_while_lost),
	CONTRACT_TEST(test_end_wait),
	CONTRACT_TEST(test_unknown_ids),
	CONTRACT_TEST(test_tokens_rise),
	CONTRACT_TEST(test_tokens_after_a_stop),
};

const struct test_list lost_list = TEST_LIST(tests);
