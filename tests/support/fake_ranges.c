/* The fake backend's byte ranges. As with waits for a lock, `finished` decides
 * between a grant and a cancel. */
#include "tests/support/fake_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static void run_finish(struct pl_task *task)
{
	struct fake_range *r = (struct fake_range *)((char *)task - offsetof(struct fake_range, task));
	struct lk_range_request *req = r->req;
	int err = r->err;

	DL_DELETE(r->b->ranges, r);
	free(r);
	req->priv = NULL;
	req->done(req, err);
}

static void finish(struct fake_range *r, int err)
{
	r->finished = true;
	r->b->n_waits -= r->waits;
	r->waits = false;
	r->err = err;
	if (err == 0 && r->req->want.mode != RANGES_NONE)
		r->req->file->ranged = true;
	pl_defer(r->b->base.loop, &r->task);
}

static void on_served(void *ctx, struct ranges_waiter *w, int err)
{
	(void)ctx;
	finish((struct fake_range *)w, err);
}

static void pump(struct fake_name *n)
{
	ranges_pump(&n->ranges, on_served, NULL);
}

static int ask(struct fake_range *r)
{
	const struct lk_range_request *req = r->req;
	int err = fake_file_check(req->file);

	if (err == 0)
		err = ranges_set(&r->name->ranges, &req->want);
	if (err != -EAGAIN || !req->wait)
		return err;
	if (r->b->config.max_waiters && r->b->n_waits >= r->b->config.max_waiters)
		return -ENOLCK;
	r->w.want = req->want;
	err = ranges_wait_add(&r->name->ranges, &r->w);
	if (err)
		return err;
	r->waits = true;
	r->b->n_waits++;
	return -EINPROGRESS;
}

int fake_range_set(struct lk_backend *base, struct lk_range_request *req)
{
	struct fake_backend *b = fake_of(base);
	struct fake_range *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOLCK;
	req->want.who.session = b->session;
	req->priv = r;
	r->b = b;
	r->name = req->file->name;
	r->req = req;
	r->task.run = run_finish;
	DL_APPEND(b->ranges, r);
	err = ask(r);
	if (err == -EINPROGRESS)
		return 0;
	finish(r, err);
	if (err == 0)
		pump(r->name);
	return 0;
}

static void fail(struct fake_range *r, int err)
{
	if (r->finished)
		return;
	ranges_wait_remove(&r->w);
	finish(r, err);
	pump(r->name);
}

void fake_range_cancel(struct lk_backend *b, struct lk_range_request *req, int err)
{
	(void)b;
	if (req->priv)
		fail(req->priv, err);
}

static void run_test(struct fake_later *l)
{
	struct ranges_lock conflict;

	memcpy(&conflict, l->data, sizeof(conflict));
	l->cb.range_test(l->arg, (int)l->n, l->all ? &conflict : NULL);
}

int fake_range_test(struct lk_backend *base, struct lk_file *file, const struct ranges_lock *want, lk_range_test_cb cb,
		    void *arg)
{
	struct fake_backend *b = fake_of(base);
	struct ranges_lock mine = *want, conflict = { 0 };
	struct fake_later *l;
	bool taken;

	mine.who.session = b->session;
	taken = ranges_test(&file->name->ranges, &mine, &conflict) == -EAGAIN;
	l = fake_later_new(b, run_test, arg, &conflict, sizeof(conflict));
	if (!l)
		return -ENOMEM;
	l->cb.range_test = cb;
	l->n = fake_file_check(file);
	l->all = taken && l->n == 0;
	return 0;
}

int fake_range_drop(struct lk_backend *base, struct lk_file *file, uint64_t owner, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	int err = fake_done_later(b, cb, arg, fake_file_check(file));

	if (err)
		return err;
	ranges_drop_owner(&file->name->ranges, (struct ranges_who){ .session = b->session, .owner = owner });
	pump(file->name);
	return 0;
}

/* --- a mount's ranges, all of them --- */

static bool first_of(const struct fake_name *n, uint64_t session, struct ranges_lock *held)
{
	struct ranges_cursor c = { 0 };

	while (ranges_next(&n->ranges, &c, held)) {
		if (held->who.session == session)
			return true;
	}
	return false;
}

bool fake_range_held(const struct fake_name *n, uint64_t session)
{
	struct ranges_lock held;

	return first_of(n, session, &held);
}

static void drop_all(struct fake_backend *b)
{
	struct ranges_lock held;
	struct fake_name *n;

	DL_FOREACH(b->world->names, n) {
		while (first_of(n, b->session, &held))
			ranges_drop_owner(&n->ranges, held.who);
		pump(n);
	}
}

void fake_ranges_lose(struct fake_backend *b)
{
	struct fake_range *r, *tmp;

	DL_FOREACH_SAFE(b->ranges, r, tmp)
		fail(r, -ESTALE);
	drop_all(b);
}

void fake_ranges_end(struct fake_backend *b)
{
	struct fake_range *r, *tmp;

	DL_FOREACH_SAFE(b->ranges, r, tmp) {
		ranges_wait_remove(&r->w);
		pl_undefer(b->base.loop, &r->task);
		DL_DELETE(b->ranges, r);
		free(r);
	}
	drop_all(b);
}
