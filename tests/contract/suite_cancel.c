/* Ending a wait: a wish, and what the others in the queue have of it. */
#include "tests/contract/suite.h"

static void test_cancel(void **state)
{
	static const int why[] = { -EINTR, -ETIMEDOUT, -ECANCELED };
	static const enum lk_refusal counted[] = { LK_R_INTERRUPTED, LK_R_TIMEOUT, LK_R_CANCELED };
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w;
	uint64_t before;
	int i;

	granted(a);
	for (i = 0; i < 3; i++) {
		before = lk_counters(f->b)->refused[counted[i]];
		w = ask_lock(f, LK_EXCLUSIVE, "job");
		in_queue(w);
		give_up(w, why[i]);
		assert_int_equal(lk_counters(f->b)->refused[counted[i]], before + 1);
		assert_int_equal(lk_counters(f->b)->waiting, 0);
	}
	settle(f);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_waiters, 0);
	let_go(a);
	granted(ask_try(f, LK_EXCLUSIVE, "job"));
}

/* The first wish counts; the callback comes once. */
static void test_idempotent(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w;

	granted(a);
	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	lk_cancel(f->b, &w->req, -EINTR);
	lk_cancel(f->b, &w->req, -ETIMEDOUT);
	lk_cancel(f->b, &w->req, -ECANCELED);
	assert_int_equal(w->calls, 0);
	assert_int_equal(answer(w), -EINTR);
	settle(f);
	assert_int_equal(w->calls, 1);
}

/* Right behind the acquire: the errno or the grant, one of them, once. */
static void test_cancel_at_once(void **state)
{
	struct fixture *f = *state;
	struct ask *a;
	int i;

	for (i = 0; i < 10; i++) {
		a = ask_lock(f, LK_EXCLUSIVE, "job");
		assert_int_equal(a->err, 0);
		lk_cancel(f->b, &a->req, -EINTR);
		if (answer(a) == 0)
			let_go(a);
		else
			assert_int_equal(a->err, -EINTR);
	}
	settle(f);
	assert_int_equal(lk_counters(f->b)->held, 0);
	granted(ask_try(f, LK_EXCLUSIVE, "job"));
}

/* The grant is on its way: the caller gets it, or the errno and nobody has it. */
static void test_grant_under_way(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w, *next;

	granted(a);
	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	next = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(next);
	let_go(a);
	lk_cancel(f->b, &w->req, -EINTR);
	lk_cancel(f->b, &w->req, -ETIMEDOUT);
	if (answer(w) == 0)
		let_go(w);
	else
		assert_int_equal(w->err, -EINTR);
	granted(next);
	settle(f);
	assert_int_equal(w->calls, 1);
	assert_int_equal(next->calls, 1);
}

static void test_middle_of_the_queue(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w[3];
	int i;

	granted(a);
	for (i = 0; i < 3; i++) {
		w[i] = ask_lock(f, LK_EXCLUSIVE, "job");
		in_queue(w[i]);
	}
	give_up(w[1], -EINTR);
	settle(f);
	still_waits(w[0]);
	still_waits(w[2]);
	let_go(a);
	granted(w[0]);
	settle(f);
	still_waits(w[2]);
	let_go(w[0]);
	granted(w[2]);
}

/* s, then x that gives up: the readers behind it need not wait any more. */
static void test_readers_behind_a_writer(void **state)
{
	struct fixture *f = *state;
	struct ask *r = ask_lock(f, LK_SHARED, "job"), *w, *s[2], *x;

	granted(r);
	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	s[0] = ask_lock(f, LK_SHARED, "job");
	in_queue(s[0]);
	s[1] = ask_lock(f, LK_SHARED, "job");
	in_queue(s[1]);
	x = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(x);
	give_up(w, -ETIMEDOUT);
	granted(s[0]);
	granted(s[1]);
	settle(f);
	still_waits(x);
}

static void test_all_of_a_queue(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w[20];
	int i;

	granted(a);
	for (i = 0; i < 20; i++) {
		w[i] = ask_lock(f, i % 3 ? LK_EXCLUSIVE : LK_SHARED, "job");
		in_queue(w[i]);
	}
	for (i = 0; i < 20; i++)
		lk_cancel(f->b, &w[(i * 7) % 20]->req, -EINTR);
	for (i = 0; i < 20; i++)
		assert_int_equal(answer(w[i]), -EINTR);
	settle(f);
	assert_false(a->hold->contended);
	assert_int_equal(lk_counters(f->b)->waiting, 0);
	let_go(a);
	granted(ask_lock(f, LK_EXCLUSIVE, "job"));
}

struct chain {
	struct ask *to_cancel, *to_go;
};

static void (*plain_done)(struct lk_request *req, int err, struct lk_hold *hold);
static struct chain chain;

static void done_then_more(struct lk_request *req, int err, struct lk_hold *hold)
{
	plain_done(req, err, hold);
	lk_cancel(chain.to_cancel->b, req, -EINTR); /* too late, and harmless */
	lk_cancel(chain.to_cancel->b, &chain.to_cancel->req, -EINTR);
	ask_go(chain.to_go);
}

/* Calls from inside a callback are as good as any. */
static void test_from_a_callback(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *first;

	granted(a);
	chain.to_cancel = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(chain.to_cancel);
	chain.to_go = ask_new(f, f->b, LK_LOCK, LK_EXCLUSIVE, "third");
	first = ask_new(f, f->b, LK_LOCK, LK_EXCLUSIVE, "second");
	plain_done = first->req.done;
	first->req.done = done_then_more;
	ask_go(first);
	granted(first);
	assert_int_equal(answer(chain.to_cancel), -EINTR);
	granted(chain.to_go);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_cancel),
	CONTRACT_TEST(test_idempotent),
	CONTRACT_TEST(test_cancel_at_once),
	CONTRACT_TEST(test_grant_under_way),
	CONTRACT_TEST(test_middle_of_the_queue),
	CONTRACT_TEST(test_readers_behind_a_writer),
	CONTRACT_TEST(test_all_of_a_queue),
	CONTRACT_TEST(test_from_a_callback),
};

const struct test_list cancel_list = TEST_LIST(tests);
