/* files/: names, links, folders; and who wins when two mounts want one name. */
#include "tests/contract/files.h"

#include <stdio.h>
#include <unistd.h>

static void text_at(struct fixture *f, const char *name, const char *text)
{
	struct opened o = made(f->b, f, name);

	assert_int_equal(file_put(&o, text, 0), strlen(text));
	file_close(&o);
}

static void test_not_there(void **state)
{
	struct fixture *f = *state;
	struct lk_file_stat st;
	struct opened o;

	text_at(f, "file", "x");
	assert_int_equal(name_stat(f->b, f, "none/x", &st), -ENOENT);
	assert_int_equal(file_open(&o, f->b, f, "none/x", O_RDWR | O_CREAT), -ENOENT);
	assert_int_equal(name_unlink(f->b, f, "none"), -ENOENT);
	assert_int_equal(name_link(f->b, f, "none", "new"), -ENOENT);
	assert_int_equal(name_link(f->b, f, "file", "none/new"), -ENOENT);
	assert_int_equal(name_symlink(f->b, f, "file", "none/new"), -ENOENT);
	assert_int_equal(name_rename(f->b, f, "none", "new", 0), -ENOENT);
	assert_int_equal(name_rename(f->b, f, "none", "none", 0), -ENOENT);
	assert_int_equal(name_rename(f->b, f, "file", "none/new", 0), -ENOENT);
	assert_string_equal(name_readlink(f->b, f, "none"), "errno 2");
	assert_string_equal(file_list(f->b, f, "none"), "errno 2");
	assert_int_equal(name_stat(f->b, f, ".git", &st), -ENOENT);
	assert_int_equal(name_stat(f->b, f, "../file", &st), -ENOENT);
	assert_string_equal(file_list(f->b, f, ""), "file ");
}

static void test_no_folder(void **state)
{
	struct fixture *f = *state;
	struct lk_file_stat st;
	struct opened o;

	text_at(f, "file", "x");
	assert_int_equal(name_stat(f->b, f, "file/x", &st), -ENOTDIR);
	assert_int_equal(file_open(&o, f->b, f, "file/x", O_RDWR | O_CREAT), -ENOTDIR);
	assert_int_equal(name_unlink(f->b, f, "file/x"), -ENOTDIR);
	assert_int_equal(name_rename(f->b, f, "file", "file/x", 0), -ENOTDIR);
	assert_int_equal(name_symlink(f->b, f, "file", "file/x"), -ENOTDIR);
	assert_string_equal(file_list(f->b, f, "file"), "errno 20");
}

static void test_a_folder(void **state)
{
	struct fixture *f = *state;
	struct lk_file_stat st;
	struct opened o;

	assert_int_equal(ns_make(f, "ops", 0750), 0);
	assert_int_equal(name_stat(f->b, f, "ops", &st), 0);
	assert_int_equal(st.mode, S_IFDIR | 0750);
	assert_int_equal(file_open(&o, f->b, f, "ops", O_RDONLY), -EISDIR);
	assert_int_equal(file_open(&o, f->b, f, "ops", O_RDWR | O_CREAT), -EISDIR);
	assert_int_equal(file_open(&o, f->b, f, "ops", O_RDWR | O_CREAT | O_EXCL), -EEXIST);
	assert_int_equal(name_unlink(f->b, f, "ops"), -EISDIR);
	assert_int_equal(name_link(f->b, f, "ops", "new"), -EPERM);
	assert_int_equal(name_symlink(f->b, f, "x", "ops"), -EEXIST);
	assert_string_equal(name_readlink(f->b, f, "ops"), "errno 22");
	text_at(f, "ops/job", "x");
	text_at(f, "job", "y");
	assert_int_not_equal(name_ino(f->b, f, "ops/job"), name_ino(f->b, f, "job"));
	assert_string_equal(file_list(f->b, f, "ops"), "job ");
	assert_string_equal(file_list(f->b, f, ""), "job ops/ ");
	assert_int_equal(name_link(f->b, f, "job", "ops"), -EEXIST);
	assert_int_equal(ns_remove(f, "ops"), -ENOTEMPTY);
	assert_int_equal(name_rename(f->b, f, "ops/job", "ops/new", 0), 0);
	assert_int_equal(name_rename(f->b, f, "ops/new", "new", 0), 0);
	name_is(f->b, f, "new", "x");
	assert_int_equal(ns_remove(f, "ops"), 0);
	assert_string_equal(file_list(f->b, f, ""), "job new ");
}

static int folder_make(struct fixture *f, const char *name, mode_t perm)
{
	struct outcome *o = outcome_new();

	return (int)outcome_of(f, outcome_begun(o, lk_file_mkdir(f->b, name, perm, 0, 0, on_done, o)));
}

static int folder_remove(struct fixture *f, const char *name)
{
	struct outcome *o = outcome_new();

	return (int)outcome_of(f, outcome_begun(o, lk_file_rmdir(f->b, name, on_done, o)));
}

/* An empty file keeps its name: mkdir(2) is a way to lock, too. */
static void test_a_file_is_in_the_way(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "job");

	assert_int_equal(folder_make(f, "job", 0755), -EEXIST);
	file_close(&o);
	settle(f);
	assert_int_equal(folder_make(f, "job", 0755), -EEXIST);
	assert_int_equal(name_unlink(f->b, f, "job"), 0);
	assert_int_equal(folder_make(f, "job", 0755), 0);
	o = made(f->b, f, "job/empty");
	file_close(&o);
	settle(f);
	assert_int_equal(folder_remove(f, "job"), -ENOTEMPTY);
	assert_string_equal(file_list(f->b, f, "job"), "empty ");
}

static void test_rename(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "a");
	uint64_t ino = file_fstat(&o).ino;

	assert_int_equal(file_put(&o, "text", 0), 4);
	assert_int_equal(name_rename(f->b, f, "a", "b", 0), 0);
	assert_int_equal(name_ino(f->b, f, "a"), 0);
	assert_int_equal(name_ino(f->b, f, "b"), ino);
	assert_int_equal(file_fstat(&o).nlink, 1);
	assert_int_equal(file_put(&o, "!", -1), 1);
	name_is(f->b, f, "b", "text!");
	text_at(f, "c", "other");
	assert_int_equal(name_rename(f->b, f, "b", "c", RENAME_NOREPLACE), -EEXIST);
	name_is(f->b, f, "c", "other");
	assert_int_equal(name_rename(f->b, f, "b", "c", 0), 0);
	name_is(f->b, f, "c", "text!");
	assert_int_equal(name_rename(f->b, f, "c", "d", RENAME_NOREPLACE), 0);
	assert_int_equal(name_rename(f->b, f, "d", "d", 0), 0);
	assert_int_equal(name_rename(f->b, f, "d", "d", RENAME_EXCHANGE), -EINVAL);
	assert_string_equal(file_list(f->b, f, ""), "d ");
	name_is(f->b, f, "d", "text!");
}

static void test_rename_folders(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ns_make(f, "ops", 0755), 0);
	assert_int_equal(ns_make(f, "dev", 0755), 0);
	text_at(f, "ops/job", "x");
	text_at(f, "file", "y");
	assert_int_equal(name_rename(f->b, f, "file", "ops", 0), -EISDIR);
	assert_int_equal(name_rename(f->b, f, "ops", "file", 0), -ENOTDIR);
	assert_int_equal(name_rename(f->b, f, "dev", "ops", 0), -ENOTEMPTY);
	assert_int_equal(name_rename(f->b, f, "ops", "ops/eu", 0), -EINVAL);
	assert_int_equal(name_rename(f->b, f, "ops", ".ops", 0), -EINVAL);
	assert_int_equal(name_rename(f->b, f, "ops", "dev/.ops", 0), -EINVAL);
	assert_int_equal(name_rename(f->b, f, "ops", "dev", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(name_rename(f->b, f, "ops", "dev", 0), 0);
	assert_string_equal(file_list(f->b, f, ""), "dev/ file ");
	name_is(f->b, f, "dev/job", "x");
	assert_int_equal(name_rename(f->b, f, "dev", "ops", 0), 0);
	name_is(f->b, f, "ops/job", "x");
	assert_string_equal(file_list(f->b, f, ""), "file ops/ ");
}

static void test_hard_links(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "a");
	uint64_t ino = file_fstat(&o).ino;

	assert_int_equal(name_link(f->b, f, "a", "b"), 0);
	assert_int_equal(name_link(f->b, f, "a", "b"), -EEXIST);
	assert_int_equal(name_link(f->b, f, "b", "a"), -EEXIST);
	assert_int_equal(name_ino(f->b, f, "b"), ino);
	assert_int_equal(file_fstat(&o).nlink, 2);
	assert_int_equal(file_put(&o, "text", 0), 4);
	name_is(f->b, f, "b", "text");
	assert_int_equal(name_rename(f->b, f, "a", "b", 0), 0); /* one inode: nothing happens */
	assert_string_equal(file_list(f->b, f, ""), "a b ");
	assert_int_equal(file_fstat(&o).nlink, 2);
	assert_int_equal(name_unlink(f->b, f, "a"), 0);
	assert_int_equal(file_fstat(&o).nlink, 1);
	assert_int_equal(name_ino(f->b, f, "b"), ino);
	file_close(&o);
	o = made(f->b, f, "a");
	assert_int_not_equal(file_fstat(&o).ino, ino);
	file_is(&o, "");
	fixture_reopen(f);
	name_is(f->b, f, "b", "text");
	assert_int_equal(name_link(f->b, f, "b", "c"), 0);
	text_at(f, "d", "over");
	assert_int_equal(name_rename(f->b, f, "d", "c", 0), 0);
	o = opened(f->b, f, "b");
	assert_int_equal(file_fstat(&o).nlink, 1);
	file_is(&o, "text");
	name_is(f->b, f, "c", "over");
}

static void test_symbolic_links(void **state)
{
	struct fixture *f = *state;
	struct lk_file_attr attr = { .perm = (mode_t)-1, .uid = 33, .gid = 34, .mtime = 1000000000123456789 };
	struct lk_file_stat st;
	struct opened o;

	assert_int_equal(name_symlink(f->b, f, "host:123", "lock"), 0);
	assert_int_equal(name_symlink(f->b, f, "host:124", "lock"), -EEXIST);
	assert_string_equal(name_readlink(f->b, f, "lock"), "host:123");
	assert_int_equal(name_stat(f->b, f, "lock", &st), 0);
	assert_true(S_ISLNK(st.mode));
	assert_int_equal(st.size, 8);
	assert_int_equal(st.nlink, 1);
	if (geteuid() != 0)
		attr.uid = attr.gid = (uid_t)-1;		   /* only root gives files away */
	assert_int_equal(name_setattr(f->b, f, "lock", &attr), 0); /* its own, wherever it points */
	assert_int_equal(name_stat(f->b, f, "lock", &st), 0);
	assert_true(S_ISLNK(st.mode));
	assert_true(geteuid() != 0 || (st.uid == 33 && st.gid == 34));
	assert_int_equal(st.mtime, 1000000000123456789);
	assert_int_equal(file_open(&o, f->b, f, "lock", O_RDWR), -ELOOP);
	assert_int_equal(file_open(&o, f->b, f, "lock", O_RDWR | O_CREAT), -ELOOP);
	assert_int_equal(file_open(&o, f->b, f, "lock", O_RDWR | O_CREAT | O_EXCL), -EEXIST);
	assert_string_equal(file_list(f->b, f, ""), "lock@ ");
	text_at(f, "file", "x");
	assert_string_equal(name_readlink(f->b, f, "file"), "errno 22");
	assert_int_equal(name_symlink(f->b, f, "x", "file"), -EEXIST);
	assert_int_equal(name_symlink(f->b, f, "", "empty"), -ENOENT);
	assert_int_equal(name_rename(f->b, f, "lock", "lock2", 0), 0);
	assert_string_equal(name_readlink(f->b, f, "lock2"), "host:123");
	fixture_reopen(f);
	assert_string_equal(name_readlink(f->b, f, "lock2"), "host:123");
	assert_int_equal(name_unlink(f->b, f, "lock2"), 0);
	assert_string_equal(name_readlink(f->b, f, "lock2"), "errno 2");
	assert_int_equal(name_symlink(f->b, f, "file", "file2"), 0);
	assert_int_equal(name_rename(f->b, f, "file", "file2", 0), 0); /* over the link, not where it points */
	assert_string_equal(file_list(f->b, f, ""), "file2 ");
	name_is(f->b, f, "file2", "x");
}

/* --- two mounts, one name: exactly one of them --- */

static const char *const ways[] = { "open", "link", "symlink", "rename", "mkdir" };

static struct outcome *want_name(struct lk_backend *b, unsigned way, const char *own, const char *name)
{
	struct outcome *o = outcome_new();

	switch (way) {
	case 0:
		return file_opening(b, name, O_RDWR | O_CREAT | O_EXCL);
	case 1:
		return outcome_begun(o, lk_file_link(b, own, name, on_done, o));
	case 2:
		return outcome_begun(o, lk_file_symlink(b, own, name, 0, 0, on_done, o));
	case 3:
		return outcome_begun(o, lk_file_rename(b, own, name, RENAME_NOREPLACE, on_done, o));
	default:
		return outcome_begun(o, lk_file_mkdir(b, name, 0755, 0, 0, on_done, o));
	}
}

static void one_wins(struct fixture *f, struct lk_backend *b, unsigned mine, unsigned theirs)
{
	struct outcome *o[2];
	char name[64], own[2][80];
	ssize_t n[2];
	int i, j;

	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "%s-%s-%d", ways[mine], ways[theirs], i);
		for (j = 0; j < 2; j++) {
			snprintf(own[j], sizeof(own[j]), "%s-own%d", name, j);
			text_at(f, own[j], "own");
		}
		o[0] = want_name(i % 2 ? b : f->b, mine, own[0], name);
		o[1] = want_name(i % 2 ? f->b : b, theirs, own[1], name);
		for (j = 0; j < 2; j++) {
			n[j] = outcome_of(f, o[j]);
			if (o[j]->file)
				lk_file_close((i % 2) == j ? f->b : b, o[j]->file);
		}
		if (!((n[0] == 0 && n[1] == -EEXIST) || (n[1] == 0 && n[0] == -EEXIST)))
			fail_msg("%s: %zd and %zd", name, n[0], n[1]);
	}
}

static void every_pair(struct fixture *f, struct lk_backend *b)
{
	unsigned i, j;

	for (i = 0; i < 5; i++) {
		for (j = i; j < 5; j++)
			one_wins(f, b, i, j);
	}
}

static void test_one_wins(void **state)
{
	struct fixture *f = *state;

	every_pair(f, f->b);
}

static void test_one_mount_wins(void **state)
{
	struct fixture *f = *state;

	every_pair(f, fixture_other(f));
}

/* Of two that take a name away, one does; of two that rename over a third, both: one after the other. */
static void test_one_takes_it_away(void **state)
{
	struct fixture *f = *state;
	struct lk_backend *other = fixture_other(f);
	struct outcome *u = outcome_new(), *r = outcome_new();
	ssize_t a, b;

	text_at(f, "job", "x");
	outcome_begun(u, lk_file_unlink(f->b, "job", on_done, u));
	outcome_begun(r, lk_file_rename(other, "job", "new", 0, on_done, r));
	a = outcome_of(f, u);
	b = outcome_of(f, r);
	assert_true((a == 0 && b == -ENOENT) || (b == 0 && a == -ENOENT));
	assert_string_equal(file_list(f->b, f, ""), a ? "new " : "");
	text_at(f, "a", "a");
	text_at(f, "b", "b");
	u = outcome_new();
	r = outcome_new();
	outcome_begun(u, lk_file_rename(f->b, "a", "job", 0, on_done, u));
	outcome_begun(r, lk_file_rename(other, "b", "job", 0, on_done, r));
	assert_int_equal(outcome_of(f, u), 0);
	assert_int_equal(outcome_of(f, r), 0);
	assert_int_not_equal(name_ino(other, f, "job"), 0);
	assert_int_equal(name_ino(f->b, f, "a"), 0);
	assert_int_equal(name_ino(f->b, f, "b"), 0);
}

static void test_names_on_two_mounts(void **state)
{
	struct fixture *f = *state;
	struct lk_backend *other = fixture_other(f);
	struct lk_file_attr attr = { .perm = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .mtime = 5000000000000000007 };
	struct lk_file_stat here, there;

	text_at(f, "job", "x");
	assert_string_equal(file_list(other, f, ""), "job ");
	assert_int_equal(name_setattr(other, f, "job", &attr), 0);
	assert_int_equal(name_stat(f->b, f, "job", &here), 0);
	assert_int_equal(name_stat(other, f, "job", &there), 0);
	assert_int_equal(here.mode, S_IFREG | 0600);
	assert_int_equal(here.mtime, attr.mtime);
	assert_int_equal(here.ino, there.ino);
	assert_int_equal(name_link(other, f, "job", "two"), 0);
	assert_int_equal(name_ino(f->b, f, "two"), here.ino);
	assert_int_equal(name_rename(other, f, "job", "three", 0), 0);
	assert_int_equal(name_ino(f->b, f, "job"), 0);
	assert_int_equal(name_unlink(f->b, f, "two"), 0);
	assert_string_equal(file_list(other, f, ""), "three ");
	assert_int_equal(name_symlink(f->b, f, "three", "link"), 0);
	assert_string_equal(name_readlink(other, f, "link"), "three");
	assert_int_equal(ns_make(f, "ops", 0755), 0);
	assert_int_equal(name_rename(other, f, "three", "ops/job", 0), 0);
	name_is(f->b, f, "ops/job", "x");
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_not_there),
	CONTRACT_TEST(test_no_folder),
	CONTRACT_TEST(test_a_folder),
	CONTRACT_TEST(test_a_file_is_in_the_way),
	CONTRACT_TEST(test_rename),
	CONTRACT_TEST(test_rename_folders),
	CONTRACT_TEST(test_hard_links),
	CONTRACT_TEST(test_symbolic_links),
	CONTRACT_TEST(test_one_wins),
	CONTRACT_TEST(test_one_mount_wins),
	CONTRACT_TEST(test_one_takes_it_away),
	CONTRACT_TEST(test_names_on_two_mounts),
};

const struct test_list file_names_list = TEST_LIST(tests);
