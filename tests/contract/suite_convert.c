/* Converting a hold, as flock(2) on a handle does. */
#include "tests/contract/suite.h"

static void test_down(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *s, *c;
	struct lk_hold *hold;
	uint64_t token;

	hold = granted(a);
	token = hold->token;
	s = ask_lock(f, LK_SHARED, "job");
	in_queue(s);
	c = ask_convert(a, LK_SHARED, false);
	assert_ptr_equal(granted(c), hold);
	assert_int_equal(hold->mode, LK_SHARED);
	assert_int_equal(hold->token, token);
	assert_int_equal(c->gave_up, 0);
	granted(s); /* there is room for others now */
	assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, "job")), -EAGAIN);
	let_go(c);
	let_go(s);
	granted(ask_try(f, LK_EXCLUSIVE, "job"));
}

static void test_up_alone(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_SHARED, "job"), *c;
	struct lk_hold *hold;
	uint64_t token;

	hold = granted(a);
	token = hold->token;
	c = ask_convert(a, LK_EXCLUSIVE, true);
	assert_ptr_equal(granted(c), hold);
	assert_int_equal(hold->mode, LK_EXCLUSIVE);
	assert_true(hold->token > token);
	assert_int_equal(answer(ask_try(f, LK_SHARED, "job")), -EAGAIN);
	assert_int_equal(put(c, "mine", 0), 4);
	let_go(c);
	assert_int_equal(lk_counters(f->b)->held, 0);
}

static void test_to_the_same(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_SHARED, "job"), *c;
	struct lk_hold *hold = granted(a);

	c = ask_convert(a, LK_SHARED, false);
	assert_ptr_equal(granted(c), hold);
	c = ask_convert(c, LK_SHARED, true);
	assert_ptr_equal(granted(c), hold);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_holders, 1);
}

/* A try that fails takes nothing away. */
static void test_try_fails(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_SHARED, "job"), *other = ask_lock(f, LK_SHARED, "job"), *c;
	char out[8];

	granted(a);
	granted(other);
	c = ask_convert(a, LK_EXCLUSIVE, true);
	assert_int_equal(answer(c), -EAGAIN);
	assert_int_equal(c->gave_up, 0);
	assert_false(a->hold->lost);
	assert_int_equal(a->hold->mode, LK_SHARED);
	assert_int_equal(get(a, out, 1, 0), 0);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_holders, 2);
	let_go(other);
	c = ask_convert(a, LK_EXCLUSIVE, true);
	granted(c);
}

/* Waiting gives the old hold up first. */
static void test_wait_gives_up(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_SHARED, "job"), *other = ask_lock(f, LK_SHARED, "job"), *c;
	uint64_t token;

	granted(a);
	token = granted(other)->token;
	c = ask_convert(a, LK_EXCLUSIVE, false);
	in_queue(c);
	settle(f);
	assert_int_equal(c->gave_up, 1);
	assert_null(c->req.convert);
	still_waits(c);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_holders, 1);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_waiters, 1);
	let_go(other);
	assert_true(granted(c)->token > token);
	assert_int_equal(c->hold->mode, LK_EXCLUSIVE);
	assert_int_equal(c->gave_up, 1);
	let_go(c);
	granted(ask_try(f, LK_EXCLUSIVE, "job"));
}

/* Two that both want to go up: the first to wait lets the second in. */
static void test_both_up(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_SHARED, "job"), *b = ask_lock(f, LK_SHARED, "job"), *ca, *cb;

	granted(a);
	granted(b);
	ca = ask_convert(a, LK_EXCLUSIVE, false);
	in_queue(ca);
	cb = ask_convert(b, LK_EXCLUSIVE, false);
	/* As the only holder it goes up at once, or waits its turn; both get there. */
	while (!ca->calls && !cb->calls)
		turn(f);
	if (cb->calls) {
		let_go(cb);
		granted(ca);
	} else {
		let_go(ca);
		granted(cb);
	}
	assert_int_equal(ca->err, 0);
	assert_int_equal(cb->err, 0);
}

/* Canceled while it waits: the old hold is gone all the same. */
static void test_wait_canceled(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_SHARED, "job"), *other = ask_lock(f, LK_SHARED, "job"), *c;

	granted(a);
	granted(other);
	c = ask_convert(a, LK_EXCLUSIVE, false);
	in_queue(c);
	assert_int_equal(c->gave_up, 1);
	give_up(c, -EINTR);
	let_go(other);
	granted(ask_try(f, LK_EXCLUSIVE, "job"));
	assert_int_equal(lk_counters(f->b)->held, 1);
}

/* It waits behind those who came before, and in front of those who come later. */
static void test_wait_in_turn(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_SHARED, "job"), *other = ask_lock(f, LK_SHARED, "job"), *first, *c, *last;

	granted(a);
	granted(other);
	first = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(first);
	c = ask_convert(a, LK_EXCLUSIVE, false);
	in_queue(c);
	last = ask_lock(f, LK_SHARED, "job");
	in_queue(last);
	let_go(other);
	granted(first);
	settle(f);
	still_waits(c);
	let_go(first);
	granted(c);
	settle(f);
	still_waits(last);
	let_go(c);
	granted(last);
}

/* Somebody who waits keeps a try to go up from overtaking. */
static void test_try_does_not_overtake(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_SHARED, "job"), *w;

	granted(a);
	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	assert_int_equal(answer(ask_convert(a, LK_EXCLUSIVE, true)), -EAGAIN);
	assert_false(a->hold->lost);
	let_go(a);
	granted(w);
}

static void test_lost(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job");

	granted(a);
	break_it(a);
	assert_int_equal(answer(ask_convert(a, LK_SHARED, true)), -ESTALE);
	assert_int_equal(answer(ask_convert(a, LK_SHARED, false)), -ESTALE);
	assert_int_equal(answer(ask_convert(a, LK_EXCLUSIVE, false)), -ESTALE);
	assert_int_equal(a->lost, 1);
	let_go(a);
}

/* The waiting limit: refused, and nothing was given up. */
static void test_no_room_to_wait(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *other, *w, *c;

	f->config.max_waiters = 1;
	fixture_reopen(f);
	a = ask_lock(f, LK_SHARED, "job");
	other = ask_lock(f, LK_SHARED, "job");
	granted(a);
	granted(other);
	granted(ask_lock(f, LK_EXCLUSIVE, "busy"));
	w = ask_lock(f, LK_EXCLUSIVE, "busy");
	in_queue(w);
	c = ask_convert(a, LK_EXCLUSIVE, false);
	assert_int_equal(answer(c), -ENOLCK);
	if (c->gave_up == 0) {
		assert_false(a->hold->lost);
		assert_int_equal(a->hold->mode, LK_SHARED);
		let_go(a);
	}
	let_go(other);
	granted(ask_try(f, LK_EXCLUSIVE, "job"));
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_down),
	CONTRACT_TEST(test_up_alone),
	CONTRACT_TEST(test_to_the_same),
	CONTRACT_TEST(test_try_fails),
	CONTRACT_TEST(test_wait_gives_up),
	CONTRACT_TEST(test_both_up),
	CONTRACT_TEST(test_wait_canceled),
	CONTRACT_TEST(test_wait_in_turn),
	CONTRACT_TEST(test_try_does_not_overtake),
	CONTRACT_TEST(test_lost),
	CONTRACT_TEST(test_no_room_to_wait),
};

const struct test_list convert_list = TEST_LIST(tests);
