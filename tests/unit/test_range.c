/* backend/file/range.c: byte ranges beside other mounts and programs outside. */
#include "tests/unit/files_fixture.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#define S RANGES_SHARED
#define X RANGES_EXCLUSIVE
#define NONE RANGES_NONE

/* Until another program's wait has become a lock, and the loop was not asked. */
static void until_locked(int fd, off_t start, off_t len)
{
	int tries = 0;

	while (!outside_sees(fd, start, len)) {
		assert_true(++tries < 20000);
		(void)poll(NULL, 0, 1);
	}
}

static void mounts_exclude_each_other(void **state)
{
	struct world *w = *state;
	struct lk_file *a = open_file(w, w->a, "x"), *b = open_file(w, w->b, "x");
	struct range r;

	assert_int_equal(range_now(w, w->a, a, 1, X, 0, 9), 0);
	assert_int_equal(range_now(w, w->b, b, 1, S, 9, 20), -EAGAIN);
	assert_int_equal(range_now(w, w->b, b, 1, X, 10, INT64_MAX), 0);
	range_ask(&r, w->b, b, 2, S, 5, 5, true);
	settle(w, w->b, b);
	assert_false(r.yes);
	assert_int_equal(range_now(w, w->a, a, 1, NONE, 5, 5), 0);
	assert_int_equal(range_answer(w, &r), 0);
	assert_int_equal(range_now(w, w->a, a, 1, X, 0, 9), -EAGAIN);
	/* What it had is not lost by what it did not get. */
	assert_int_equal(range_now(w, w->b, b, 3, S, 4, 4), -EAGAIN);
	assert_int_equal(range_now(w, w->b, b, 3, S, 6, 9), -EAGAIN);
}

static void on_tested(void *arg, int err, const struct ranges_lock *conflict)
{
	struct said *s = arg;

	s->conflicts = conflict != NULL;
	if (conflict)
		s->conflict = *conflict;
	on_done(arg, err);
}

/* Takes a lock as plain programs do, says so, and keeps it until it is killed. */
static pid_t program(const struct world *w, const char *name, short type, off_t start, off_t len)
{
	struct flock l = bytes(type, start, len);
	int said[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(said), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = outside(w, name);

		if (fcntl(fd, F_SETLK, &l) < 0 || write(said[1], "y", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(said[1]);
	assert_int_equal(read(said[0], &c, 1), 1);
	close(said[0]);
	return pid;
}

static void end_program(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void plain_program(void **state)
{
	struct world *w = *state;
	struct lk_file *f = open_file(w, w->a, "x");
	const struct ranges_lock want = { .who.owner = 1, .mode = X, .start = 0, .end = INT64_MAX };
	pid_t pid = program(w, "x", F_WRLCK, 10, 10);
	struct said s = { 0 };
	struct range r;

	assert_int_equal(range_now(w, w->a, f, 1, X, 19, 19), -EAGAIN);
	assert_int_equal(range_now(w, w->a, f, 1, X, 0, 9), 0);
	assert_int_equal(outcome(w, &s, lk_range_test(w->a, f, &want, on_tested, &s)), 0);
	assert_true(s.conflicts);
	assert_int_equal(s.conflict.start, 10);
	assert_int_equal(s.conflict.end, 19);
	assert_int_equal(s.conflict.pid, pid);
	assert_int_equal(s.conflict.mode, X);
	/* It dies with its lock. */
	range_ask(&r, w->a, f, 1, S, 0, INT64_MAX, true);
	settle(w, w->a, f);
	assert_false(r.yes);
	end_program(pid);
	assert_int_equal(range_answer(w, &r), 0);
}

static void cancelled(void **state)
{
	struct world *w = *state;
	struct lk_file *f = open_file(w, w->a, "x");
	int fd = outside(w, "x");
	struct range there, here;

	assert_int_equal(outside_set(fd, F_WRLCK, 0, 10), 0);
	assert_int_equal(range_now(w, w->a, f, 1, X, 20, 29), 0);
	range_ask(&there, w->a, f, 2, X, 0, 5, true);
	range_ask(&here, w->a, f, 2, X, 20, 25, true);
	settle(w, w->a, f);
	assert_false(there.yes || here.yes);
	lk_range_cancel(w->a, &there.req, -EINTR);
	lk_range_cancel(w->a, &here.req, -ETIMEDOUT);
	lk_range_cancel(w->a, &here.req, -EINTR);
	assert_int_equal(range_answer(w, &there), -EINTR);
	assert_int_equal(range_answer(w, &here), -ETIMEDOUT);
	/* Nothing of it is left in the kernel. */
	close(fd);
	fd = outside(w, "x");
	assert_int_equal(outside_set(fd, F_WRLCK, 0, 20), 0);
	close(fd);
}

/* A worker has got the range; before the loop hears of it the owner unlocks, and another takes it. */
static void unlocked_before_it_is_told(void **state)
{
	struct world *w = *state;
	struct lk_file *f = open_file(w, w->a, "x");
	int holder = outside(w, "x"), looker = outside(w, "x");
	struct range wait, unlock;
	struct said s = { 0 };

	assert_int_equal(outside_set(holder, F_WRLCK, 0, 10), 0);
	range_ask(&wait, w->a, f, 1, X, 0, 9, true);
	assert_int_equal(outside_set(holder, F_UNLCK, 0, 10), 0);
	until_locked(looker, 0, 10);
	range_ask(&unlock, w->a, f, 1, NONE, 0, INT64_MAX, false);
	assert_int_equal(outside_set(holder, F_WRLCK, 0, 10), 0);
	assert_int_equal(range_answer(w, &unlock), 0);
	settle(w, w->a, f);
	assert_false(wait.yes);
	/* The same by close(2). */
	assert_int_equal(outside_set(holder, F_UNLCK, 0, 10), 0);
	until_locked(looker, 0, 10);
	assert_int_equal(lk_range_drop(w->a, f, 1, on_done, &s), 0);
	assert_int_equal(outside_set(holder, F_WRLCK, 0, 10), 0);
	until(w, &s.yes);
	settle(w, w->a, f);
	assert_false(wait.yes);
	close(holder);
	assert_int_equal(range_answer(w, &wait), 0);
	assert_true(outside_sees(looker, 0, 10));
	close(looker);
}

/* One later in the queue makes way for one before it. */
static void waiting_for_less(void **state)
{
	struct world *w = *state;
	struct lk_file *f = open_file(w, w->a, "x");
	struct range first, second;

	assert_int_equal(range_now(w, w->a, f, 1, X, 0, 0), 0);
	assert_int_equal(range_now(w, w->a, f, 3, X, 5, 5), 0);
	range_ask(&first, w->a, f, 2, S, 0, 0, true);
	range_ask(&second, w->a, f, 1, S, 0, 9, true);
	settle(w, w->a, f);
	assert_false(first.yes || second.yes);
	assert_int_equal(range_now(w, w->a, f, 3, NONE, 5, 5), 0);
	assert_int_equal(range_answer(w, &second), 0);
	assert_int_equal(range_answer(w, &first), 0);
}

/* Who waits for a program outside, then for somebody here, is seen all the time. */
static void circle_through_one_that_waits_outside(void **state)
{
	struct world *w = *state;
	struct lk_file *f = open_file(w, w->a, "x"), *g = open_file(w, w->a, "y");
	int fd = outside(w, "x");
	struct range wait, circle;

	assert_int_equal(outside_set(fd, F_WRLCK, 0, 10), 0);
	assert_int_equal(range_now(w, w->a, g, 1, X, 0, 9), 0);
	range_ask(&wait, w->a, f, 1, X, 0, 9, true);
	assert_int_equal(outside_set(fd, F_UNLCK, 0, 5), 0);
	assert_int_equal(range_now(w, w->a, f, 2, X, 0, 4), 0);
	range_ask(&circle, w->a, g, 2, S, 3, 3, true);
	assert_int_equal(range_answer(w, &circle), -EDEADLK);
	assert_int_equal(outside_set(fd, F_UNLCK, 0, 10), 0);
	settle(w, w->a, f);
	assert_false(wait.yes);
	assert_int_equal(range_now(w, w->a, f, 2, NONE, 0, 9), 0);
	assert_int_equal(range_answer(w, &wait), 0);
	close(fd);
}

static void told(void *arg)
{
	*(bool *)arg = true;
}

static void folder_taken_away(void **state)
{
	struct world *w = *state;
	struct lk_file *f = open_file(w, w->a, "x");
	struct range wait, again = { .req = { .want = { .who.owner = 1, .mode = X, .end = 9 }, .done = range_done } };
	bool lost = false;
	char away[80];

	lk_file_on_lost(w->a, f, told, &lost);
	assert_int_equal(range_now(w, w->a, f, 1, X, 0, 9), 0);
	range_ask(&wait, w->a, f, 2, X, 5, 20, true);
	snprintf(away, sizeof(away), "%s.away", w->dir.path);
	assert_int_equal(rename(w->dir.path, away), 0);
	until(w, &lost);
	/* No longer than the lock: nothing here could end the wait. */
	assert_int_equal(range_answer(w, &wait), -ESTALE);
	again.req.file = f;
	assert_int_equal(lk_range_set(w->a, &again.req), -ESTALE);
	assert_int_equal(rename(away, w->dir.path), 0);
}

static void descriptors(void **state)
{
	struct world *w = *state;
	struct lk_file *f = open_file(w, w->a, "x");
	unsigned before = open_descriptors();
	struct said s = { 0 };

	assert_int_equal(range_now(w, w->a, f, 1, X, 0, 9), 0);
	assert_int_equal(range_now(w, w->a, f, 1, S, 20, 29), 0);
	assert_int_equal(open_descriptors(), before + 1);
	assert_int_equal(range_now(w, w->a, f, 2, X, 0, 9), -EAGAIN);
	assert_int_equal(open_descriptors(), before + 1);
	assert_int_equal(range_now(w, w->a, f, 1, NONE, 0, 9), 0);
	assert_int_equal(open_descriptors(), before + 1);
	assert_int_equal(outcome(w, &s, lk_range_drop(w->a, f, 1, on_done, &s)), 0);
	assert_int_equal(open_descriptors(), before);
	lk_file_close(w->a, f);
	assert_int_equal(open_descriptors(), before - 1);
}

static void ends_with_waits_under_way(void **state)
{
	struct world *w = *state;
	struct lk_file *f = open_file(w, w->a, "x");
	int fd = outside(w, "x");
	struct range here, there;

	assert_int_equal(outside_set(fd, F_WRLCK, 0, 10), 0);
	assert_int_equal(range_now(w, w->a, f, 1, X, 20, 29), 0);
	range_ask(&there, w->a, f, 2, X, 0, 9, true);
	range_ask(&here, w->a, f, 3, X, 20, 29, true);
	lk_destroy(w->a);
	w->a = NULL;
	assert_false(outside_sees(fd, 0, 0));
	assert_int_equal(outside_set(fd, F_UNLCK, 0, 10), 0);
	f = open_file(w, w->b, "x");
	assert_int_equal(range_now(w, w->b, f, 1, X, 0, INT64_MAX), 0);
	assert_false(here.yes || there.yes);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(mounts_exclude_each_other, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(plain_program, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(cancelled, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(unlocked_before_it_is_told, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(waiting_for_less, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(circle_through_one_that_waits_outside, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(folder_taken_away, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(descriptors, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(ends_with_waits_under_way, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
