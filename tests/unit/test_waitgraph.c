#include "backend/waitgraph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Processes are numbers; one is told apart from the rest in each way. */
struct world {
	struct waitgraph *g;
	pid_t threaded;	 /* has more than one thread */
	void *passed_on; /* handle that its process no longer has */
	unsigned asked_threads, asked_open;
};

static bool single_threaded(void *ctx, const struct lk_owner *owner)
{
	struct world *w = ctx;

	w->asked_threads++;
	return owner->pid != w->threaded;
}

static bool has_open(void *ctx, const struct lk_owner *owner, void *handle)
{
	struct world *w = ctx;

	(void)owner;
	w->asked_open++;
	return handle != w->passed_on;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct waitgraph_env env = { .single_threaded = single_threaded, .has_open = has_open, .ctx = w };

	w->g = waitgraph_new(&env);
	*state = w;
	return w->g ? 0 : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;

	waitgraph_free(w->g);
	free(w);
	return 0;
}

static struct lk_owner process(pid_t pid)
{
	return (struct lk_owner){ .pid = pid, .tid = pid, .start = pid ? 1000 : 0 };
}

static void hold(struct world *w, struct waitgraph_entry *e, pid_t pid, const char *name, enum lk_mode mode)
{
	struct lk_owner o = process(pid);

	assert_int_equal(waitgraph_hold_add(w->g, e, LK_LOCK, name, &o, mode, 0, e), 0);
}

static void wait_for(struct world *w, struct waitgraph_entry *e, pid_t pid, const char *name, enum lk_mode mode)
{
	struct lk_owner o = process(pid);

	assert_int_equal(waitgraph_wait_add(w->g, e, LK_LOCK, name, &o, mode, 0, 1), 0);
}

static bool deadlock(struct world *w, pid_t pid, const char *name, enum lk_mode mode)
{
	struct lk_owner o = process(pid);

	return waitgraph_would_deadlock(w->g, LK_LOCK, name, &o, mode, 0, 1);
}

static void hold_slot(struct world *w, struct waitgraph_entry *e, pid_t pid, unsigned slot)
{
	struct lk_owner o = process(pid);

	assert_int_equal(waitgraph_hold_add(w->g, e, LK_SEM, "pool", &o, LK_EXCLUSIVE, slot, e), 0);
}

static bool deadlock_slots(struct world *w, pid_t pid, unsigned lo, unsigned hi)
{
	struct lk_owner o = process(pid);

	return waitgraph_would_deadlock(w->g, LK_SEM, "pool", &o, LK_EXCLUSIVE, lo, hi);
}

static void test_self(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry e = { 0 };

	assert_false(deadlock(w, 1, "a", LK_EXCLUSIVE));
	hold(w, &e, 1, "a", LK_EXCLUSIVE);
	assert_true(deadlock(w, 1, "a", LK_EXCLUSIVE));
	assert_true(deadlock(w, 1, "a", LK_SHARED));
	assert_false(deadlock(w, 1, "b", LK_EXCLUSIVE));
	assert_false(deadlock(w, 2, "a", LK_EXCLUSIVE));
	waitgraph_remove(w->g, &e);
	waitgraph_remove(w->g, &e);
	assert_false(deadlock(w, 1, "a", LK_EXCLUSIVE));
}

static void test_kinds_are_apart(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry e = { 0 };

	hold(w, &e, 1, "pool", LK_EXCLUSIVE);
	assert_false(deadlock_slots(w, 1, 0, 1));
}

static void test_two_cycle(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 }, q = { 0 };

	hold(w, &a, 1, "a", LK_EXCLUSIVE);
	hold(w, &b, 2, "b", LK_EXCLUSIVE);
	assert_false(deadlock(w, 2, "a", LK_EXCLUSIVE));
	wait_for(w, &q, 2, "a", LK_EXCLUSIVE);
	assert_true(deadlock(w, 1, "b", LK_EXCLUSIVE));
	waitgraph_remove(w->g, &q);
	assert_false(deadlock(w, 1, "b", LK_EXCLUSIVE));
}

static void test_three_cycle(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 }, c = { 0 }, q2 = { 0 }, q3 = { 0 };

	hold(w, &a, 1, "a", LK_EXCLUSIVE);
	hold(w, &b, 2, "b", LK_EXCLUSIVE);
	hold(w, &c, 3, "c", LK_EXCLUSIVE);
	wait_for(w, &q2, 2, "c", LK_EXCLUSIVE);
	assert_false(deadlock(w, 1, "b", LK_EXCLUSIVE));
	wait_for(w, &q3, 3, "a", LK_EXCLUSIVE);
	assert_true(deadlock(w, 1, "b", LK_EXCLUSIVE));
	assert_false(deadlock(w, 4, "b", LK_EXCLUSIVE));
}

/* A circle that the asking process is not in: it waits, but others must break it. */
static void test_foreign_circle_ends(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 }, mine = { 0 }, q1 = { 0 }, q2 = { 0 };

	hold(w, &a, 1, "a", LK_EXCLUSIVE);
	hold(w, &b, 2, "b", LK_EXCLUSIVE);
	wait_for(w, &q1, 1, "b", LK_EXCLUSIVE);
	wait_for(w, &q2, 2, "a", LK_EXCLUSIVE);
	hold(w, &mine, 3, "c", LK_EXCLUSIVE);
	assert_false(deadlock(w, 3, "a", LK_EXCLUSIVE));
}

static void test_shared_does_not_wait_for_shared(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 };

	hold(w, &a, 1, "a", LK_SHARED);
	hold(w, &b, 2, "a", LK_SHARED);
	assert_false(deadlock(w, 1, "a", LK_SHARED));
	assert_true(deadlock(w, 1, "a", LK_EXCLUSIVE));
}

/* A second shared open stands behind a writer, who waits for the first. */
static void test_shared_behind_writer(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, q = { 0 };

	hold(w, &a, 1, "a", LK_SHARED);
	wait_for(w, &q, 2, "a", LK_EXCLUSIVE);
	assert_true(deadlock(w, 1, "a", LK_SHARED));
	w->threaded = 2;
	assert_false(deadlock(w, 1, "a", LK_SHARED));
	w->threaded = 0;
	waitgraph_remove(w->g, &q);
	wait_for(w, &q, 2, "a", LK_SHARED);
	assert_false(deadlock(w, 1, "a", LK_SHARED));
}

/* Only a writer ahead of the shared wait keeps it from entering. */
static void test_writer_behind_a_shared_wait(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 }, reader = { 0 }, writer = { 0 };

	hold(w, &a, 1, "a", LK_SHARED);
	hold(w, &b, 2, "b", LK_EXCLUSIVE);
	wait_for(w, &reader, 2, "a", LK_SHARED);
	wait_for(w, &writer, 3, "a", LK_EXCLUSIVE);
	assert_false(deadlock(w, 1, "b", LK_EXCLUSIVE));
	waitgraph_remove(w->g, &reader);
	wait_for(w, &reader, 2, "a", LK_SHARED);
	assert_true(deadlock(w, 1, "b", LK_EXCLUSIVE));
}

/* Any one stuck holder keeps a writer waiting, whatever the others do. */
static void test_one_stuck_shared_holder_suffices(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a1 = { 0 }, a2 = { 0 }, b = { 0 }, q = { 0 };

	hold(w, &a1, 3, "a", LK_SHARED);
	hold(w, &a2, 2, "a", LK_SHARED);
	hold(w, &b, 1, "b", LK_EXCLUSIVE);
	wait_for(w, &q, 2, "b", LK_EXCLUSIVE);
	assert_true(deadlock(w, 1, "a", LK_EXCLUSIVE));
}

static void test_slots(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry s0 = { 0 }, s1 = { 0 }, mine = { 0 }, q = { 0 };

	hold_slot(w, &s0, 1, 0);
	assert_true(deadlock_slots(w, 1, 0, 1));
	assert_false(deadlock_slots(w, 1, 0, 2)); /* slot 1 is free, or of another mount */
	assert_false(deadlock_slots(w, 1, 1, 2));
	hold_slot(w, &s1, 2, 1);
	assert_false(deadlock_slots(w, 1, 0, 2)); /* process 2 may give it back */
	hold(w, &mine, 1, "a", LK_EXCLUSIVE);
	wait_for(w, &q, 2, "a", LK_EXCLUSIVE);
	assert_true(deadlock_slots(w, 1, 0, 2));
	assert_true(deadlock_slots(w, 1, 1, 2));
	w->passed_on = &s1;
	assert_false(deadlock_slots(w, 1, 0, 2));
}

static void test_all_slots_of_one_stuck_process(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry s0 = { 0 }, s1 = { 0 }, again = { 0 }, mine = { 0 }, q = { 0 };

	hold_slot(w, &s0, 2, 0);
	hold_slot(w, &s1, 2, 1);
	hold(w, &mine, 1, "a", LK_EXCLUSIVE);
	wait_for(w, &q, 2, "a", LK_EXCLUSIVE);
	assert_true(deadlock_slots(w, 1, 0, 2));
	assert_false(deadlock_slots(w, 1, 0, 3));
	/* A slot entered twice, as while a lost hold is still open, is one slot. */
	hold_slot(w, &again, 2, 1);
	assert_false(deadlock_slots(w, 1, 0, 3));
}

static void test_descriptor_passed_on(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 }, q = { 0 };

	hold(w, &a, 1, "a", LK_EXCLUSIVE);
	hold(w, &b, 2, "b", LK_EXCLUSIVE);
	wait_for(w, &q, 2, "a", LK_EXCLUSIVE);
	w->passed_on = &a;
	assert_false(deadlock(w, 1, "a", LK_EXCLUSIVE));
	w->passed_on = &b;
	assert_false(deadlock(w, 1, "b", LK_EXCLUSIVE));
	w->passed_on = NULL;
	assert_true(deadlock(w, 1, "b", LK_EXCLUSIVE));
}

static void test_threads(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 }, q = { 0 };

	hold(w, &a, 1, "a", LK_EXCLUSIVE);
	hold(w, &b, 2, "b", LK_EXCLUSIVE);
	wait_for(w, &q, 2, "a", LK_EXCLUSIVE);
	w->threaded = 1;
	assert_false(deadlock(w, 1, "a", LK_EXCLUSIVE));
	assert_false(deadlock(w, 1, "b", LK_EXCLUSIVE));
	w->threaded = 2;
	assert_false(deadlock(w, 1, "b", LK_EXCLUSIVE));
}

static void test_unknown_processes(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 }, q = { 0 };
	struct lk_owner reused = process(1);

	hold(w, &a, 0, "a", LK_EXCLUSIVE);
	assert_false(deadlock(w, 0, "a", LK_EXCLUSIVE));
	hold(w, &b, 1, "b", LK_EXCLUSIVE);
	wait_for(w, &q, 0, "b", LK_EXCLUSIVE);
	assert_false(deadlock(w, 1, "a", LK_EXCLUSIVE));
	reused.start++;
	assert_false(waitgraph_would_deadlock(w->g, LK_LOCK, "b", &reused, LK_EXCLUSIVE, 0, 1));
}

static void test_two_waits_of_one_process(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 }, q = { 0 }, q2 = { 0 };

	hold(w, &a, 1, "a", LK_EXCLUSIVE);
	hold(w, &b, 2, "b", LK_EXCLUSIVE);
	wait_for(w, &q, 2, "a", LK_EXCLUSIVE);
	wait_for(w, &q2, 2, "c", LK_EXCLUSIVE);
	assert_false(deadlock(w, 1, "b", LK_EXCLUSIVE));
	assert_false(deadlock(w, 2, "b", LK_EXCLUSIVE));
}

static void test_held_by(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 };
	struct lk_owner one = process(1), two = process(2);

	assert_null(waitgraph_held_by(w->g, LK_LOCK, "a", &one));
	hold(w, &a, 1, "a", LK_EXCLUSIVE);
	hold(w, &b, 1, "b", LK_SHARED);
	assert_ptr_equal(waitgraph_held_by(w->g, LK_LOCK, "a", &one), &a);
	assert_null(waitgraph_held_by(w->g, LK_LOCK, "a", &two));
	assert_null(waitgraph_held_by(w->g, LK_LOCK, "b", &one));
	assert_null(waitgraph_held_by(w->g, LK_SEM, "a", &one));
}

static void test_no_look_at_processes_without_need(void **state)
{
	struct world *w = *state;
	struct waitgraph_entry a = { 0 }, b = { 0 };

	hold(w, &a, 1, "a", LK_EXCLUSIVE);
	hold(w, &b, 2, "b", LK_EXCLUSIVE);
	assert_false(deadlock(w, 1, "b", LK_EXCLUSIVE));
	assert_false(deadlock(w, 1, "free", LK_EXCLUSIVE));
	assert_false(deadlock(w, 3, "a", LK_EXCLUSIVE));
	assert_int_equal(w->asked_threads, 0);
	assert_int_equal(w->asked_open, 0);
}

/* A chain longer than the search is deep: no answer is "no", and no crash. */
static void test_long_chain(void **state)
{
	enum { N = 5000 };
	struct world *w = *state;
	struct waitgraph_entry *holds = calloc(N, sizeof(*holds)), *waits = calloc(N, sizeof(*waits));
	char name[16];
	int i;

	assert_non_null(holds);
	assert_non_null(waits);
	for (i = 0; i < N; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		hold(w, &holds[i], i + 1, name, LK_EXCLUSIVE);
		if (i > 0)
			wait_for(w, &waits[i], i, name, LK_EXCLUSIVE);
	}
	assert_true(deadlock(w, N, "n4960", LK_EXCLUSIVE));
	assert_false(deadlock(w, N, "n0", LK_EXCLUSIVE));
	for (i = 0; i < N; i++) {
		waitgraph_remove(w->g, &holds[i]);
		waitgraph_remove(w->g, &waits[i]);
	}
	free(holds);
	free(waits);
}

/* 10,000 waiters, all shared holders of the name asked for. */
static void test_cost(void **state)
{
	enum { N = 10000 };
	struct world *w = *state;
	struct waitgraph_entry *holds = calloc(N, sizeof(*holds)), *waits = calloc(N, sizeof(*waits));
	struct waitgraph_entry mine = { 0 }, busy = { 0 }, closing = { 0 };
	int i;

	assert_non_null(holds);
	assert_non_null(waits);
	hold(w, &mine, 1, "mine", LK_EXCLUSIVE);
	hold(w, &busy, 2, "busy", LK_EXCLUSIVE);
	for (i = 0; i < N; i++) {
		hold(w, &holds[i], i + 3, "shared", LK_SHARED);
		wait_for(w, &waits[i], i + 3, "busy", i % 2 ? LK_SHARED : LK_EXCLUSIVE);
	}
	assert_false(deadlock(w, 1, "shared", LK_EXCLUSIVE));
	assert_false(deadlock(w, 1, "busy", LK_SHARED));
	/* Each question costs system calls. */
	assert_int_equal(w->asked_threads, 0);
	assert_int_equal(w->asked_open, 0);
	/* Now there is a circle, but one along which a process is asked once. */
	wait_for(w, &closing, 2, "mine", LK_EXCLUSIVE);
	assert_true(deadlock(w, 1, "shared", LK_EXCLUSIVE));
	assert_true(w->asked_threads <= 3);
	assert_true(w->asked_open <= 3);
	waitgraph_remove(w->g, &closing);
	for (i = 0; i < N; i++) {
		waitgraph_remove(w->g, &holds[i]);
		waitgraph_remove(w->g, &waits[i]);
	}
	free(holds);
	free(waits);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_self),
		T(test_kinds_are_apart),
		T(test_two_cycle),
		T(test_three_cycle),
		T(test_foreign_circle_ends),
		T(test_shared_does_not_wait_for_shared),
		T(test_shared_behind_writer),
		T(test_writer_behind_a_shared_wait),
		T(test_one_stuck_shared_holder_suffices),
		T(test_slots),
		T(test_all_slots_of_one_stuck_process),
		T(test_descriptor_passed_on),
		T(test_threads),
		T(test_unknown_processes),
		T(test_two_waits_of_one_process),
		T(test_held_by),
		T(test_no_look_at_processes_without_need),
		T(test_long_chain),
		T(test_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
