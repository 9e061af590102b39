/* A folder of the test's own, gone afterwards with all that is in it. */
#ifndef TESTS_UNIT_FOLDER_FIXTURE_H
#define TESTS_UNIT_FOLDER_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct folder {
	char path[64];
	int fd;
};

static inline int folder_make(struct folder *f)
{
	snprintf(f->path, sizeof(f->path), "/tmp/plockfs-unit-XXXXXX");
	f->fd = mkdtemp(f->path) ? open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return f->fd < 0 ? -1 : 0;
}

static inline int folder_drop_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int folder_remove(struct folder *f)
{
	close(f->fd);
	return nftw(f->path, folder_drop_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Replaces what the file has by these bytes. 0 or -1. */
static inline int folder_put(const struct folder *f, const char *name, const void *data, size_t size)
{
	int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = fd < 0 ? -1 : write(fd, data, size);

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)size ? 0 : -1;
}

static inline bool folder_has(const struct folder *f, const char *name)
{
	struct stat st;

	return fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* How many descriptors this process has. */
static inline unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

#endif
