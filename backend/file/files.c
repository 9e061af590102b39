/* files/: ordinary files below DIR/locks, by ordinary calls. */
#include "backend/file/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct lk_file {
	int fd;
};

/* One call back, later; by value. */
struct answer {
	struct pl_task task;
	lk_file_stat_cb stat_cb;
	lk_file_open_cb open_cb;
	void *arg;
	int err;
	struct lk_file_stat st;
	struct lk_file *file;
};

static void run_answer(struct pl_task *task)
{
	struct answer *a = (struct answer *)task;

	if (a->stat_cb)
		a->stat_cb(a->arg, a->err, &a->st);
	else
		a->open_cb(a->arg, a->err, a->file);
	free(a);
}

static void drop_answer(struct pl_task *task)
{
	struct answer *a = (struct answer *)task;

	if (a->file)
		close(a->file->fd);
	free(a->file);
	free(a);
}

static struct answer *answer_new(struct file_backend *b, void *arg)
{
	struct answer *a = calloc(1, sizeof(*a));

	if (a) {
		a->task.run = run_answer;
		a->task.drop = drop_answer;
		a->task.owner = b;
		a->arg = arg;
	}
	return a;
}

static uint64_t ns_of(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * PL_SEC + (uint64_t)ts->tv_nsec;
}

static int answer_stat(struct file_backend *b, int err, const struct stat *st, lk_file_stat_cb cb, void *arg)
{
	struct answer *a = answer_new(b, arg);

	if (!a)
		return -ENOMEM;
	a->stat_cb = cb;
	a->err = err;
	if (err == 0) {
		a->st.mode = st->st_mode;
		a->st.uid = st->st_uid;
		a->st.gid = st->st_gid;
		a->st.size = (uint64_t)st->st_size;
		a->st.nlink = st->st_nlink;
		a->st.ino = st->st_ino;
		a->st.mtime = ns_of(&st->st_mtim);
		a->st.ctime = ns_of(&st->st_ctim);
	}
	pl_defer(b->base.loop, &a->task);
	return 0;
}

static int fb_file_stat(struct lk_backend *base, const char *name, lk_file_stat_cb cb, void *arg)
{
	struct stat st;
	int err = store_stat(fb_of(base)->store.locks, name, &st);

	return answer_stat(fb_of(base), err, &st, cb, arg);
}

static int fb_file_fstat(struct lk_backend *base, struct lk_file *file, lk_file_stat_cb cb, void *arg)
{
	struct stat st;
	int err = fstat(file->fd, &st) < 0 ? -errno : 0;

	return answer_stat(fb_of(base), err, &st, cb, arg);
}

static int fb_file_open(struct lk_backend *base, const char *name, int flags, mode_t perm, uid_t uid, gid_t gid,
		 lk_file_open_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	struct answer *a = answer_new(b, arg);
	struct stat st;
	bool made;
	int fd;

	if (!a)
		return -ENOMEM;
	a->open_cb = cb;
	a->file = calloc(1, sizeof(*a->file));
	if (!a->file) {
		free(a);
		return -ENOMEM;
	}
	/* First without O_CREAT: only a file that this call makes gets an owner. */
	fd = flags & O_EXCL ? -ENOENT
			    : store_openat(b->store.locks, name, (flags & ~O_CREAT) | O_NOFOLLOW | O_NONBLOCK, 0);
	made = fd == -ENOENT && (flags & O_CREAT);
	if (made)
		fd = store_openat(b->store.locks, name, flags | O_NOFOLLOW | O_NONBLOCK, perm);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -EINVAL;
	}
	if (fd >= 0 && made && geteuid() == 0 && fchown(fd, uid, gid) < 0)
		pl_log_limited(&b->log_io, PL_WARN, "cannot give '%s' to its maker: %s", name, strerror(errno));
	if (fd < 0) {
		a->err = fd == -EMFILE || fd == -ENFILE ? -ENOLCK : fd;
		free(a->file);
		a->file = NULL;
	} else {
		a->file->fd = fd;
	}
	pl_defer(base->loop, &a->task);
	return 0;
}

static int fb_file_read(struct lk_backend *base, struct lk_file *file, size_t size, off_t off, lk_io_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	char *buf;
	ssize_t n;
	int err;

	if (size > b->config.max_value)
		size = b->config.max_value;
	buf = malloc(size ? size : 1);
	if (!buf)
		return -ENOMEM;
	n = pread(file->fd, buf, size, off);
	err = fb_later_io(b, cb, arg, n < 0 ? -errno : n, buf, n > 0 ? (size_t)n : 0);
	free(buf);
	return err;
}

static int fb_file_write(struct lk_backend *base, struct lk_file *file, const void *data, size_t size, off_t off, lk_io_cb cb,
		  void *arg)
{
	struct file_backend *b = fb_of(base);
	ssize_t n;

	if ((uint64_t)off > b->config.max_value || size > b->config.max_value - (uint64_t)off)
		return -EFBIG;
	n = pwrite(file->fd, data, size, off);
	return fb_later_io(b, cb, arg, n < 0 ? -errno : n, NULL, 0);
}

static int fb_file_truncate(struct lk_backend *base, struct lk_file *file, uint64_t size, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);

	if (size > b->config.max_value)
		return -EFBIG;
	return fb_later_done(b, cb, arg, ftruncate(file->fd, (off_t)size) < 0 ? -errno : 0);
}

static int fb_file_sync(struct lk_backend *base, struct lk_file *file, lk_done_cb cb, void *arg)
{
	return fb_sync_fd(fb_of(base), file->fd, NULL, cb, arg);
}

static void fb_file_close(struct lk_backend *base, struct lk_file *file)
{
	(void)base;
	close(file->fd);
	free(file);
}

static int fb_file_unlink(struct lk_backend *base, const char *name, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	const char *last;
	int at = store_parent(b->store.locks, name, &last), err = 0;

	if (at < 0)
		return at;
	if (unlinkat(at, last, 0) < 0)
		err = -errno;
	close(at);
	return fb_later_done(b, cb, arg, err);
}

static int fb_file_rename(struct lk_backend *base, const char *from, const char *to, unsigned flags, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	const char *from_last, *to_last;
	int from_at, to_at, err = 0;

	if (flags & ~(unsigned)RENAME_NOREPLACE)
		return -EINVAL;
	from_at = store_parent(b->store.locks, from, &from_last);
	if (from_at < 0)
		return from_at;
	to_at = store_parent(b->store.locks, to, &to_last);
	if (to_at < 0)
		err = to_at;
	else if (renameat2(from_at, from_last, to_at, to_last, flags) < 0)
		err = -errno;
	close(from_at);
	if (to_at >= 0)
		close(to_at);
	return fb_later_done(b, cb, arg, err);
}

static int fb_file_setattr(struct lk_backend *base, struct lk_file *file, const char *name, const struct lk_file_attr *attr,
		    lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	int fd = file ? dup(file->fd) : store_openat(b->store.locks, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	struct timespec times[2];
	int err = 0;

	if (fd < 0)
		return fd;
	if ((attr->uid != (uid_t)-1 || attr->gid != (gid_t)-1) && fchown(fd, attr->uid, attr->gid) < 0)
		err = -errno;
	if (err == 0 && attr->perm != (mode_t)-1 && fchmod(fd, attr->perm) < 0)
		err = -errno;
	if (err == 0 && attr->mtime) {
		times[0].tv_nsec = UTIME_OMIT;
		times[0].tv_sec = 0;
		times[1].tv_sec = (time_t)(attr->mtime / PL_SEC);
		times[1].tv_nsec = (long)(attr->mtime % PL_SEC);
		if (futimens(fd, times) < 0)
			err = -errno;
	}
	close(fd);
	return fb_later_done(b, cb, arg, err);
}

static int fb_file_list(struct lk_backend *base, const char *ns, lk_list_cb cb, void *arg)
{
	/* Answered by the same walk as locks/, with everything in it. */
	return fb_list_files(base, ns, cb, arg);
}

const struct lk_files_impl fb_files = {
	.stat = fb_file_stat,
	.open = fb_file_open,
	.unlink = fb_file_unlink,
	.rename = fb_file_rename,
	.list = fb_file_list,
	.setattr = fb_file_setattr,
	.fstat = fb_file_fstat,
	.read = fb_file_read,
	.write = fb_file_write,
	.truncate = fb_file_truncate,
	.sync = fb_file_sync,
	.close = fb_file_close,
};
