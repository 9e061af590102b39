/* The mount's lease is over: its byte ranges and its locks of files are lost, and
 * nothing takes them again on the quiet.
 */
#include "tests/contract/ranges.h"

static void on_lost(void *arg)
{
	unsigned *calls = arg;

	(*calls)++;
}

static void test_ranges(void **state)
{
	struct fixture *f = *state;
	struct lk_backend *other = fixture_other(f);
	struct opened o = made(f->b, f, "db"), free_one = opened(f->b, f, "db"), p = opened(other, f, "db");
	struct range_ask *w, *v, *u;
	unsigned calls[3] = { 0 };
	char out[8];

	lk_file_on_lost(f->b, o.file, on_lost, &calls[0]);
	lk_file_on_lost(f->b, free_one.file, on_lost, &calls[1]);
	lk_file_on_lost(other, p.file, on_lost, &calls[2]);
	assert_int_equal(file_put(&p, "text", 0), 4);
	assert_int_equal(range_try(&o, 1, X, 0, 9), 0);
	assert_int_equal(range_try(&p, 1, X, 20, 29), 0);
	w = range_wait(&p, 1, X, 0, 9);
	v = range_wait(&o, 2, X, 20, 29);
	range_still_waits(w);
	range_still_waits(v);
	contract->lapse(f->b);
	assert_int_equal(range_answer(v), -ESTALE);
	assert_int_equal(range_answer(w), 0);
	while (!calls[0])
		turn(f);
	settle(f);
	assert_int_equal(calls[0], 1);
	assert_int_equal(calls[1], 0); /* no range was locked through this one */
	assert_int_equal(calls[2], 0);
	assert_int_equal(range_try(&o, 1, X, 50, 59), -ESTALE);
	assert_int_equal(range_unlock(&o, 1, 0, 9), -ESTALE);
	u = range_wait(&o, 1, X, 50, 59);
	assert_int_equal(range_answer(u), -ESTALE);
	assert_int_equal(file_put(&o, "no", 0), -ESTALE);
	assert_int_equal(file_get(&o, out, 4, 0), -ESTALE);
	assert_int_equal(file_cut(&o, 0), -ESTALE);
	assert_int_equal(file_sync(&o), -ESTALE);
	assert_int_equal(answer(ask_flock_try(&o, LK_EXCLUSIVE)), -ESTALE);
	file_close(&o);
	file_is(&p, "text");
	file_is(&free_one, "text");
	assert_int_equal(range_try(&free_one, 1, X, 0, 9), -EAGAIN);
}

static void test_flock(void **state)
{
	struct fixture *f = *state;
	struct lk_backend *other = fixture_other(f);
	struct opened o = made(f->b, f, "job"), p = opened(other, f, "job");
	struct ask *a = ask_flock(&o, LK_EXCLUSIVE), *w;

	granted(a);
	w = ask_flock(&p, LK_EXCLUSIVE);
	in_queue(w);
	contract->lapse(f->b);
	granted(w);
	while (!a->lost)
		turn(f);
	assert_int_equal(answer(ask_flock_try(&o, LK_SHARED)), -EAGAIN);
	let_go(a);
	settle(f);
	assert_false(w->hold->lost);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_ranges),
	CONTRACT_TEST(test_flock),
};

const struct test_list files_lost_list = TEST_LIST(tests);
