/* Acquisitions: the way from a FUSE request to a grant or an errno.
 *
 * The grant/cancel race: a signal, a timeout or an admin only ever wishes the
 * wait to end (lk_cancel); the backend's callback decides. If the grant won,
 * the caller gets it, and if the caller is gone by then, handle_reply_open
 * sees that and gives it back. So nothing here depends on who was first.
 */
#include "fs/acquire.h"

#include "base/zalloc.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct acquisition {
	struct server *server;
	fuse_req_t fuse;
	struct lk_request req;
	struct waitgraph_entry graph;
	struct acquisition *prev, *next;
	struct pl_task interrupt;
	struct pl_timer *timer;
	bool timed;
	bool unseen;
	bool no_wait; /* timeout=0: a try that says ETIMEDOUT */
	void (*done)(void *arg, int err, struct lk_hold *hold);
	void (*gave_up)(void *arg);
	void *arg;
	char name[];
};

static struct acquisition *of_task(struct pl_task *task)
{
	return (struct acquisition *)((char *)task - offsetof(struct acquisition, interrupt));
}

static void run_interrupt(struct pl_task *task)
{
	struct acquisition *a = of_task(task);

	lk_cancel(a->server->backend, &a->req, -EINTR);
}

/* May be called inside fuse_req_interrupt_func, with the request's mutex held:
 * only queue the wish, the answer comes from another turn. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct acquisition *a = data;

	(void)req;
	pl_defer(a->server->loop, &a->interrupt);
}

static void on_timeout(void *arg)
{
	struct acquisition *a = arg;

	a->timer = NULL;
	lk_cancel(a->server->backend, &a->req, -ETIMEDOUT);
}

static void on_done(struct lk_request *req, int err, struct lk_hold *hold)
{
	struct acquisition *a = req->arg;

	fuse_req_interrupt_func(a->fuse, NULL, NULL);
	pl_undefer(a->server->loop, &a->interrupt);
	pl_timer_stop(a->server->loop, a->timer);
	waitgraph_remove(a->server->graph, &a->graph);
	if (err == -EAGAIN && a->no_wait)
		err = -ETIMEDOUT;
	DL_DELETE(a->server->acquisitions, a);
	a->done(a->arg, err, hold);
	free(a);
}

static void on_queued(struct lk_request *req)
{
	struct acquisition *a = req->arg;

	/* A wait with a timeout does end, so nobody can be in a deadlock through it.
	 * Without memory for it the wait only goes unseen by deadlock detection. */
	if (!a->timed && !a->unseen)
		(void)waitgraph_wait_add(a->server->graph, &a->graph, req->kind, a->name, &req->owner, req->mode,
					 req->slot_lo, req->slot_hi);
}

static void on_gave_up(struct lk_request *req)
{
	struct acquisition *a = req->arg;

	if (a->gave_up)
		a->gave_up(a->arg);
}

void acquire_spec_view(struct acquire_spec *spec, const struct server *s, const struct node *node, bool nonblock)
{
	const struct acquire_opts *o = &node->view->acquire;

	spec->mode = o->shared && spec->kind == LK_LOCK ? LK_SHARED : LK_EXCLUSIVE;
	spec->try_only = nonblock || o->try_only;
	spec->timeout_ns = 0;
	if (spec->try_only)
		return;
	if (o->timeout_set) {
		spec->timeout_ns = o->timeout_ns;
		spec->try_only = spec->no_wait = o->timeout_ns == 0;
	} else if (s->opt->timeout_set) {
		spec->timeout_ns = s->opt->timeout_ns;
		spec->try_only = spec->no_wait = s->opt->timeout_ns == 0;
	}
}

int acquire_start(struct server *s, fuse_req_t req, const struct acquire_spec *spec)
{
	size_t len = strlen(spec->name);
	struct acquisition *a = pl_zalloc(sizeof(*a) + len + 1);
	struct lk_owner *owner;
	int err;

	if (!a)
		return -ENOMEM;
	memcpy(a->name, spec->name, len + 1);
	a->server = s;
	a->fuse = req;
	a->interrupt.run = run_interrupt;
	a->done = spec->done;
	a->gave_up = spec->gave_up;
	a->arg = spec->arg;
	a->timed = spec->timeout_ns != 0;
	a->req.kind = spec->kind;
	a->req.mode = spec->mode;
	a->req.try_only = spec->try_only;
	a->no_wait = spec->no_wait;
	a->req.name = a->name;
	a->req.file = spec->file;
	a->unseen = spec->unseen;
	a->req.slot_lo = spec->slot_lo;
	a->req.slot_hi = spec->slot_hi;
	a->req.convert = spec->convert;
	a->req.done = on_done;
	a->req.queued = on_queued;
	a->req.gave_up = on_gave_up;
	a->req.arg = a;
	owner = &a->req.owner;
	owner_of(req, owner);
	if (!spec->try_only && !a->timed && !spec->unseen && !spec->convert &&
	    waitgraph_would_deadlock(s->graph, spec->kind, a->name, owner, spec->mode, spec->slot_lo, spec->slot_hi)) {
		lk_count_refused(s->backend, LK_R_DEADLOCK);
		free(a);
		return -EDEADLK;
	}
	err = lk_acquire(s->backend, &a->req);
	if (err < 0) {
		waitgraph_remove(s->graph, &a->graph);
		free(a);
		return err;
	}
	if (a->timed && !spec->try_only) {
		a->timer = pl_timer_start(s->loop, spec->timeout_ns, on_timeout, a);
		if (!a->timer)
			lk_cancel(s->backend, &a->req, -ENOMEM);
	}
	DL_APPEND(s->acquisitions, a);
	fuse_req_interrupt_func(req, on_interrupt, a);
	return 0;
}

void acquire_cancel(struct server *s, fuse_req_t req, int err)
{
	struct acquisition *a;

	DL_SEARCH_SCALAR(s->acquisitions, a, fuse, req);
	if (a)
		lk_cancel(s->backend, &a->req, err);
}

void acquire_cancel_all(struct server *s)
{
	struct acquisition *a;

	DL_FOREACH(s->acquisitions, a)
		lk_cancel(s->backend, &a->req, -ECANCELED);
	pl_run_tasks(s->loop);
}
