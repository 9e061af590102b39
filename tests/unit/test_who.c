#include "base/loop.h"
#include "fs/who.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

/* A loop of which only the clock is used, and that one is the test's. */
static uint64_t fake_now;

static uint64_t now(struct pl_loop *loop)
{
	(void)loop;
	return fake_now;
}

static const struct pl_loop_ops ops = { .now = now };
static struct pl_loop loop = { .ops = &ops };

static int setup(void **state)
{
	fake_now = PL_SEC;
	*state = who_cache_new(&loop);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	who_cache_free(*state);
	return 0;
}

static struct lk_owner owner_of_pid(struct who_cache *c, pid_t pid)
{
	struct lk_owner o;

	who_resolve(c, pid, 1, 2, &o);
	return o;
}

/* A child that does body() and then waits to be killed; *ready is written first. */
static pid_t child(void (*body)(void))
{
	int fds[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(fds[0]);
		if (body)
			body();
		if (write(fds[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	(void)close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	(void)close(fds[0]);
	return pid;
}

static void reap(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_self(void **state)
{
	struct lk_owner o;

	assert_int_equal(prctl(PR_SET_NAME, "a) (b\tc"), 0);
	who_resolve(*state, getpid(), 11, 22, &o);
	assert_int_equal(o.pid, getpid());
	assert_int_equal(o.tid, getpid());
	assert_int_equal(o.uid, 11);
	assert_int_equal(o.gid, 22);
	assert_true(o.start > 0);
	assert_string_equal(o.comm, "a) (b\tc");
	assert_true(who_alive(&o));
	assert_int_equal(who_threads(&o), 1);
}

static int thread_pipe[2];
static pid_t thread_tid;

static void *thread_main(void *arg)
{
	char c;

	(void)arg;
	thread_tid = (pid_t)syscall(SYS_gettid);
	(void)prctl(PR_SET_NAME, "worker");
	if (write(thread_pipe[1], "r", 1) != 1)
		return NULL;
	/* Until the writing end is closed. */
	while (read(thread_pipe[0], &c, 1) > 0)
		;
	return NULL;
}

static void test_thread_is_its_process(void **state)
{
	struct lk_owner o, main_thread = owner_of_pid(*state, getpid());
	pthread_t thread;
	int up[2], down[2];
	char c;

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	thread_pipe[0] = down[0];
	thread_pipe[1] = up[1];
	assert_int_equal(pthread_create(&thread, NULL, thread_main, NULL), 0);
	assert_int_equal(read(up[0], &c, 1), 1);
	o = owner_of_pid(*state, thread_tid);
	assert_int_not_equal(thread_tid, getpid());
	assert_int_equal(o.pid, getpid());
	assert_int_equal(o.tid, thread_tid);
	assert_int_equal(o.start, main_thread.start);
	assert_string_equal(o.comm, main_thread.comm);
	assert_int_equal(who_threads(&o), 2);
	(void)close(down[1]);
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)close(up[0]);
	(void)close(up[1]);
	(void)close(down[0]);
}

static void test_nobody(void **state)
{
	struct lk_owner o;
	pid_t gone = child(NULL);

	reap(gone);
	who_resolve(*state, gone, 5, 6, &o);
	assert_int_equal(o.pid, gone);
	assert_int_equal(o.uid, 5);
	assert_int_equal(o.start, 0);
	assert_string_equal(o.comm, "");
	assert_false(who_alive(&o));
	who_resolve(*state, 0, 5, 6, &o);
	assert_int_equal(o.pid, 0);
	assert_int_equal(o.start, 0);
	assert_false(who_alive(&o));
	assert_int_equal(who_threads(&o), 0);
	assert_true(who_has_inode_open(&o, 1) < 0);
	assert_int_equal(who_signal(&o, 0), -ESRCH);
	assert_false(who_makes_name(0));
}

/* Field 22 and no other: the boot clock's ticks when the process began. */
static void test_start_time(void **state)
{
	uint64_t before, after;
	struct timespec ts;
	struct lk_owner o;
	pid_t pid;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	before = (uint64_t)ts.tv_sec * (uint64_t)sysconf(_SC_CLK_TCK);
	pid = child(NULL);
	clock_gettime(CLOCK_BOOTTIME, &ts);
	after = (uint64_t)(ts.tv_sec + 1) * (uint64_t)sysconf(_SC_CLK_TCK);
	o = owner_of_pid(*state, pid);
	reap(pid);
	assert_in_range(o.start, before, after);
}

static void test_death_and_reuse(void **state)
{
	pid_t pid = child(NULL);
	struct lk_owner o = owner_of_pid(*state, pid), other = o;
	siginfo_t info;

	assert_true(who_alive(&o));
	/* The same pid with another start is another process. */
	other.start++;
	assert_false(who_alive(&other));
	assert_int_equal(who_threads(&other), 0);
	assert_true(who_has_inode_open(&other, 1) < 0);
	assert_true(who_alive(&o));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_false(who_alive(&o)); /* a zombie */
	reap(pid);
	assert_false(who_alive(&o));
}

static void test_signal(void **state)
{
	pid_t pid = child(NULL);
	struct lk_owner o = owner_of_pid(*state, pid), other = o;
	int status;

	other.start++;
	assert_int_equal(who_signal(&other, SIGKILL), -ESRCH);
	assert_int_equal(who_signal(&o, 0), 0);
	assert_int_equal(who_signal(&o, SIGUSR1), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGUSR1);
	assert_int_equal(who_signal(&o, 0), -ESRCH);
}

static void test_cache(void **state)
{
	struct lk_owner o;

	assert_int_equal(prctl(PR_SET_NAME, "before"), 0);
	o = owner_of_pid(*state, getpid());
	assert_string_equal(o.comm, "before");
	assert_int_equal(prctl(PR_SET_NAME, "after"), 0);
	fake_now += 50 * PL_MS;
	who_resolve(*state, getpid(), 77, 88, &o);
	assert_string_equal(o.comm, "before");
	assert_int_equal(o.uid, 77); /* the caller's word, never the cache's */
	assert_int_equal(o.gid, 88);
	fake_now += 1;
	o = owner_of_pid(*state, getpid());
	assert_string_equal(o.comm, "after");
}

/* The oldest go; each thread asked about exists, so that all are worth keeping. */
static void test_cache_is_bounded(void **state)
{
	enum { N = 1100 };
	pid_t pids[N];
	struct lk_owner o;
	int i, made;

	assert_int_equal(prctl(PR_SET_NAME, "first"), 0);
	o = owner_of_pid(*state, getpid());
	for (i = 0; i < N; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			(void)execlp("sleep", "sleep", "600", NULL); /* small, also below valgrind */
			_exit(1);
		}
		if (pids[i] < 0)
			break;
		assert_true(owner_of_pid(*state, pids[i]).start > 0);
	}
	assert_int_equal(prctl(PR_SET_NAME, "second"), 0);
	o = owner_of_pid(*state, getpid());
	made = i;
	while (--i >= 0)
		reap(pids[i]);
	if (made < N)
		skip(); /* not allowed so many processes */
	assert_string_equal(o.comm, "second");
}

static uint64_t inode_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static void test_inode_open(void **state)
{
	struct lk_owner o = owner_of_pid(*state, getpid());
	FILE *f = tmpfile();
	uint64_t ino;

	assert_non_null(f);
	ino = inode_of(fileno(f));
	assert_int_equal(who_has_inode_open(&o, ino), 1);
	assert_int_equal(who_has_inode_open(&o, ino + UINT64_C(1000000007)), 0);
	(void)fclose(f);
	assert_int_equal(who_has_inode_open(&o, ino), 0);
}

static void in_groups(void)
{
	static const gid_t groups[] = { 4001, 4002, 65000 };

	if (setgroups(3, groups) < 0)
		_exit(1);
}

static void test_groups(void **state)
{
	gid_t mine[64];
	int n = getgroups(64, mine);
	pid_t pid;

	(void)state;
	assert_true(n >= 0);
	assert_true(who_in_group(getpid(), 4242, 4242));
	assert_false(who_in_group(getpid(), 4242, 4243));
	assert_false(who_in_group(0, 1, 2));
	if (n > 0)
		assert_true(who_in_group(getpid(), 4242, mine[n - 1]));
	if (geteuid() != 0)
		return;
	pid = child(in_groups);
	assert_true(who_in_group(pid, 1, 4001));
	assert_true(who_in_group(pid, 1, 65000));
	assert_false(who_in_group(pid, 1, 6500));
	assert_false(who_in_group(pid, 1, 400));
	assert_false(who_in_group(pid, 1, 4003));
	reap(pid);
}

static void test_not_making_a_name(void **state)
{
	pid_t pid = child(NULL);

	(void)state;
	assert_false(who_makes_name(pid)); /* in pause(2), or on its way there */
	reap(pid);
	assert_false(who_makes_name(pid));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_self),	    T(test_thread_is_its_process), T(test_nobody),
		T(test_start_time), T(test_death_and_reuse),	   T(test_signal),
		T(test_cache),	    T(test_cache_is_bounded),	   T(test_inode_open),
		T(test_groups),	    T(test_not_making_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
