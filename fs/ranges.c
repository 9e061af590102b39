/* fcntl(2) byte ranges on files/NAME.
 *
 * The kernel hands over F_SETLK, F_SETLKW and F_GETLK with an owner: the
 * process (its table of descriptors), or the open file for F_OFD_*, which it
 * does not mark as such. FLUSH, at any close by the process, names the owner
 * too. No request tells that an open file description with F_OFD_ locks has
 * gone but its RELEASE; so each handle remembers who locked through it.
 * A wait that is interrupted races with its grant as in fs/acquire.c: the
 * backend's callback decides.
 */
#include "fs/acquire.h"
#include "fs/ops.h"

#include <fcntl.h>
#include <stdlib.h>
#include <utlist.h>

struct ranging {
	struct server *server;
	struct handle *h;
	fuse_req_t req;
	struct lk_range_request range;
	struct pl_task interrupt;
	struct pl_timer *timer;
	bool no_wait; /* timeout=0: a try that says ETIMEDOUT */
	struct ranging *prev, *next;
};

static struct ranging *of_task(struct pl_task *task)
{
	return (struct ranging *)((char *)task - offsetof(struct ranging, interrupt));
}

static void run_interrupt(struct pl_task *task)
{
	struct ranging *r = of_task(task);

	lk_range_cancel(r->server->backend, &r->range, -EINTR);
}

/* Perhaps inside fuse_req_interrupt_func: only queue the wish. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct ranging *r = data;

	(void)req;
	pl_defer(r->server->loop, &r->interrupt);
}

static void on_timeout(void *arg)
{
	struct ranging *r = arg;

	r->timer = NULL;
	lk_range_cancel(r->server->backend, &r->range, -ETIMEDOUT);
}

static void ranging_done(struct lk_range_request *range, int err)
{
	struct ranging *r = range->arg;

	fuse_req_interrupt_func(r->req, NULL, NULL);
	pl_undefer(r->server->loop, &r->interrupt);
	pl_timer_stop(r->server->loop, r->timer);
	DL_DELETE(r->server->rangings, r);
	if (err == -EAGAIN && r->no_wait)
		err = -ETIMEDOUT;
	reply_err(r->req, err);
	free(r);
}

void ranges_cancel_all(struct server *s)
{
	struct ranging *r;

	DL_FOREACH(s->rangings, r)
		lk_range_cancel(s->backend, &r->range, -ECANCELED);
	pl_run_tasks(s->loop);
}

/* The owner may have ranges by this handle from now on. 0 or -ENOMEM. */
static int remember_owner(struct handle *h, uint64_t owner)
{
	uint64_t *more;
	size_t i;

	for (i = 0; i < h->n_range_owners; i++) {
		if (h->range_owners[i] == owner)
			return 0;
	}
	more = reallocarray(h->range_owners, h->n_range_owners + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	h->range_owners = more;
	more[h->n_range_owners++] = owner;
	h->server->range_owners++;
	return 0;
}

/* Another thread of the owner may wait on the same handle, and get its range after this close. */
static bool still_asks(const struct handle *h, uint64_t owner)
{
	struct ranging *r;

	DL_FOREACH(h->server->rangings, r) {
		if (r->h == h && r->range.want.who.owner == owner)
			return true;
	}
	return false;
}

static void forget_owner(struct handle *h, uint64_t owner)
{
	size_t i;

	if (still_asks(h, owner))
		return;
	for (i = 0; i < h->n_range_owners; i++) {
		if (h->range_owners[i] == owner) {
			h->range_owners[i--] = h->range_owners[--h->n_range_owners];
			h->server->range_owners--;
		}
	}
}

static void lock_of(struct ranges_lock *l, const struct flock *lock, uint64_t owner)
{
	*l = (struct ranges_lock){
		.who.owner = owner,
		.start = lock->l_start,
		.end = lock->l_len ? lock->l_start + lock->l_len - 1 : INT64_MAX,
		.pid = lock->l_pid,
		.mode = lock->l_type == F_RDLCK	  ? RANGES_SHARED
			: lock->l_type == F_WRLCK ? RANGES_EXCLUSIVE
						  : RANGES_NONE,
	};
}

/* On a handle that is a lock itself ranges say nothing: whoever holds it has all of them. 0 or negative errno. */
static int of_lock_handle(const struct handle *h)
{
	if (h->kind != H_LOCK && h->kind != H_SEM)
		return -EBADF;
	if (h->lost)
		return -ESTALE;
	return h->hold ? 0 : -ENOLCK;
}

static int set_start(struct ranging *r, struct handle *h, const struct flock *lock, uint64_t owner, int sleep)
{
	struct acquire_spec spec = { .kind = LK_LOCK };
	int err;

	acquire_spec_view(&spec, h->server, h->node, !sleep);
	lock_of(&r->range.want, lock, owner);
	r->server = h->server;
	r->h = h;
	r->range.file = h->file;
	r->range.wait = !spec.try_only && r->range.want.mode != RANGES_NONE;
	r->range.tid = fuse_req_ctx(r->req)->pid;
	r->range.done = ranging_done;
	r->range.arg = r;
	r->no_wait = spec.no_wait;
	r->interrupt.run = run_interrupt;
	err = r->range.want.mode == RANGES_NONE ? 0 : remember_owner(h, owner);
	if (err == 0)
		err = lk_range_set(h->server->backend, &r->range);
	if (err)
		return err;
	if (r->range.want.mode != RANGES_NONE)
		owner_of(r->req, &h->owner);
	DL_APPEND(h->server->rangings, r);
	if (r->range.wait && spec.timeout_ns) {
		r->timer = pl_timer_start(h->server->loop, spec.timeout_ns, on_timeout, r);
		if (!r->timer)
			lk_range_cancel(h->server->backend, &r->range, -ENOMEM);
	}
	fuse_req_interrupt_func(r->req, on_interrupt, r);
	return 0;
}

void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
	struct handle *h = handle_of(fi);
	struct ranging *r;
	int err;

	(void)ino;
	if (h->kind != H_FILE || h->lost) {
		reply_err(req, h->kind == H_FILE ? -ESTALE : of_lock_handle(h));
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		reply_err(req, -ENOLCK);
		return;
	}
	r->req = req;
	err = set_start(r, h, lock, fi->lock_owner, sleep);
	if (err) {
		reply_err(req, err);
		free(r);
	}
}

static void reply_lock(fuse_req_t req, const struct ranges_lock *l)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	if (l) {
		lock.l_type = l->mode == RANGES_SHARED ? F_RDLCK : F_WRLCK;
		lock.l_start = l->start;
		lock.l_len = l->end == INT64_MAX ? 0 : l->end - l->start + 1;
		lock.l_pid = l->pid;
	}
	fuse_reply_lock(req, &lock);
}

static void test_done(void *arg, int err, const struct ranges_lock *conflict)
{
	if (err)
		reply_err(arg, err);
	else
		reply_lock(arg, conflict);
}

void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct handle *h = handle_of(fi);
	struct ranges_lock want;
	int err;

	(void)ino;
	if (h->kind != H_FILE) {
		err = of_lock_handle(h);
		if (err)
			reply_err(req, err);
		else
			reply_lock(req, NULL);
		return;
	}
	lock_of(&want, lock, fi->lock_owner);
	err = h->lost ? -ESTALE : lk_range_test(h->server->backend, h->file, &want, test_done, req);
	if (err)
		reply_err(req, err);
}

/* --- close --- */

struct flushing {
	fuse_req_t req;
	int err;
};

static void flushed(void *arg, int err)
{
	struct flushing *f = arg;

	reply_err(f->req, f->err ? f->err : err);
	free(f);
}

void ranges_flush(fuse_req_t req, struct handle *h, uint64_t owner, int err)
{
	struct flushing *f = calloc(1, sizeof(*f));
	int failed;

	if (!f) {
		reply_err(req, -ENOMEM);
		return;
	}
	f->req = req;
	f->err = err;
	/* Whatever handle it was locked by: POSIX drops all at any close. */
	failed = lk_range_drop(h->server->backend, h->file, owner, flushed, f);
	if (failed)
		flushed(f, err || failed != -ESTALE ? failed : 0);
	else
		forget_owner(h, owner);
}

static void dropped(void *arg, int err)
{
	(void)arg;
	(void)err;
}

void ranges_release(struct handle *h)
{
	size_t i;

	for (i = 0; i < h->n_range_owners; i++)
		(void)lk_range_drop(h->server->backend, h->file, h->range_owners[i], dropped, NULL);
	h->server->range_owners -= h->n_range_owners;
	h->n_range_owners = 0;
}
