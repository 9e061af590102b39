/* OPENDIR on its way: what is listed is put into the handle, then it is answered. */
#ifndef FS_LISTING_H
#define FS_LISTING_H

#include "fs/handle.h"

struct listing {
	fuse_req_t req;
	struct node *node;
	struct handle *h;
	struct fuse_file_info fi;
};

/* NULL: answered already. */
struct listing *listing_new(fuse_req_t req, struct node *n, const struct fuse_file_info *fi);
/* Answers and frees. */
void listing_end(struct listing *l, int err);

#endif
