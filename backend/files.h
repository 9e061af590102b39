/* files/: the names of locks/ as ordinary small files, the users' side.
 *
 * The rules of backend/backend.h hold here too. A file is an inode: it lives
 * while a name or an open lk_file refers to it, and so do its locks. What is
 * said below of names is atomic across mounts: of two that create, link,
 * symlink or rename over the same name, one comes first.
 *  - flock(2) on a file is lk_acquire with lk_request.file: the LK_LOCK of the
 *    inode. While the inode has the name it was made with, that is the lock of
 *    locks/NAME; after it was unlinked or renamed, its holders keep it, and
 *    whoever makes a new file of that name locks another lock.
 *  - Byte ranges are another kind of lock, which does not see flock.
 */
#ifndef BACKEND_FILES_H
#define BACKEND_FILES_H

#include "backend/backend.h"
#include "backend/ranges.h"

/* As for locks/, but what is no folder may have a leading dot: dotlock programs make such files beside
 * the lock. "." and ".." are never valid. */
bool lk_file_component_valid(const char *component);

struct lk_file_stat {
	mode_t mode; /* type and permission bits: S_IFREG, S_IFDIR, S_IFLNK */
	uid_t uid;
	gid_t gid;
	uint64_t size, nlink;
	uint64_t ino;	       /* same for two names of one file; of no other file while that one lives */
	uint64_t mtime, ctime; /* wall ns */
};

/* What is not (mode_t)-1, (uid_t)-1, (gid_t)-1; mtime 0 leaves it. */
struct lk_file_attr {
	mode_t perm;
	uid_t uid;
	gid_t gid;
	uint64_t mtime; /* wall ns */
};

typedef void (*lk_file_stat_cb)(void *arg, int err, const struct lk_file_stat *st);
/* The file is the caller's until lk_file_close. */
typedef void (*lk_file_open_cb)(void *arg, int err, struct lk_file *file);

/* --- by name --- */

/* -ENOENT, -ENOTDIR; never -ELOOP: a symbolic link itself is described. */
int lk_file_stat(struct lk_backend *b, const char *name, lk_file_stat_cb cb, void *arg);
/* flags: the access mode, O_CREAT, O_EXCL, O_TRUNC. perm, uid and gid are for a
 * file made by this call. Never follows a symbolic link (-ELOOP); -EISDIR. */
int lk_file_open(struct lk_backend *b, const char *name, int flags, mode_t perm, uid_t uid, gid_t gid,
		 lk_file_open_cb cb, void *arg);
/* A folder, the namespace of that name: where lk_ns_make takes the place of an empty file that nobody
 * uses, this is -EEXIST for whatever is there. */
int lk_file_mkdir(struct lk_backend *b, const char *name, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg);
/* -ENOTEMPTY while there is any file in it, where lk_ns_remove takes unused empty ones away. */
int lk_file_rmdir(struct lk_backend *b, const char *name, lk_done_cb cb, void *arg);
/* -EBUSY while a locks/ handle holds the name; -EISDIR. */
int lk_file_unlink(struct lk_backend *b, const char *name, lk_done_cb cb, void *arg);
/* Of a file over a file or of a folder over an empty folder, as rename(2) has it. flags: 0 or
 * RENAME_NOREPLACE. -EBUSY while a locks/ handle holds one of the names. Two names of one inode: nothing happens.
 * -EINVAL: a folder into itself, or to a name with a leading dot. */
int lk_file_rename(struct lk_backend *b, const char *from, const char *to, unsigned flags, lk_done_cb cb, void *arg);
/* A further name of a file. -EEXIST, -EPERM for a folder. */
int lk_file_link(struct lk_backend *b, const char *from, const char *to, lk_done_cb cb, void *arg);
/* -EEXIST. target: 1..4095 bytes, anything. */
int lk_file_symlink(struct lk_backend *b, const char *target, const char *name, uid_t uid, gid_t gid, lk_done_cb cb,
		    void *arg);
/* cb gets the target's length and bytes, no NUL. -EINVAL: no symbolic link. */
int lk_file_readlink(struct lk_backend *b, const char *name, lk_io_cb cb, void *arg);
/* Every file, link and folder in ns ("" is the top), also those that locks/ does not list. */
int lk_file_list(struct lk_backend *b, const char *ns, lk_list_cb cb, void *arg);
/* file or, if that is NULL, what is at name. */
int lk_file_setattr(struct lk_backend *b, struct lk_file *file, const char *name, const struct lk_file_attr *attr,
		    lk_done_cb cb, void *arg);

/* --- by open file --- */

int lk_file_fstat(struct lk_backend *b, struct lk_file *file, lk_file_stat_cb cb, void *arg);
int lk_file_read(struct lk_backend *b, struct lk_file *file, size_t size, off_t off, lk_io_cb cb, void *arg);
/* off < 0 appends. -EFBIG past max_value, nothing written. All or nothing. */
int lk_file_write(struct lk_backend *b, struct lk_file *file, const void *data, size_t size, off_t off, lk_io_cb cb,
		  void *arg);
int lk_file_truncate(struct lk_backend *b, struct lk_file *file, uint64_t size, lk_done_cb cb, void *arg);
/* As durable as the backend can make it. */
int lk_file_sync(struct lk_backend *b, struct lk_file *file, lk_done_cb cb, void *arg);
/* With no call under way on it, no hold and no range. Cannot fail for the caller. */
void lk_file_close(struct lk_backend *b, struct lk_file *file);
/* fn(arg) is called at most once, from a turn of its own, when range locks had through this file are
 * lost (the lease is over, the server lost its memory); every call on it says -ESTALE from then on. */
void lk_file_on_lost(struct lk_backend *b, struct lk_file *file, void (*fn)(void *arg), void *arg);

/* --- byte ranges, fcntl(2) --- */

/* want.who.owner is the kernel's lock_owner; want.who.session is the backend's to set. */
struct lk_range_request {
	struct lk_file *file;
	struct ranges_lock want; /* mode RANGES_NONE unlocks */
	bool wait;
	pid_t tid; /* the thread that asks; 0 unknown */
	void (*done)(struct lk_range_request *req, int err);
	void *arg;  /* the caller's */
	void *priv; /* the backend's */
};

/* As fcntl(F_SETLK), or with wait F_SETLKW. Through done: 0; -EAGAIN another owner is in the way and wait is not
 * set; -EDEADLK waiting would close a circle of this mount; -ENOLCK a limit on ranges, waiters or descriptors; -ESTALE;
 * what lk_range_cancel said. An unlock never waits and fails only by -ENOLCK and -ESTALE. */
int lk_range_set(struct lk_backend *b, struct lk_range_request *req);
/* As lk_cancel: a wish. If the lock was faster, done says 0 and it is had. */
void lk_range_cancel(struct lk_backend *b, struct lk_range_request *req, int err);
/* F_GETLK: conflict is a lock in the way, or NULL; its pid is 0 where it is not of this host, or not known. */
typedef void (*lk_range_test_cb)(void *arg, int err, const struct ranges_lock *conflict);
int lk_range_test(struct lk_backend *b, struct lk_file *file, const struct ranges_lock *want, lk_range_test_cb cb,
		  void *arg);
/* Gives back all that the owner has of the file, through whatever lk_file: close(2). Its waits stay. When cb is called
 * it is free for every mount. */
int lk_range_drop(struct lk_backend *b, struct lk_file *file, uint64_t owner, lk_done_cb cb, void *arg);

#endif
