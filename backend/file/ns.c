/* Namespaces: folders below DIR/locks with their own owner and mode. */
#include "backend/file/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define DEPTH_MAX 512 /* a name has no more components */

/* Anything below `ns` that somebody here holds or waits for? */
static bool in_use(struct file_backend *b, const char *ns)
{
	size_t len = strlen(ns);
	struct fname *n, *tmp;

	HASH_ITER(hh, b->names, n, tmp) {
		if (n->arb.kind == LK_LOCK && strncmp(fname_str(n), ns, len) == 0 && fname_str(n)[len] == '/' &&
		    (n->arb.holders || n->arb.waiters))
			return true;
	}
	return false;
}

/* An empty lock file that nobody uses may make way. The flock proves it. */
static int remove_unused(int at, const char *name)
{
	int fd = store_openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0), err = 0;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		err = -ENOTEMPTY;
	else if (unlinkat(at, name, 0) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int make_folder(int at, const char *name, mode_t perm, uid_t uid, gid_t gid)
{
	int fd, err = 0;

	if (mkdirat(at, name, 0700) < 0)
		return -errno;
	fd = store_openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	if (geteuid() == 0 && fchown(fd, uid, gid) < 0)
		err = -errno;
	if (err == 0 && fchmod(fd, perm) < 0)
		err = -errno;
	close(fd);
	if (err)
		unlinkat(at, name, AT_REMOVEDIR);
	return err;
}

int fb_ns_make(struct lk_backend *base, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	struct fname *n = fname_find(b, LK_LOCK, ns);
	const char *last;
	int at, err;

	if (n && (n->arb.holders || n->arb.waiters))
		return -EEXIST;
	at = store_parent(b->store.locks, ns, &last);
	if (at < 0)
		return at;
	err = make_folder(at, last, perm, uid, gid);
	/* The name was a lock once: its empty file is in the way. */
	if (err == -EEXIST && remove_unused(at, last) == 0)
		err = make_folder(at, last, perm, uid, gid);
	close(at);
	return fb_later_done(b, cb, arg, err);
}

int fb_file_mkdir(struct lk_backend *base, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	const char *last;
	int at = store_parent(b->store.locks, ns, &last), err;

	if (at < 0)
		return at;
	err = make_folder(at, last, perm, uid, gid);
	close(at);
	return fb_later_done(b, cb, arg, err);
}

int fb_file_rmdir(struct lk_backend *base, const char *ns, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	const char *last;
	int at = store_parent(b->store.locks, ns, &last), err = 0;

	if (at < 0)
		return at;
	if (unlinkat(at, last, AT_REMOVEDIR) < 0)
		err = errno == EEXIST ? -ENOTEMPTY : -errno;
	close(at);
	return fb_later_done(b, cb, arg, err);
}

static int empty_folder(int dir)
{
	int fd = dup(dir), err = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (err == 0 && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			err = remove_unused(dir, e->d_name);
	}
	closedir(d);
	return err == -EISDIR || err == -ELOOP ? -ENOTEMPTY : err;
}

int fb_ns_remove(struct lk_backend *base, const char *ns, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	const char *last;
	int at, dir, err;

	if (in_use(b, ns))
		return -ENOTEMPTY;
	at = store_parent(b->store.locks, ns, &last);
	if (at < 0)
		return at;
	dir = store_openat(at, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	err = dir < 0 ? dir : empty_folder(dir);
	if (dir >= 0)
		close(dir);
	if (err == 0 && unlinkat(at, last, AT_REMOVEDIR) < 0)
		err = -errno;
	close(at);
	return fb_later_done(b, cb, arg, err);
}

static bool held_below(int at, const char *name, unsigned depth);

/* Somebody has a flock on the file: another mount, or a program outside. */
static bool flocked(int at, const char *name)
{
	int fd = store_openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	bool taken;

	if (fd < 0)
		return false;
	taken = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	return taken;
}

static bool held_in(int dir, unsigned depth)
{
	DIR *d = fdopendir(dir);
	struct dirent *e;
	bool held = false;

	if (!d) {
		close(dir);
		return false;
	}
	while (!held && (e = readdir(d)) != NULL) {
		if (!lk_component_valid(e->d_name))
			continue;
		held = e->d_type == DT_DIR ? held_below(dirfd(d), e->d_name, depth + 1) : flocked(dirfd(d), e->d_name);
	}
	closedir(d);
	return held;
}

/* in_use knows this mount only. */
static bool held_below(int at, const char *name, unsigned depth)
{
	int dir = depth > DEPTH_MAX ? -1 : store_openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	return dir >= 0 && held_in(dir, depth);
}

int fb_ns_rename(struct lk_backend *base, const char *from, const char *to, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	const char *from_last, *to_last;
	int from_at, to_at, err = 0;

	if (in_use(b, from) || in_use(b, to))
		return -EBUSY;
	from_at = store_parent(b->store.locks, from, &from_last);
	if (from_at < 0)
		return from_at;
	to_at = store_parent(b->store.locks, to, &to_last);
	if (to_at < 0) {
		close(from_at);
		return to_at;
	}
	if (held_below(from_at, from_last, 0) || held_below(to_at, to_last, 0)) {
		err = -EBUSY;
	} else if (renameat(from_at, from_last, to_at, to_last) < 0) {
		err = -errno;
		/* An unused lock file in the way, as in fb_ns_make. */
		if (err == -ENOTDIR && remove_unused(to_at, to_last) == 0)
			err = renameat(from_at, from_last, to_at, to_last) < 0 ? -errno : 0;
	}
	close(from_at);
	close(to_at);
	return fb_later_done(b, cb, arg, err);
}

int fb_ns_chmod(struct lk_backend *base, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	int fd = store_openat(b->store.locks, ns, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), err = 0;

	if (fd < 0)
		return fd;
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) < 0)
		err = -errno;
	if (err == 0 && perm != (mode_t)-1 && fchmod(fd, perm) < 0)
		err = -errno;
	close(fd);
	return fb_later_done(b, cb, arg, err);
}

int fb_ns_sync(struct lk_backend *base, const char *ns, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	int fd = store_openat(b->store.locks, *ns ? ns : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), err;

	if (fd < 0)
		return fd;
	err = fb_sync_fd(b, fd, NULL, cb, arg);
	close(fd);
	return err;
}
