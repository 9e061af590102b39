/* lk_destroy with everything under way: no callback any more, and nothing left
 * behind (the sanitizers and valgrind see to that). */
#include "tests/contract/ranges.h"

#include <uv.h>

static unsigned late; /* callbacks after lk_destroy */

static void never_done(void *arg, int err)
{
	(void)arg;
	(void)err;
	late++;
}

static void never_io(void *arg, ssize_t n, const void *data)
{
	(void)data;
	never_done(arg, (int)n);
}

static void never_view(void *arg, int err, const struct lk_view *view)
{
	(void)view;
	never_done(arg, err);
}

static void never_stat(void *arg, int err, const struct lk_stat *st)
{
	(void)st;
	never_done(arg, err);
}

static void never_list(void *arg, int err, const struct lk_list *list)
{
	(void)list;
	never_done(arg, err);
}

/* Destroys, and lets the loop and the worker threads say whatever they still have to. */
static void destroy(struct fixture *f)
{
	late = 0;
	fixture_destroy(f);
	while (uv_run(pl_loop_uv(f->loop), UV_RUN_NOWAIT) && f->loop->tasks)
		;
	pl_loop_free(f->loop);
	f->loop = NULL;
	assert_int_equal(late, 0);
}

static void test_nothing_under_way(void **state)
{
	destroy(*state);
}

static void test_holds_and_waits(void **state)
{
	struct fixture *f = *state;
	struct ask *w[3];
	int i;

	granted(ask_lock(f, LK_EXCLUSIVE, "job"));
	granted(ask_lock(f, LK_SHARED, "shared"));
	granted(ask_slots(f, "pool", 0, 3, false));
	for (i = 0; i < 3; i++) {
		w[i] = ask_lock(f, LK_EXCLUSIVE, i ? "job" : "shared");
		in_queue(w[i]);
	}
	destroy(f);
	for (i = 0; i < 3; i++)
		assert_int_equal(w[i]->calls, 0);
}

static void test_grants_under_way(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *w, *v, *fresh;

	granted(a);
	w = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(w);
	v = ask_lock(f, LK_EXCLUSIVE, "job");
	in_queue(v);
	let_go(a);
	lk_cancel(f->b, &v->req, -EINTR);
	fresh = ask_lock(f, LK_EXCLUSIVE, "fresh");
	assert_int_equal(fresh->calls, 0);
	destroy(f);
	assert_int_equal(w->calls, 0);
	assert_int_equal(v->calls, 0);
	assert_int_equal(fresh->calls, 0);
}

static void test_refusal_under_way(void **state)
{
	struct fixture *f = *state;
	struct ask *t;

	granted(ask_lock(f, LK_EXCLUSIVE, "job"));
	t = ask_try(f, LK_EXCLUSIVE, "job");
	destroy(f);
	assert_int_equal(t->calls, 0);
}

static void test_conversion_under_way(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_SHARED, "job"), *b = ask_lock(f, LK_SHARED, "other"), *ca, *cb;

	granted(a);
	granted(b);
	granted(ask_lock(f, LK_SHARED, "other"));
	ca = ask_convert(a, LK_EXCLUSIVE, false);
	cb = ask_convert(b, LK_EXCLUSIVE, false);
	destroy(f);
	assert_int_equal(ca->calls, 0);
	assert_int_equal(cb->calls, 0);
}

static void test_values_under_way(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job");

	granted(a);
	assert_int_equal(lk_write(f->b, a->hold, "text", 4, 0, never_io, NULL), 0);
	assert_int_equal(lk_read(f->b, a->hold, 4, 0, never_io, NULL), 0);
	assert_int_equal(lk_truncate(f->b, a->hold, 0, never_done, NULL), 0);
	destroy(f);
}

static void test_sync_under_way(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *b = ask_lock(f, LK_EXCLUSIVE, "other");

	granted(a);
	granted(b);
	assert_int_equal(put(a, "text", 0), 4);
	assert_int_equal(put(b, "text", 0), 4);
	assert_int_equal(lk_sync(f->b, a->hold, never_done, NULL), 0);
	assert_int_equal(lk_sync(f->b, b->hold, never_done, NULL), 0);
	let_go(b);
	destroy(f);
}

static void test_rename_under_way(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *b = ask_lock(f, LK_EXCLUSIVE, "other");

	granted(a);
	granted(b);
	assert_int_equal(put(a, "text", 0), 4);
	assert_int_equal(lk_rename(f->b, a->hold, b->hold, never_done, NULL), 0);
	destroy(f);
}

static void test_questions_under_way(void **state)
{
	struct fixture *f = *state;

	granted(ask_lock(f, LK_EXCLUSIVE, "job"));
	assert_int_equal(lk_view(f->b, LK_LOCK, "job", never_view, NULL), 0);
	assert_int_equal(lk_view(f->b, LK_SEM, NULL, never_view, NULL), 0);
	assert_int_equal(lk_stat(f->b, LK_LOCK, "job", LK_STAT_FULL, never_stat, NULL), 0);
	assert_int_equal(lk_stat(f->b, LK_LOCK, "free", LK_STAT_FULL, never_stat, NULL), 0);
	assert_int_equal(lk_list(f->b, LK_LOCK, "", never_list, NULL), 0);
	destroy(f);
}

static void test_namespaces_under_way(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(lk_ns_make(f->b, "ops", 0755, 0, 0, never_done, NULL), 0);
	destroy(f);
}

/* With another mount to ask. */
static void test_questions_to_others(void **state)
{
	struct fixture *f = *state;
	struct lk_backend *other = fixture_other(f);
	struct ask *a = ask_new(f, other, LK_LOCK, LK_EXCLUSIVE, "job");
	const char *id;

	granted(ask_go(a));
	id = view_of(f->b, f, LK_LOCK, "job")->holders[0].id;
	assert_int_equal(lk_view(f->b, LK_LOCK, "job", never_view, NULL), 0);
	assert_int_equal(lk_stat(f->b, LK_LOCK, "job", LK_STAT_FULL, never_stat, NULL), 0);
	assert_int_equal(lk_list(f->b, LK_LOCK, "", never_list, NULL), 0);
	assert_int_equal(lk_break(f->b, id, never_done, NULL), 0);
	destroy(f);
}

/* The hold is lost, its on_lost on the way. */
static void test_loss_under_way(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job"), *b = ask_lock(f, LK_EXCLUSIVE, "other");
	const char *id;

	granted(a);
	granted(b);
	break_it(b); /* told, and not released */
	id = view_of(f->b, f, LK_LOCK, "job")->holders[0].id;
	assert_int_equal(lk_break(f->b, id, never_done, NULL), 0);
	destroy(f);
	assert_int_equal(a->lost, 0);
}

static void never_open(void *arg, int err, struct lk_file *file)
{
	(void)file;
	never_done(arg, err);
}

static void never_file_stat(void *arg, int err, const struct lk_file_stat *st)
{
	(void)st;
	never_done(arg, err);
}

static void never_test(void *arg, int err, const struct ranges_lock *conflict)
{
	(void)conflict;
	never_done(arg, err);
}

/* Open files too are the backend's to free. */
static void test_files_under_way(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "job"), p = made(f->b, f, "other");
	const struct lk_file_attr attr = { .perm = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1 };

	assert_int_equal(name_unlink(f->b, f, "other"), 0);
	assert_int_equal(file_put(&p, "text", 0), 4);
	assert_int_equal(lk_file_open(f->b, "job", O_RDWR, 0, 0, 0, never_open, NULL), 0);
	assert_int_equal(lk_file_open(f->b, "new", O_RDWR | O_CREAT, 0600, 0, 0, never_open, NULL), 0);
	assert_int_equal(lk_file_open(f->b, "none", O_RDWR, 0, 0, 0, never_open, NULL), 0);
	assert_int_equal(lk_file_stat(f->b, "job", never_file_stat, NULL), 0);
	assert_int_equal(lk_file_fstat(f->b, o.file, never_file_stat, NULL), 0);
	assert_int_equal(lk_file_write(f->b, o.file, "text", 4, 0, never_io, NULL), 0);
	assert_int_equal(lk_file_read(f->b, o.file, 4, 0, never_io, NULL), 0);
	assert_int_equal(lk_file_setattr(f->b, o.file, NULL, &attr, never_done, NULL), 0);
	assert_int_equal(lk_file_truncate(f->b, o.file, 1, never_done, NULL), 0);
	assert_int_equal(lk_file_sync(f->b, o.file, never_done, NULL), 0);
	assert_int_equal(lk_file_list(f->b, "", never_list, NULL), 0);
	destroy(f);
}

static void test_file_names_under_way(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "a");

	file_close(&o);
	assert_int_equal(lk_file_link(f->b, "a", "b", never_done, NULL), 0);
	assert_int_equal(lk_file_symlink(f->b, "a", "c", 0, 0, never_done, NULL), 0);
	assert_int_equal(lk_file_readlink(f->b, "c", never_io, NULL), 0);
	assert_int_equal(lk_file_rename(f->b, "b", "d", 0, never_done, NULL), 0);
	assert_int_equal(lk_file_unlink(f->b, "a", never_done, NULL), 0);
	destroy(f);
}

static void test_ranges_under_way(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "a");
	const struct ranges_lock want = { .who.owner = 2, .start = 0, .end = 9, .mode = X };
	struct range_ask *w[4];
	int i;

	assert_int_equal(range_try(&o, 1, X, 0, 9), 0);
	w[0] = range_wait(&o, 2, X, 0, 9);
	w[1] = range_wait(&o, 3, S, 5, 9);
	range_still_waits(w[0]);
	assert_int_equal(lk_range_test(f->b, o.file, &want, never_test, NULL), 0);
	w[2] = range_ask(&o, 4, X, 20, 29, false, 0);
	range_cancel(w[1], -EINTR);
	w[3] = range_ask(&o, 1, NONE, 0, 9, false, 0);
	assert_int_equal(lk_range_drop(f->b, o.file, 1, never_done, NULL), 0);
	destroy(f);
	for (i = 0; i < 4; i++)
		assert_int_equal(w[i]->calls, 0);
}

static void test_flock_under_way(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "a");
	struct ask *a = ask_flock(&o, LK_SHARED), *w, *v;

	granted(a);
	w = ask_flock(&o, LK_EXCLUSIVE);
	in_queue(w);
	assert_int_equal(name_unlink(f->b, f, "a"), 0);
	let_go(a);
	v = ask_flock(&o, LK_SHARED);
	destroy(f);
	assert_int_equal(w->calls, 0);
	assert_int_equal(v->calls, 0);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_nothing_under_way),	  CONTRACT_TEST(test_holds_and_waits),
	CONTRACT_TEST(test_grants_under_way),	  CONTRACT_TEST(test_refusal_under_way),
	CONTRACT_TEST(test_conversion_under_way), CONTRACT_TEST(test_values_under_way),
	CONTRACT_TEST(test_sync_under_way),	  CONTRACT_TEST(test_rename_under_way),
	CONTRACT_TEST(test_questions_under_way),  CONTRACT_TEST(test_namespaces_under_way),
	CONTRACT_TEST(test_questions_to_others),  CONTRACT_TEST(test_loss_under_way),
	CONTRACT_TEST(test_files_under_way),	  CONTRACT_TEST(test_file_names_under_way),
	CONTRACT_TEST(test_ranges_under_way),	  CONTRACT_TEST(test_flock_under_way),
};

const struct test_list destroy_list = TEST_LIST(tests);
