/* The value of a lock, through the hold. */
#include "tests/contract/suite.h"

#include <stdlib.h>

static struct ask *locked(struct fixture *f, enum lk_mode mode, const char *name)
{
	struct ask *a = ask_lock(f, mode, name);

	granted(a);
	return a;
}

static void test_write_and_read(void **state)
{
	struct fixture *f = *state;
	struct ask *a = locked(f, LK_EXCLUSIVE, "job");
	char out[32];

	value_is(a, "");
	assert_int_equal(put(a, "hello", 0), 5);
	value_is(a, "hello");
	assert_int_equal(put(a, "J", 0), 1);
	value_is(a, "Jello");
	assert_int_equal(put(a, "ified", 4), 5);
	value_is(a, "Jellified");
	assert_int_equal(put(a, "!", -1), 1); /* append */
	assert_int_equal(put(a, "?", -1), 1);
	value_is(a, "Jellified!?");
	assert_int_equal(get(a, out, 4, 2), 4);
	assert_string_equal(out, "llif");
	assert_int_equal(get(a, out, 20, 9), 2);
	assert_string_equal(out, "!?");
	assert_int_equal(get(a, out, 20, 11), 0); /* at the end, and past it */
	assert_int_equal(get(a, out, 20, 1000), 0);
	assert_int_equal(get(a, out, 20, INT64_MAX - 20), 0);
	assert_int_equal(put(a, "", 0), 0);
	value_is(a, "Jellified!?");
	assert_int_equal(synced(a), 0);
}

static void test_hole(void **state)
{
	struct fixture *f = *state;
	struct ask *a = locked(f, LK_EXCLUSIVE, "job");
	char out[16];

	assert_int_equal(put(a, "ab", 0), 2);
	assert_int_equal(put(a, "yz", 6), 2);
	assert_int_equal(get(a, out, 16, 0), 8);
	assert_memory_equal(out, "ab\0\0\0\0yz", 8);
}

static void test_truncate(void **state)
{
	struct fixture *f = *state;
	struct ask *a = locked(f, LK_EXCLUSIVE, "job");
	char out[16];

	assert_int_equal(put(a, "0123456789", 0), 10);
	assert_int_equal(cut(a, 4), 0);
	value_is(a, "0123");
	assert_int_equal(cut(a, 6), 0);
	assert_int_equal(get(a, out, 16, 0), 6);
	assert_memory_equal(out, "0123\0\0", 6);
	assert_int_equal(cut(a, 0), 0);
	value_is(a, "");
	assert_int_equal(put(a, "new", -1), 3);
	value_is(a, "new");
}

/* Past max_value: refused, and not a byte of it is written. */
static void test_too_big(void **state)
{
	struct fixture *f = *state;
	struct ask *a = locked(f, LK_EXCLUSIVE, "job");
	char *all = malloc(MAX_VALUE + 2), *out = malloc(MAX_VALUE + 1);

	assert_non_null(all);
	assert_non_null(out);
	memset(all, 'x', MAX_VALUE + 1);
	all[MAX_VALUE + 1] = '\0';
	assert_int_equal(put(a, "before", 0), 6);
	assert_int_equal(put(a, all, 0), -EFBIG);
	assert_int_equal(put(a, all + 1, 1), -EFBIG);
	assert_int_equal(put(a, all + 1, -1), -EFBIG);
	assert_int_equal(put(a, "z", MAX_VALUE), -EFBIG);
	assert_int_equal(put(a, "z", INT64_MAX - 1), -EFBIG);
	assert_int_equal(cut(a, MAX_VALUE + 1), -EFBIG);
	assert_int_equal(cut(a, UINT64_MAX), -EFBIG);
	value_is(a, "before");
	assert_int_equal(put(a, all + 1, 0), MAX_VALUE);
	assert_int_equal(get(a, out, MAX_VALUE, 0), MAX_VALUE);
	assert_memory_equal(out, all, MAX_VALUE);
	assert_int_equal(put(a, "z", -1), -EFBIG);
	assert_int_equal(put(a, "z", MAX_VALUE - 1), 1);
	assert_int_equal(cut(a, MAX_VALUE), 0);
	free(all);
	free(out);
}

static void test_shared_reads_only(void **state)
{
	struct fixture *f = *state;
	struct ask *a = locked(f, LK_EXCLUSIVE, "job");

	assert_int_equal(put(a, "text", 0), 4);
	let_go(a);
	a = locked(f, LK_SHARED, "job");
	assert_int_equal(put(a, "no", 0), -EACCES);
	assert_int_equal(put(a, "no", -1), -EACCES);
	assert_int_equal(cut(a, 0), -EACCES);
	value_is(a, "text");
	assert_int_equal(synced(a), 0);
	a = ask_convert(a, LK_EXCLUSIVE, false);
	granted(a);
	assert_int_equal(put(a, "n", 0), 1);
	a = ask_convert(a, LK_SHARED, false);
	granted(a);
	assert_int_equal(put(a, "m", 0), -EACCES);
	value_is(a, "next");
}

static void test_survives(void **state)
{
	struct fixture *f = *state;
	struct ask *a = locked(f, LK_EXCLUSIVE, "job");
	struct lk_stat st;

	assert_int_equal(put(a, "kept", 0), 4);
	let_go(a);
	a = locked(f, LK_EXCLUSIVE, "job");
	value_is(a, "kept");
	assert_int_equal(put(a, "!", -1), 1);
	let_go(a);
	fixture_reopen(f);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "job", &st), 0);
	assert_int_equal(st.type, LK_T_NAME);
	assert_int_equal(st.size, 5);
	assert_int_equal(st.holders, 0);
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "job ");
	value_is(locked(f, LK_SHARED, "job"), "kept!");
}

/* The callback of a call that was under way comes, whatever became of the hold. */
static unsigned io_calls;

static void count_io(void *arg, ssize_t n, const void *data)
{
	(void)arg;
	(void)data;
	assert_true(n == 3 || n == -ESTALE);
	io_calls++;
}

static void count_done(void *arg, int err)
{
	(void)arg;
	assert_true(err == 0 || err == -ESTALE);
	io_calls++;
}

static void test_released_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct ask *a = locked(f, LK_EXCLUSIVE, "job");
	unsigned want = 0;

	io_calls = 0;
	assert_int_equal(put(a, "abc", 0), 3);
	want += lk_write(f->b, a->hold, "xyz", 3, 0, count_io, NULL) == 0;
	want += lk_read(f->b, a->hold, 3, 0, count_io, NULL) == 0;
	want += lk_sync(f->b, a->hold, count_done, NULL) == 0;
	want += lk_truncate(f->b, a->hold, 3, count_done, NULL) == 0;
	assert_int_equal(want, 4);
	assert_int_equal(io_calls, 0);
	let_go(a);
	while (io_calls < want)
		turn(f);
	settle(f);
	assert_int_equal(io_calls, want);
	granted(ask_try(f, LK_EXCLUSIVE, "job"));
}

static void test_remove(void **state)
{
	struct fixture *f = *state;
	struct ask *a = locked(f, LK_EXCLUSIVE, "job");

	assert_int_equal(removed(a), -ENOENT);
	assert_int_equal(put(a, "text", 0), 4);
	assert_int_equal(removed(a), 0);
	assert_int_equal(removed(a), -ENOENT);
	value_is(a, "");
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "job "); /* held */
	assert_false(a->hold->lost);
	let_go(a);
	settle(f);
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "");
	a = locked(f, LK_EXCLUSIVE, "job");
	value_is(a, "");
}

static void test_rename(void **state)
{
	struct fixture *f = *state;
	struct ask *a = locked(f, LK_EXCLUSIVE, "from"), *b = locked(f, LK_EXCLUSIVE, "to");

	assert_int_equal(renamed(a, b), -ENOENT);
	assert_int_equal(put(b, "a longer old one", 0), 16);
	assert_int_equal(put(a, "moved", 0), 5);
	assert_int_equal(renamed(a, b), 0);
	value_is(a, "");
	value_is(b, "moved");
	let_go(a);
	let_go(b);
	settle(f);
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "to ");
	value_is(locked(f, LK_SHARED, "to"), "moved");
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_write_and_read),
	CONTRACT_TEST(test_hole),
	CONTRACT_TEST(test_truncate),
	CONTRACT_TEST(test_too_big),
	CONTRACT_TEST(test_shared_reads_only),
	CONTRACT_TEST(test_survives),
	CONTRACT_TEST(test_released_meanwhile),
	CONTRACT_TEST(test_remove),
	CONTRACT_TEST(test_rename),
};

const struct test_list value_list = TEST_LIST(tests);
