/* The source directory, refusals of mount points, the way to the background, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/mount.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char work[64];

static int enter(void **state)
{
	(void)state;
	strcpy(work, "/tmp/plockfs-mount-XXXXXX");
	return mkdtemp(work) ? 0 : -1;
}

static int leave(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", work);
	return system(command); // NOLINT(cert-env33-c): a folder of our own
}

static char *below(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", work, name);
	return path;
}

static void make_file(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
}

static int prepare(char *dir, bool is_default)
{
	struct options o = { .dir = dir, .source_is_default = is_default };

	return mount_prepare_dir(&o);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	return st.st_mode & 07777;
}

static void test_dir_is_made_with_its_mode(void **state)
{
	mode_t old = umask(077);

	(void)state;
	assert_int_equal(prepare(below("new"), false), 0);
	assert_int_equal(umask(old), 077);
	assert_int_equal(mode_of(below("new")), geteuid() == 0 ? 0711 : 0700);
}

static void test_dir_that_exists_is_left_alone(void **state)
{
	(void)state;
	assert_int_equal(mkdir(below("old"), 0750), 0);
	assert_int_equal(prepare(below("old"), false), 0);
	assert_int_equal(prepare(below("old"), true), 0);
	assert_int_equal(mode_of(below("old")), 0750);
}

static void test_only_the_default_gets_parents(void **state)
{
	(void)state;
	assert_int_equal(prepare(below("a/b/c"), false), -1);
	assert_int_equal(access(below("a"), F_OK), -1);
	assert_int_equal(prepare(below("a/b/c"), true), 0);
	assert_int_equal(mode_of(below("a/b/c")), geteuid() == 0 ? 0711 : 0700);
	assert_int_equal(mode_of(below("a/b")), geteuid() == 0 ? 0755 : 0700);
}

static void test_dir_that_is_none(void **state)
{
	(void)state;
	make_file(below("file"));
	assert_int_equal(prepare(below("file"), false), -1);
	assert_int_equal(prepare(below("file/x"), false), -1);
	assert_int_equal(prepare(below("file/x"), true), -1);
	assert_int_equal(symlink("nowhere", below("dangling")), 0);
	assert_int_equal(prepare(below("dangling"), false), -1);
}

static void test_mount_points(void **state)
{
	(void)state;
	assert_int_equal(mount_clear_dead(work), 0);
	assert_int_equal(mount_clear_dead("/proc"), 0); /* somebody's, but alive and not ours */
	assert_int_equal(mount_clear_dead(below("missing")), -1);
	make_file(below("file"));
	assert_int_equal(mount_clear_dead(below("file")), -1);
	assert_int_equal(mount_clear_dead(below("file/x")), -1);
}

/* Runs child() in the background of a process of its own; that process's exit code. */
static int exit_of_parent(void (*child)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (mount_daemonize_begin() < 0)
			_exit(99);
		child();
		_exit(98); /* nobody sees this one */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void ready(void)
{
	mount_daemonize_ready(0);
}

static void failed(void)
{
	mount_daemonize_ready(7);
}

static void dies(void)
{
	abort();
}

static void ends_without_a_word(void)
{
	_exit(0);
}

static void test_parent_exits_as_told(void **state)
{
	(void)state;
	assert_int_equal(exit_of_parent(ready), 0);
	assert_int_equal(exit_of_parent(failed), 7);
	assert_int_equal(exit_of_parent(dies), 1);
	assert_int_equal(exit_of_parent(ends_without_a_word), 1);
}

static int told[2];

static void tell_where_we_are(void)
{
	char cwd[8] = "", fd0[32] = "", fd2[32] = "";
	bool ok;

	mount_daemonize_ready(0);
	ok = getcwd(cwd, sizeof(cwd)) && strcmp(cwd, "/") == 0;
	ok = ok && readlink("/proc/self/fd/0", fd0, sizeof(fd0) - 1) > 0 && strcmp(fd0, "/dev/null") == 0;
	ok = ok && readlink("/proc/self/fd/2", fd2, sizeof(fd2) - 1) > 0 && strcmp(fd2, "/dev/null") == 0;
	ok = ok && getsid(0) == getpid();
	_exit(write(told[1], ok ? "y" : "n", 1) == 1 ? 0 : 1);
}

static void test_ready_lets_go_of_terminal(void **state)
{
	char answer = '?';

	(void)state;
	assert_int_equal(pipe(told), 0);
	assert_int_equal(exit_of_parent(tell_where_we_are), 0);
	assert_int_equal(read(told[0], &answer, 1), 1);
	assert_int_equal(answer, 'y');
	(void)close(told[0]);
	(void)close(told[1]);
}

static void test_killed_parent_does_not_kill_us(void **state)
{
	int alive[2], status;
	char c;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(told), 0);
	assert_int_equal(pipe(alive), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(alive[0]);
		if (mount_daemonize_begin() < 0)
			_exit(99);
		(void)!write(alive[1], "1", 1);
		if (read(told[0], &c, 1) == 1)
			mount_daemonize_ready(0);
		_exit(write(alive[1], "2", 1) == 1 ? 0 : 1);
	}
	(void)close(alive[1]);
	assert_int_equal(read(alive[0], &c, 1), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(write(told[1], "x", 1), 1);
	assert_int_equal(read(alive[0], &c, 1), 1);
	assert_int_equal(c, '2');
	(void)close(alive[0]);
	(void)close(told[0]);
	(void)close(told[1]);
}

static void test_limit_is_raised(void **state)
{
	struct rlimit before, low, after;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	mount_raise_limits();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
	assert_true(after.rlim_max >= before.rlim_max);
	assert_true(after.rlim_cur == after.rlim_max);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_dir_is_made_with_its_mode, enter, leave),
		cmocka_unit_test_setup_teardown(test_dir_that_exists_is_left_alone, enter, leave),
		cmocka_unit_test_setup_teardown(test_only_the_default_gets_parents, enter, leave),
		cmocka_unit_test_setup_teardown(test_dir_that_is_none, enter, leave),
		cmocka_unit_test_setup_teardown(test_mount_points, enter, leave),
		cmocka_unit_test(test_parent_exits_as_told),
		cmocka_unit_test(test_ready_lets_go_of_terminal),
		cmocka_unit_test(test_killed_parent_does_not_kill_us),
		cmocka_unit_test(test_limit_is_raised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
