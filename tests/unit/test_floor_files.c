/* Fencing tokens rise when their file is gone, cut or broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/floor_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void removed_under_two_mounts(void **state)
{
	const struct folder *dir = *state;
	struct floor a = opened(dir, NOW), b = opened(dir, NOW);
	uint64_t token = next(&a, NOW + 100 * FLOOR_WINDOW_US), t;
	int i;

	assert_int_equal(unlinkat(dir->fd, "floor", 0), 0);
	/* Nor does the clock help. */
	for (i = 0; i < 20; i++) {
		t = next(i % 2 ? &a : &b, NOW);
		assert_true(t > token);
		token = t;
	}
	assert_true(folder_has(dir, "floor"));
	assert_false(folder_has(dir, "floor.new"));
	assert_int_equal(floor_last(&a), floor_last(&b));
	floor_close(&a);
	floor_close(&b);
}

static void replaced_by_an_older_one(void **state)
{
	const struct folder *dir = *state;
	struct floor f = opened(dir, NOW);
	char old[FILE_SIZE];
	uint64_t token;

	next(&f, NOW);
	get(dir, old, sizeof(old), 0);
	token = next(&f, NOW + 5 * FLOOR_WINDOW_US);
	assert_int_equal(folder_put(dir, "backup", old, sizeof(old)), 0);
	assert_int_equal(renameat(dir->fd, "backup", dir->fd, "floor"), 0);
	assert_true(next(&f, NOW) > token);
	floor_close(&f);
}

static void cut_under_two_mounts(void **state)
{
	const struct folder *dir = *state;
	static const off_t sizes[] = { 0, 1, 8, 63 };
	struct floor a = opened(dir, NOW), b = opened(dir, NOW);
	uint64_t token = next(&a, NOW), t, wall = NOW;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		wall += SECOND;
		assert_int_equal(ftruncate(a.fd, sizes[i]), 0);
		t = next(&a, wall);
		assert_true(t > token);
		token = next(&b, wall);
		assert_true(token > t);
	}
	floor_close(&a);
	floor_close(&b);
}

static void cut_and_the_clock_set_back(void **state)
{
	struct floor f = opened(*state, NOW);
	uint64_t token = next(&f, NOW + 100 * FLOOR_WINDOW_US);

	assert_int_equal(ftruncate(f.fd, 0), 0);
	assert_true(next(&f, NOW) > token);
	floor_close(&f);
}

/* How asking for the last token of a file that was cut ends. */
static void cut_and_only_looked_at(void **state)
{
	struct floor f = opened(*state, NOW);
	uint64_t token = next(&f, NOW);
	pid_t pid;
	int status;

	assert_int_equal(ftruncate(f.fd, 0), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGBUS, SIG_DFL);
		_exit(floor_last(&f) <= token ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	floor_close(&f);
}

static void broken_ones_are_made_anew_above(void **state)
{
	static const size_t sizes[] = { 0, 1, 63, 64, FILE_SIZE, 9000 };
	const struct folder *dir = *state;
	char bytes[9000];
	uint64_t token = 0, t, wall = NOW;
	struct floor f;
	size_t i;

	memset(bytes, 0xa5, sizeof(bytes));
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(folder_put(dir, "floor", bytes, sizes[i]), 0);
		wall += SECOND;
		f = opened(dir, wall);
		t = next(&f, wall);
		/* The last one may have been given a window above the clock. */
		assert_true(t > wall + FLOOR_WINDOW_US && t > token);
		assert_true(t <= durable(dir));
		token = t;
		floor_close(&f);
	}
}

static void a_half_made_new_one_is_no_harm(void **state)
{
	const struct folder *dir = *state;
	struct floor f;

	assert_int_equal(folder_put(dir, "floor.new", "half", 4), 0);
	f = opened(dir, NOW);
	assert_true(next(&f, NOW) > NOW);
	floor_close(&f);
	assert_false(folder_has(dir, "floor.new"));
}

static void never_through_a_link(void **state)
{
	const struct folder *dir = *state;
	unsigned before = open_descriptors();
	struct floor f;

	assert_int_equal(folder_put(dir, "other", "mine", 4), 0);
	assert_int_equal(symlinkat("other", dir->fd, "floor"), 0);
	assert_int_equal(floor_open(&f, dir->fd, NOW), -ELOOP);
	assert_int_equal(unlinkat(dir->fd, "floor", 0), 0);
	assert_int_equal(mkdirat(dir->fd, "floor", 0700), 0);
	assert_int_equal(floor_open(&f, dir->fd, NOW), -EISDIR);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(unlinkat(dir->fd, "floor", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("other", dir->fd, "floor.new"), 0);
	assert_int_equal(floor_open(&f, dir->fd, NOW), -ELOOP);
	assert_int_equal(open_descriptors(), before);
}

static void no_descriptor_stays(void **state)
{
	unsigned before = open_descriptors();
	struct floor f = opened(*state, NOW);
	int i;

	for (i = 0; i < 5; i++) {
		next(&f, NOW);
		assert_int_equal(unlinkat(((struct folder *)*state)->fd, "floor", 0), 0);
	}
	next(&f, NOW);
	assert_int_equal(open_descriptors(), before + 1);
	floor_close(&f);
	assert_int_equal(open_descriptors(), before);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(removed_under_two_mounts),
		ROW(replaced_by_an_older_one),
		ROW(cut_under_two_mounts),
		ROW(cut_and_the_clock_set_back),
		ROW(cut_and_only_looked_at),
		ROW(broken_ones_are_made_anew_above),
		ROW(a_half_made_new_one_is_no_harm),
		ROW(never_through_a_link),
		ROW(no_descriptor_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
