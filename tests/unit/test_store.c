/* Paths below DIR: nothing leads out of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/file/store.h"
#include "tests/unit/folder_fixture.h"

#include <errno.h>

/* outside/secret, dir/{ns/job,job,out -> ../outside,ns/link -> job,abs -> /etc,loop -> loop} */
struct tree {
	struct folder top;
	int dir;
	char path[80];
};

static int setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));
	struct folder *f = t ? &t->top : NULL;

	if (!t || folder_make(f) < 0)
		return -1;
	*state = t;
	snprintf(t->path, sizeof(t->path), "%s/dir", f->path);
	if (mkdirat(f->fd, "outside", 0700) < 0 || mkdirat(f->fd, "dir", 0700) < 0 ||
	    mkdirat(f->fd, "dir/ns", 0700) < 0 || folder_put(f, "outside/secret", "s", 1) < 0 ||
	    folder_put(f, "dir/job", "12345", 5) < 0 || folder_put(f, "dir/ns/job", "123", 3) < 0 ||
	    symlinkat("../outside", f->fd, "dir/out") < 0 || symlinkat("job", f->fd, "dir/ns/link") < 0 ||
	    symlinkat("/etc", f->fd, "dir/abs") < 0 || symlinkat("loop", f->fd, "dir/loop") < 0)
		return -1;
	t->dir = openat(f->fd, "dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return t->dir < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct tree *t = *state;
	int err = folder_remove(&t->top);

	close(t->dir);
	free(t);
	return err;
}

struct leads {
	const char *path;
	int err;
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void opened(const struct tree *t, const struct leads *l, int flags)
{
	int fd = store_openat(t->dir, l->path, flags, 0600);

	if ((l->err && fd != l->err) || (!l->err && fd < 0))
		fail_msg("'%s' (flags %o) gives %d instead of %d", l->path, (unsigned)flags, fd, l->err);
	if (fd >= 0) {
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		close(fd);
	}
}

static void opening_stays_below(void **state)
{
	static const struct leads all[] = {
		{ "job", 0 },
		{ "ns/job", 0 },
		{ "..", -EXDEV },
		{ "../outside/secret", -EXDEV },
		{ "ns/../../outside/secret", -EXDEV },
		{ "/etc/passwd", -EXDEV },
		{ "/", -EXDEV },
		{ "out", -ELOOP },
		{ "out/secret", -ELOOP },
		{ "ns/link", -ELOOP },
		{ "abs/passwd", -ELOOP },
		{ "loop", -ELOOP },
		{ "none", -ENOENT },
		{ "", -ENOENT },
		{ "job/x", -ENOTDIR },
	};
	size_t i;

	for (i = 0; i < COUNT(all); i++) {
		opened(*state, &all[i], O_RDONLY);
		opened(*state, &all[i], O_RDONLY | O_NOFOLLOW);
		if (strcmp(all[i].path, "out") != 0 && strcmp(all[i].path, "ns/link") != 0 &&
		    strcmp(all[i].path, "loop") != 0)
			opened(*state, &all[i], O_PATH | O_NOFOLLOW);
	}
}

static void making_stays_below(void **state)
{
	static const struct leads all[] = {
		{ "new", 0 },	       { "ns/new", 0 },	      { "../new", -EXDEV }, { "/tmp/plockfs-new", -EXDEV },
		{ "out/new", -ELOOP }, { "ns/link", -ELOOP }, { "loop", -ELOOP },   { "none/new", -ENOENT },
	};
	struct tree *t = *state;
	struct stat st;
	size_t i;

	for (i = 0; i < COUNT(all); i++)
		opened(t, &all[i], O_RDWR | O_CREAT | O_NONBLOCK);
	assert_int_equal(fstatat(t->dir, "new", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_false(folder_has(&t->top, "new"));
	assert_false(folder_has(&t->top, "outside/new"));
}

static void no_way_through_proc(void **state)
{
	int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_int_equal(store_openat(proc, "fd/0", O_RDONLY, 0), -ELOOP);
	assert_int_equal(store_openat(proc, "root/etc", O_RDONLY, 0), -ELOOP);
	close(proc);
}

static void stat_describes_what_is_there(void **state)
{
	const struct tree *t = *state;
	struct stat st;

	assert_int_equal(store_stat(t->dir, "job", &st), 0);
	assert_true(S_ISREG(st.st_mode) && st.st_size == 5);
	assert_int_equal(store_stat(t->dir, "ns/job", &st), 0);
	assert_true(S_ISREG(st.st_mode) && st.st_size == 3);
	assert_int_equal(store_stat(t->dir, "ns", &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	/* A link itself, not what it leads to. */
	assert_int_equal(store_stat(t->dir, "out", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(store_stat(t->dir, "ns/link", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(store_stat(t->dir, "none", &st), -ENOENT);
	assert_int_equal(store_stat(t->dir, "ns/none", &st), -ENOENT);
	assert_int_equal(store_stat(t->dir, "job/x", &st), -ENOTDIR);
}

static void stat_stays_below(void **state)
{
	const struct tree *t = *state;
	unsigned before = open_descriptors();
	struct stat st;

	assert_int_equal(store_stat(t->dir, "out/secret", &st), -ELOOP);
	assert_int_equal(store_stat(t->dir, "abs/passwd", &st), -ELOOP);
	assert_int_equal(store_stat(t->dir, "../outside/secret", &st), -EXDEV);
	assert_int_equal(store_stat(t->dir, "ns/../../outside", &st), -EXDEV);
	assert_int_equal(store_stat(t->dir, "/etc/passwd", &st), -EXDEV);
	assert_int_equal(store_stat(t->dir, "..", &st), -EXDEV);
	assert_int_equal(open_descriptors(), before);
}

static void same_folder(const struct tree *t, int fd, const char *path)
{
	struct stat a, b;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &a), 0);
	assert_int_equal(fstatat(t->dir, path, &b, 0), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	close(fd);
}

static void parent_and_last(void **state)
{
	char path[LK_NAME_MAX + 1];
	const struct tree *t = *state;
	const char *last;

	same_folder(t, store_parent(t->dir, "job", &last), ".");
	assert_string_equal(last, "job");
	same_folder(t, store_parent(t->dir, "ns/a", &last), "ns");
	assert_string_equal(last, "a");
	assert_int_equal(store_parent(t->dir, "none/a", &last), -ENOENT);
	assert_int_equal(store_parent(t->dir, "job/a", &last), -ENOTDIR);
	assert_int_equal(store_parent(t->dir, "out/a", &last), -ELOOP);
	assert_int_equal(store_parent(t->dir, "ns/link/a", &last), -ELOOP);
	assert_int_equal(store_parent(t->dir, "../a", &last), -EXDEV);
	assert_int_equal(store_parent(t->dir, "/etc/a", &last), -EXDEV);
	/* The longest name there is. */
	memset(path, 'x', sizeof(path));
	path[LK_NAME_MAX] = '\0';
	path[LK_NAME_MAX - 1] = '/';
	assert_int_equal(store_parent(t->dir, path, &last), -ENAMETOOLONG);
}

/* --- DIR itself --- */

static void opening_makes_what_is_missing(void **state)
{
	const struct tree *t = *state;
	unsigned before = open_descriptors(), i;
	struct store s;
	struct stat st;
	const char *why;

	for (i = 0; i < 2; i++) {
		assert_int_equal(store_open(&s, t->path, false, &why), 0);
		assert_string_equal(s.path, t->path);
		assert_false(s.read_only);
		assert_true(s.dir >= 0 && s.locks >= 0 && s.sems >= 0 && s.priv >= 0 && s.mounts >= 0);
		assert_int_equal(fstat(s.locks, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0755);
		assert_int_equal(fstat(s.priv, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0700);
		assert_int_equal(fstat(s.mounts, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0700);
		assert_int_equal(store_check(&s), 0);
		store_close(&s);
		assert_int_equal(open_descriptors(), before);
		store_close(&s);
	}
}

static void cannot_be_opened(const struct tree *t, bool read_only, int err, const char *what)
{
	unsigned before = open_descriptors();
	const char *why = NULL;
	struct store s;

	assert_int_equal(store_open(&s, t->path, read_only, &why), err);
	assert_non_null(why);
	if (!strstr(why, what))
		fail_msg("'%s' does not say '%s'", why, what);
	assert_int_equal(open_descriptors(), before);
}

static void what_is_in_the_way_is_named(void **state)
{
	static const char *const names[] = { "locks", "sems", ".plockfs", ".plockfs/mounts" };
	const struct tree *t = *state;
	char path[200];
	size_t i;

	for (i = 0; i < COUNT(names); i++) {
		/* Made by hand: the one before stays, so that it comes to the next. */
		snprintf(path, sizeof(path), "%s/%s", t->path, names[i]);
		assert_int_equal(symlink("../outside", path), 0);
		cannot_be_opened(t, false, -ELOOP, strrchr(path, '/') + 1);
		cannot_be_opened(t, true, -ELOOP, strrchr(path, '/') + 1);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(mknod(path, S_IFREG | 0600, 0), 0);
		cannot_be_opened(t, false, -ENOTDIR, strrchr(path, '/') + 1);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(mkdir(path, 0700), 0);
	}
}

static void no_dir(void **state)
{
	struct tree *t = *state;

	snprintf(t->path, sizeof(t->path), "%s/none", t->top.path);
	cannot_be_opened(t, false, -ENOENT, t->path);
	snprintf(t->path, sizeof(t->path), "%s/outside/secret", t->top.path);
	cannot_be_opened(t, false, -ENOTDIR, t->path);
}

static void read_only_makes_nothing(void **state)
{
	const struct tree *t = *state;
	struct store s;
	const char *why;

	cannot_be_opened(t, true, -EROFS, t->path);
	assert_false(folder_has(&t->top, "dir/locks"));
	assert_int_equal(mkdirat(t->dir, "locks", 0755), 0);
	assert_int_equal(store_open(&s, t->path, true, &why), 0);
	assert_true(s.read_only);
	assert_int_equal(s.sems, -1);
	assert_int_equal(s.priv, -1);
	assert_int_equal(s.mounts, -1);
	assert_int_equal(store_check(&s), 0);
	store_close(&s);
	assert_false(folder_has(&t->top, "dir/.plockfs"));
}

static void a_dir_that_moves_is_noticed(void **state)
{
	const struct tree *t = *state;
	const struct folder *f = &t->top;
	struct store s;
	const char *why;

	assert_int_equal(store_open(&s, t->path, false, &why), 0);
	assert_int_equal(renameat(f->fd, "dir", f->fd, "moved"), 0);
	assert_int_equal(store_check(&s), -ENOENT);
	assert_int_equal(mkdirat(f->fd, "dir", 0700), 0);
	assert_int_equal(store_check(&s), -ESTALE);
	assert_int_equal(unlinkat(f->fd, "dir", AT_REMOVEDIR), 0);
	assert_int_equal(renameat(f->fd, "moved", f->fd, "dir"), 0);
	assert_int_equal(store_check(&s), 0);
	assert_int_equal(renameat(f->fd, "dir/locks", f->fd, "dir/old"), 0);
	assert_int_equal(store_check(&s), -ENOENT);
	assert_int_equal(mkdirat(f->fd, "dir/locks", 0755), 0);
	assert_int_equal(store_check(&s), -ESTALE);
	store_close(&s);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(opening_stays_below),
		ROW(making_stays_below),
		ROW(no_way_through_proc),
		ROW(stat_describes_what_is_there),
		ROW(stat_stays_below),
		ROW(parent_and_last),
		ROW(opening_makes_what_is_missing),
		ROW(what_is_in_the_way_is_named),
		ROW(no_dir),
		ROW(read_only_makes_nothing),
		ROW(a_dir_that_moves_is_noticed),
	};

	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
