/* Namespaces. */
#include "tests/contract/suite.h"

#include <unistd.h>

static void with_value(struct fixture *f, const char *name, const char *value)
{
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, name);

	granted(a);
	assert_int_equal(put(a, value, 0), strlen(value));
	let_go(a);
	settle(f);
}

static void test_make(void **state)
{
	struct fixture *f = *state;
	struct lk_stat st;

	assert_int_equal(ns_make(f, "ops", 0750), 0);
	assert_int_equal(ns_make(f, "ops", 0755), -EEXIST);
	assert_int_equal(ns_make(f, "ops/eu", 0700), 0);
	assert_int_equal(ns_make(f, "none/eu", 0755), -ENOENT);
	assert_int_equal(ns_make(f, ".ops", 0755), -ENOENT);
	assert_int_equal(ns_make(f, "ops/../x", 0755), -ENOENT);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "ops", &st), 0);
	assert_int_equal(st.type, LK_T_NAMESPACE);
	assert_int_equal(st.perm, 0750);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "ops/eu", &st), 0);
	assert_int_equal(st.perm, 0700);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "ops/free", &st), 0);
	assert_int_equal(st.type, LK_T_NONE);
	assert_string_equal(list_of(f->b, f, LK_LOCK, "ops"), "eu/ ");
	fixture_reopen(f);
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "ops/ ");
	assert_string_equal(list_of(f->b, f, LK_LOCK, "ops"), "eu/ ");
}

static void test_a_lock_is_there(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job");

	granted(a);
	assert_int_equal(ns_make(f, "job", 0755), -EEXIST);
	assert_false(a->hold->lost);
	let_go(a);
	with_value(f, "job", "text");
	assert_int_equal(ns_make(f, "job", 0755), -EEXIST);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	value_is(a, "text");
	assert_int_equal(removed(a), 0);
	let_go(a);
	settle(f);
	assert_int_equal(ns_make(f, "job", 0755), 0); /* only a free name now */
}

/* A namespace is no lock. */
static void test_cannot_be_locked(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ns_make(f, "ops", 0755), 0);
	assert_int_equal(answer(ask_lock(f, LK_EXCLUSIVE, "ops")), -EISDIR);
	assert_int_equal(answer(ask_try(f, LK_SHARED, "ops")), -EISDIR);
	granted(ask_lock(f, LK_EXCLUSIVE, "ops/job"));
	granted(ask_lock(f, LK_EXCLUSIVE, "job"));
}

static void test_remove(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *w;

	assert_int_equal(ns_remove(f, "ops"), -ENOENT);
	assert_int_equal(ns_make(f, "ops", 0755), 0);
	assert_int_equal(ns_make(f, "ops/eu", 0755), 0);
	assert_int_equal(ns_remove(f, "ops"), -ENOTEMPTY);
	assert_int_equal(ns_remove(f, "ops/eu"), 0);
	a = ask_lock(f, LK_EXCLUSIVE, "ops/job");
	granted(a);
	w = ask_lock(f, LK_EXCLUSIVE, "ops/job");
	in_queue(w);
	assert_int_equal(ns_remove(f, "ops"), -ENOTEMPTY);
	settle(f);
	assert_false(a->hold->lost);
	still_waits(w);
	let_go(a);
	granted(w);
	assert_int_equal(put(w, "x", 0), 1);
	let_go(w);
	settle(f);
	assert_int_equal(ns_remove(f, "ops"), -ENOTEMPTY); /* a value */
	a = ask_lock(f, LK_EXCLUSIVE, "ops/job");
	granted(a);
	assert_int_equal(removed(a), 0);
	let_go(a);
	settle(f);
	assert_int_equal(ns_remove(f, "ops"), 0);
	assert_int_equal(ns_remove(f, "ops"), -ENOENT);
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "");
	granted(ask_lock(f, LK_EXCLUSIVE, "ops")); /* a name like any other again */
}

static void test_rename(void **state)
{
	struct fixture *f = *state;
	struct ask *a;

	assert_int_equal(ns_rename(f, "ops", "dev"), -ENOENT);
	assert_int_equal(ns_make(f, "ops", 0755), 0);
	assert_int_equal(ns_make(f, "ops/eu", 0755), 0);
	with_value(f, "ops/eu/job", "text");
	assert_int_equal(ns_rename(f, "ops", "dev"), 0);
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "dev/ ");
	assert_string_equal(list_of(f->b, f, LK_LOCK, "dev/eu"), "job ");
	assert_string_equal(list_of(f->b, f, LK_LOCK, "ops"), "errno 2");
	a = ask_lock(f, LK_EXCLUSIVE, "dev/eu/job");
	granted(a);
	value_is(a, "text");
	assert_int_equal(answer(ask_lock(f, LK_EXCLUSIVE, "ops/job")), -ENOENT);
	let_go(a);
	settle(f);
	assert_int_equal(ns_rename(f, "dev/eu", "us"), 0);
	assert_string_equal(list_of(f->b, f, LK_LOCK, "us"), "job ");
	assert_string_equal(list_of(f->b, f, LK_LOCK, "dev"), "");
}

static void test_rename_onto(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ns_make(f, "ops", 0755), 0);
	assert_int_equal(ns_make(f, "dev", 0755), 0);
	with_value(f, "ops/job", "1");
	with_value(f, "dev/job", "2");
	assert_int_equal(ns_rename(f, "ops", "dev"), -ENOTEMPTY);
	assert_int_equal(ns_rename(f, "ops", "ops/eu"), -EINVAL);
	assert_int_equal(ns_rename(f, "ops", "none/eu"), -ENOENT);
	assert_int_equal(ns_make(f, "empty", 0755), 0);
	assert_int_equal(ns_rename(f, "ops", "empty"), 0);
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "dev/ empty/ ");
	assert_string_equal(list_of(f->b, f, LK_LOCK, "empty"), "job ");
}

static void test_rename_in_use(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *w;

	assert_int_equal(ns_make(f, "ops", 0755), 0);
	assert_int_equal(ns_make(f, "ops/eu", 0755), 0);
	a = ask_lock(f, LK_EXCLUSIVE, "ops/eu/job");
	granted(a);
	assert_int_equal(ns_rename(f, "ops", "dev"), -EBUSY);
	w = ask_lock(f, LK_EXCLUSIVE, "ops/eu/job");
	in_queue(w);
	assert_int_equal(ns_rename(f, "ops/eu", "eu"), -EBUSY);
	settle(f);
	assert_false(a->hold->lost);
	let_go(a);
	granted(w);
	let_go(w);
	settle(f);
	assert_int_equal(ns_rename(f, "ops", "dev"), 0);
}

static void test_chmod(void **state)
{
	struct fixture *f = *state;
	struct lk_stat st;

	assert_int_equal(ns_chmod(f, "ops", 0700, (uid_t)-1, (gid_t)-1), -ENOENT);
	assert_int_equal(ns_make(f, "ops", 0755), 0);
	assert_int_equal(ns_chmod(f, "ops", 0711, (uid_t)-1, (gid_t)-1), 0);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "ops", &st), 0);
	assert_int_equal(st.perm, 0711);
	if (geteuid() != 0)
		return; /* only root gives folders away */
	assert_int_equal(ns_chmod(f, "ops", (mode_t)-1, 33, (gid_t)-1), 0);
	assert_int_equal(ns_chmod(f, "ops", (mode_t)-1, (uid_t)-1, 34), 0);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "ops", &st), 0);
	assert_int_equal(st.perm, 0711);
	assert_int_equal(st.uid, 33);
	assert_int_equal(st.gid, 34);
	fixture_reopen(f);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "ops", &st), 0);
	assert_int_equal(st.uid, 33);
}

static void test_sync(void **state)
{
	struct fixture *f = *state;
	int err = ns_sync(f, "");

	if (err == -ENOSYS)
		return;
	assert_int_equal(err, 0);
	assert_int_equal(ns_sync(f, "ops"), -ENOENT);
	assert_int_equal(ns_make(f, "ops", 0755), 0);
	with_value(f, "ops/job", "text");
	assert_int_equal(ns_sync(f, "ops"), 0);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_make),	   CONTRACT_TEST(test_a_lock_is_there), CONTRACT_TEST(test_cannot_be_locked),
	CONTRACT_TEST(test_remove),	   CONTRACT_TEST(test_rename),		CONTRACT_TEST(test_rename_onto),
	CONTRACT_TEST(test_rename_in_use), CONTRACT_TEST(test_chmod),		CONTRACT_TEST(test_sync),
};

const struct test_list ns_list = TEST_LIST(tests);
