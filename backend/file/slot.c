/* One flock'ed file: taking it, waiting for it, keeping it, giving it up. */
#include "backend/file/inode.h"
#include "backend/file/kept.h"

#include "base/zalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* A lock has one slot, so the table of its slots begins small: with 32 buckets it was a quarter of what a held lock
 * costs. */
#undef HASH_INITIAL_NUM_BUCKETS
#undef HASH_INITIAL_NUM_BUCKETS_LOG2
#define HASH_INITIAL_NUM_BUCKETS 1U
#define HASH_INITIAL_NUM_BUCKETS_LOG2 0U

/* A name replaced under us between open and flock is tried again this often. */
#define REPLACED_TRIES 100
/* Local hand-offs of a name without giving the flock up; then programs outside
 * get a turn. */
#define HANDOFFS_MAX 16
#define HANDOFF_TIME (50 * PL_MS)

static int flock_op(enum lk_mode mode)
{
	return mode == LK_SHARED ? LOCK_SH : LOCK_EX;
}

int fslot_at(const struct fname *n)
{
	return n->arb.kind == LK_LOCK ? n->b->store.locks : n->b->store.sems;
}

int fslot_path(const struct fname *n, unsigned idx, char *out, size_t size)
{
	size_t len = n->keylen - 1;

	/* portalocker's BoundedSemaphore names its files so. */
	if (n->arb.kind == LK_SEM)
		return (size_t)snprintf(out, size, "%s.%02u.lock", fname_str(n), idx) < size ? 0 : -ENAMETOOLONG;
	if (len >= size)
		return -ENAMETOOLONG;
	memcpy(out, fname_str(n), len + 1);
	return 0;
}

struct fslot *fslot_find(struct fname *n, unsigned idx)
{
	struct fslot *s;

	HASH_FIND(hh, n->slots, &idx, sizeof(idx), s);
	return s;
}

struct fslot *fslot_get(struct fname *n, unsigned idx)
{
	struct fslot *s = fslot_find(n, idx);

	if (s)
		return s;
	s = pl_zalloc(sizeof(*s));
	if (!s)
		return NULL;
	s->idx = idx;
	s->fd = -1;
	s->name = n;
	HASH_ADD(hh, n->slots, idx, sizeof(s->idx), s);
	return s;
}

static int open_file(struct fname *n, unsigned idx)
{
	int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK;
	char path[LK_NAME_MAX + 32];
	int fd = fslot_path(n, idx, path, sizeof(path));

	if (fd)
		return fd;
	if (fname_hidden(n))
		return n->inode ? inode_reopen(n->inode, O_RDWR) : -ESTALE;
	if (n->b->store.read_only)
		flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
	else
		flags |= O_CREAT;
	fd = store_openat(fslot_at(n), path, flags, 0666);
	if (fb_too_many(n->b, fd))
		fd = store_openat(fslot_at(n), path, flags, 0666);
	if (fd == -EACCES && !n->b->store.read_only)
		fd = store_openat(fslot_at(n), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd == -ENOENT && n->b->store.read_only)
		fd = -EROFS;
	if (fd >= n->b->fd_max) {
		close(fd);
		fd = -EMFILE;
	}
	if (fd == -EMFILE || fd == -ENFILE) {
		pl_log_limited(&n->b->log_limit, PL_ERROR, "no descriptor left for '%s': raise LimitNOFILE (ulimit -n)",
			       fname_str(n));
		fd = -ENOLCK;
	}
	return fd;
}

/* Does the slot's path still lead to this file? */
static bool at_path(const struct fname *n, unsigned idx, dev_t dev, ino_t ino)
{
	char path[LK_NAME_MAX + 32];
	struct stat at;

	if (fname_hidden(n))
		return n->inode && n->inode->id.ino == ino && n->inode->id.dev == dev;
	return fslot_path(n, idx, path, sizeof(path)) == 0 && store_stat(fslot_at(n), path, &at) == 0 &&
	       at.st_ino == ino && at.st_dev == dev;
}

bool fslot_in_place(const struct fslot *s)
{
	return s->fd >= 0 && at_path(s->name, s->idx, s->dev, s->ino);
}

static void watch(const struct fname *n)
{
	if (n->arb.kind == LK_LOCK && !fname_hidden(n))
		watch_name(n->b->watch, fname_str(n));
}

static void taken(struct fslot *s, int fd, enum lk_mode mode, const struct stat *st)
{
	s->fd = fd;
	s->phys = mode;
	s->ino = st->st_ino;
	s->dev = st->st_dev;
	s->handoffs = 0;
	s->since = pl_now(s->name->b->base.loop);
	watch(s->name);
}

static void drop_fd(struct fslot *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static void blocked_done(void *arg, int fd, int err)
{
	struct fslot *s = arg;
	struct fname *n = s->name;
	struct stat st;

	s->blocker = NULL;
	n->pins++;
	if (err == 0 && s->fd < 0 && n->arb.waiters && fstat(fd, &st) == 0 &&
	    at_path(n, s->idx, st.st_dev, st.st_ino)) {
		taken(s, fd, s->blocker_mode, &st);
	} else {
		/* Not wanted any more, replaced under us, or ended: the flock goes with the
		 * descriptor, and the pump below starts anew if somebody still waits. */
		close(fd);
	}
	if (err && err != -ECANCELED)
		pl_log_limited(&n->b->log_io, PL_ERROR, "flock of '%s': %s", fname_str(n), strerror(-err));
	if (n->arb.kind == LK_LOCK && !fname_hidden(n) && s->fd < 0)
		fname_split(n); /* replaced, perhaps */
	arb_pump(&n->arb);
	s = NULL; /* may be gone by now */
	n->pins--;
	fname_settle(n);
}

static int block_on(struct fslot *s, int fd, enum lk_mode mode, const struct stat *st)
{
	struct file_backend *b = s->name->b;

	s->blocker = blocker_start(b->blockers, fd, flock_op(mode), blocked_done, s);
	if (!s->blocker) {
		close(fd);
		pl_log_limited(&b->log_limit, PL_ERROR,
			       "%d threads wait for programs outside already: no wait for '%s'", BLOCKERS_MAX,
			       fname_str(s->name));
		return -ENOLCK;
	}
	s->blocker_mode = mode;
	s->blocker_ino = st->st_ino;
	s->blocker_dev = st->st_dev;
	watch(s->name);
	return -EINPROGRESS;
}

void fslot_unblock(struct fslot *s)
{
	if (s->blocker && !at_path(s->name, s->idx, s->blocker_dev, s->blocker_ino))
		blocker_cancel(s->blocker);
}

/* The one that was kept when the slot was last given up, or opened anew. Whether it is still the
 * file at the path is for the caller to see, once it is flock'ed. */
static int open_regular(struct fname *n, unsigned idx, struct stat *st)
{
	int fd = kept_take(n->b->kept, n->key, n->keylen, idx, &st->st_dev, &st->st_ino);

	if (fd >= 0)
		return fd;
	fd = open_file(n, idx);
	if (fd < 0)
		return fd;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
}

/* Takes a slot that this mount does not have. */
static int take(struct fslot *s, enum lk_mode mode, bool may_wait, bool yield)
{
	struct fname *n = s->name;
	struct stat st;
	int fd, tries;

	if (s->blocker) {
		if (!may_wait)
			return -EBUSY;
		/* The head of the queue wants another mode now: the blocked call
		 * ends and the pump after it starts the right one. */
		if (s->blocker_mode != mode)
			blocker_cancel(s->blocker);
		return -EINPROGRESS;
	}
	for (tries = 0; tries < REPLACED_TRIES; tries++) {
		fd = open_regular(n, s->idx, &st);
		if (fd < 0)
			return fd;
		if (yield)
			return block_on(s, fd, mode, &st);
		if (flock(fd, flock_op(mode) | LOCK_NB) < 0) {
			int err = errno;

			if (err == EWOULDBLOCK && may_wait)
				return block_on(s, fd, mode, &st);
			close(fd);
			return err == EWOULDBLOCK ? -EBUSY : err == ENOMEM ? -ENOLCK : -err;
		}
		if (at_path(n, s->idx, st.st_dev, st.st_ino)) {
			taken(s, fd, mode, &st);
			return 0;
		}
		close(fd);
	}
	return -ESTALE;
}

int fslot_convert(struct fslot *s, enum lk_mode mode)
{
	if (s->phys == mode)
		return 0;
	if (flock(s->fd, flock_op(mode) | LOCK_NB) == 0) {
		s->phys = mode;
		return 0;
	}
	/* Linux drops the old lock before it tries the new one. */
	if (flock(s->fd, flock_op(s->phys) | LOCK_NB) == 0)
		return -EAGAIN;
	/* Closed, so that no pump can hand on a flock that is not ours any more. */
	drop_fd(s);
	return -ESTALE;
}

/* The flock is here already: from a holder just gone, from a blocked call, or
 * shared with other holders. */
static int reuse(struct fslot *s, enum lk_mode mode, bool may_wait)
{
	struct fname *n = s->name;
	bool fresh = s->handoffs == 0;

	if (s->users) /* shared holders, and another one */
		return s->phys == LK_SHARED && mode == LK_SHARED ? 0 : -EBUSY;
	if (!fslot_in_place(s) || fslot_convert(s, mode) < 0) {
		drop_fd(s);
		return take(s, mode, may_wait, false);
	}
	if (!fresh && may_wait && (s->handoffs >= HANDOFFS_MAX || pl_now(n->b->base.loop) - s->since > HANDOFF_TIME)) {
		drop_fd(s);
		return take(s, mode, true, true);
	}
	return 0;
}

int fslot_obtain(struct arb *a, unsigned idx, enum lk_mode mode, bool may_wait)
{
	struct fname *n = (struct fname *)a;
	struct fslot *s;
	int err;

	if (n->b->gone) {
		err = store_check(&n->b->store);
		if (err) {
			pl_log_limited(&n->b->log_gone, PL_ERROR, "%s is gone: no lock can be had there (%s)",
				       n->b->store.path, strerror(-err));
			return err;
		}
		n->b->gone = false;
	}
	s = fslot_get(n, idx);
	if (!s)
		return -ENOLCK;
	if (s->users && a->kind == LK_SEM)
		return -EBUSY;
	err = s->fd >= 0 ? reuse(s, mode, may_wait) : take(s, mode, may_wait, false);
	if (err && err != -EINPROGRESS)
		fslot_idle(s);
	return err;
}

void fslot_idle(struct fslot *s)
{
	struct fname *n = s->name;

	if (s->users)
		return;
	if (s->fd >= 0 && !fname_hidden(n) && !n->b->gone && flock(s->fd, LOCK_UN) == 0)
		kept_put(n->b->kept, n->key, n->keylen, s->idx, s->fd, s->dev, s->ino);
	else
		drop_fd(s);
	s->fd = -1;
	if (s->blocker)
		return;
	HASH_DEL(s->name->slots, s);
	free(s);
}

void fname_settle(struct fname *n)
{
	struct fslot *s, *tmp;

	if (n->pins)
		return;
	HASH_ITER(hh, n->slots, s, tmp) {
		if (n->arb.waiters && s->blocker)
			continue;
		if (s->blocker)
			blocker_cancel(s->blocker);
		fslot_idle(s);
	}
	if (n->slots || n->arb.waiters || n->arb.holders)
		return;
	if (n->inode)
		n->inode->orphan = NULL;
	HASH_DEL(n->b->names, n);
	free(n);
}
