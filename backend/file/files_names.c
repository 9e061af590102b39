/* files/: what is done by name, below DIR/locks. */
#include "backend/file/inode.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

/* A locks/ handle holds the name, or one below it. */
static bool held_by_name(struct file_backend *b, const char *name)
{
	size_t len = strlen(name);
	struct arb_holder *ah;
	struct fname *n, *tmp;

	HASH_ITER(hh, b->names, n, tmp) {
		if (n->arb.kind != LK_LOCK || strncmp(fname_str(n), name, len) != 0 ||
		    (fname_str(n)[len] && fname_str(n)[len] != '/'))
			continue;
		DL_FOREACH(n->arb.holders, ah) {
			if (!((struct fhold *)((char *)ah - offsetof(struct fhold, arb)))->inode)
				return true;
		}
	}
	return false;
}

/* The name is another file's, or nobody's, from now on. */
static void name_changed(struct file_backend *b, const char *name)
{
	struct fname *n = fname_find(b, LK_LOCK, name);

	if (n)
		fname_split(n);
}

int fb_file_unlink(struct lk_backend *base, const char *name, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	const char *last;
	int at, err = 0;

	if (held_by_name(b, name))
		return -EBUSY;
	at = store_parent(b->store.locks, name, &last);
	if (at < 0)
		return at;
	if (unlinkat(at, last, 0) < 0)
		err = -errno;
	close(at);
	if (err == 0)
		name_changed(b, name);
	return fb_later_done(b, cb, arg, err);
}

/* Calls act with the folders and last components of both. */
static int with_both(struct file_backend *b, const char *from, const char *to, unsigned flags,
		     int (*act)(int from_at, const char *from_last, int to_at, const char *to_last, unsigned flags))
{
	const char *from_last, *to_last;
	int from_at = store_parent(b->store.locks, from, &from_last), to_at, err = 0;

	if (from_at < 0)
		return from_at;
	to_at = store_parent(b->store.locks, to, &to_last);
	if (to_at < 0)
		err = to_at;
	else if (act(from_at, from_last, to_at, to_last, flags) < 0)
		err = -errno;
	close(from_at);
	if (to_at >= 0)
		close(to_at);
	return err;
}

static int rename_act(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
	return renameat2(from_at, from, to_at, to, flags);
}

static bool is_hidden(const char *name)
{
	const char *slash = strrchr(name, '/');

	return (slash ? slash[1] : name[0]) == '.';
}

int fb_file_rename(struct lk_backend *base, const char *from, const char *to, unsigned flags, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	struct stat st;
	int err;

	if ((flags & RENAME_NOREPLACE) && store_stat(b->store.locks, to, &st) == 0)
		return fb_later_done(b, cb, arg, -EEXIST);
	/* What is below a folder with a dot would be out of reach. */
	if (is_hidden(to) && store_stat(b->store.locks, from, &st) == 0 && S_ISDIR(st.st_mode))
		return -EINVAL;
	if (held_by_name(b, from) || held_by_name(b, to))
		return -EBUSY;
	err = with_both(b, from, to, flags, rename_act);
	if (err == 0) {
		name_changed(b, from);
		name_changed(b, to);
	}
	return fb_later_done(b, cb, arg, err);
}

static int link_act(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
	(void)flags;
	return linkat(from_at, from, to_at, to, 0);
}

int fb_file_link(struct lk_backend *base, const char *from, const char *to, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);

	return fb_later_done(b, cb, arg, with_both(b, from, to, 0, link_act));
}

int fb_file_symlink(struct lk_backend *base, const char *target, const char *name, uid_t uid, gid_t gid, lk_done_cb cb,
		    void *arg)
{
	struct file_backend *b = fb_of(base);
	const char *last;
	int at = store_parent(b->store.locks, name, &last), err = 0;

	if (at < 0)
		return at;
	if (symlinkat(target, at, last) < 0)
		err = -errno;
	else if (geteuid() == 0 && fchownat(at, last, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		pl_log_limited(&b->log_io, PL_WARN, "cannot give '%s' to its maker: %s", name, strerror(errno));
	close(at);
	return fb_later_done(b, cb, arg, err);
}

int fb_file_readlink(struct lk_backend *base, const char *name, lk_io_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	char target[4096];
	const char *last;
	int at = store_parent(b->store.locks, name, &last);
	ssize_t n;

	if (at < 0)
		return at;
	n = readlinkat(at, last, target, sizeof(target));
	if (n < 0)
		n = -errno;
	close(at);
	return fb_later_io(b, cb, arg, n, target, n > 0 ? (size_t)n : 0);
}

/* Of an open file, or by name: which may be a symbolic link, or a file that this server may not read. */
static int set_attr(int fd, int at, const char *last, const struct lk_file_attr *attr)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = (time_t)(attr->mtime / PL_SEC), .tv_nsec = (long)(attr->mtime % PL_SEC) },
	};
	const int flags = AT_SYMLINK_NOFOLLOW;
	bool by_fd = fd >= 0;
	int res = 0;

	if (attr->uid != (uid_t)-1 || attr->gid != (gid_t)-1)
		res = by_fd ? fchown(fd, attr->uid, attr->gid) : fchownat(at, last, attr->uid, attr->gid, flags);
	if (res == 0 && attr->perm != (mode_t)-1)
		res = by_fd ? fchmod(fd, attr->perm) : fchmodat(at, last, attr->perm, flags);
	if (res == 0 && attr->mtime)
		res = by_fd ? futimens(fd, times) : utimensat(at, last, times, flags);
	return res < 0 ? -errno : 0;
}

int fb_file_setattr(struct lk_backend *base, struct lk_file *file, const char *name, const struct lk_file_attr *attr,
		    lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	const char *last = "";
	int at = file ? -1 : store_parent(b->store.locks, name, &last), err;

	if (!file && at < 0)
		return at;
	err = set_attr(file ? file->fd : -1, at, last, attr);
	if (at >= 0)
		close(at);
	return fb_later_done(b, cb, arg, err);
}
