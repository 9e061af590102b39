/* F_SETLKW: who waits for a byte range, and what ends the wait. */
#include "tests/contract/ranges.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

/* Granted by an unlock, a downgrade and a drop, of o's owner 1 to p's owner 2. */
static void granted_by_all(const struct opened *o, const struct opened *p)
{
	struct range_ask *w;

	assert_int_equal(range_try(o, 1, X, 0, 99), 0);
	w = range_wait(p, 2, X, 50, 59);
	range_still_waits(w);
	assert_int_equal(range_unlock(o, 1, 0, 49), 0);
	assert_int_equal(range_unlock(o, 1, 55, 59), 0);
	range_still_waits(w);
	assert_int_equal(range_unlock(o, 1, 50, 54), 0);
	assert_int_equal(range_answer(w), 0);
	assert_int_equal(range_try(o, 1, S, 50, 50), -EAGAIN);
	assert_int_equal(range_drop(p, 2), 0);

	assert_int_equal(range_try(o, 1, X, 0, 99), 0);
	w = range_wait(p, 2, S, 50, 59);
	range_still_waits(w);
	assert_int_equal(range_try(o, 1, S, 0, 99), 0);
	assert_int_equal(range_answer(w), 0);
	assert_int_equal(range_try(o, 1, X, 0, 99), -EAGAIN);

	w = range_wait(p, 2, X, 50, 59);
	range_still_waits(w);
	assert_int_equal(range_drop(o, 1), 0);
	assert_int_equal(range_answer(w), 0);
	assert_int_equal(range_try(o, 1, S, 50, 50), -EAGAIN);
	assert_int_equal(range_try(o, 1, X, 60, END), 0);
	assert_int_equal(range_drop(p, 2), 0);
}

static void test_granted(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db"), p = opened(f->b, f, "db");

	granted_by_all(&o, &p);
	granted_by_all(&p, &o);
	granted_by_all(&o, &o);
}

static void test_granted_there(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db"), p = opened(fixture_other(f), f, "db");

	granted_by_all(&o, &p);
	range_drop(&o, 1);
	granted_by_all(&p, &o);
}

static void test_free_at_once(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");

	assert_int_equal(range_answer(range_wait(&o, 1, X, 0, 9)), 0);
	assert_int_equal(range_answer(range_wait(&o, 1, S, 0, 4)), 0);
	assert_int_equal(range_answer(range_wait(&o, 2, S, 0, 4)), 0);
	assert_int_equal(range_answer(range_wait(&o, 2, X, 20, END)), 0);
	assert_int_equal(range_answer(range_wait(&o, 2, NONE, 0, END)), 0);
	assert_int_equal(range_try(&o, 3, S, 5, 9), -EAGAIN);
	assert_int_equal(range_try(&o, 1, X, 0, END), 0);
}

/* Each as soon as nobody is in its way, however many wait. */
static void served(struct fixture *f, struct lk_backend *b)
{
	struct opened o = made(f->b, f, "db"), p = opened(b, f, "db");
	struct range_ask *w[10];
	unsigned i;

	assert_int_equal(range_try(&o, 99, X, 0, 99), 0);
	for (i = 0; i < 10; i++)
		w[i] = range_wait(i % 2 ? &p : &o, i + 1, X, 10 * i, 10 * i + 9);
	range_still_waits(w[9]);
	assert_int_equal(range_unlock(&o, 99, 90, 99), 0);
	assert_int_equal(range_answer(w[9]), 0);
	for (i = 0; i < 9; i++)
		assert_int_equal(w[i]->calls, 0);
	assert_int_equal(range_drop(&o, 99), 0);
	for (i = 0; i < 9; i++)
		assert_int_equal(range_answer(w[i]), 0);
	/* And all of them over the same bytes: one after the other. */
	for (i = 0; i < 10; i++)
		assert_int_equal(range_drop(i % 2 ? &p : &o, i + 1), 0);
	assert_int_equal(range_try(&o, 99, X, 0, 9), 0);
	for (i = 0; i < 10; i++)
		w[i] = range_wait(i % 2 ? &p : &o, i + 1, X, 0, END);
	range_still_waits(w[0]);
	assert_int_equal(range_drop(&o, 99), 0);
	for (i = 0; i < 10; i++) {
		unsigned j, now = 10;

		while (now == 10) {
			for (j = 0; j < 10; j++) {
				if (w[j] && w[j]->calls)
					now = j;
			}
			if (now == 10)
				turn(f);
		}
		assert_int_equal(w[now]->err, 0);
		w[now] = NULL;
		settle(f);
		for (j = 0; j < 10; j++)
			assert_true(!w[j] || !w[j]->calls);
		assert_int_equal(range_drop(now % 2 ? &p : &o, now + 1), 0);
	}
}

static void test_served(void **state)
{
	struct fixture *f = *state;

	served(f, f->b);
}

static void test_served_on_two_mounts(void **state)
{
	struct fixture *f = *state;

	served(f, fixture_other(f));
}

/* Locks are in the way, waiters are not: as fcntl(2) on a local file. */
static void test_waiters_are_not_in_the_way(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");
	struct range_ask *w, *r;

	assert_int_equal(range_try(&o, 1, S, 0, 9), 0);
	w = range_wait(&o, 2, X, 0, 9);
	range_still_waits(w);
	assert_int_equal(range_try(&o, 3, S, 0, 9), 0);
	assert_false(range_taken(&o, 4, S, 0, 9, NULL));
	/* A parent that waits for its child, say, keeps the first one: the reader must enter in the end. */
	r = range_wait(&o, 4, S, 0, 9);
	assert_int_equal(range_answer(r), 0);
	range_still_waits(w);
	assert_int_equal(range_drop(&o, 1), 0);
	assert_int_equal(range_drop(&o, 3), 0);
	range_still_waits(w);
	assert_int_equal(range_drop(&o, 4), 0);
	assert_int_equal(range_answer(w), 0);
}

static void test_drop_leaves_waits(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");
	struct range_ask *w;

	assert_int_equal(range_try(&o, 1, X, 0, 9), 0);
	assert_int_equal(range_try(&o, 2, X, 20, 29), 0);
	w = range_wait(&o, 2, X, 0, 9);
	range_still_waits(w);
	assert_int_equal(range_drop(&o, 2), 0);
	range_still_waits(w);
	assert_int_equal(range_try(&o, 3, X, 20, 29), 0);
	assert_int_equal(range_drop(&o, 1), 0);
	assert_int_equal(range_answer(w), 0);
	assert_int_equal(range_try(&o, 1, S, 0, 0), -EAGAIN);
}

static void test_too_many_waiters(void **state)
{
	struct fixture *f = *state;
	struct range_ask *w[3];
	struct opened o;
	unsigned i;

	f->config.max_waiters = 3;
	fixture_reopen(f);
	o = made(f->b, f, "db");
	assert_int_equal(range_try(&o, 9, X, 0, 9), 0);
	for (i = 0; i < 3; i++)
		w[i] = range_wait(&o, i + 1, X, 0, 9);
	range_still_waits(w[2]);
	assert_int_equal(range_answer(range_wait(&o, 4, S, 0, 9)), -ENOLCK);
	assert_int_equal(range_answer(range_wait(&o, 4, S, 10, 19)), 0); /* need not wait */
	assert_int_equal(range_try(&o, 4, S, 0, 9), -EAGAIN);
	range_cancel(w[1], -EINTR);
	assert_int_equal(range_answer(w[1]), -EINTR);
	w[1] = range_wait(&o, 4, S, 0, 9);
	range_still_waits(w[1]);
	assert_int_equal(range_drop(&o, 9), 0);
	assert_int_equal(range_answer(w[0]), 0);
	assert_int_equal(range_drop(&o, 1), 0);
}

/* --- cancel --- */

static void cancelled(const struct opened *o, const struct opened *p)
{
	struct range_ask *w, *v;

	assert_int_equal(range_try(o, 1, X, 0, 9), 0);
	assert_int_equal(range_try(p, 2, S, 20, 29), 0);
	w = range_wait(p, 2, X, 0, 29);
	range_still_waits(w);
	range_cancel(w, -EINTR);
	range_cancel(w, -ETIMEDOUT); /* the first counts */
	assert_int_equal(range_answer(w), -EINTR);
	assert_int_equal(range_try(o, 3, S, 20, 29), 0); /* what it had is as it was */
	assert_int_equal(range_try(o, 3, X, 20, 29), -EAGAIN);
	assert_int_equal(range_try(o, 3, X, 10, 19), 0);
	assert_int_equal(range_drop(o, 3), 0);
	w = range_wait(p, 3, S, 0, 9);
	v = range_wait(p, 4, S, 0, 9);
	range_still_waits(v);
	range_cancel(w, -ECANCELED);
	assert_int_equal(range_answer(w), -ECANCELED);
	assert_int_equal(range_drop(o, 1), 0);
	assert_int_equal(range_answer(v), 0);
	assert_int_equal(range_drop(p, 4), 0);
	assert_int_equal(range_drop(p, 2), 0);
	assert_int_equal(range_try(o, 1, X, 0, END), 0);
	range_drop(o, 1);
}

static void test_cancel(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");

	cancelled(&o, &o);
}

static void test_cancel_there(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db"), p = opened(fixture_other(f), f, "db");

	cancelled(&o, &p);
	cancelled(&p, &o);
}

/* The grant and the cancel at about the same time: one of them, once, and it is true. */
static void race(const struct opened *o, const struct opened *p)
{
	struct range_ask *u, *w;
	unsigned i, n;
	int err;

	for (i = 0; i < 48; i++) {
		assert_int_equal(range_try(o, 1, X, 0, 9), 0);
		w = range_wait(p, 2, X, 0, 9);
		if (i % 4 != 3)
			range_still_waits(w); /* else it is on its way there */
		if (i % 2)
			range_cancel(w, -EINTR);
		u = range_ask(o, 1, NONE, 0, 9, false, 0);
		for (n = i / 8; n > 0 && !w->calls; n--)
			uv_run(pl_loop_uv(o->f->loop), UV_RUN_NOWAIT);
		if (!w->calls)
			range_cancel(w, -EINTR);
		err = range_answer(w);
		assert_int_equal(range_answer(u), 0);
		settle(o->f);
		assert_int_equal(w->calls, 1);
		assert_true(err == 0 || err == -EINTR);
		assert_int_equal(range_taken(o, 1, X, 0, 9, NULL), err == 0);
		assert_int_equal(range_drop(p, 2), 0);
		assert_false(range_taken(o, 1, X, 0, END, NULL));
	}
}

static void test_cancel_race(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");

	race(&o, &o);
}

static void test_cancel_race_there(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db"), p = opened(fixture_other(f), f, "db");

	race(&o, &p);
	race(&p, &o);
}

/* A request that is granted at once, and cancelled before it was told. */
static void test_cancel_of_a_free_one(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");
	struct range_ask *w;
	int err, i;

	for (i = 0; i < 4; i++) {
		w = i % 2 ? range_wait(&o, 1, X, 0, 9) : range_ask(&o, 1, X, 0, 9, false, 0);
		range_cancel(w, -EINTR);
		err = range_answer(w);
		assert_true(err == 0 || err == -EINTR);
		assert_int_equal(range_taken(&o, 2, S, 0, 9, NULL), err == 0);
		assert_int_equal(range_drop(&o, 1), 0);
	}
}

/* --- deadlocks: processes of one thread each, as they would be --- */

static pid_t process(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == parent)
			pause();
		_exit(0);
	}
	assert_true(pid > 0);
	return pid;
}

static void end_processes(const pid_t *pid, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		kill(pid[i], SIGKILL);
		assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
	}
}

#define CIRCLE_MAX 3

/* Owner i has its own bytes, and waits for those of the next. */
static void circle(struct fixture *f, const struct opened *o, unsigned n_files, unsigned n)
{
	struct range_ask *w[CIRCLE_MAX], *last;
	pid_t pid[CIRCLE_MAX];
	unsigned i;

	for (i = 0; i < n; i++) {
		pid[i] = process();
		assert_int_equal(range_answer(range_ask(&o[i % n_files], i + 1, X, 10 * i, 10 * i + 9, false, pid[i])),
				 0);
	}
	for (i = 0; i + 1 < n; i++) {
		w[i] = range_ask(&o[(i + 1) % n_files], i + 1, X, 10 * (i + 1), 10 * (i + 1), true, pid[i]);
		range_still_waits(w[i]);
	}
	last = range_ask(&o[0], n, S, 0, 0, true, pid[n - 1]);
	assert_int_equal(range_answer(last), -EDEADLK);
	/* Without it there is no circle: everything goes on. */
	assert_int_equal(range_answer(range_ask(&o[0], n, S, 0, 0, false, pid[n - 1])), -EAGAIN);
	for (i = 0; i + 1 < n; i++)
		range_still_waits(w[i]);
	for (i = n - 1; i > 0; i--) {
		unsigned j;

		for (j = 0; j < n_files; j++)
			assert_int_equal(range_drop(&o[j], i + 1), 0);
		assert_int_equal(range_answer(w[i - 1]), 0);
	}
	for (i = 0; i < n_files; i++)
		assert_int_equal(range_drop(&o[i], 1), 0);
	end_processes(pid, n);
	settle(f);
}

static void test_deadlock(void **state)
{
	struct fixture *f = *state;
	struct opened o[2] = { made(f->b, f, "db"), made(f->b, f, "other") };

	circle(f, o, 1, 2);
	circle(f, o, 1, 3);
	circle(f, o, 2, 2); /* over two files */
}

/* Two readers that both want to write: the classic one. */
static void test_both_upgrade(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");
	pid_t pid[2] = { process(), process() };
	struct range_ask *w;

	assert_int_equal(range_answer(range_ask(&o, 1, S, 0, 9, true, pid[0])), 0);
	assert_int_equal(range_answer(range_ask(&o, 2, S, 0, 9, true, pid[1])), 0);
	w = range_ask(&o, 1, X, 0, 9, true, pid[0]);
	range_still_waits(w);
	assert_int_equal(range_answer(range_ask(&o, 2, X, 0, 9, true, pid[1])), -EDEADLK);
	range_still_waits(w);
	assert_int_equal(range_unlock(&o, 2, 0, 9), 0);
	assert_int_equal(range_answer(w), 0);
	end_processes(pid, 2);
}

/* A chain is no circle. */
static void test_no_deadlock(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");
	pid_t pid[3] = { process(), process(), process() };
	struct range_ask *w[2];

	assert_int_equal(range_answer(range_ask(&o, 1, X, 0, 9, false, pid[0])), 0);
	assert_int_equal(range_answer(range_ask(&o, 2, X, 10, 19, false, pid[1])), 0);
	w[0] = range_ask(&o, 3, X, 10, 19, true, pid[2]);
	range_still_waits(w[0]);
	w[1] = range_ask(&o, 2, X, 0, 9, true, pid[1]);
	range_still_waits(w[1]);
	assert_int_equal(range_answer(range_ask(&o, 1, X, 30, 39, true, pid[0])), 0);
	assert_int_equal(range_drop(&o, 1), 0);
	assert_int_equal(range_answer(w[1]), 0);
	assert_int_equal(range_drop(&o, 2), 0);
	assert_int_equal(range_answer(w[0]), 0);
	end_processes(pid, 3);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_granted),
	CONTRACT_TEST(test_granted_there),
	CONTRACT_TEST(test_free_at_once),
	CONTRACT_TEST(test_served),
	CONTRACT_TEST(test_served_on_two_mounts),
	CONTRACT_TEST(test_waiters_are_not_in_the_way),
	CONTRACT_TEST(test_drop_leaves_waits),
	CONTRACT_TEST(test_too_many_waiters),
	CONTRACT_TEST(test_cancel),
	CONTRACT_TEST(test_cancel_there),
	CONTRACT_TEST(test_cancel_race),
	CONTRACT_TEST(test_cancel_race_there),
	CONTRACT_TEST(test_cancel_of_a_free_one),
	CONTRACT_TEST(test_deadlock),
	CONTRACT_TEST(test_both_upgrade),
	CONTRACT_TEST(test_no_deadlock),
};

const struct test_list range_wait_list = TEST_LIST(tests);
