/* The operations by room: each answers its FUSE request exactly once. The
 * table in fs/ops.c sends a request to a room by the kind of node or handle. */
#ifndef FS_OPS_H
#define FS_OPS_H

#include "backend/files.h"
#include "fs/handle.h"

/* fs/lookup.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
/* Answers LOOKUP, MKDIR and the like with a node; undoes it when the asker is gone. */
void reply_entry(fuse_req_t req, struct node *n, const struct stat *attr);
/* Answers with LOOKUP's words for a computed folder or file. */
void reply_static_entry(fuse_req_t req, struct node *n);

/* fs/attr.c */
void attr_static(const struct server *s, const struct node *n, struct stat *st);
void attr_lock(const struct server *s, const struct node *n, const struct lk_stat *ls, struct stat *st);
void attr_file(const struct node *n, const struct lk_file_stat *fs, struct stat *st);
void attr_party(const struct server *s, const struct node *n, const struct lk_party *p, struct stat *st);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_access(fuse_req_t req, fuse_ino_t ino, int mask);

/* fs/setattr.c */
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);

/* fs/lock_open.c */
void lock_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi);
void lock_flock(fuse_req_t req, struct handle *h, int op);
void lock_poll(fuse_req_t req, struct handle *h, struct fuse_pollhandle *ph);

/* fs/value.c */
void value_read(fuse_req_t req, struct handle *h, size_t size, off_t off);
void value_write(fuse_req_t req, struct handle *h, const char *buf, size_t size, off_t off, bool append);
/* Pages of a shared map of the value: dropped, and fsync and close tell. */
void value_write_map(fuse_req_t req, struct handle *h, size_t size);
void value_fsync(fuse_req_t req, struct handle *h);
void value_truncate(fuse_req_t req, struct handle *h, uint64_t size, lk_done_cb done, void *arg);
/* Does something that needs the name exclusively for a moment: with the hold
 * of the caller's own process, or with one taken by a try. */
struct momentary;
typedef void (*momentary_fn)(struct momentary *m, struct lk_hold *hold);
struct momentary {
	struct server *server;
	fuse_req_t req;
	struct node *node;
	momentary_fn act;			      /* must end in momentary_end */
	void (*answer)(struct momentary *m, int err); /* answers req; m is freed after it */
	struct lk_hold *taken;			      /* by this call: given back at the end */
	uint64_t size;
	char path[LK_NAME_MAX + 1];
	char other[LK_NAME_MAX + 1];
	struct lk_hold *first; /* of a rename: the source's */
	struct node *new_parent;
	const char *new_name;
	bool own_first;
};
/* Frees m and answers req itself when it fails to begin. */
void momentary_start(struct momentary *m);
void momentary_end(struct momentary *m, int err);

/* fs/names.c */
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
	       unsigned int flags);

/* fs/dir.c */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* fs/parties.c: holders/ and waiters/ */
void party_lookup(fuse_req_t req, struct node *parent, const char *name);
void party_getattr(fuse_req_t req, struct node *n);
void party_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi);
void party_unlink(fuse_req_t req, struct node *parent, const char *name);
void party_opendir(fuse_req_t req, struct node *n, struct fuse_file_info *fi);

/* fs/text.c: status, status.json, metrics, README */
void text_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi);
void text_read(fuse_req_t req, struct handle *h, size_t size, off_t off);

/* fs/files.c, files_open.c, files_names.c: files/ */
void files_lookup(fuse_req_t req, struct node *parent, const char *name);
void files_getattr(fuse_req_t req, struct node *n, struct handle *h);
void files_access(fuse_req_t req, struct node *n, int mask);
void files_setattr(fuse_req_t req, struct node *n, const struct stat *attr, int to_set, struct handle *h);
void files_create(fuse_req_t req, struct node *parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void files_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi);
void files_read(fuse_req_t req, struct handle *h, size_t size, off_t off);
void files_write(fuse_req_t req, struct handle *h, const char *buf, size_t size, off_t off, bool append);
void files_fsync(fuse_req_t req, struct handle *h);
void files_unlink(fuse_req_t req, struct node *parent, const char *name);
void files_rename(fuse_req_t req, struct node *from, const char *name, struct node *to, const char *newname,
		  unsigned int flags);
void files_mknod(fuse_req_t req, struct node *parent, const char *name, mode_t mode);
void files_link(fuse_req_t req, struct node *n, struct node *to, const char *newname);
void files_symlink(fuse_req_t req, const char *target, struct node *parent, const char *name);
void files_readlink(fuse_req_t req, struct node *n);
void files_opendir(fuse_req_t req, struct node *n, struct fuse_file_info *fi);

/* fs/xattr.c */
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

/* fs/files_pin.c: before the mount goes */
void pin_end(struct server *s);

/* fs/ranges.c: fcntl(2) */
void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep);
/* close(2) by the process that owner stands for: its ranges go, then FLUSH is answered with err. */
void ranges_flush(fuse_req_t req, struct handle *h, uint64_t owner, int err);
/* The open file goes: so do ranges that were locked through it. */
void ranges_release(struct handle *h);

#endif
