/* The real event loop, on libuv.
 *
 * Tasks: pl_defer only links the task and starts an idle handle, so that the
 * poll of this turn does not sleep; the check handle, which runs after every
 * poll, empties the list and stops the idle handle. Neither needs a syscall.
 *
 * Timers: a pl_timer is one uv_timer_t of its own; it is freed by its close
 * callback, so timer_stop is safe from anywhere, its own fn included.
 */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

struct real_loop {
	struct pl_loop base; /* first: a pl_loop is cast to it */
	uv_loop_t uv;
	uv_idle_t idle;
	uv_check_t check;
	bool idling;
};

struct pl_timer {
	uv_timer_t uv; /* first: the close callback frees the whole by it */
	uint64_t due;  /* pl_now() */
	pl_timer_fn fn;
	void *arg;
};

static struct real_loop *real(struct pl_loop *loop)
{
	return (struct real_loop *)loop;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * PL_SEC + (uint64_t)ts.tv_nsec;
}

static uint64_t real_now(struct pl_loop *loop)
{
	(void)loop;
	return clock_ns(CLOCK_BOOTTIME);
}

static uint64_t real_wall(struct pl_loop *loop)
{
	(void)loop;
	return clock_ns(CLOCK_REALTIME);
}

/* --- tasks --- */

static void on_idle(uv_idle_t *handle)
{
	(void)handle;
}

static void real_wake(struct pl_loop *loop)
{
	struct real_loop *r = real(loop);

	if (r->idling || uv_is_closing((uv_handle_t *)&r->idle))
		return;
	uv_idle_start(&r->idle, on_idle);
	r->idling = true;
}

static void on_check(uv_check_t *handle)
{
	struct real_loop *r = handle->data;

	pl_run_tasks(&r->base);
	if (!r->idling)
		return;
	uv_idle_stop(&r->idle);
	r->idling = false;
}

/* --- timers --- */

static uint64_t ms_up(uint64_t ns)
{
	return ns / PL_MS + (ns % PL_MS != 0);
}

static void timer_closed(uv_handle_t *handle)
{
	free(handle);
}

static void on_timer(uv_timer_t *handle)
{
	struct pl_timer *t = (struct pl_timer *)handle;
	uint64_t now = clock_ns(CLOCK_BOOTTIME);
	pl_timer_fn fn = t->fn;
	void *arg = t->arg;

	/* libuv counts from the loop's cached whole milliseconds, which lie
	 * behind: it may fire up to one too early. */
	if (now < t->due) {
		uv_update_time(handle->loop);
		uv_timer_start(handle, on_timer, ms_up(t->due - now), 0);
		return;
	}
	uv_close((uv_handle_t *)handle, timer_closed);
	fn(arg);
}

static struct pl_timer *real_timer_start(struct pl_loop *loop, uint64_t delay_ns, pl_timer_fn fn, void *arg)
{
	struct real_loop *r = real(loop);
	struct pl_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	if (__builtin_add_overflow(real_now(loop), delay_ns, &t->due))
		t->due = UINT64_MAX;
	t->fn = fn;
	t->arg = arg;
	uv_timer_init(&r->uv, &t->uv);
	uv_timer_start(&t->uv, on_timer, ms_up(delay_ns), 0);
	return t;
}

static void real_timer_stop(struct pl_loop *loop, struct pl_timer *t)
{
	(void)loop;
	uv_close((uv_handle_t *)&t->uv, timer_closed);
}

/* --- the loop --- */

static const struct pl_loop_ops real_ops = {
	.now = real_now,
	.wall = real_wall,
	.timer_start = real_timer_start,
	.timer_stop = real_timer_stop,
	.wake = real_wake,
};

struct pl_loop *pl_loop_new(void)
{
	struct real_loop *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return NULL;
	r->base.ops = &real_ops;
	err = uv_loop_init(&r->uv);
	if (err < 0) {
		free(r);
		errno = -err;
		return NULL;
	}
	uv_idle_init(&r->uv, &r->idle);
	uv_check_init(&r->uv, &r->check);
	r->check.data = r;
	uv_check_start(&r->check, on_check);
	return &r->base;
}

struct uv_loop_s *pl_loop_uv(struct pl_loop *loop)
{
	return &real(loop)->uv;
}

void pl_loop_run(struct pl_loop *loop)
{
	uv_run(&real(loop)->uv, UV_RUN_DEFAULT);
}

void pl_loop_stop(struct pl_loop *loop)
{
	uv_stop(&real(loop)->uv);
}

void pl_loop_turn(struct pl_loop *loop)
{
	uv_run(&real(loop)->uv, UV_RUN_ONCE);
}

static void close_left(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (uv_is_closing(handle))
		return;
	/* All timers on this loop that are ours must be freed; a foreign
	 * handle's memory is its owner's. */
	if (handle->type == UV_TIMER && ((uv_timer_t *)handle)->timer_cb == on_timer)
		uv_close(handle, timer_closed);
	else
		uv_close(handle, NULL);
}

void pl_loop_free(struct pl_loop *loop)
{
	struct real_loop *r = real(loop);

	if (!loop)
		return;
	/* One turn at a time: a callback that comes meanwhile (a close of others,
	 * a worker's last report) may open a handle anew. */
	do {
		uv_walk(&r->uv, close_left, NULL);
	} while (uv_run(&r->uv, UV_RUN_ONCE) != 0);
	uv_loop_close(&r->uv);
	free(r);
}
