/* Tables of held names that are garbage, half made, cut or gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/held_fixture.h"

/* Good magic and garbage behind it, or garbage all through. */
static void put_garbage(const struct folder *dir, const char *name, size_t size, bool good_magic)
{
	unsigned char *bytes = malloc(size + 8);
	size_t i;

	assert_non_null(bytes);
	for (i = 0; i < size; i++)
		bytes[i] = (unsigned char)(i * 2654435761u >> 13);
	if (good_magic)
		memcpy(bytes, "pkfheld1", 8);
	assert_int_equal(folder_put(dir, name, bytes, size), 0);
	free(bytes);
}

static void garbage_is_no_harm(void **state)
{
	static const size_t sizes[] = {
		0, 1, 8, HEAD, HEAD + 8 * STEP - 1, HEAD + 8 * STEP, HEAD + 8 * STEP + 3, 100000
	};
	const struct folder *dir = *state;
	unsigned before = open_descriptors();
	struct side a, alive;
	char name[32];
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(name, sizeof(name), "bad%zu.held", i);
		put_garbage(dir, name, sizes[i], false);
		snprintf(name, sizeof(name), "worse%zu.held", i);
		put_garbage(dir, name, sizes[i], true);
	}
	alive = mounted(dir, "alive");
	a = mounted(dir, "a");
	assert_int_equal(symlinkat("worse5.held", dir->fd, "link.held"), 0);
	assert_int_equal(mkdirat(dir->fd, "folder.held", 0700), 0);
	assert_int_equal(mkfifoat(dir->fd, "fifo.held", 0600), 0);
	put_garbage(dir, "0123456789012345678901234567890123456789012345678.held", 100000, true);
	put_garbage(dir, ".held", 100000, true);
	assert_false(held_abandoned(a.t, JOB));
	hold_job(&alive);
	held_clear(a.t, held_add(a.t, JOB), JOB);
	assert_false(held_abandoned(a.t, JOB));
	assert_false(held_abandoned(a.t, 0));
	unmounted(&a);
	unmounted(&alive);
	assert_int_equal(open_descriptors(), before);
	assert_true(folder_has(dir, "bad5.held"));
}

/* A living mount's table that somebody wrote over. */
static void garbage_of_a_living_one(void **state)
{
	struct side b = mounted(*state, "b"), a = mounted(*state, "a");
	uint64_t garbage[3] = { 1, UINT64_MAX, JOB | 1 };
	int fd = openat(((struct folder *)*state)->fd, "b.held", O_WRONLY | O_CLOEXEC);

	assert_false(held_abandoned(a.t, JOB));
	assert_int_equal(pwrite(fd, garbage, sizeof(garbage), 8), sizeof(garbage));
	close(fd);
	assert_true(held_abandoned(a.t, JOB));
	held_clear(a.t, held_add(a.t, JOB), JOB);
	assert_false(held_abandoned(a.t, JOB));
	unmounted(&a);
	unmounted(&b);
}

/* Seen while its mount was still making it. */
static void a_file_that_was_not_ready_at_first(void **state)
{
	const struct folder *dir = *state;
	struct side a = mounted(dir, "a");
	uint64_t table[HEAD / 8 + STEP] = { 0 };
	int lock = openat(dir->fd, "b.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(folder_put(dir, "b.held", "", 0), 0);
	assert_false(held_abandoned(a.t, JOB));
	memcpy(table, "pkfheld1", 8);
	table[2] = JOB;
	assert_int_equal(folder_put(dir, "b.held", table, sizeof(table)), 0);
	assert_false(held_abandoned(a.t, JOB));
	close(lock);
	assert_true(held_abandoned(a.t, JOB));
	unmounted(&a);
}

static void a_mount_that_comes_right_after_a_look(void **state)
{
	struct side a = mounted(*state, "a"), b;
	char id[16];
	int i;

	for (i = 0; i < 20; i++) {
		held_refresh(a.t);
		snprintf(id, sizeof(id), "b%d", i);
		b = mounted(*state, id);
		lose_job(&b);
		assert_true(held_abandoned(a.t, JOB));
		held_clear(a.t, held_add(a.t, JOB), JOB);
		unmounted(&b);
	}
	unmounted(&a);
}

static void cut(const struct folder *dir, const char *name)
{
	int fd = openat(dir->fd, name, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		_exit(9);
	close(fd);
}

static int cut_of_the_living(const struct folder *dir)
{
	struct side b = mounted(dir, "b"), a = mounted(dir, "a");

	lose_job(&b);
	if (!held_abandoned(a.t, JOB))
		return 1;
	cut(dir, "b.held");
	held_clear(a.t, held_add(a.t, JOB), JOB);
	return held_abandoned(a.t, JOB) ? 2 : 0;
}

static int cut_of_the_dead(const struct folder *dir)
{
	struct side a = mounted(dir, "a");

	live_and_die(dir, "b", hold_job);
	if (!held_abandoned(a.t, JOB))
		return 1;
	cut(dir, "b.held");
	if (held_abandoned(a.t, JOB))
		return 2;
	held_clear(a.t, held_add(a.t, JOB), JOB);
	return 0;
}

static int cut_of_our_own(const struct folder *dir)
{
	struct side a = mounted(dir, "a");
	uint32_t e = held_add(a.t, JOB);

	cut(dir, "a.held");
	held_clear(a.t, e, JOB);
	held_abandon(a.t, held_add(a.t, JOB));
	held_abandoned(a.t, JOB);
	unmounted(&a);
	return 0;
}

/* Shorter than what is mapped: touching it would be SIGBUS. */
static void a_file_of_the_living_that_was_cut(void **state)
{
	assert_int_equal(status_of(cut_of_the_living, *state), 0);
}

static void a_file_of_the_dead_that_was_cut(void **state)
{
	assert_int_equal(status_of(cut_of_the_dead, *state), 0);
}

static void our_own_file_that_was_cut(void **state)
{
	assert_int_equal(status_of(cut_of_our_own, *state), 0);
}

static void our_own_file_that_was_removed(void **state)
{
	struct side a = mounted(*state, "a");

	assert_int_equal(unlinkat(((struct folder *)*state)->fd, "a.held", 0), 0);
	lose_job(&a);
	assert_true(held_abandoned(a.t, JOB));
	unmounted(&a);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(garbage_is_no_harm),
		ROW(garbage_of_a_living_one),
		ROW(a_file_that_was_not_ready_at_first),
		ROW(a_mount_that_comes_right_after_a_look),
		ROW(a_file_of_the_living_that_was_cut),
		ROW(a_file_of_the_dead_that_was_cut),
		ROW(our_own_file_that_was_cut),
		ROW(our_own_file_that_was_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
