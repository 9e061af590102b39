/* Two mounts of one world. */
#include "tests/contract/suite.h"

#include <stdio.h>

static struct ask *there(struct fixture *f, enum lk_mode mode, const char *name, bool try_only)
{
	struct ask *a = ask_new(f, f->other, LK_LOCK, mode, name);

	a->req.try_only = try_only;
	return ask_go(a);
}

static void test_exclude(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *w;
	uint64_t token;

	fixture_other(f);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	token = granted(a)->token;
	assert_int_equal(answer(there(f, LK_EXCLUSIVE, "job", true)), -EAGAIN);
	assert_int_equal(answer(there(f, LK_SHARED, "job", true)), -EAGAIN);
	granted(there(f, LK_EXCLUSIVE, "other", true));
	assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, "other")), -EAGAIN);
	w = there(f, LK_EXCLUSIVE, "job", false);
	in_queue(w);
	settle(f);
	still_waits(w);
	assert_int_equal(put(a, "from here", 0), 9);
	let_go(a);
	assert_true(granted(w)->token > token);
	value_is(w, "from here");
	assert_int_equal(answer(ask_try(f, LK_SHARED, "job")), -EAGAIN);
}

static void test_share(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *b, *x;

	fixture_other(f);
	a = ask_lock(f, LK_SHARED, "job");
	granted(a);
	b = there(f, LK_SHARED, "job", true);
	granted(b);
	assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, "job")), -EAGAIN);
	assert_int_equal(answer(ask_convert(b, LK_EXCLUSIVE, true)), -EAGAIN);
	assert_false(b->hold->lost);
	x = there(f, LK_EXCLUSIVE, "job", false);
	in_queue(x);
	let_go(a);
	settle(f);
	still_waits(x);
	let_go(b);
	granted(x);
}

/* Back and forth: each waits for the other, nobody for ever. */
static void test_take_turns(void **state)
{
	struct fixture *f = *state;
	uint64_t last = 0;
	struct ask *a, *w;
	int i;

	fixture_other(f);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	for (i = 0; i < 20; i++) {
		assert_true(granted(a)->token > last);
		last = a->hold->token;
		w = i % 2 ? ask_lock(f, LK_EXCLUSIVE, "job") : there(f, LK_EXCLUSIVE, "job", false);
		in_queue(w);
		let_go(a);
		a = w;
	}
	granted(a);
}

/* A waiter of each, and a stream of more: both are served. */
static void test_both_are_served(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *w[8];
	unsigned done = 0, i;

	fixture_other(f);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	for (i = 0; i < 8; i++) {
		w[i] = i % 2 ? ask_lock(f, LK_EXCLUSIVE, "job") : there(f, LK_EXCLUSIVE, "job", false);
		in_queue(w[i]);
	}
	let_go(a);
	while (done < 8) {
		for (i = 0; i < 8 && !(w[i]->calls && w[i]->hold); i++)
			;
		if (i == 8) {
			turn(f);
			continue;
		}
		assert_int_equal(w[i]->err, 0);
		let_go(w[i]);
		done++;
	}
	settle(f);
	assert_int_equal(lk_counters(f->b)->held + lk_counters(f->other)->held, 0);
}

static void test_slots(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *b, *w;

	fixture_other(f);
	a = ask_slots(f, "pool", 0, 2, false);
	granted(a);
	b = ask_new(f, f->other, LK_SEM, LK_EXCLUSIVE, "pool");
	b->req.slot_hi = 2;
	granted(ask_go(b));
	assert_int_not_equal(a->hold->slot, b->hold->slot);
	assert_int_equal(answer(ask_slots(f, "pool", 0, 2, true)), -EAGAIN);
	w = ask_slots(f, "pool", 0, 2, false);
	in_queue(w);
	let_go(b);
	granted(w);
	assert_int_not_equal(a->hold->slot, w->hold->slot);
}

static void test_see_each_other(void **state)
{
	struct fixture *f = *state;
	const struct seen *s;
	struct lk_stat st;
	struct ask *a, *w;

	fixture_other(f);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	w = there(f, LK_SHARED, "job", false);
	in_queue(w);
	s = view_of(f->other, f, LK_LOCK, "job");
	assert_int_equal(s->n_holders, 1);
	assert_int_equal(s->n_waiters, 1);
	assert_false(s->holders[0].here);
	assert_true(s->waiters[0].here);
	assert_int_equal(s->holders[0].owner.pid, a->req.owner.pid);
	assert_string_equal(s->holders[0].owner.comm, a->req.owner.comm);
	assert_int_equal(s->holders[0].token, a->hold->token);
	s = view_of(f->b, f, LK_LOCK, NULL);
	assert_int_equal(s->n_holders, 1);
	assert_int_equal(s->n_waiters, 1);
	assert_true(s->holders[0].here);
	assert_false(s->waiters[0].here);
	assert_int_equal(s->waiters[0].mode, LK_SHARED);
	assert_int_equal(stat_of(f->other, f, LK_LOCK, "job", &st), 0);
	assert_int_equal(st.holders, 1);
	assert_int_equal(st.waiters, 1);
	assert_int_equal(st.token, a->hold->token);
	assert_string_equal(list_of(f->other, f, LK_LOCK, ""), "job ");
}

static void test_break_there(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *w, *v;
	char id[256];

	fixture_other(f);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	w = there(f, LK_EXCLUSIVE, "job", false);
	in_queue(w);
	v = there(f, LK_EXCLUSIVE, "job", false);
	in_queue(v);
	/* Seen from each side, broken from the other. */
	snprintf(id, sizeof(id), "%s", view_of(f->b, f, LK_LOCK, "job")->waiters[1].id);
	assert_int_equal(wait_ended(f->b, f, id), 0);
	assert_int_equal(answer(v), -ECANCELED);
	assert_int_equal(wait_ended(f->b, f, id), -ENOENT);
	snprintf(id, sizeof(id), "%s", view_of(f->other, f, LK_LOCK, "job")->holders[0].id);
	assert_int_equal(broken(f->other, f, id), 0);
	while (!a->lost)
		turn(f);
	granted(w);
	assert_int_equal(broken(f->other, f, id), -ENOENT);
	let_go(a);
	settle(f);
	assert_false(w->hold->lost);
}

/* Anything below it that the other mount uses keeps a namespace where it is. */
static void test_namespaces(void **state)
{
	struct fixture *f = *state;
	struct ask *a;

	fixture_other(f);
	assert_int_equal(ns_make(f, "ops", 0755), 0);
	a = there(f, LK_EXCLUSIVE, "ops/job", false);
	granted(a);
	assert_int_equal(ns_remove(f, "ops"), -ENOTEMPTY);
	assert_int_equal(ns_rename(f, "ops", "dev"), -EBUSY);
	assert_int_equal(ns_make(f, "ops/job", 0755), -EEXIST);
	settle(f);
	assert_false(a->hold->lost);
	let_go(a);
	settle(f);
	assert_int_equal(ns_rename(f, "ops", "dev"), 0);
	assert_string_equal(list_of(f->other, f, LK_LOCK, ""), "dev/ ");
	granted(there(f, LK_EXCLUSIVE, "dev/job", true));
}

/* A mount that goes away takes its locks with it, and only those. */
static void test_one_goes_away(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *w, *kept;

	fixture_other(f);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	kept = there(f, LK_EXCLUSIVE, "kept", false);
	granted(kept);
	w = there(f, LK_EXCLUSIVE, "job", false);
	in_queue(w);
	fixture_reopen(f);
	granted(w);
	assert_false(kept->hold->lost);
	assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, "kept")), -EAGAIN);
	assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, "job")), -EAGAIN);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_exclude),	     CONTRACT_TEST(test_share),	     CONTRACT_TEST(test_take_turns),
	CONTRACT_TEST(test_both_are_served), CONTRACT_TEST(test_slots),	     CONTRACT_TEST(test_see_each_other),
	CONTRACT_TEST(test_break_there),     CONTRACT_TEST(test_namespaces), CONTRACT_TEST(test_one_goes_away),
};

const struct test_list mounts_list = TEST_LIST(tests);
