/* Files that are open here, and their inodes: what the locks of a file belong to.
 * An inode lives while a file of it is open, or a call about its ranges is
 * under way. */
#ifndef BACKEND_FILE_INODE_H
#define BACKEND_FILE_INODE_H

#include "backend/file/internal.h"
#include "backend/ranges.h"

struct lk_file {
	int fd;
	struct finode *inode;
	void (*on_lost)(void *arg);
	void *arg;
	bool lost; /* its ranges are: -ESTALE */
	struct pl_task lost_task;
	struct file_backend *b;
	struct lk_file *prev, *next;
};

struct finode {
	struct {
		dev_t dev;
		ino_t ino;
	} id; /* key: no padding between the two */
	struct file_backend *b;
	struct lk_file *files; /* utlist DL */
	unsigned refs;	       /* files, and calls under way */
	struct fname *orphan;  /* flocks that are of no name, or NULL */
	struct ranges ranges;  /* of this mount's owners */
	struct fowner *owners; /* range.c: uthash */
	struct frange *calls;  /* range.c: utlist DL, those that wait */
	UT_hash_handle hh;
};

/* Takes the descriptor over. NULL: no memory, and it is still the caller's. */
struct lk_file *inode_open(struct file_backend *b, int fd, const struct stat *st);
void inode_close(struct lk_file *f);
void inode_unref(struct finode *i);
/* The backend goes: with files that were not closed. */
void inodes_free(struct file_backend *b);
/* The file once more, as another open file description. fd or negative errno. */
int inode_reopen(const struct finode *i, int flags);
static inline bool inode_is(const struct finode *i, const struct stat *st)
{
	return i->id.ino == st->st_ino && i->id.dev == st->st_dev;
}

/* orphan.c: the entry for a flock of this file; name NULL: the inode's own. NULL: no memory. */
struct fname *fname_of_file(struct file_backend *b, struct lk_file *file, const char *name);
/* The file at the name is another one by now: flocks by file follow their inode
 * into an entry of its own, holds of locks/ are lost. n is a lock's; it may be freed. */
void fname_split(struct fname *n);
/* Was the grant of n's slot for this file's inode? */
bool fname_has(struct fname *n, const struct lk_file *file);

/* files_names.c */
int fb_file_unlink(struct lk_backend *base, const char *name, lk_done_cb cb, void *arg);
int fb_file_rename(struct lk_backend *base, const char *from, const char *to, unsigned flags, lk_done_cb cb, void *arg);
int fb_file_link(struct lk_backend *base, const char *from, const char *to, lk_done_cb cb, void *arg);
int fb_file_symlink(struct lk_backend *base, const char *target, const char *name, uid_t uid, gid_t gid, lk_done_cb cb,
		    void *arg);
int fb_file_readlink(struct lk_backend *base, const char *name, lk_io_cb cb, void *arg);
int fb_file_setattr(struct lk_backend *base, struct lk_file *file, const char *name, const struct lk_file_attr *attr,
		    lk_done_cb cb, void *arg);

/* range.c */
int fb_range_set(struct lk_backend *b, struct lk_range_request *req);
void fb_range_cancel(struct lk_backend *b, struct lk_range_request *req, int err);
int fb_range_test(struct lk_backend *b, struct lk_file *file, const struct ranges_lock *want, lk_range_test_cb cb,
		  void *arg);
int fb_range_drop(struct lk_backend *b, struct lk_file *file, uint64_t owner, lk_done_cb cb, void *arg);
/* DIR is gone, and other mounts make a new one: no range excludes anybody there. */
void ranges_lose(struct file_backend *b);
/* The backend goes. */
void ranges_forget(struct finode *i);

#endif
