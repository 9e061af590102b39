/* What the rooms of files/ share: one operation on a name or an open file, from
 * its FUSE request to its answer, with the permission check before it. */
#ifndef FS_FILEOP_H
#define FS_FILEOP_H

#include "fs/ops.h"

#include <sys/stat.h>

struct fileop {
	fuse_req_t req;
	struct node *node; /* the file's, or its parent until it exists */
	struct handle *h;
	struct fuse_file_info fi;
	struct stat attr;
	int to_set;
	unsigned flags;
	bool created;
	mode_t mode;
	gid_t gid; /* of what is made */
	struct node *to;
	int (*call)(struct fileop *f);
	int want; /* permission bits on the file itself */
	char path[LK_NAME_MAX + 1];
	char other[LK_NAME_MAX + 1];
	char name[256];
	char newname[256];
	char *target;		/* of a symbolic link */
	struct lk_file *opened; /* by this operation, for now */
};

/* Of the node itself or, with a name, of that name in it. NULL: answered already. */
struct fileop *fileop_new(fuse_req_t req, struct node *n, const char *name);
/* The second name of a rename or a link. False: answered and freed already. */
bool fileop_to(struct fileop *f, struct node *to, const char *name);
void fileop_free(struct fileop *f);
void fileop_fail(struct fileop *f, int err);
/* Answers that it is this; n NULL: that memory is short. */
void fileop_entry(struct fileop *f, struct node *n, const struct lk_file_stat *fs);
/* A lk_done_cb that answers. */
void fileop_done(void *arg, int err);
/* Goes on with f->call, or answers. */
void fileop_allowed(void *arg, int err);
/* Checks the folder that the file is in, then calls f->call. */
void fileop_start(struct fileop *f, int want);
/* The same for the folder of f->to. */
void fileop_start_to(struct fileop *f, int want);
/* Finds out the group of what is to be made at `path`, then calls `call`. 0 always. */
int fileop_group(struct fileop *f, const char *path, int (*call)(struct fileop *f));

static inline struct lk_backend *backend_of(const struct fileop *f)
{
	return server_of(f->req)->backend;
}

/* files_pin.c: -ESTALE, and the next LOOKUP of the node's name opens the file. */
int pin_next(fuse_req_t req, const struct node *n);
bool pin_wanted(fuse_req_t req, const struct node *parent, const char *name);
/* False: not any more, the file is still the caller's. */
bool pin_keep(fuse_req_t req, const struct node *n, struct lk_file *file);
/* The caller's from now on, or NULL. */
struct lk_file *pin_take(fuse_req_t req, const struct node *n);

/* Is what was found at the node's path still what the node stands for? The number of a file that is gone may be
 * another's at once. */
bool files_is(const struct node *n, const struct lk_file_stat *fs);

/* The node of a file that was found at a name: another inode is another node. NULL: no memory. */
struct node *files_node(struct server *s, struct node *parent, const char *name, const char *path,
			const struct lk_file_stat *fs);

#endif
