#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>
#include <cmocka.h>

struct fixture {
	struct pl_loop *loop;
	unsigned runs, limit;
	char order[16];
	uint64_t due;
	struct pl_timer *other;
};

struct job {
	struct pl_task task;
	struct fixture *f;
	char mark;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->loop = pl_loop_new();
	*state = f;
	return f->loop ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pl_loop_free(f->loop);
	free(f);
	return 0;
}

static void mark_job(struct pl_task *task)
{
	struct job *j = (struct job *)task;

	j->f->order[j->f->runs++] = j->mark;
	if (j->f->runs == j->f->limit)
		pl_loop_stop(j->f->loop);
}

static void test_tasks_run_in_order_before_sleeping(void **state)
{
	struct fixture *f = *state;
	struct job a = { .task.run = mark_job, .f = f, .mark = 'a' };
	struct job b = { .task.run = mark_job, .f = f, .mark = 'b' };
	struct job c = { .task.run = mark_job, .f = f, .mark = 'c' };

	f->limit = 2;
	pl_defer(f->loop, &a.task);
	pl_defer(f->loop, &b.task);
	pl_defer(f->loop, &a.task);
	pl_defer(f->loop, &c.task);
	pl_undefer(f->loop, &c.task);
	assert_int_equal(f->runs, 0);
	pl_loop_run(f->loop); /* returns only if the tasks run with nothing else to wake it */
	assert_string_equal(f->order, "ab");
	assert_false(a.task.queued);
	assert_false(c.task.queued);
}

static void defer_again(struct pl_task *task)
{
	struct job *j = (struct job *)task;

	if (++j->f->runs < 5)
		pl_defer(j->f->loop, task);
	else
		pl_loop_stop(j->f->loop);
}

static void test_task_may_defer_itself(void **state)
{
	struct fixture *f = *state;
	struct job a = { .task.run = defer_again, .f = f };

	pl_defer(f->loop, &a.task);
	pl_loop_run(f->loop);
	assert_int_equal(f->runs, 5);
}

static void defer_from_timer(void *arg)
{
	struct job *j = arg;

	pl_defer(j->f->loop, &j->task);
}

static void test_task_deferred_by_timer_runs(void **state)
{
	struct fixture *f = *state;
	struct job a = { .task.run = mark_job, .f = f, .mark = 'a' };

	f->limit = 1;
	assert_non_null(pl_timer_start(f->loop, PL_MS, defer_from_timer, &a));
	pl_loop_run(f->loop);
	assert_string_equal(f->order, "a");
}

static void test_turn_runs_what_comes_next(void **state)
{
	struct fixture *f = *state;
	struct job a = { .task.run = mark_job, .f = f, .mark = 'a' };
	struct job b = { .task.run = mark_job, .f = f, .mark = 'b' };

	f->limit = 9;
	pl_defer(f->loop, &a.task);
	pl_loop_turn(f->loop);
	assert_string_equal(f->order, "a");
	assert_non_null(pl_timer_start(f->loop, PL_MS, defer_from_timer, &b));
	while (f->runs < 2) /* it waits: or else it would come too early, and again */
		pl_loop_turn(f->loop);
	assert_string_equal(f->order, "ab");
}

static void on_close_defer(uv_handle_t *handle)
{
	struct job *j = handle->data;

	pl_defer(j->f->loop, &j->task);
}

/* Close callbacks run last in a turn, after the check handle. */
static void test_task_deferred_by_close_runs(void **state)
{
	struct fixture *f = *state;
	struct job a = { .task.run = mark_job, .f = f, .mark = 'a' };
	uv_async_t handle;

	f->limit = 1;
	assert_int_equal(uv_async_init(pl_loop_uv(f->loop), &handle, NULL), 0);
	handle.data = &a;
	uv_close((uv_handle_t *)&handle, on_close_defer);
	pl_loop_run(f->loop);
	assert_string_equal(f->order, "a");
}

static void check_due(void *arg)
{
	struct fixture *f = arg;

	assert_true(pl_now(f->loop) >= f->due);
	f->runs++;
	if (f->runs < 20) {
		f->due = pl_now(f->loop) + 1300000;
		assert_non_null(pl_timer_start(f->loop, 1300000, check_due, f));
	} else {
		pl_loop_stop(f->loop);
	}
}

static void test_timer_never_early(void **state)
{
	struct fixture *f = *state;
	uint64_t until;

	/* Makes the loop's cached time stale, as a long callback does. */
	pl_loop_stop(f->loop);
	pl_loop_run(f->loop);
	until = pl_now(f->loop) + 8 * PL_MS;
	while (pl_now(f->loop) < until)
		;
	f->due = pl_now(f->loop) + 5 * PL_MS;
	assert_non_null(pl_timer_start(f->loop, 5 * PL_MS, check_due, f));
	pl_loop_run(f->loop);
	assert_int_equal(f->runs, 20);
}

static void never(void *arg)
{
	(void)arg;
	fail_msg("a stopped timer fired");
}

static void stop_other(void *arg)
{
	struct fixture *f = arg;

	pl_timer_stop(f->loop, f->other);
	pl_timer_stop(f->loop, NULL);
	f->runs++;
}

static void stop_loop(void *arg)
{
	struct fixture *f = arg;

	f->runs++;
	pl_loop_stop(f->loop);
}

/* Two timers due in the same turn: the first may still stop the second. */
static void test_timer_stopped_by_another(void **state)
{
	struct fixture *f = *state;

	assert_non_null(pl_timer_start(f->loop, 2 * PL_MS, stop_other, f));
	f->other = pl_timer_start(f->loop, 2 * PL_MS, never, NULL);
	assert_non_null(f->other);
	assert_non_null(pl_timer_start(f->loop, 6 * PL_MS, stop_loop, f));
	pl_loop_run(f->loop);
	assert_int_equal(f->runs, 2);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * PL_SEC + (uint64_t)ts.tv_nsec;
}

static void test_sleeps_once_tasks_are_done(void **state)
{
	struct fixture *f = *state;
	struct job a = { .task.run = mark_job, .f = f, .mark = 'a' };
	struct job b = { .task.run = mark_job, .f = f, .mark = 'b' };
	uint64_t wall, cpu = cpu_ns();

	wall = pl_now(f->loop);
	pl_defer(f->loop, &a.task);
	pl_defer(f->loop, &b.task);
	pl_undefer(f->loop, &b.task);
	assert_non_null(pl_timer_start(f->loop, 300 * PL_MS, stop_loop, f));
	pl_loop_run(f->loop);
	wall = pl_now(f->loop) - wall;
	cpu = cpu_ns() - cpu;
	assert_true(wall >= 300 * PL_MS);
	/* An idle handle left running would take all of it. */
	assert_true(cpu < wall / 2);
}

static void test_stop_before_run(void **state)
{
	struct fixture *f = *state;

	pl_loop_stop(f->loop);
	pl_loop_run(f->loop);
	assert_int_equal(f->runs, 0);
}

static void reopen(uv_handle_t *handle)
{
	struct fixture *f = handle->data;

	f->runs++;
	f->other = pl_timer_start(f->loop, 3600 * PL_SEC, never, NULL);
}

/* Leaks and late callbacks are what the sanitizers and valgrind see here. */
static void test_free_closes_what_is_left(void **state)
{
	struct fixture f = { .loop = pl_loop_new() };
	struct job a = { .task.run = mark_job, .f = &f, .mark = 'a' };
	uv_timer_t foreign;
	uv_async_t closing;

	(void)state;
	assert_non_null(f.loop);
	assert_non_null(pl_timer_start(f.loop, 3600 * PL_SEC, never, NULL));
	assert_int_equal(uv_timer_init(pl_loop_uv(f.loop), &foreign), 0);
	assert_int_equal(uv_async_init(pl_loop_uv(f.loop), &closing, NULL), 0);
	closing.data = &f;
	uv_close((uv_handle_t *)&closing, reopen);
	pl_defer(f.loop, &a.task);
	pl_loop_free(f.loop);
	assert_int_equal(f.runs, 1); /* the close; not the task */
	assert_non_null(f.other);
	assert_true(uv_is_closing((uv_handle_t *)&foreign));
	pl_loop_free(NULL);
}

static void test_clocks(void **state)
{
	struct fixture *f = *state;
	struct timespec boot, real;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &real);
	assert_in_range(pl_now(f->loop) - ((uint64_t)boot.tv_sec * PL_SEC + (uint64_t)boot.tv_nsec), 0, 5 * PL_SEC);
	assert_in_range(pl_wall(f->loop) - ((uint64_t)real.tv_sec * PL_SEC + (uint64_t)real.tv_nsec), 0, 5 * PL_SEC);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_tasks_run_in_order_before_sleeping),
		T(test_task_may_defer_itself),
		T(test_task_deferred_by_timer_runs),
		T(test_turn_runs_what_comes_next),
		T(test_task_deferred_by_close_runs),
		T(test_timer_never_early),
		T(test_timer_stopped_by_another),
		T(test_sleeps_once_tasks_are_done),
		T(test_stop_before_run),
		cmocka_unit_test(test_free_closes_what_is_left),
		T(test_clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
