/* Shared maps whose file is cut under them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/guard.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 4

static size_t page;

/* A file of PAGES pages, each full of 'x'; its descriptor. */
static int make_file(char **map)
{
	char path[] = "/tmp/plockfs-guard-XXXXXX";
	int fd = mkstemp(path);
	size_t i;

	page = (size_t)sysconf(_SC_PAGESIZE);
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, (off_t)(PAGES * page)), 0);
	*map = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(*map, MAP_FAILED);
	for (i = 0; i < PAGES * page; i++)
		(*map)[i] = 'x';
	return fd;
}

static void drop(int fd, char *map)
{
	munmap(map, PAGES * page);
	close(fd);
}

static char touch(const char *at)
{
	return *(const volatile char *)at;
}

static void whole(void **state)
{
	struct pl_guard g = { 0 };
	char *map;
	int fd = make_file(&map);

	(void)state;
	pl_guard_add(&g, map, PAGES * page);
	assert_int_equal(touch(map + 3 * page), 'x');
	assert_false(g.cut);
	pl_guard_remove(&g);
	pl_guard_remove(&g);
	drop(fd, map);
}

static void cut(void **state)
{
	struct pl_guard other = { 0 }, g = { 0 };
	char *map, *map2;
	int fd = make_file(&map), fd2 = make_file(&map2);

	(void)state;
	pl_guard_add(&other, map2, PAGES * page);
	pl_guard_add(&g, map, PAGES * page);
	assert_int_equal(ftruncate(fd, (off_t)page), 0);
	assert_int_equal(touch(map), 'x');
	assert_false(g.cut);
	assert_int_equal(touch(map + 2 * page + 17), 0);
	assert_true(g.cut);
	assert_false(other.cut);
	/* Ours alone, from then on: also when the file is whole again. */
	map[2 * page + 17] = 'y';
	assert_int_equal(ftruncate(fd, (off_t)(PAGES * page)), 0);
	assert_int_equal(touch(map + 2 * page + 17), 'y');
	map[3 * page] = 'z'; /* of the file, which has it again */
	pl_guard_remove(&g);
	pl_guard_remove(&other);
	drop(fd, map);
	drop(fd2, map2);
}

/* Nobody hides a SIGBUS that is about something else. */
static void not_guarded(void **state)
{
	struct pl_guard g = { 0 };
	char *map, *map2;
	int fd = make_file(&map), fd2 = make_file(&map2), status;
	pid_t child;

	(void)state;
	child = fork();
	if (child == 0) {
		pl_guard_add(&g, map, PAGES * page);
		if (ftruncate(fd2, 0) == 0)
			touch(map2);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	drop(fd, map);
	drop(fd2, map2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(cut),
		cmocka_unit_test(not_guarded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
