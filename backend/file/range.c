/* Byte ranges: fcntl(2) on files/.
 *
 * Two layers. `ranges` of the inode has what this mount's owners hold: who
 * waits for one of them waits in a queue here, and a circle of them is seen.
 * Below it each owner has an open file description of its own, and every
 * range is an F_OFD_ lock on it: so other mounts, programs in DIR, and our
 * owners too exclude each other by the kernel. What is held above is always
 * held below: taken below first, given up above first. So when a blocked call
 * of a worker has got its range below, nobody here can hold it above.
 * But its owner may have unlocked meanwhile, below too: so it asks once more.
 * A wait ends once: whoever takes it out of `calls` says what its callback
 * tells; a blocked call that was faster than its cancel is a grant. Until then
 * it is in the queue above, blocked or not, so that circles are seen.
 */
#include "backend/file/range_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

struct frange {
	struct ranges_waiter w; /* first */
	struct lk_range_request *req;
	struct finode *inode;
	struct fowner *owner; /* while blocked */
	struct blocker *blocker;
	struct pl_task finish;
	int err;
	int wish; /* what a cancel says */
	bool waits;
	struct frange *prev, *next;
};

/* --- the layer below --- */

static struct flock kernel_lock(int64_t start, int64_t end, enum ranges_mode mode)
{
	return (struct flock){
		.l_type = mode == RANGES_SHARED	     ? F_RDLCK
			  : mode == RANGES_EXCLUSIVE ? F_WRLCK
						     : F_UNLCK,
		.l_whence = SEEK_SET,
		.l_start = start,
		.l_len = end == INT64_MAX ? 0 : end - start + 1,
	};
}

struct flock range_kernel(const struct ranges_lock *want)
{
	return kernel_lock(want->start, want->end, want->mode);
}

/* 0, -EAGAIN or another errno. */
static int kernel_set(int fd, const struct flock *lock)
{
	if (fcntl(fd, F_OFD_SETLK, lock) == 0)
		return 0;
	return errno == EACCES ? -EAGAIN : errno == EBADF || errno == ENOMEM ? -ENOLCK : -errno;
}

struct fowner *range_owner(const struct finode *i, uint64_t id)
{
	struct fowner *o;

	HASH_FIND(hh, i->owners, &id, sizeof(id), o);
	return o;
}

static int owner_get(struct finode *i, uint64_t id, struct fowner **out)
{
	struct fowner *o = range_owner(i, id);

	*out = o;
	if (o)
		return 0;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOLCK;
	o->fd = inode_reopen(i, i->b->store.read_only ? O_RDONLY : O_RDWR);
	if (o->fd < 0) {
		int err = o->fd;

		if (err == -ENOLCK)
			pl_log_limited(&i->b->log_limit, PL_ERROR,
				       "no descriptor left for a byte range: raise LimitNOFILE");
		free(o);
		return err;
	}
	o->id = id;
	HASH_ADD(hh, i->owners, id, sizeof(o->id), o);
	*out = o;
	return 0;
}

static struct ranges_who who_of(uint64_t owner)
{
	return (struct ranges_who){ .owner = owner };
}

/* Frees one that holds nothing and waits for nothing; its descriptor has the locks. */
static void owner_settle(struct finode *i, struct fowner *o)
{
	if (o->blocked || ranges_has(&i->ranges, who_of(o->id)))
		return;
	HASH_DEL(i->owners, o);
	close(o->fd);
	free(o);
}

/* Below, the owner has want's range as it is above: nothing here can fail, it only gives up. */
static void kernel_follow(struct finode *i, const struct fowner *o, const struct ranges_lock *want)
{
	struct ranges_cursor c = { 0 };
	struct ranges_lock held;
	int64_t at = want->start;
	struct flock lock;

	while (at <= want->end && ranges_next(&i->ranges, &c, &held)) {
		if (held.who.owner != o->id || held.end < at || held.start > want->end)
			continue;
		if (held.start > at) {
			lock = kernel_lock(at, held.start - 1, RANGES_NONE);
			(void)kernel_set(o->fd, &lock);
			at = held.start;
		}
		lock = kernel_lock(at, held.end < want->end ? held.end : want->end, held.mode);
		(void)kernel_set(o->fd, &lock);
		if (held.end >= want->end)
			return;
		at = held.end + 1;
	}
	lock = kernel_lock(at, want->end, RANGES_NONE);
	(void)kernel_set(o->fd, &lock);
}

/* --- answers --- */

static void run_finish(struct pl_task *task)
{
	struct frange *r = (struct frange *)((char *)task - offsetof(struct frange, finish));
	struct lk_range_request *req = r->req;
	int err = r->err;

	req->priv = NULL;
	inode_unref(r->inode);
	free(r);
	req->done(req, err);
}

static void drop_finish(struct pl_task *task)
{
	struct frange *r = (struct frange *)((char *)task - offsetof(struct frange, finish));

	inode_unref(r->inode);
	free(r);
}

static void finish(struct frange *r, int err)
{
	struct finode *i = r->inode;

	ranges_wait_remove(&r->w);
	if (r->waits) {
		r->waits = false;
		DL_DELETE(i->calls, r);
		i->b->n_waits--;
	}
	r->err = err;
	pl_defer(i->b->base.loop, &r->finish);
}

/* --- taking --- */

static void pump(struct finode *i);

/* Had below: now above. */
static int enter(struct finode *i, struct fowner *o, const struct ranges_lock *want)
{
	int err = ranges_set(&i->ranges, want);

	if (err) /* a limit: what it had is still above */
		kernel_follow(i, o, want);
	return err;
}

static void blocked_done(void *arg, int fd, int err)
{
	struct frange *r = arg;
	struct finode *i = r->inode;
	struct fowner *o = r->owner;
	struct flock lock = range_kernel(&r->w.want);

	close(fd); /* a duplicate: the owner's description lives on */
	r->blocker = NULL;
	o->blocked--;
	/* The owner may have unlocked it since, and somebody else have it by now: then it waits on. */
	if (err == 0)
		err = kernel_set(o->fd, &lock);
	if (err == 0 && r->req->file->lost) {
		err = -ESTALE;
		kernel_follow(i, o, &r->w.want);
	} else if (err == 0) {
		err = enter(i, o, &r->w.want);
	} else if (err == -ECANCELED || (err == -EAGAIN && r->wish)) {
		err = r->wish ? r->wish : -EINTR;
	}
	owner_settle(i, o);
	if (err != -EAGAIN)
		finish(r, err == -EDEADLK || err == -ENOMEM ? -ENOLCK : err);
	pump(i); /* an upgrade of a part may have freed another */
}

/* A range in whose way nobody here is. -EINPROGRESS: a worker waits for those outside. */
static int take(struct frange *r, bool may_wait)
{
	struct finode *i = r->inode;
	struct flock lock = range_kernel(&r->w.want);
	struct fowner *o;
	int err = owner_get(i, r->w.want.who.owner, &o), fd;

	if (err)
		return err;
	err = kernel_set(o->fd, &lock);
	if (err == 0)
		err = enter(i, o, &r->w.want);
	if (err == -EAGAIN && may_wait) {
		fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
		r->blocker = fd < 0 ? NULL : blocker_start_range(i->b->blockers, fd, &lock, blocked_done, r);
		if (r->blocker) {
			r->owner = o;
			o->blocked++;
			return -EINPROGRESS;
		}
		if (fd >= 0)
			close(fd);
		err = -ENOLCK;
	}
	owner_settle(i, o);
	return err;
}

/* Those in the queue whose way is free now; each is tried once a round. */
static void pump(struct finode *i)
{
	struct frange *r, *tmp;
	bool again = true;
	int err;

	while (again) {
		again = false;
		DL_FOREACH_SAFE(i->calls, r, tmp) {
			if (r->blocker || ranges_test(&i->ranges, &r->w.want, NULL) < 0)
				continue;
			err = take(r, true);
			if (err == -EINPROGRESS)
				continue;
			/* Its exclusive bytes may be shared by now: one before it may enter. */
			again |= err == 0 && r->w.want.mode == RANGES_SHARED;
			finish(r, err);
		}
	}
}

static int unlock(struct finode *i, const struct ranges_lock *want)
{
	struct fowner *o = range_owner(i, want->who.owner);
	int err;

	if (!o)
		return 0;
	err = ranges_set(&i->ranges, want);
	if (err)
		return err;
	kernel_follow(i, o, want);
	owner_settle(i, o);
	return 0;
}

static int enqueue(struct frange *r)
{
	struct file_backend *b = r->inode->b;
	int err;

	err = ranges_wait_add(&r->inode->ranges, &r->w);
	/* One that a worker waits with can do without: no circle is seen through it then. */
	if (err && !r->blocker)
		return err == -ENOMEM ? -ENOLCK : err;
	r->waits = true;
	b->n_waits++;
	DL_APPEND(r->inode->calls, r);
	return 0;
}

int fb_range_set(struct lk_backend *base, struct lk_range_request *req)
{
	struct file_backend *b = fb_of(base);
	struct finode *i = req->file->inode;
	bool may_wait = req->wait && req->want.mode != RANGES_NONE;
	bool full = b->config.max_waiters && b->n_waits >= b->config.max_waiters;
	struct frange *r;
	int err;

	if (req->file->lost)
		return -ESTALE;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOLCK;
	r->req = req;
	r->inode = i;
	r->w.want = req->want;
	r->w.want.who.session = 0;
	r->finish.run = run_finish;
	r->finish.drop = drop_finish;
	r->finish.owner = b;
	req->priv = r;
	i->refs++;
	if (req->want.mode == RANGES_NONE)
		err = unlock(i, &r->w.want);
	else
		err = ranges_test(&i->ranges, &r->w.want, NULL);
	if (err == 0 && req->want.mode != RANGES_NONE)
		err = take(r, may_wait && !full);
	if (err == -EINPROGRESS || (err == -EAGAIN && may_wait && !full))
		err = enqueue(r);
	else if (err == -EAGAIN && may_wait)
		err = -ENOLCK;
	if (!r->waits)
		finish(r, err);
	pump(i);
	return 0;
}

void fb_range_cancel(struct lk_backend *base, struct lk_range_request *req, int err)
{
	struct frange *r = req->priv;

	(void)base;
	if (!r || !r->waits || r->wish)
		return;
	r->wish = err;
	if (r->blocker) {
		blocker_cancel(r->blocker);
		return;
	}
	finish(r, err);
}

int fb_range_drop(struct lk_backend *base, struct lk_file *file, uint64_t owner, lk_done_cb cb, void *arg)
{
	const struct ranges_lock all = { .who = who_of(owner), .end = INT64_MAX };
	struct finode *i = file->inode;
	struct fowner *o = range_owner(i, owner);

	if (o) {
		ranges_drop_owner(&i->ranges, who_of(owner));
		/* Closing would not do while a blocked call, or a fork of ours, shares the description. */
		kernel_follow(i, o, &all);
		owner_settle(i, o);
		pump(i);
	}
	return fb_later_done(fb_of(base), cb, arg, 0);
}

/* --- the end --- */

void ranges_lose(struct file_backend *b)
{
	struct finode *i, *tmp;
	struct fowner *o, *otmp;
	struct frange *r, *rtmp;
	struct lk_file *f;

	HASH_ITER(hh, b->inodes, i, tmp) {
		if (i->ranges.held == 0)
			continue;
		DL_FOREACH(i->files, f) {
			f->lost = true;
			pl_defer(b->base.loop, &f->lost_task);
		}
		HASH_ITER(hh, i->owners, o, otmp) {
			const struct ranges_lock all = { .who = who_of(o->id), .end = INT64_MAX };

			ranges_drop_owner(&i->ranges, who_of(o->id));
			kernel_follow(i, o, &all);
			owner_settle(i, o);
		}
		DL_FOREACH_SAFE(i->calls, r, rtmp) {
			if (r->req->file->lost)
				fb_range_cancel(&b->base, r->req, -ESTALE);
		}
		pump(i);
	}
}

void ranges_forget(struct finode *i)
{
	struct frange *r, *rtmp;
	struct fowner *o = i->owners, *next;

	DL_FOREACH_SAFE(i->calls, r, rtmp) {
		ranges_wait_remove(&r->w);
		DL_DELETE(i->calls, r);
		free(r);
	}
	ranges_clear(&i->ranges);
	HASH_CLEAR(hh, i->owners);
	for (; o; o = next) {
		next = o->hh.next;
		close(o->fd);
		free(o);
	}
}
