/* DIR and what is below it: every path is opened from a held descriptor,
 * beneath DIR only and never through a symbolic link. */
#ifndef BACKEND_FILE_STORE_H
#define BACKEND_FILE_STORE_H

#include "backend/backend.h"

#include <dirent.h>
#include <sys/stat.h>

#define MOUNT_ID_SIZE 48 /* a mount's id and its NUL */

struct store {
	char *path; /* DIR, absolute */
	int dir, locks, sems, priv, mounts;
	struct stat id, locks_id; /* of DIR and DIR/locks as opened */
	bool read_only;
};

/* Opens and, unless read_only, makes what is missing. 0 or negative errno and
 * *why, the path that failed (static). */
int store_open(struct store *s, const char *dir, bool read_only, const char **why);
/* Makes DIR/.plockfs anew when it was removed. 1: made, the descriptors are others;
 * 0: it is there; or negative errno. */
int store_private_again(struct store *s);
void store_close(struct store *s);
/* Is DIR still the folder that we opened, and DIR/locks in it? 0, or -ENOENT,
 * -ESTALE. */
int store_check(const struct store *s);

/* openat2(2) beneath `at`, no symbolic links on the way. fd or negative errno. */
int store_openat(int at, const char *path, int flags, mode_t mode);
/* lstat of a path beneath `at`, no symbolic links on the way. */
int store_stat(int at, const char *path, struct stat *st);
/* For readdir(3). NULL with errno. */
DIR *store_opendir(int at, const char *path);
/* Calls fn with the ID of each file ID<suffix> in the folder of mounts (-1: none). */
void store_each_mount(int mounts, const char *suffix, void (*fn)(void *arg, const char *id), void *arg);
/* The folder a path is in (a new descriptor) and its last component. */
int store_parent(int at, const char *path, const char **last);

#endif
