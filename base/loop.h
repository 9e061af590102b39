/* The one event loop: deferred tasks, timers and clocks.
 *
 * Everything in plockfs that is not a worker thread runs on one pl_loop. The
 * loop is an interface so that tests can put a fake clock behind it
 * (tests/support/fake_loop.c); the real one wraps libuv (base/loop.c).
 *
 * Invariants: a deferred task never runs inside the call that deferred it; a
 * timer callback runs at most once; both may be cancelled until they ran.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct pl_loop;
struct pl_timer;

#define PL_MS UINT64_C(1000000)
#define PL_SEC UINT64_C(1000000000)

/* A unit of work for a later turn. Embed it; the memory is the caller's and
 * must stay valid while `queued`. Zero-initialise before first use. */
struct pl_task {
	void (*run)(struct pl_task *task);
	const void *owner;		    /* for pl_drop_tasks; may be NULL */
	void (*drop)(struct pl_task *task); /* instead of run, then; may be NULL */
	struct pl_task *prev, *next;
	bool queued;
};

typedef void (*pl_timer_fn)(void *arg);

struct pl_loop_ops {
	/* CLOCK_BOOTTIME, nanoseconds: runs on through suspend. */
	uint64_t (*now)(struct pl_loop *loop);
	/* CLOCK_REALTIME, nanoseconds: only for showing and for tokens. */
	uint64_t (*wall)(struct pl_loop *loop);
	/* Returns NULL when out of memory. */
	struct pl_timer *(*timer_start)(struct pl_loop *loop, uint64_t delay_ns, pl_timer_fn fn, void *arg);
	void (*timer_stop)(struct pl_loop *loop, struct pl_timer *timer);
	/* Tells the implementation that the task list became non-empty. */
	void (*wake)(struct pl_loop *loop);
};

struct pl_loop {
	const struct pl_loop_ops *ops;
	struct pl_task *tasks; /* utlist DL */
};

static inline uint64_t pl_now(struct pl_loop *loop)
{
	return loop->ops->now(loop);
}

static inline uint64_t pl_wall(struct pl_loop *loop)
{
	return loop->ops->wall(loop);
}

/* One-shot timer; the handle is dead once fn was called or after stop. fn is
 * called from the loop with arg. NULL: out of memory. */
static inline struct pl_timer *pl_timer_start(struct pl_loop *loop, uint64_t delay_ns, pl_timer_fn fn, void *arg)
{
	return loop->ops->timer_start(loop, delay_ns, fn, arg);
}

/* NULL is allowed. Must not be called for a timer whose fn already ran. */
static inline void pl_timer_stop(struct pl_loop *loop, struct pl_timer *timer)
{
	if (timer)
		loop->ops->timer_stop(loop, timer);
}

/* Queues task once; a queued task is left where it is. */
void pl_defer(struct pl_loop *loop, struct pl_task *task);
/* Takes a queued task out again; nothing happens when it is not queued. */
void pl_undefer(struct pl_loop *loop, struct pl_task *task);
/* Takes every queued task of this owner out, and drops it. */
void pl_drop_tasks(struct pl_loop *loop, const void *owner);
/* Runs tasks until none is left, those deferred meanwhile included. Never
 * call it from inside a task or a backend callback. */
void pl_run_tasks(struct pl_loop *loop);

/* --- the real loop, on libuv (base/loop.c) --- */
struct uv_loop_s;
/* NULL with errno set when it cannot be made. */
struct pl_loop *pl_loop_new(void);
struct uv_loop_s *pl_loop_uv(struct pl_loop *loop);
/* Runs until pl_loop_stop. */
void pl_loop_run(struct pl_loop *loop);
void pl_loop_stop(struct pl_loop *loop);
/* Waits for what comes next, and runs that. */
void pl_loop_turn(struct pl_loop *loop);
/* Closes what is still open on it and frees it. */
void pl_loop_free(struct pl_loop *loop);

#endif
