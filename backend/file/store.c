/* Opening below DIR. */
#include "backend/file/store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* O_DIRECTORY has a link answered with ENOTDIR; openat2 says ELOOP. */
static int open_part(int at, const char *name, int flags, mode_t mode)
{
	int fd = openat(at, name, flags | O_NOFOLLOW, mode);
	char c;

	if (fd < 0 && errno == ENOTDIR)
		errno = readlinkat(at, name, &c, 1) >= 0 ? ELOOP : ENOTDIR;
	return fd;
}

/* Without openat2(2), before Linux 5.6: one component after the other. A link in the
 * place of a folder is refused by O_NOFOLLOW, and `..` before anything is opened. */
static int walk_openat(int at, const char *path, int flags, mode_t mode)
{
	char part[256];
	int cur = at, next;
	size_t len;

	if (*path == '/' || !*path)
		return *path ? -EXDEV : -ENOENT;
	for (;;) {
		len = strcspn(path, "/");
		if (len == 0 || len >= sizeof(part) || (len == 2 && path[0] == '.' && path[1] == '.')) {
			next = -1;
			errno = len == 2 ? EXDEV : len ? ENAMETOOLONG : ENOENT;
			break;
		}
		memcpy(part, path, len);
		part[len] = '\0';
		if (!path[len]) {
			next = open_part(cur, part, flags, mode);
			break;
		}
		next = open_part(cur, part, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
		if (next < 0)
			break;
		if (cur != at)
			close(cur);
		cur = next;
		path += len + 1;
	}
	if (next < 0)
		next = -errno;
	if (cur != at)
		close(cur);
	return next;
}

int store_openat(int at, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		/* With O_PATH the kernel refuses flags that mean nothing to it. */
		.flags = (uint64_t)(unsigned)flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	static bool missing;
	int tries = 16;
	long fd = -1;

	/* EAGAIN: a rename somewhere raced with the walk; the kernel asks to try again. */
	while (!missing && fd < 0) {
		fd = syscall(SYS_openat2, at, path, &how, sizeof(how));
		missing = fd < 0 && errno == ENOSYS;
		if (fd < 0 && errno != EINTR && (errno != EAGAIN || --tries == 0))
			break;
	}
	if (missing)
		return walk_openat(at, path, (int)how.flags, mode);
	return fd < 0 ? -errno : (int)fd;
}

int store_stat(int at, const char *path, struct stat *st)
{
	int fd, err = 0;

	if (!strchr(path, '/') && strcmp(path, "..") != 0)
		return fstatat(at, path, st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	fd = store_openat(at, path, O_PATH | O_NOFOLLOW, 0);
	if (fd == -ELOOP) { /* the last component may be a link: describe it */
		const char *last;

		fd = store_parent(at, path, &last);
		if (fd < 0)
			return fd;
		err = fstatat(fd, last, st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	} else if (fd < 0) {
		return fd;
	} else if (fstat(fd, st) < 0) {
		err = -errno;
	}
	close(fd);
	return err;
}

int store_parent(int at, const char *path, const char **last)
{
	const char *slash = strrchr(path, '/');
	char dir[LK_NAME_MAX + 1];

	*last = slash ? slash + 1 : path;
	if (!slash)
		return store_openat(at, ".", O_RDONLY | O_DIRECTORY, 0);
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	return store_openat(at, dir, O_RDONLY | O_DIRECTORY, 0);
}

static int open_folder(struct store *s, int at, const char *name, mode_t mode, int *out, const char **why)
{
	static char path[4200];
	int fd = store_openat(at, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd == -ENOENT && !s->read_only) {
		if (mkdirat(at, name, mode) < 0 && errno != EEXIST)
			fd = -errno;
		else
			fd = store_openat(at, name, O_RDONLY | O_DIRECTORY, 0);
	}
	if (fd == -ENOENT && s->read_only) {
		*out = -1;
		return 0;
	}
	if (fd < 0) {
		snprintf(path, sizeof(path), "%s/%s", s->path, name);
		*why = path;
		return fd;
	}
	*out = fd;
	return 0;
}

int store_open(struct store *s, const char *dir, bool read_only, const char **why)
{
	int err = 0;

	memset(s, 0, sizeof(*s));
	s->dir = s->locks = s->sems = s->priv = s->mounts = -1;
	s->read_only = read_only;
	*why = dir;
	s->path = strdup(dir);
	if (!s->path)
		return -ENOMEM;
	s->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0 || fstat(s->dir, &s->id) < 0)
		err = -errno;
	if (err == 0 && !read_only && faccessat(s->dir, ".", W_OK, AT_EACCESS) < 0 && errno == EROFS)
		s->read_only = true;
	if (err == 0)
		err = open_folder(s, s->dir, "locks", 0755, &s->locks, why);
	if (err == 0)
		err = open_folder(s, s->dir, "sems", 0755, &s->sems, why);
	if (err == 0)
		err = open_folder(s, s->dir, ".plockfs", 0700, &s->priv, why);
	if (err == 0 && s->priv >= 0)
		err = open_folder(s, s->priv, "mounts", 0700, &s->mounts, why);
	if (err == 0 && s->locks < 0) {
		*why = dir;
		err = -EROFS;
	}
	if (err == 0 && fstat(s->locks, &s->locks_id) < 0)
		err = -errno;
	if (err)
		store_close(s);
	return err;
}

DIR *store_opendir(int at, const char *path)
{
	int fd = store_openat(at, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (fd < 0)
		errno = -fd;
	else if (!d)
		close(fd);
	return d;
}

void store_each_mount(int mounts, const char *suffix, void (*fn)(void *arg, const char *id), void *arg)
{
	DIR *d = store_opendir(mounts, ".");
	size_t len, tail = strlen(suffix);
	char id[MOUNT_ID_SIZE];
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		len = strlen(e->d_name);
		if (len <= tail || len - tail >= sizeof(id) || strcmp(e->d_name + len - tail, suffix) != 0)
			continue;
		memcpy(id, e->d_name, len - tail);
		id[len - tail] = '\0';
		fn(arg, id);
	}
	if (d)
		closedir(d);
}

int store_private_again(struct store *s)
{
	const char *why;
	struct stat st;
	int err;

	if (s->read_only || s->priv < 0 || fstat(s->priv, &st) < 0 || st.st_nlink > 0)
		return 0;
	close(s->priv);
	close(s->mounts);
	s->priv = s->mounts = -1;
	err = open_folder(s, s->dir, ".plockfs", 0700, &s->priv, &why);
	if (err == 0)
		err = open_folder(s, s->priv, "mounts", 0700, &s->mounts, &why);
	return err ? err : 1;
}

void store_close(struct store *s)
{
	int *fds[] = { &s->dir, &s->locks, &s->sems, &s->priv, &s->mounts };
	size_t i;

	for (i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	free(s->path);
	s->path = NULL;
}

int store_check(const struct store *s)
{
	struct stat st;

	if (stat(s->path, &st) < 0)
		return -errno;
	if (st.st_ino != s->id.st_ino || st.st_dev != s->id.st_dev)
		return -ESTALE;
	if (fstatat(s->dir, "locks", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return st.st_ino != s->locks_id.st_ino || st.st_dev != s->locks_id.st_dev ? -ESTALE : 0;
}
