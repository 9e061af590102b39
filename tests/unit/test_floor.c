/* Fencing tokens: they rise, whatever happens to the file and to the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/file/floor.h"
#include "tests/unit/folder_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define NOW (UINT64_C(1700000000) * 1000000)
#define SECOND UINT64_C(1000000)
/* The file: magic, last token, ceiling, boot id; then the durable ceiling. */
#define LAST_AT 8
#define BOOT_AT 24
#define DURABLE_AT 64
#define FILE_SIZE 72

static int setup(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	*state = f;
	return f ? folder_make(f) : -1;
}

static int teardown(void **state)
{
	int err = folder_remove(*state);

	free(*state);
	return err;
}

static struct floor opened(const struct folder *dir, uint64_t wall)
{
	struct floor f;

	assert_int_equal(floor_open(&f, dir->fd, wall), 0);
	return f;
}

static uint64_t next(struct floor *f, uint64_t wall)
{
	uint64_t token = 0;

	assert_int_equal(floor_next(f, wall, &token), 0);
	return token;
}

static void get(const struct folder *dir, void *out, size_t size, off_t at)
{
	int fd = openat(dir->fd, "floor", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, out, size, at), size);
	close(fd);
}

static void set(const struct folder *dir, const void *data, size_t size, off_t at)
{
	int fd = openat(dir->fd, "floor", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, size, at), size);
	close(fd);
}

static uint64_t durable(const struct folder *dir)
{
	uint64_t v;

	get(dir, &v, sizeof(v), DURABLE_AT);
	return v;
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
	assert_int_equal(floor_last(&f), 0);
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

	assert_false(floor_low(&f, wall));
	assert_true(floor_low(&f, wall + FLOOR_WINDOW_US / 2 + SECOND));
	assert_int_equal(floor_raise(f.fd, wall + FLOOR_WINDOW_US / 2 + SECOND), 0);
	assert_false(floor_low(&f, wall + FLOOR_WINDOW_US / 2 + SECOND));
	floor_close(&f);
	assert_true(floor_low(&f, 0));
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

/* --- a file that is gone or broken --- */

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
	pid_t pid;
	int status;

	next(&f, NOW);
	assert_int_equal(ftruncate(f.fd, 0), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGBUS, SIG_DFL);
		floor_low(&f, NOW);
		_exit(floor_last(&f) == 0 ? 0 : 1);
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
		ROW(tokens_rise),
		ROW(tokens_follow_the_clock),
		ROW(a_clock_set_back_changes_nothing),
		ROW(the_next_mount_goes_on),
		ROW(two_mounts_count_in_one_file),
		ROW(no_token_is_given_twice),
		ROW(none_above_what_is_durable),
		ROW(low_before_it_runs_out),
		ROW(no_token_that_is_not_durable),
		ROW(after_a_reboot_from_the_ceiling),
		ROW(the_same_boot_goes_on_without_a_gap),
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
