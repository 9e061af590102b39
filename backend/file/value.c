/* Values: the bytes of the lock's own file, through the holder's descriptor. */
#include "backend/file/internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

struct later {
	struct pl_task task;
	lk_io_cb io;
	lk_done_cb done;
	void *arg;
	ssize_t n;
	char data[];
};

static void run_later(struct pl_task *task)
{
	struct later *l = (struct later *)task;

	if (l->io)
		l->io(l->arg, l->n, l->data);
	else
		l->done(l->arg, (int)l->n);
	free(l);
}

static void drop_later(struct pl_task *task)
{
	free(task);
}

static struct later *later_new(struct file_backend *b, size_t len)
{
	struct later *l = calloc(1, sizeof(*l) + len);

	if (!l)
		return NULL;
	l->task.run = run_later;
	l->task.drop = drop_later;
	l->task.owner = b;
	return l;
}

int fb_later_io(struct file_backend *b, lk_io_cb cb, void *arg, ssize_t n, const void *data, size_t len)
{
	struct later *l = later_new(b, len);

	if (!l)
		return -ENOMEM;
	l->io = cb;
	l->arg = arg;
	l->n = n;
	if (len)
		memcpy(l->data, data, len);
	pl_defer(b->base.loop, &l->task);
	return 0;
}

int fb_later_done(struct file_backend *b, lk_done_cb cb, void *arg, int err)
{
	struct later *l = later_new(b, 0);

	if (!l)
		return -ENOMEM;
	l->done = cb;
	l->arg = arg;
	l->n = err;
	pl_defer(b->base.loop, &l->task);
	return 0;
}

static int fd_of(const struct lk_hold *hold)
{
	return ((const struct fhold *)hold)->slot->fd;
}

int fb_read(struct lk_backend *base, struct lk_hold *h, size_t size, off_t off, lk_io_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	struct later *l;

	if (off < 0)
		return -EINVAL;
	if (size > b->config.max_value)
		size = b->config.max_value;
	l = later_new(b, size);
	if (!l)
		return -ENOMEM;
	l->io = cb;
	l->arg = arg;
	l->n = pread(fd_of(h), l->data, size, off);
	if (l->n < 0)
		l->n = -errno;
	pl_defer(base->loop, &l->task);
	return 0;
}

int fb_write(struct lk_backend *base, struct lk_hold *h, const void *data, size_t size, off_t off, lk_io_cb cb,
	     void *arg)
{
	struct file_backend *b = fb_of(base);
	struct stat st;
	ssize_t n;

	if (off < 0) { /* append */
		if (fstat(fd_of(h), &st) < 0)
			return -errno;
		off = st.st_size;
	}
	if ((uint64_t)off > b->config.max_value || size > b->config.max_value - (uint64_t)off)
		return -EFBIG;
	n = pwrite(fd_of(h), data, size, off);
	return fb_later_io(b, cb, arg, n < 0 ? -errno : n, NULL, 0);
}

int fb_truncate(struct lk_backend *base, struct lk_hold *h, uint64_t size, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);

	if (size > b->config.max_value)
		return -EFBIG;
	return fb_later_done(b, cb, arg, ftruncate(fd_of(h), (off_t)size) < 0 ? -errno : 0);
}

/* --- fsync --- */

struct syncing {
	uv_work_t work;
	int fd, err;
	int folder;		/* that the file may be new in; -1: none */
	struct file_backend *b; /* NULL once that is destroyed: nobody wants the answer */
	struct fhold *h;	/* NULL: a plain file */
	lk_done_cb cb;
	void (*orphan)(void *arg); /* instead of cb then; may be NULL */
	void *arg;
	struct syncing *prev, *next;
};

/* Some file systems cannot sync a folder, and say EINVAL. */
static int sync_folder(int fd)
{
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

static void sync_work(uv_work_t *work)
{
	struct syncing *s = work->data;

	s->err = fsync(s->fd) < 0 ? -errno : 0;
	if (s->err == 0 && s->folder >= 0)
		s->err = sync_folder(s->folder);
}

static void sync_after(uv_work_t *work, int status)
{
	struct syncing *s = work->data;
	int err = status ? -ECANCELED : s->err;

	if (s->h && (s->h->pub.lost || s->h->released))
		err = -ESTALE;
	if (s->h)
		fhold_unref(s->h);
	close(s->fd);
	if (s->folder >= 0)
		close(s->folder);
	if (s->b) {
		DL_DELETE(s->b->syncs, s);
		s->cb(s->arg, err);
	} else if (s->orphan) {
		s->orphan(s->arg);
	}
	free(s);
}

/* Of a lock's file; -1 where it has no name. */
static int folder_of(const struct fhold *h)
{
	const char *last;

	return fname_hidden(h->name) ? -1 : store_parent(h->b->store.locks, fname_str(h->name), &last);
}

int fb_sync_fd(struct file_backend *b, int fd, struct fhold *h, lk_done_cb cb, void *arg)
{
	struct syncing *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->fd = dup(fd);
	if (s->fd < 0) {
		err = -errno;
		free(s);
		return err;
	}
	s->folder = h ? folder_of(h) : -1;
	s->h = h;
	s->cb = cb;
	s->arg = arg;
	s->work.data = s;
	err = uv_queue_work(pl_loop_uv(b->base.loop), &s->work, sync_work, sync_after);
	if (err) {
		close(s->fd);
		if (s->folder >= 0)
			close(s->folder);
		free(s);
		return err;
	}
	if (h)
		h->ops++;
	s->b = b;
	DL_APPEND(b->syncs, s);
	return 0;
}

void fb_forget_syncs(struct file_backend *b)
{
	struct syncing *s;

	DL_FOREACH(b->syncs, s) {
		s->b = NULL;
	}
}

int fb_sync(struct lk_backend *base, struct lk_hold *h, lk_done_cb cb, void *arg)
{
	return fb_sync_fd(fb_of(base), fd_of(h), (struct fhold *)h, cb, arg);
}

/* --- rm, mv --- */

/* The file stays: unlinking it would leave programs that wait on it in
 * flock(2) with another file than those who come later. */
int fb_remove(struct lk_backend *base, struct lk_hold *h, lk_done_cb cb, void *arg)
{
	struct stat st;

	if (fstat(fd_of(h), &st) < 0)
		return -errno;
	if (st.st_size == 0)
		return -ENOENT;
	return fb_later_done(fb_of(base), cb, arg, ftruncate(fd_of(h), 0) < 0 ? -errno : 0);
}

static int copy_all(int from, int to)
{
	char buf[65536];
	off_t off = 0;
	ssize_t n, w;

	for (;;) {
		n = pread(from, buf, sizeof(buf), off);
		if (n <= 0)
			break;
		w = pwrite(to, buf, (size_t)n, off);
		if (w != n)
			return w < 0 ? -errno : -ENOSPC;
		off += n;
	}
	if (n < 0)
		return -errno;
	return ftruncate(to, off) < 0 ? -errno : 0;
}

struct renaming {
	struct file_backend *b;
	struct fhold *from, *to;
	lk_done_cb cb;
	void *arg;
};

static void rename_synced(void *arg, int err)
{
	struct renaming *r = arg;

	if (err == 0 && (r->from->pub.lost || r->from->released))
		err = -ESTALE;
	/* Only now that the copy is durable may the source go. */
	if (err == 0 && ftruncate(r->from->slot->fd, 0) < 0)
		err = -errno;
	fhold_unref(r->from);
	r->cb(r->arg, err);
	free(r);
}

static void rename_orphaned(void *arg)
{
	struct renaming *r = arg;

	fhold_unref(r->from);
	free(r);
}

/* Contents move, inodes stay, for the same reason as in fb_remove. */
int fb_rename(struct lk_backend *base, struct lk_hold *from, struct lk_hold *to, lk_done_cb cb, void *arg)
{
	struct renaming *r;
	struct stat st;
	int err;

	if (fstat(fd_of(from), &st) < 0)
		return -errno;
	if (st.st_size == 0)
		return -ENOENT;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->b = fb_of(base);
	r->from = (struct fhold *)from;
	r->to = (struct fhold *)to;
	r->cb = cb;
	r->arg = arg;
	err = copy_all(fd_of(from), fd_of(to));
	if (err == 0)
		err = fb_sync_fd(r->b, fd_of(to), r->to, rename_synced, r);
	if (err) {
		free(r);
		return err;
	}
	r->b->syncs->prev->orphan = rename_orphaned; /* the one just begun */
	r->from->ops++;				     // NOLINT(clang-analyzer-unix.Malloc): rename_synced frees it
	return 0;
}
