/* hiredis on our loop. Its own adapter for libuv does nothing when the kernel
 * reports an error on the socket, so a refused connection would only be noticed by
 * the timer of the attempt. And it asks the kernel when the socket can be written
 * to before each command, which costs a turn of the loop and three system calls; it nearly
 * always can, so here that is only asked when a write could not do all. */
#include "backend/redis/wire_internal.h"

#include <poll.h>
#include <stdlib.h>

struct socket_poll {
	uv_poll_t handle;      /* first: freed by its close callback */
	redisAsyncContext *ac; /* NULL once hiredis has let go */
	int events;
	struct pl_loop *loop;
	struct pl_task flush; /* all that was asked in this turn goes out by one write */
	bool flushing;
};

static void on_event(uv_poll_t *handle, int status, int events)
{
	struct socket_poll *p = (struct socket_poll *)handle;

	/* An error is for hiredis to find, in whatever it tries next. */
	if (status < 0)
		events = UV_READABLE;
	if (p->ac && (events & UV_READABLE))
		redisAsyncHandleRead(p->ac);
	if (p->ac && (events & UV_WRITABLE))
		redisAsyncHandleWrite(p->ac);
}

static void watch(struct socket_poll *p, int events)
{
	if (events == p->events || uv_is_closing((uv_handle_t *)&p->handle))
		return;
	p->events = events;
	if (events)
		uv_poll_start(&p->handle, events, on_event);
	else
		uv_poll_stop(&p->handle);
}

static void add_read(void *arg)
{
	struct socket_poll *p = arg;

	watch(p, p->events | UV_READABLE);
}

static void del_read(void *arg)
{
	struct socket_poll *p = arg;

	watch(p, p->events & ~UV_READABLE);
}

static void run_flush(struct pl_task *task)
{
	struct socket_poll *p = (struct socket_poll *)((char *)task - offsetof(struct socket_poll, flush));

	p->flushing = true;
	redisAsyncHandleWrite(p->ac); /* may be the end of ac, but not of p */
	p->flushing = false;
}

/* Not at once: hiredis goes on with the context, which a failed write would free. */
static void add_write(void *arg)
{
	struct socket_poll *p = arg;

	if (p->flushing || !(p->ac->c.flags & REDIS_CONNECTED))
		watch(p, p->events | UV_WRITABLE);
	else if (!(p->events & UV_WRITABLE))
		pl_defer(p->loop, &p->flush);
}

static void del_write(void *arg)
{
	struct socket_poll *p = arg;

	watch(p, p->events & ~UV_WRITABLE);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void cleanup(void *arg)
{
	struct socket_poll *p = arg;

	p->ac = NULL;
	pl_undefer(p->loop, &p->flush);
	uv_close((uv_handle_t *)&p->handle, on_closed);
}

int wire_attach(redisAsyncContext *ac, struct pl_loop *loop)
{
	struct socket_poll *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	if (uv_poll_init(pl_loop_uv(loop), &p->handle, ac->c.fd) != 0) {
		free(p);
		return -ENOMEM;
	}
	p->ac = ac;
	p->loop = loop;
	p->flush.run = run_flush;
	ac->ev.data = p;
	ac->ev.addRead = add_read;
	ac->ev.delRead = del_read;
	ac->ev.addWrite = add_write;
	ac->ev.delWrite = del_write;
	ac->ev.cleanup = cleanup;
	return 0;
}

bool wire_serve(redisAsyncContext *ac, int time_ms)
{
	struct socket_poll *p = ac->ev.data;
	struct pollfd fd = { .fd = ac->c.fd, .events = POLLIN };

	if (p->flush.queued) {
		pl_undefer(p->loop, &p->flush);
		run_flush(&p->flush);
		return true;
	}
	if (p->events & UV_WRITABLE)
		fd.events |= POLLOUT;
	if (poll(&fd, 1, time_ms) <= 0)
		return false;
	if (fd.revents & POLLOUT)
		redisAsyncHandleWrite(ac);
	else
		redisAsyncHandleRead(ac);
	return true;
}
