/* flock(2) of files/NAME: the lock of locks/NAME while the file has the name
 * it was made with, and of the inode wherever that goes.
 */
#include "tests/contract/files.h"

#include <stdio.h>

static void test_modes(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "job"), p = opened(f->b, f, "job");
	struct ask *a = ask_flock(&o, LK_SHARED), *b = ask_flock_try(&p, LK_SHARED), *w;

	granted(a);
	granted(b);
	assert_int_equal(answer(ask_flock_try(&o, LK_EXCLUSIVE)), -EAGAIN);
	w = ask_flock(&p, LK_EXCLUSIVE);
	in_queue(w);
	assert_int_equal(answer(ask_flock_try(&o, LK_SHARED)), -EAGAIN); /* behind the one who waits */
	let_go(a);
	settle(f);
	still_waits(w);
	let_go(b);
	granted(w);
	assert_int_equal(answer(ask_flock_try(&o, LK_SHARED)), -EAGAIN);
	let_go(w);
	granted(ask_flock_try(&o, LK_EXCLUSIVE));
}

static void excludes(struct fixture *f, struct lk_backend *b)
{
	struct opened o = made(f->b, f, "job"), p = opened(b, f, "job");
	struct ask *a = ask_flock(&o, LK_EXCLUSIVE), *w;
	uint64_t token = granted(a)->token;

	/* The file is locked: the lock is. */
	assert_int_equal(answer(ask_on(b, f, LK_EXCLUSIVE, "job", true)), -EAGAIN);
	assert_int_equal(answer(ask_on(b, f, LK_SHARED, "job", true)), -EAGAIN);
	assert_int_equal(answer(ask_flock_try(&p, LK_SHARED)), -EAGAIN);
	w = ask_on(b, f, LK_EXCLUSIVE, "job", false);
	in_queue(w);
	assert_int_equal(file_put(&o, "data", 0), 4);
	let_go(a);
	assert_true(granted(w)->token > token);
	value_is(w, "data");
	/* And the other way round. */
	token = w->hold->token;
	assert_int_equal(answer(ask_flock_try(&o, LK_EXCLUSIVE)), -EAGAIN);
	assert_int_equal(answer(ask_flock_try(&o, LK_SHARED)), -EAGAIN);
	a = ask_flock(&o, LK_EXCLUSIVE);
	in_queue(a);
	assert_int_equal(put(w, "more", 0), 4);
	let_go(w);
	assert_true(granted(a)->token > token);
	file_is(&o, "more");
	let_go(a);
	/* Shared with shared. */
	a = ask_flock(&o, LK_SHARED);
	granted(a);
	granted(ask_flock(&p, LK_SHARED));
	granted(ask_on(b, f, LK_SHARED, "job", false));
	assert_int_equal(answer(ask_flock_try(&p, LK_EXCLUSIVE)), -EAGAIN);
	assert_int_equal(answer(ask_on(b, f, LK_EXCLUSIVE, "job", true)), -EAGAIN);
}

static void test_is_the_lock(void **state)
{
	struct fixture *f = *state;

	excludes(f, f->b);
}

static void test_is_the_lock_there(void **state)
{
	struct fixture *f = *state;

	excludes(f, fixture_other(f));
}

/* A lock that was held before there was a file, and a file in a folder. */
static void test_lock_before_file(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *w;
	struct opened o;

	assert_int_equal(ns_make(f, "ops", 0755), 0);
	a = ask_lock(f, LK_EXCLUSIVE, "ops/job");
	granted(a);
	o = made(f->b, f, "ops/job");
	assert_int_equal(answer(ask_flock_try(&o, LK_EXCLUSIVE)), -EAGAIN);
	w = ask_flock(&o, LK_EXCLUSIVE);
	in_queue(w);
	assert_int_equal(put(a, "x", 0), 1);
	file_is(&o, "x");
	let_go(a);
	granted(w);
	assert_int_equal(answer(ask_try(f, LK_EXCLUSIVE, "ops/job")), -EAGAIN);
}

static void test_in_view(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "job");
	struct ask *a = ask_flock(&o, LK_EXCLUSIVE), *w;
	const struct seen *s;

	granted(a);
	w = ask_flock(&o, LK_EXCLUSIVE);
	in_queue(w);
	s = view_of(f->b, f, LK_LOCK, "job");
	assert_int_equal(s->n_holders, 1);
	assert_int_equal(s->n_waiters, 1);
	assert_int_equal(s->holders[0].owner.pid, a->req.owner.pid);
	assert_int_equal(s->waiters[0].owner.pid, w->req.owner.pid);
	assert_int_equal(s->holders[0].token, a->hold->token);
	give_up(w, -EINTR);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_waiters, 0);
	let_go(a);
	settle(f);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_holders, 0);
}

static void test_first_come(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "job");
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w[6];
	unsigned i;

	granted(a);
	for (i = 0; i < 6; i++) {
		enum lk_mode mode = i == 3 || i == 4 ? LK_SHARED : LK_EXCLUSIVE;

		w[i] = i % 2 ? ask_lock(f, mode, "job") : ask_flock(&o, mode);
		in_queue(w[i]);
	}
	give_up(w[1], -EINTR);
	let_go(a);
	granted(w[0]);
	settle(f);
	still_waits(w[2]);
	let_go(w[0]);
	granted(w[2]);
	settle(f);
	still_waits(w[3]);
	let_go(w[2]);
	granted(w[3]);
	granted(w[4]);
	let_go(w[3]);
	settle(f);
	still_waits(w[5]);
	let_go(w[4]);
	granted(w[5]);
}

static void test_convert(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "job"), p = opened(f->b, f, "job");
	struct ask *a = ask_flock(&o, LK_SHARED), *b = ask_flock(&p, LK_SHARED), *c;

	granted(a);
	granted(b);
	c = ask_convert(a, LK_EXCLUSIVE, true);
	assert_int_equal(answer(c), -EAGAIN);
	assert_false(a->hold->lost);
	c = ask_convert(a, LK_EXCLUSIVE, false);
	in_queue(c);
	assert_int_equal(c->gave_up, 1);
	let_go(b);
	granted(c);
	assert_int_equal(answer(ask_try(f, LK_SHARED, "job")), -EAGAIN);
	a = ask_convert(c, LK_SHARED, false);
	granted(a);
	c = ask_try(f, LK_SHARED, "job");
	granted(c);
	assert_int_equal(answer(ask_convert(a, LK_EXCLUSIVE, true)), -EAGAIN);
	let_go(c);
	settle(f);
	c = ask_convert(a, LK_EXCLUSIVE, true);
	granted(c);
	let_go(c);
	granted(ask_try(f, LK_EXCLUSIVE, "job"));
}

/* The inode keeps its lock, the name gets another. */
static void unlinked(struct fixture *f, struct lk_backend *b)
{
	struct opened o = made(f->b, f, "job"), p = opened(f->b, f, "job"), q = opened(b, f, "job"), fresh;
	struct ask *a = ask_flock(&o, LK_EXCLUSIVE), *w, *v, *n, *l;
	uint64_t token = granted(a)->token;

	w = ask_flock(&p, LK_EXCLUSIVE);
	in_queue(w);
	assert_int_equal(name_unlink(b, f, "job"), 0);
	fresh = made(b, f, "job");
	n = ask_flock_try(&fresh, LK_EXCLUSIVE);
	assert_true(granted(n)->token > token);
	assert_int_equal(answer(ask_flock_try(&q, LK_SHARED)), -EAGAIN);
	v = ask_flock(&q, LK_SHARED);
	settle(f);
	still_waits(w);
	assert_int_equal(v->calls, 0);
	/* locks/NAME is the new one. */
	assert_int_equal(answer(ask_try(f, LK_SHARED, "job")), -EAGAIN);
	token = n->hold->token;
	l = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(l);
	let_go(n);
	assert_true(granted(l)->token > token);
	assert_false(a->hold->lost);
	let_go(a);
	granted(w);
	assert_int_equal(file_put(&p, "nameless", 0), 8);
	let_go(w);
	granted(v);
	let_go(v);
	file_close(&p);
	file_is(&o, "nameless");
	value_is(l, "");
	granted(ask_flock_try(&o, LK_EXCLUSIVE));
}

static void test_unlinked(void **state)
{
	struct fixture *f = *state;

	unlinked(f, f->b);
}

static void test_unlinked_there(void **state)
{
	struct fixture *f = *state;

	unlinked(f, fixture_other(f));
}

static void moved_away(struct fixture *f, struct lk_backend *b)
{
	struct opened o = made(f->b, f, "job"), p, fresh;
	struct ask *a = ask_flock(&o, LK_EXCLUSIVE), *w;

	granted(a);
	assert_int_equal(name_rename(b, f, "job", "old", 0), 0);
	fresh = made(b, f, "job");
	granted(ask_flock_try(&fresh, LK_EXCLUSIVE));
	p = opened(b, f, "old");
	assert_int_equal(answer(ask_flock_try(&p, LK_SHARED)), -EAGAIN);
	w = ask_flock(&p, LK_SHARED);
	settle(f);
	assert_int_equal(w->calls, 0);
	assert_false(a->hold->lost);
	/* A new one comes over it: still the same. */
	assert_int_equal(name_rename(b, f, "job", "old", 0), 0);
	assert_int_equal(answer(ask_flock_try(&p, LK_SHARED)), -EAGAIN);
	let_go(a);
	granted(w);
	assert_int_equal(answer(ask_flock_try(&o, LK_EXCLUSIVE)), -EAGAIN);
	assert_int_equal(file_fstat(&o).nlink, 0);
}

static void test_renamed(void **state)
{
	struct fixture *f = *state;

	moved_away(f, f->b);
}

static void test_renamed_there(void **state)
{
	struct fixture *f = *state;

	moved_away(f, fixture_other(f));
}

static void test_two_names(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "a"), p;
	struct ask *a;

	assert_int_equal(name_link(f->b, f, "a", "b"), 0);
	p = opened(f->b, f, "b");
	a = ask_flock(&o, LK_EXCLUSIVE);
	granted(a);
	assert_int_equal(answer(ask_flock_try(&p, LK_EXCLUSIVE)), -EAGAIN);
	assert_int_equal(name_unlink(f->b, f, "a"), 0);
	assert_int_equal(answer(ask_flock_try(&p, LK_EXCLUSIVE)), -EAGAIN);
	let_go(a);
	granted(ask_flock_try(&p, LK_EXCLUSIVE));
	granted(ask_try(f, LK_EXCLUSIVE, "a"));
}

/* A hold of locks/NAME keeps the file where it is; a flock of the file does not. */
static void test_busy(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "job"), p = made(f->b, f, "new");
	struct ask *a = ask_lock(f, LK_SHARED, "job");

	granted(a);
	assert_int_equal(file_put(&p, "p", 0), 1);
	assert_int_equal(name_unlink(f->b, f, "job"), -EBUSY);
	assert_int_equal(name_rename(f->b, f, "job", "old", 0), -EBUSY);
	assert_int_equal(name_rename(f->b, f, "new", "job", 0), -EBUSY);
	assert_int_equal(file_fstat(&o).nlink, 1);
	assert_false(a->hold->lost);
	name_is(f->b, f, "job", "");
	let_go(a);
	settle(f);
	assert_int_equal(name_rename(f->b, f, "new", "job", 0), 0);
	name_is(f->b, f, "job", "p");
	granted(ask_flock(&p, LK_EXCLUSIVE));
	assert_int_equal(name_unlink(f->b, f, "job"), 0);
}

/* Who waits for the name gets the name's lock, not that of the inode it was. */
static void test_waiter_of_the_name(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "job"), fresh;
	struct ask *a = ask_flock(&o, LK_EXCLUSIVE), *w;

	granted(a);
	assert_int_equal(file_put(&o, "old", 0), 3);
	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	assert_int_equal(name_unlink(f->b, f, "job"), 0);
	let_go(a);
	granted(w);
	value_is(w, "");
	fresh = made(f->b, f, "job");
	assert_int_equal(answer(ask_flock_try(&fresh, LK_EXCLUSIVE)), -EAGAIN);
	granted(ask_flock_try(&o, LK_EXCLUSIVE));
	assert_false(w->hold->lost);
}

static void test_mount_goes_away(void **state)
{
	struct fixture *f = *state;
	struct lk_backend *other = fixture_other(f);
	struct opened o = made(f->b, f, "job"), p = opened(other, f, "job"), q = made(f->b, f, "gone"), r;
	struct ask *w, *v;

	r = opened(other, f, "gone");
	granted(ask_flock(&o, LK_EXCLUSIVE));
	granted(ask_flock(&q, LK_EXCLUSIVE));
	assert_int_equal(name_unlink(other, f, "gone"), 0);
	w = ask_flock(&p, LK_EXCLUSIVE);
	in_queue(w);
	v = ask_flock(&r, LK_EXCLUSIVE);
	in_queue(v);
	assert_int_equal(file_put(&r, "x", 0), 1);
	fixture_reopen(f);
	granted(w);
	granted(v);
	file_is(&r, "x");
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_modes),
	CONTRACT_TEST(test_is_the_lock),
	CONTRACT_TEST(test_is_the_lock_there),
	CONTRACT_TEST(test_lock_before_file),
	CONTRACT_TEST(test_in_view),
	CONTRACT_TEST(test_first_come),
	CONTRACT_TEST(test_convert),
	CONTRACT_TEST(test_unlinked),
	CONTRACT_TEST(test_unlinked_there),
	CONTRACT_TEST(test_renamed),
	CONTRACT_TEST(test_renamed_there),
	CONTRACT_TEST(test_two_names),
	CONTRACT_TEST(test_busy),
	CONTRACT_TEST(test_waiter_of_the_name),
	CONTRACT_TEST(test_mount_goes_away),
};

const struct test_list file_flock_list = TEST_LIST(tests);
