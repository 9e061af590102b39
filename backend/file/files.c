/* files/: ordinary files below DIR/locks, by ordinary calls. */
#include "backend/file/inode.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* A name that comes and goes between two looks is looked at this often. */
#define OPEN_TRIES 100

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

/* The backend goes, and frees the file with all others. */
static void drop_answer(struct pl_task *task)
{
	free(task);
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

/* As it is there, or made by this call: only then has it an owner to get. */
static int open_or_make(struct file_backend *b, const char *name, int flags, mode_t perm, bool *made)
{
	const int there = (flags & ~(O_CREAT | O_EXCL)) | O_NOFOLLOW | O_NONBLOCK;
	int fd = -ENOENT, tries;

	*made = false;
	/* Others may make and unlink it in between. */
	for (tries = 0; tries < OPEN_TRIES; tries++) {
		if (!(flags & O_CREAT) || !(flags & O_EXCL))
			fd = store_openat(b->store.locks, name, there, 0);
		if (fd != -ENOENT || !(flags & O_CREAT))
			break;
		if (b->store.read_only)
			return -EROFS;
		fd = store_openat(b->store.locks, name, there | O_CREAT | O_EXCL, perm);
		*made = fd >= 0;
		if (fd != -EEXIST || (flags & O_EXCL))
			break;
	}
	return fd;
}

/* An empty file that nobody made is a lock for ever where files are locks. */
static void unmake(struct file_backend *b, const char *name)
{
	const char *last;
	int at = store_parent(b->store.locks, name, &last);

	if (at < 0)
		return;
	(void)unlinkat(at, last, 0);
	close(at);
}

static int open_counted(struct file_backend *b, const char *name, int flags, mode_t perm, bool *made)
{
	int fd = open_or_make(b, name, flags, perm, made);

	if (!*made && fb_too_many(b, fd))
		fd = open_or_make(b, name, flags, perm, made);
	if (fd >= b->fd_max) {
		if (*made)
			unmake(b, name);
		close(fd);
		return -ENOLCK;
	}
	return fd == -EMFILE || fd == -ENFILE ? -ENOLCK : fd;
}

static int open_inode(struct file_backend *b, const char *name, int flags, mode_t perm, uid_t uid, gid_t gid,
		      struct lk_file **out)
{
	struct stat st;
	bool made;
	int fd = open_counted(b, name, flags, perm, &made), err = 0;

	if (fd < 0)
		return fd;
	if (made && geteuid() == 0 && fchown(fd, uid, gid) < 0)
		pl_log_limited(&b->log_io, PL_WARN, "cannot give '%s' to its maker: %s", name, strerror(errno));
	/* The maker's umask is in perm already, ours is not to be; and a change of owner clears some bits. */
	if (made && fchmod(fd, perm) < 0)
		pl_log_limited(&b->log_io, PL_WARN, "cannot set the mode of '%s': %s", name, strerror(errno));
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	*out = err ? NULL : inode_open(b, fd, &st);
	if (*out)
		return 0;
	close(fd);
	return err ? err : -ENOMEM;
}

static int fb_file_open(struct lk_backend *base, const char *name, int flags, mode_t perm, uid_t uid, gid_t gid,
			lk_file_open_cb cb, void *arg)
{
	struct answer *a = answer_new(fb_of(base), arg);

	if (!a)
		return -ENOMEM;
	a->open_cb = cb;
	a->err = open_inode(fb_of(base), name, flags, perm, uid, gid, &a->file);
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
	n = file->lost ? -1 : pread(file->fd, buf, size, off);
	if (file->lost)
		errno = ESTALE;
	err = fb_later_io(b, cb, arg, n < 0 ? -errno : n, buf, n > 0 ? (size_t)n : 0);
	free(buf);
	return err;
}

/* Of what was appended last, unless somebody has appended since. */
static int undo_append(int fd, ssize_t n)
{
	off_t end = lseek(fd, 0, SEEK_CUR);
	struct stat st;

	if (end < n || fstat(fd, &st) < 0 || st.st_size != end)
		return -1;
	return ftruncate(fd, end - n);
}

/* All or nothing, as far as a file can take back what it got: a disk that is full. */
static ssize_t write_all(int fd, const void *data, size_t size, off_t off, off_t had)
{
	union {
		const void *from;
		void *base;
	} bytes = { .from = data }; /* an iovec to write from is not const either */
	struct iovec v = { .iov_base = bytes.base, .iov_len = size };
	ssize_t n = off < 0 ? pwritev2(fd, &v, 1, -1, RWF_APPEND) : pwrite(fd, data, size, off);

	if (n < 0 && off < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		n = pwrite(fd, data, size, had);
	if (n < 0)
		return -errno;
	if ((size_t)n == size)
		return n;
	if ((off < 0 ? undo_append(fd, n) : off < had ? -1 : ftruncate(fd, had)) == 0)
		return -ENOSPC;
	return n;
}

static int fb_file_write(struct lk_backend *base, struct lk_file *file, const void *data, size_t size, off_t off,
			 lk_io_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	struct stat st;
	uint64_t from;

	if (file->lost)
		return -ESTALE;
	if (fstat(file->fd, &st) < 0)
		return -errno;
	from = (uint64_t)(off < 0 ? st.st_size : off);
	if (from > b->config.max_value || size > b->config.max_value - from)
		return -EFBIG;
	return fb_later_io(b, cb, arg, write_all(file->fd, data, size, off, st.st_size), NULL, 0);
}

static int fb_file_truncate(struct lk_backend *base, struct lk_file *file, uint64_t size, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);

	if (file->lost)
		return -ESTALE;
	if (size > b->config.max_value)
		return -EFBIG;
	return fb_later_done(b, cb, arg, ftruncate(file->fd, (off_t)size) < 0 ? -errno : 0);
}

static int fb_file_sync(struct lk_backend *base, struct lk_file *file, lk_done_cb cb, void *arg)
{
	return file->lost ? -ESTALE : fb_sync_fd(fb_of(base), file->fd, NULL, cb, arg);
}

static void fb_file_close(struct lk_backend *base, struct lk_file *file)
{
	(void)base;
	inode_close(file);
}

static void fb_file_on_lost(struct lk_backend *base, struct lk_file *file, void (*fn)(void *arg), void *arg)
{
	(void)base;
	file->on_lost = fn;
	file->arg = arg;
}

static int fb_file_list(struct lk_backend *base, const char *ns, lk_list_cb cb, void *arg)
{
	/* Answered by the same walk as locks/, with everything in it. */
	return fb_list_files(base, ns, cb, arg);
}

const struct lk_files_impl fb_files = {
	.stat = fb_file_stat,
	.open = fb_file_open,
	.mkdir = fb_file_mkdir,
	.rmdir = fb_file_rmdir,
	.unlink = fb_file_unlink,
	.rename = fb_file_rename,
	.link = fb_file_link,
	.symlink = fb_file_symlink,
	.readlink = fb_file_readlink,
	.list = fb_file_list,
	.setattr = fb_file_setattr,
	.fstat = fb_file_fstat,
	.read = fb_file_read,
	.write = fb_file_write,
	.truncate = fb_file_truncate,
	.sync = fb_file_sync,
	.close = fb_file_close,
	.on_lost = fb_file_on_lost,
	.range_set = fb_range_set,
	.range_cancel = fb_range_cancel,
	.range_test = fb_range_test,
	.range_drop = fb_range_drop,
};
