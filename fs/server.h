/* What every part of fs/ shares: one mount, its loop, backend and FUSE session. */
#ifndef FS_SERVER_H
#define FS_SERVER_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include "backend/backend.h"
#include "backend/waitgraph.h"
#include "base/loop.h"
#include "fs/node.h"
#include "fs/options.h"
#include "fs/who.h"

#include <errno.h>
#include <fuse_lowlevel.h>

struct pin;

struct server {
	struct pl_loop *loop;
	struct lk_backend *backend;
	const struct options *opt;
	struct fuse_session *se;
	struct who_cache *who;
	struct waitgraph *graph;
	struct node_table nodes;
	uint64_t mounted;  /* wall ns */
	uint64_t requests; /* read from the kernel so far */
	uint64_t open_handles;
	struct handle *handles;	  /* utlist DL, all that are open */
	uint64_t range_owners;	  /* of all handles: 0 means that no close has ranges to drop */
	struct ranging *rangings; /* utlist DL, fcntl(2) calls that are not answered yet */
	struct pin *pins;	  /* utlist DL, fs/files_pin.c */
	unsigned n_pins;
	struct acquisition *acquisitions; /* utlist DL, all that are not answered yet */
};

static inline struct server *server_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The one place where a negative errno inside becomes FUSE's positive one.
 * Anything that is not an errno a program may see becomes EIO. */
void reply_err(fuse_req_t req, int err);

/* Fills *owner for the process that made this request. */
void owner_of(fuse_req_t req, struct lk_owner *owner);

/* Ends every wait with ECANCELED and answers it: before the mount goes. */
void acquire_cancel_all(struct server *s);
void ranges_cancel_all(struct server *s);
/* Frees handles whose RELEASE will never come: after the mount has gone. Their
 * holds are left to lk_destroy. */
void handles_free_all(struct server *s);

/* The operation table (fs/ops.c). */
extern const struct fuse_lowlevel_ops plockfs_ops;

#endif
