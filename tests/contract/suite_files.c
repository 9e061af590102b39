/* files/: opening, bytes, attributes; an open file outlives its name. */
#include "tests/contract/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_ATTR                                                                                                      \
	{                                                                                                              \
		.perm = (mode_t)-1, .uid = (uid_t)-1, .gid = (gid_t)-1                                                 \
	}

static void test_create(void **state)
{
	struct fixture *f = *state;
	struct opened a, b;
	struct lk_file_stat st;

	assert_int_equal(file_open(&a, f->b, f, "job", O_RDWR), -ENOENT);
	assert_int_equal(name_stat(f->b, f, "job", &st), -ENOENT);
	a = made(f->b, f, "job");
	st = file_fstat(&a);
	assert_int_equal(st.mode, S_IFREG | 0644);
	assert_int_equal(st.size, 0);
	assert_int_equal(st.nlink, 1);
	assert_int_not_equal(st.ino, 0);
	assert_int_not_equal(st.mtime, 0);
	assert_int_not_equal(st.ctime, 0);
	assert_int_equal(name_ino(f->b, f, "job"), st.ino);
	b = made(f->b, f, "job"); /* it is there: opened */
	assert_int_equal(file_fstat(&b).ino, st.ino);
	assert_string_equal(file_list(f->b, f, ""), "job ");
	file_close(&a);
	file_close(&b);
	settle(f);
	assert_int_equal(name_ino(f->b, f, "job"), st.ino);
	fixture_reopen(f);
	assert_string_equal(file_list(f->b, f, ""), "job "); /* empty, closed, and there */
	name_is(f->b, f, "job", "");
}

static void test_exclusive_create(void **state)
{
	struct fixture *f = *state;
	struct opened a, b;

	assert_int_equal(file_open(&a, f->b, f, "job", O_RDWR | O_CREAT | O_EXCL), 0);
	assert_int_equal(file_open(&b, f->b, f, "job", O_RDWR | O_CREAT | O_EXCL), -EEXIST);
	assert_int_equal(file_put(&a, "text", 0), 4);
	assert_int_equal(file_open(&b, f->b, f, "job", O_RDWR | O_CREAT | O_EXCL | O_TRUNC), -EEXIST);
	file_is(&a, "text");
	assert_int_equal(name_unlink(f->b, f, "job"), 0);
	assert_int_equal(file_open(&b, f->b, f, "job", O_RDWR | O_CREAT | O_EXCL), 0);
	file_is(&b, "");
}

static void test_mode_and_owner_of_a_new_file(void **state)
{
	struct fixture *f = *state;
	mode_t mask = umask(077); /* of the server, which no maker has to do with */
	struct outcome *o = file_opening_as(f->b, "job", O_RDWR | O_CREAT, 02646, 33, 34);
	struct lk_file_stat st;

	assert_int_equal(outcome_of(f, o), 0);
	umask(mask);
	lk_file_close(f->b, o->file);
	o = file_opening_as(f->b, "job", O_RDWR | O_CREAT, 0777, 35, 36); /* it is there: nothing changes */
	assert_int_equal(outcome_of(f, o), 0);
	lk_file_close(f->b, o->file);
	assert_int_equal(name_stat(f->b, f, "job", &st), 0);
	assert_int_equal(st.mode, S_IFREG | 02646);
	if (geteuid() != 0)
		return; /* only root gives files away */
	assert_int_equal(st.uid, 33);
	assert_int_equal(st.gid, 34);
}

static void test_attributes(void **state)
{
	struct fixture *f = *state;
	struct opened a = made(f->b, f, "plain");
	struct lk_file_attr attr = { .perm = 04751, .uid = 33, .gid = 34, .mtime = 1000000000123456789 };
	struct lk_file_attr time = KEEP_ATTR;
	struct lk_file_stat st;

	file_close(&a);
	if (geteuid() != 0)
		attr.uid = attr.gid = (uid_t)-1; /* only root gives files away */
	assert_int_equal(name_setattr(f->b, f, "none", &attr), -ENOENT);
	assert_int_equal(name_setattr(f->b, f, "plain", &attr), 0);
	assert_int_equal(name_stat(f->b, f, "plain", &st), 0);
	assert_int_equal(st.mode, S_IFREG | 04751);
	assert_int_equal(st.mtime, attr.mtime);
	if (geteuid() == 0) {
		assert_int_equal(st.uid, 33);
		assert_int_equal(st.gid, 34);
	}
	/* By the open file, which has no name any more. */
	a = opened(f->b, f, "plain");
	assert_int_equal(name_unlink(f->b, f, "plain"), 0);
	attr = (struct lk_file_attr)KEEP_ATTR;
	attr.perm = 0600;
	assert_int_equal(file_fsetattr(&a, &attr), 0);
	st = file_fstat(&a);
	assert_int_equal(st.mode, S_IFREG | 0600);
	assert_int_equal(st.mtime, 1000000000123456789);
	time.mtime = 2000000000000000001;
	assert_int_equal(file_fsetattr(&a, &time), 0);
	st = file_fstat(&a);
	assert_int_equal(st.mode, S_IFREG | 0600);
	assert_int_equal(st.mtime, 2000000000000000001);
	if (geteuid() == 0)
		assert_int_equal(st.uid, 33);
}

static void test_times_move_on(void **state)
{
	struct fixture *f = *state;
	struct opened a = made(f->b, f, "job");
	struct lk_file_attr old = KEEP_ATTR;

	old.mtime = 1000000000000000000;
	assert_int_equal(file_fsetattr(&a, &old), 0);
	assert_int_equal(file_put(&a, "x", 0), 1);
	assert_true(file_fstat(&a).mtime > old.mtime);
	assert_int_equal(file_fsetattr(&a, &old), 0);
	assert_int_equal(file_cut(&a, 0), 0);
	assert_true(file_fstat(&a).mtime > old.mtime);
}

static void test_write_and_read(void **state)
{
	struct fixture *f = *state;
	struct opened a = made(f->b, f, "job");
	char out[32];

	file_is(&a, "");
	assert_int_equal(file_put(&a, "hello", 0), 5);
	assert_int_equal(file_put(&a, "J", 0), 1);
	assert_int_equal(file_put(&a, "ified", 4), 5);
	assert_int_equal(file_put(&a, "!", -1), 1); /* append */
	assert_int_equal(file_put(&a, "?", -1), 1);
	file_is(&a, "Jellified!?");
	assert_int_equal(file_get(&a, out, 4, 2), 4);
	assert_string_equal(out, "llif");
	assert_int_equal(file_get(&a, out, 20, 9), 2);
	assert_string_equal(out, "!?");
	assert_int_equal(file_get(&a, out, 20, 11), 0); /* at the end, and past it */
	assert_int_equal(file_get(&a, out, 20, 1000), 0);
	assert_int_equal(file_get(&a, out, 20, INT64_MAX - 20), 0);
	assert_int_equal(file_get(&a, out, 20, -1), -EINVAL);
	assert_int_equal(file_put(&a, "", 0), 0);
	assert_int_equal(file_sync(&a), 0);
	file_is(&a, "Jellified!?");
	file_close(&a);
	fixture_reopen(f);
	name_is(f->b, f, "job", "Jellified!?");
}

static void test_holes_and_truncate(void **state)
{
	struct fixture *f = *state;
	struct opened a = made(f->b, f, "job"), b;
	char out[32];

	assert_int_equal(file_put(&a, "ab", 0), 2);
	assert_int_equal(file_put(&a, "yz", 6), 2);
	assert_int_equal(file_get(&a, out, 16, 0), 8);
	assert_memory_equal(out, "ab\0\0\0\0yz", 8);
	assert_int_equal(file_cut(&a, 1), 0);
	file_is(&a, "a");
	assert_int_equal(file_cut(&a, 3), 0);
	assert_int_equal(file_get(&a, out, 16, 0), 3);
	assert_memory_equal(out, "a\0\0", 3); /* nothing old comes back */
	assert_int_equal(file_open(&b, f->b, f, "job", O_RDWR | O_TRUNC), 0);
	file_is(&a, "");
	assert_int_equal(file_put(&b, "new", -1), 3);
	file_is(&a, "new");
}

/* Past max_value: refused, and not a byte of it is written. */
static void test_too_big(void **state)
{
	struct fixture *f = *state;
	struct opened a = made(f->b, f, "job");
	char *all = malloc(MAX_VALUE + 2), *out = malloc(MAX_VALUE + 1);

	assert_non_null(all);
	assert_non_null(out);
	memset(all, 'x', MAX_VALUE + 1);
	all[MAX_VALUE + 1] = '\0';
	assert_int_equal(file_put(&a, "before", 0), 6);
	assert_int_equal(file_put(&a, all, 0), -EFBIG);
	assert_int_equal(file_put(&a, all + 1, 1), -EFBIG);
	assert_int_equal(file_put(&a, all + 1, -1), -EFBIG);
	assert_int_equal(file_put(&a, "z", MAX_VALUE), -EFBIG);
	assert_int_equal(file_put(&a, "z", INT64_MAX - 1), -EFBIG);
	assert_int_equal(file_cut(&a, MAX_VALUE + 1), -EFBIG);
	assert_int_equal(file_cut(&a, UINT64_MAX), -EFBIG);
	file_is(&a, "before");
	assert_int_equal(file_put(&a, all + 1, 0), MAX_VALUE);
	assert_int_equal(file_get(&a, out, MAX_VALUE, 0), MAX_VALUE);
	assert_memory_equal(out, all, MAX_VALUE);
	assert_int_equal(file_put(&a, "z", -1), -EFBIG);
	assert_int_equal(file_put(&a, "z", MAX_VALUE - 1), 1);
	assert_int_equal(file_cut(&a, MAX_VALUE), 0);
	assert_int_equal(file_fstat(&a).size, MAX_VALUE);
	free(all);
	free(out);
}

/* Two that append at once: both texts are there, whole. */
static void append_from(struct fixture *f, struct lk_backend *b)
{
	struct opened a = made(f->b, f, "log"), c = opened(b, f, "log");
	struct outcome *o[40];
	char out[TEXT_MAX + 1];
	unsigned i, sums[2] = { 0 };

	for (i = 0; i < 40; i++) {
		const struct opened *by = i % 2 ? &c : &a;

		o[i] = outcome_new();
		outcome_begun(o[i], lk_file_write(by->b, by->file, i % 2 ? "two" : "one", 3, -1, on_io, o[i]));
	}
	for (i = 0; i < 40; i++)
		assert_int_equal(outcome_of(f, o[i]), 3);
	assert_int_equal(file_get(&a, out, TEXT_MAX, 0), 120);
	for (i = 0; i < 120; i += 3) {
		assert_true(memcmp(out + i, "one", 3) == 0 || memcmp(out + i, "two", 3) == 0);
		sums[out[i] == 't']++;
	}
	assert_int_equal(sums[0], 20);
	assert_int_equal(sums[1], 20);
}

static void test_append(void **state)
{
	struct fixture *f = *state;

	append_from(f, f->b);
}

static void test_append_on_two_mounts(void **state)
{
	struct fixture *f = *state;

	append_from(f, fixture_other(f));
}

/* Reads, writes and attributes go on without a name; a new file of that name is another one. */
static void outlives_its_name(struct fixture *f, struct lk_backend *b)
{
	struct opened a = made(f->b, f, "job"), fresh;
	struct lk_file_stat st;
	uint64_t ino = file_fstat(&a).ino;

	assert_int_equal(file_put(&a, "old", 0), 3);
	assert_int_equal(name_unlink(b, f, "job"), 0);
	assert_int_equal(name_stat(f->b, f, "job", &st), -ENOENT);
	assert_string_equal(file_list(f->b, f, ""), "");
	assert_int_equal(name_unlink(f->b, f, "job"), -ENOENT);
	st = file_fstat(&a);
	assert_int_equal(st.ino, ino);
	assert_int_equal(st.nlink, 0);
	file_is(&a, "old");
	fresh = made(b, f, "job");
	assert_int_not_equal(file_fstat(&fresh).ino, ino);
	file_is(&fresh, "");
	assert_int_equal(file_put(&fresh, "new", 0), 3);
	assert_int_equal(file_put(&a, "er", -1), 2);
	assert_int_equal(file_sync(&a), 0);
	file_is(&a, "older");
	assert_int_equal(file_cut(&a, 1), 0);
	file_is(&a, "o");
	file_is(&fresh, "new");
	file_close(&a);
	settle(f);
	file_is(&fresh, "new");
	name_is(f->b, f, "job", "new");
}

static void test_unlinked_while_open(void **state)
{
	struct fixture *f = *state;

	outlives_its_name(f, f->b);
}

static void test_unlinked_there_while_open(void **state)
{
	struct fixture *f = *state;

	outlives_its_name(f, fixture_other(f));
}

static void test_renamed_over_while_open(void **state)
{
	struct fixture *f = *state;
	struct opened a = made(f->b, f, "job"), b = made(f->b, f, "new");
	uint64_t ino = file_fstat(&b).ino;

	assert_int_equal(file_put(&a, "a", 0), 1);
	assert_int_equal(file_put(&b, "b", 0), 1);
	assert_int_equal(name_rename(f->b, f, "new", "job", 0), 0);
	assert_int_equal(file_put(&a, "A", -1), 1);
	assert_int_equal(file_put(&b, "B", -1), 1);
	file_is(&a, "aA");
	assert_int_equal(file_fstat(&a).nlink, 0);
	name_is(f->b, f, "job", "bB");
	assert_int_equal(name_ino(f->b, f, "job"), ino);
	assert_int_equal(file_fstat(&b).nlink, 1);
}

/* locks/NAME and files/NAME: the same bytes. */
static void test_value_of_the_lock(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job");
	struct lk_stat st;
	struct opened o;

	granted(a);
	assert_int_equal(put(a, "by the lock", 0), 11);
	o = opened(f->b, f, "job");
	file_is(&o, "by the lock");
	assert_int_equal(put(a, "!", -1), 1);
	file_is(&o, "by the lock!");
	assert_int_equal(file_put(&o, "of", 0), 2); /* nothing is locked against those who do not ask */
	value_is(a, "of the lock!");
	assert_int_equal(cut(a, 2), 0);
	file_is(&o, "of");
	let_go(a);
	assert_int_equal(file_cut(&o, 0), 0);
	assert_int_equal(file_put(&o, "file", -1), 4);
	file_close(&o);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "job", &st), 0);
	assert_int_equal(st.type, LK_T_NAME);
	assert_int_equal(st.size, 4);
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "job ");
	a = ask_lock(f, LK_SHARED, "job");
	granted(a);
	value_is(a, "file");
	let_go(a);
	settle(f);
	assert_int_equal(name_unlink(f->b, f, "job"), 0);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	value_is(a, "");
}

static void test_data_on_two_mounts(void **state)
{
	struct fixture *f = *state;
	struct lk_backend *other = fixture_other(f);
	struct opened a = made(f->b, f, "job"), b = opened(other, f, "job");
	char text[32];
	int i;

	assert_int_equal(file_fstat(&a).ino, file_fstat(&b).ino);
	for (i = 0; i < 20; i++) {
		const struct opened *to = i % 2 ? &a : &b, *from = i % 2 ? &b : &a;

		snprintf(text, sizeof(text), "%s %d", i % 3 ? "line" : "a longer line", i);
		assert_int_equal(file_cut(to, 0), 0);
		assert_int_equal(file_put(to, text, 0), strlen(text));
		file_is(from, text);
		name_is(from->b, f, "job", text);
	}
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_create),
	CONTRACT_TEST(test_exclusive_create),
	CONTRACT_TEST(test_mode_and_owner_of_a_new_file),
	CONTRACT_TEST(test_attributes),
	CONTRACT_TEST(test_times_move_on),
	CONTRACT_TEST(test_write_and_read),
	CONTRACT_TEST(test_holes_and_truncate),
	CONTRACT_TEST(test_too_big),
	CONTRACT_TEST(test_append),
	CONTRACT_TEST(test_append_on_two_mounts),
	CONTRACT_TEST(test_unlinked_while_open),
	CONTRACT_TEST(test_unlinked_there_while_open),
	CONTRACT_TEST(test_renamed_over_while_open),
	CONTRACT_TEST(test_value_of_the_lock),
	CONTRACT_TEST(test_data_on_two_mounts),
};

const struct test_list files_list = TEST_LIST(tests);
