/* Fencing tokens: they rise, whatever the clock does and whoever else counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/floor_fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define LAST_AT 8
#define BOOT_AT 24

static void set(const struct folder *dir, const void *data, size_t size, off_t at)
{
	int fd = openat(dir->fd, "floor", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, size, at), size);
	close(fd);
}

static void tokens_rise(void **state)
{
	struct floor f = opened(*state, NOW);
	uint64_t token = 0, t;
	int i;

	for (i = 0; i < 1000; i++) {
		t = next(&f, NOW + (uint64_t)i % 3);
		assert_true(t > token);
		assert_int_equal(floor_last(&f), t);
		token = t;
	}
	assert_true(token >= NOW);
	floor_close(&f);
	floor_close(&f);
}

static void tokens_follow_the_clock(void **state)
{
	struct floor f = opened(*state, NOW);
	uint64_t later = NOW + 10 * FLOOR_WINDOW_US;

	next(&f, NOW);
	assert_int_equal(next(&f, later), later);
	assert_int_equal(next(&f, later), later + 1);
	floor_close(&f);
}

static void a_clock_set_back_changes_nothing(void **state)
{
	struct floor f = opened(*state, NOW);
	uint64_t token = next(&f, NOW + 10 * FLOOR_WINDOW_US);

	assert_int_equal(next(&f, NOW), token + 1);
	assert_int_equal(next(&f, 0), token + 2);
	floor_close(&f);
	f = opened(*state, 0);
	assert_int_equal(next(&f, 0), token + 3);
	floor_close(&f);
}

static void the_next_mount_goes_on(void **state)
{
	struct floor f = opened(*state, NOW);
	uint64_t token = next(&f, NOW);

	floor_close(&f);
	f = opened(*state, NOW);
	assert_int_equal(floor_last(&f), token);
	assert_int_equal(next(&f, NOW), token + 1);
	floor_close(&f);
}

static void two_mounts_count_in_one_file(void **state)
{
	struct floor a = opened(*state, NOW), b = opened(*state, NOW);
	uint64_t token = 0, t;
	int i;

	for (i = 0; i < 100; i++) {
		t = next(i % 3 ? &a : &b, NOW);
		assert_true(t > token);
		assert_int_equal(floor_last(&a), t);
		assert_int_equal(floor_last(&b), t);
		token = t;
	}
	floor_close(&a);
	floor_close(&b);
}

#define CHILDREN 4
#define TOKENS 2000

static void whether_another_mount_took_one(void **state)
{
	struct folder *dir = *state;
	struct floor a = opened(dir, NOW), b = opened(dir, NOW);

	next(&a, NOW);
	a.others = false;
	next(&a, NOW);
	next(&a, NOW + SECOND);
	assert_false(a.others);
	next(&b, NOW);
	next(&a, NOW);
	assert_true(a.others);
	/* Until somebody has seen to it. */
	next(&a, NOW);
	assert_true(a.others);
	floor_close(&a);
	floor_close(&b);
}

static void count(const struct folder *dir, uint64_t *tokens)
{
	struct floor f;
	int i;

	if (floor_open(&f, dir->fd, NOW) < 0)
		_exit(1);
	for (i = 0; i < TOKENS; i++) {
		if (floor_next(&f, NOW, &tokens[i]) < 0)
			_exit(1);
	}
	_exit(0);
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void no_token_is_given_twice(void **state)
{
	size_t i, n = CHILDREN * TOKENS;
	uint64_t *tokens = mmap(NULL, n * sizeof(*tokens), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	assert_ptr_not_equal(tokens, MAP_FAILED);
	for (i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			count(*state, tokens + i * TOKENS);
	}
	for (i = 0; i < CHILDREN; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	for (i = 1; i < n; i++)
		assert_true(i % TOKENS == 0 || tokens[i] > tokens[i - 1]);
	qsort(tokens, n, sizeof(*tokens), by_value);
	for (i = 1; i < n; i++)
		assert_true(tokens[i] != tokens[i - 1]);
	munmap(tokens, n * sizeof(*tokens));
}

/* --- the ceiling --- */

static void none_above_what_is_durable(void **state)
{
	struct floor f = opened(*state, NOW);
	uint64_t wall = NOW;
	int i;

	for (i = 0; i < 50; i++) {
		assert_true(next(&f, wall) <= durable(*state));
		wall += FLOOR_WINDOW_US / 3;
	}
	floor_close(&f);
}

static void low_before_it_runs_out(void **state)
{
	struct floor f = opened(*state, NOW);
	uint64_t wall = next(&f, NOW);

	assert_false(f.low);
	wall += FLOOR_WINDOW_US / 2 + SECOND;
	next(&f, wall);
	assert_true(f.low);
	assert_int_equal(floor_raise(f.fd, wall), 0);
	next(&f, wall);
	assert_false(f.low);
	floor_close(&f);
}

/* In a process that cannot write further than the page. */
static int no_durable_ceiling(const struct folder *dir)
{
	const struct rlimit limit = { DURABLE_AT, DURABLE_AT };
	struct floor f;
	uint64_t last, token;

	if (floor_open(&f, dir->fd, NOW) < 0 || floor_next(&f, NOW, &token) < 0)
		return 1;
	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		return 2;
	last = floor_last(&f);
	if (floor_next(&f, NOW + 10 * FLOOR_WINDOW_US, &token) != -EFBIG || floor_last(&f) != last)
		return 3;
	if (floor_next(&f, NOW, &token) != 0 || token != last + 1) /* below the old ceiling: still fine */
		return 4;
	floor_close(&f);
	return floor_open(&f, dir->fd, NOW) == -EFBIG && f.fd < 0 && !f.page ? 0 : 5;
}

static void no_token_that_is_not_durable(void **state)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(no_durable_ceiling(*state));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* --- reboots --- */

static void reboot(const struct folder *dir, uint64_t last_on_disk)
{
	static const char boot[40] = "00000000-0000-0000-0000-000000000000";
	const uint64_t page[2] = { last_on_disk, last_on_disk };

	set(dir, page, sizeof(page), LAST_AT);
	set(dir, boot, sizeof(boot), BOOT_AT);
}

static void after_a_reboot_from_the_ceiling(void **state)
{
	struct floor f = opened(*state, NOW);
	uint64_t first = next(&f, NOW), ceiling;

	next(&f, NOW + 3 * FLOOR_WINDOW_US);
	ceiling = durable(*state);
	floor_close(&f);
	/* What the page had is lost, and the clock is wrong. */
	reboot(*state, first);
	f = opened(*state, NOW - 100 * SECOND);
	assert_int_equal(next(&f, NOW - 100 * SECOND), ceiling + 1);
	assert_true(durable(*state) > ceiling);
	floor_close(&f);
	/* Only once a boot. */
	f = opened(*state, NOW);
	assert_int_equal(next(&f, NOW), ceiling + 2);
	floor_close(&f);
}

static void the_same_boot_goes_on_without_a_gap(void **state)
{
	struct floor f = opened(*state, NOW);
	uint64_t token = next(&f, NOW);
	char boot[40], here[40] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	assert_int_equal(read(fd, here, 36), 36);
	close(fd);
	get(*state, boot, sizeof(boot), BOOT_AT);
	assert_memory_equal(boot, here, sizeof(boot));
	floor_close(&f);
	f = opened(*state, NOW);
	assert_int_equal(next(&f, NOW), token + 1);
	floor_close(&f);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(tokens_rise),
		ROW(tokens_follow_the_clock),
		ROW(a_clock_set_back_changes_nothing),
		ROW(the_next_mount_goes_on),
		ROW(two_mounts_count_in_one_file),
		ROW(whether_another_mount_took_one),
		ROW(no_token_is_given_twice),
		ROW(none_above_what_is_durable),
		ROW(low_before_it_runs_out),
		ROW(no_token_that_is_not_durable),
		ROW(after_a_reboot_from_the_ceiling),
		ROW(the_same_boot_goes_on_without_a_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
