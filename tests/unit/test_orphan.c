/* backend/file/orphan.c: flocks of files that lost their names, and whatever a name leads to instead. */
#include "tests/unit/files_fixture.h"

static void name_is_another_lock(void **state)
{
	struct world *w = *state;
	struct lk_file *old = open_file(w, w->a, "x"), *other = open_file(w, w->a, "x"), *new;
	struct ask held;

	ask(&held, w->a, old, "x", LK_EXCLUSIVE, true);
	assert_int_equal(answer(w, &held), 0);
	assert_int_equal(try_lock(w, w->a, NULL, "x"), -EAGAIN);
	assert_int_equal(unlink_name(w, w->a, "x"), 0);
	new = open_file(w, w->a, "x");
	/* The new file, by both of its doors; the old one is held still. */
	assert_int_equal(try_lock(w, w->a, new, "x"), 0);
	assert_int_equal(try_lock(w, w->a, NULL, "x"), 0);
	assert_int_equal(try_lock(w, w->b, NULL, "x"), 0);
	assert_int_equal(try_lock(w, w->a, other, "x"), -EAGAIN);
	assert_int_equal(stat_file(w, w->a, old).nlink, 0);
	settle(w, w->a, old);
	assert_false(held.lost);
	lk_release(w->a, held.hold);
	assert_int_equal(try_lock(w, w->a, other, "x"), 0);
	lk_file_close(w->a, old);
	lk_file_close(w->a, other);
	lk_file_close(w->a, new);
}

static void holder_goes_with_a_rename(void **state)
{
	struct world *w = *state;
	struct lk_file *f = open_file(w, w->a, "x");
	struct ask held, wait;

	ask(&held, w->a, f, "x", LK_EXCLUSIVE, true);
	assert_int_equal(answer(w, &held), 0);
	assert_int_equal(rename_name(w, w->a, "x", "y"), 0);
	assert_int_equal(try_lock(w, w->a, NULL, "y"), -EAGAIN);
	assert_int_equal(try_lock(w, w->b, NULL, "y"), -EAGAIN);
	assert_int_equal(try_lock(w, w->a, NULL, "x"), 0);
	ask(&wait, w->a, NULL, "y", LK_EXCLUSIVE, false);
	settle(w, w->a, f);
	assert_false(wait.yes);
	/* One of locks/ holds the name now: it stays as it is. */
	lk_release(w->a, held.hold);
	assert_int_equal(answer(w, &wait), 0);
	assert_int_equal(rename_name(w, w->a, "y", "z"), -EBUSY);
	assert_int_equal(unlink_name(w, w->a, "y"), -EBUSY);
	lk_release(w->a, wait.hold);
	lk_file_close(w->a, f);
}

static void replaced_from_outside(void **state)
{
	struct world *w = *state;
	char from[128], to[128];
	struct lk_file *f = open_file(w, w->a, "x");
	struct ask by_file, by_name;

	ask(&by_file, w->a, f, "x", LK_SHARED, true);
	ask(&by_name, w->a, NULL, "x", LK_SHARED, true);
	assert_int_equal(answer(w, &by_file), 0);
	assert_int_equal(answer(w, &by_name), 0);
	close(outside(w, "new"));
	snprintf(from, sizeof(from), "%s/locks/new", w->dir.path);
	snprintf(to, sizeof(to), "%s/locks/x", w->dir.path);
	assert_int_equal(rename(from, to), 0);
	/* What was locked by name is lost, what was locked by file is that file's. */
	until(w, &by_name.lost);
	assert_false(by_file.lost);
	assert_int_equal(try_lock(w, w->a, NULL, "x"), 0);
	assert_int_equal(try_lock(w, w->a, f, "x"), -EAGAIN);
	lk_release(w->a, by_name.hold);
	lk_release(w->a, by_file.hold);
	assert_int_equal(try_lock(w, w->a, f, "x"), 0);
	lk_file_close(w->a, f);
}

/* Whoever waits for a file without a name stays in line, whatever happens to other names. */
static void waiters_stay_in_line(void **state)
{
	struct world *w = *state;
	struct lk_file *f[3];
	struct ask a[3];
	char path[128];
	int i;

	for (i = 0; i < 3; i++)
		f[i] = open_file(w, w->a, "x");
	for (i = 0; i < 3; i++)
		ask(&a[i], w->a, f[i], "x", LK_EXCLUSIVE, false);
	assert_int_equal(answer(w, &a[0]), 0);
	assert_int_equal(unlink_name(w, w->a, "x"), 0);
	/* A folder that goes has all names looked at. */
	snprintf(path, sizeof(path), "%s/locks/folder", w->dir.path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(rmdir(path), 0);
	settle(w, w->a, f[0]);
	assert_false(a[0].lost || a[1].yes || a[2].yes);
	for (i = 0; i < 3; i++) {
		assert_int_equal(answer(w, &a[i]), 0);
		assert_false(i < 2 && a[i + 1].yes);
		lk_release(w->a, a[i].hold);
	}
	for (i = 0; i < 3; i++)
		lk_file_close(w->a, f[i]);
}

/* A program outside keeps a file that is not at the name any more. */
static void waiter_takes_what_is_there_now(void **state)
{
	struct world *w = *state;
	int fd = outside(w, "x");
	struct lk_file *f = open_file(w, w->a, "x");
	struct ask by_name, by_file;
	char from[128], to[128];

	assert_int_equal(flock(fd, LOCK_EX), 0);
	ask(&by_name, w->a, NULL, "x", LK_EXCLUSIVE, false);
	ask(&by_file, w->a, f, "x", LK_EXCLUSIVE, false);
	settle(w, w->a, f);
	assert_false(by_name.yes || by_file.yes);
	close(outside(w, "new"));
	snprintf(from, sizeof(from), "%s/locks/new", w->dir.path);
	snprintf(to, sizeof(to), "%s/locks/x", w->dir.path);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(answer(w, &by_name), 0);
	settle(w, w->a, f);
	assert_false(by_file.yes);
	close(fd);
	assert_int_equal(answer(w, &by_file), 0);
	lk_release(w->a, by_name.hold);
	lk_release(w->a, by_file.hold);
	lk_file_close(w->a, f);
}

static void ends_with_locks_of_lost_files(void **state)
{
	struct world *w = *state;
	struct lk_file *f = open_file(w, w->a, "x"), *g = open_file(w, w->a, "x");
	struct ask held, wait;
	unsigned before;

	ask(&held, w->a, f, "x", LK_EXCLUSIVE, true);
	assert_int_equal(answer(w, &held), 0);
	assert_int_equal(unlink_name(w, w->a, "x"), 0);
	ask(&wait, w->a, g, "x", LK_EXCLUSIVE, false);
	settle(w, w->a, f);
	before = open_descriptors();
	lk_destroy(w->a);
	w->a = NULL;
	assert_false(wait.yes || held.lost);
	assert_true(open_descriptors() <= before - 3); /* the files, the flock, and its own */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(name_is_another_lock, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(holder_goes_with_a_rename, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(replaced_from_outside, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(waiters_stay_in_line, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(waiter_takes_what_is_there_now, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(ends_with_locks_of_lost_files, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
