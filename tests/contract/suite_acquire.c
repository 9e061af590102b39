/* Acquiring, waiting in turn, giving back. */
#include "tests/contract/suite.h"

static void test_grant(void **state)
{
	struct fixture *f = *state;
	const struct lk_counters before = *lk_counters(f->b), *now = lk_counters(f->b);
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job");

	granted(a);
	assert_int_equal(a->queued, 0);
	assert_int_not_equal(a->hold->token, 0);
	assert_false(a->hold->contended);
	assert_int_equal(now->granted[LK_EXCLUSIVE], before.granted[LK_EXCLUSIVE] + 1);
	assert_int_equal(now->held, 1);
	let_go(a);
	assert_int_equal(now->released, before.released + 1);
	assert_int_equal(now->held, 0);
	settle(f);
	assert_int_equal(a->calls, 1);
}

static void test_try(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *t;
	uint64_t busy = lk_counters(f->b)->refused[LK_R_BUSY];

	granted(a);
	t = ask_try(f, LK_EXCLUSIVE, "job");
	assert_int_equal(answer(t), -EAGAIN);
	assert_int_equal(t->queued, 0);
	assert_int_equal(answer(ask_try(f, LK_SHARED, "job")), -EAGAIN);
	assert_int_equal(lk_counters(f->b)->refused[LK_R_BUSY], busy + 2);
	granted(ask_try(f, LK_EXCLUSIVE, "another"));
	assert_int_equal(a->calls, 1);
}

/* What the last close gave back, the next open of this mount has: in one turn of the loop. */
static void test_free_at_once(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *t;
	int i;

	for (i = 0; i < 20; i++) {
		granted(a);
		let_go(a);
		t = ask_try(f, i % 3 ? LK_EXCLUSIVE : LK_SHARED, "job");
		granted(t);
		a = t;
	}
	let_go(a);
}

static void test_first_come_first_served(void **state)
{
	struct fixture *f = *state;
	struct ask *a[6];
	int i;

	a[0] = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a[0]);
	for (i = 1; i < 6; i++) {
		a[i] = ask_lock(f, LK_EXCLUSIVE, "job");
		in_queue(a[i]);
	}
	assert_int_equal(lk_counters(f->b)->waiting, 5);
	assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, "job")), -EAGAIN);
	for (i = 0; i < 5; i++) {
		settle(f);
		still_waits(a[i + 1]);
		let_go(a[i]);
		granted(a[i + 1]);
		if (i < 4)
			still_waits(a[i + 2]);
		assert_true(a[i + 1]->order > a[i]->order);
	}
	assert_int_equal(lk_counters(f->b)->waiting, 0);
}

static void test_shared_together(void **state)
{
	struct fixture *f = *state;
	struct ask *x = ask_lock(f, LK_EXCLUSIVE, "job"), *s[4];
	uint64_t token;
	int i;

	token = granted(x)->token;
	for (i = 0; i < 4; i++) {
		s[i] = ask_lock(f, LK_SHARED, "job");
		in_queue(s[i]);
	}
	let_go(x);
	for (i = 0; i < 4; i++) {
		granted(s[i]);
		assert_int_equal(s[i]->hold->token, token);
		assert_true(i == 0 || s[i]->order > s[i - 1]->order);
	}
	granted(ask_try(f, LK_SHARED, "job"));
	assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, "job")), -EAGAIN);
}

/* x s s x s, behind an exclusive holder: three batches. */
static void test_batches(void **state)
{
	static const enum lk_mode modes[] = { LK_SHARED, LK_SHARED, LK_EXCLUSIVE, LK_SHARED };
	struct fixture *f = *state;
	struct ask *x = ask_lock(f, LK_EXCLUSIVE, "job"), *a[4];
	int i;

	granted(x);
	for (i = 0; i < 4; i++) {
		a[i] = ask_lock(f, modes[i], "job");
		in_queue(a[i]);
	}
	let_go(x);
	granted(a[0]);
	granted(a[1]);
	settle(f);
	still_waits(a[2]);
	let_go(a[1]);
	settle(f);
	still_waits(a[2]);
	let_go(a[0]);
	granted(a[2]);
	settle(f);
	still_waits(a[3]);
	let_go(a[2]);
	granted(a[3]);
}

/* Readers that keep coming do not overtake a writer. */
static void test_writer_not_starved(void **state)
{
	struct fixture *f = *state;
	struct ask *r = ask_lock(f, LK_SHARED, "job"), *w, *later[3];
	int i;

	granted(r);
	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	assert_int_equal(answer(ask_try(f, LK_SHARED, "job")), -EAGAIN);
	for (i = 0; i < 3; i++) {
		later[i] = ask_lock(f, LK_SHARED, "job");
		in_queue(later[i]);
	}
	settle(f);
	for (i = 0; i < 3; i++)
		still_waits(later[i]);
	let_go(r);
	granted(w);
	settle(f);
	for (i = 0; i < 3; i++)
		still_waits(later[i]);
	let_go(w);
	for (i = 0; i < 3; i++)
		granted(later[i]);
}

static void test_names_are_apart(void **state)
{
	struct fixture *f = *state;

	granted(ask_lock(f, LK_EXCLUSIVE, "a"));
	granted(ask_lock(f, LK_EXCLUSIVE, "b"));
	granted(ask_lock(f, LK_EXCLUSIVE, "ab"));
	granted(ask_slots(f, "a", 0, 1, true)); /* a semaphore of that name is something else */
	assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, "a")), -EAGAIN);
}

static void test_odd_names(void **state)
{
	static const char *const names[] = { "a b", "%41", "{x}", "x:y",     "\xff\xfe",
					     "..x", "-",   "*?[", "x'\"\\$", "\xc3\xa4" };
	struct fixture *f = *state;
	char longest[256];
	struct ask *a;
	size_t i;

	memset(longest, 'n', 255);
	longest[255] = '\0';
	for (i = 0; i <= sizeof(names) / sizeof(names[0]); i++) {
		const char *name = i < sizeof(names) / sizeof(names[0]) ? names[i] : longest;

		if (*name == '.') { /* hidden names are none */
			assert_int_equal(answer(ask_lock(f, LK_EXCLUSIVE, name)), -ENOENT);
			continue;
		}
		a = ask_lock(f, LK_EXCLUSIVE, name);
		granted(a);
		assert_int_equal(put(a, name, 0), strlen(name));
		assert_int_equal(view_of(f->b, f, LK_LOCK, name)->n_holders, 1);
		assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, name)), -EAGAIN);
		let_go(a);
		a = ask_lock(f, LK_SHARED, name);
		granted(a);
		value_is(a, name);
	}
}

static void test_bad_names(void **state)
{
	static const struct {
		const char *name;
		int err;
	} bad[] = { { "", -ENOENT },	 { ".", -ENOENT },     { "..", -ENOENT },   { ".hidden", -ENOENT },
		    { "/a", -ENOENT },	 { "a/", -ENOENT },    { "a//b", -ENOENT }, { "a/../b", -ENOENT },
		    { "a\nb", -ENOENT }, { "a\x7f", -ENOENT }, { "a/.b", -ENOENT }, { "no/such", -ENOENT } };
	struct fixture *f = *state;
	char name[LK_NAME_MAX + 2];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(answer(ask_lock(f, LK_EXCLUSIVE, bad[i].name)), bad[i].err);
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(answer(ask_lock(f, LK_EXCLUSIVE, name)), -ENAMETOOLONG);
	name[256] = 'n';
	for (i = 100; i < sizeof(name); i += 100)
		name[i] = '/';
	name[LK_NAME_MAX + 1] = '\0';
	assert_int_equal(answer(ask_lock(f, LK_EXCLUSIVE, name)), -ENAMETOOLONG);
	granted(ask_lock(f, LK_EXCLUSIVE, "job"));
}

static void test_max_waiters(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *w[2], *over;
	uint64_t limit;
	int i;

	f->config.max_waiters = 2;
	fixture_reopen(f);
	limit = lk_counters(f->b)->refused[LK_R_LIMIT];
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	granted(ask_lock(f, LK_EXCLUSIVE, "other"));
	w[0] = ask_lock(f, LK_EXCLUSIVE, "job");
	w[1] = ask_lock(f, LK_SHARED, "other");
	for (i = 0; i < 2; i++)
		in_queue(w[i]);
	over = ask_lock(f, LK_SHARED, "job");
	assert_int_equal(answer(over), -ENOLCK);
	assert_int_equal(over->queued, 0);
	assert_int_equal(lk_counters(f->b)->refused[LK_R_LIMIT], limit + 1);
	/* What need not wait is not limited. */
	granted(ask_lock(f, LK_EXCLUSIVE, "free"));
	assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, "job")), -EAGAIN);
	give_up(w[1], -EINTR);
	w[1] = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w[1]);
	let_go(a);
	granted(w[0]);
}

static void test_contended(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w, *v;

	granted(a);
	assert_false(a->hold->contended);
	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	while (!a->hold->contended)
		turn(f);
	assert_int_equal(a->told, 1);
	v = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(v);
	settle(f);
	assert_true(a->hold->contended);
	assert_int_equal(a->told, 1);
	give_up(v, -EINTR);
	give_up(w, -EINTR);
	while (a->hold->contended)
		turn(f);
	assert_int_equal(a->told, 2);
	w = ask_lock(f, LK_SHARED, "job");
	in_queue(w);
	while (!a->hold->contended)
		turn(f);
	assert_int_equal(a->told, 3);
}

/* The next holder finds the rest of the queue behind it. */
static void test_contended_from_the_start(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w, *v;

	granted(a);
	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	v = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(v);
	let_go(a);
	granted(w);
	while (!w->hold->contended)
		turn(f);
	let_go(w);
	granted(v);
	settle(f);
	assert_false(v->hold->contended);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_grant),
	CONTRACT_TEST(test_try),
	CONTRACT_TEST(test_free_at_once),
	CONTRACT_TEST(test_first_come_first_served),
	CONTRACT_TEST(test_shared_together),
	CONTRACT_TEST(test_batches),
	CONTRACT_TEST(test_writer_not_starved),
	CONTRACT_TEST(test_names_are_apart),
	CONTRACT_TEST(test_odd_names),
	CONTRACT_TEST(test_bad_names),
	CONTRACT_TEST(test_max_waiters),
	CONTRACT_TEST(test_contended),
	CONTRACT_TEST(test_contended_from_the_start),
};

const struct test_list acquire_list = TEST_LIST(tests);
