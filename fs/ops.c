/* The table of operations: each request goes to a room by its node or handle.
 *
 * Every function here or below answers its request exactly once. What is not
 * in the table libfuse answers with ENOSYS.
 */
#include "fs/ops.h"

#include "base/log.h"

#include <sys/file.h>

void reply_err(fuse_req_t req, int err)
{
	/* Kernel-internal numbers (ERESTARTSYS is 512) must not reach a program. */
	if (err > 0 || err < -511) {
		pl_log(PL_ERROR, "internal error number %d, answered EIO", err);
		err = -EIO;
	}
	fuse_reply_err(req, -err);
}

void owner_of(fuse_req_t req, struct lk_owner *owner)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	who_resolve(server_of(req)->who, ctx->pid, ctx->uid, ctx->gid, owner);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* Truncation must come with OPEN, under the lock, not as a SETATTR after it. */
	conn->want |= conn->capable & FUSE_CAP_ATOMIC_O_TRUNC;
	conn->want |= conn->capable & FUSE_CAP_FLOCK_LOCKS;
	conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE);
	/* RELEASE travels in the background: past this many unanswered ones it
	 * would be held back, and a later OPEN would overtake it. */
	conn->max_background = 65535;
	conn->congestion_threshold = 65535;
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	struct server *s = server_of(req);
	struct node *n = node_get(&s->nodes, ino);

	if (n)
		node_forget(&s->nodes, n, nlookup);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct server *s = server_of(req);
	struct node *n;
	size_t i;

	for (i = 0; i < count; i++) {
		n = node_get(&s->nodes, forgets[i].ino);
		if (n)
			node_forget(&s->nodes, n, forgets[i].nlookup);
	}
	fuse_reply_none(req);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *n = node_get(&server_of(req)->nodes, ino);

	if (!n) {
		reply_err(req, -ESTALE);
		return;
	}
	switch (n->kind) {
	case N_LOCK:
	case N_SEM_SLOT:
		lock_open(req, n, fi);
		break;
	case N_FILE:
		files_open(req, n, fi);
		break;
	case N_PARTY:
		party_open(req, n, fi);
		break;
	case N_STATUS:
	case N_STATUS_JSON:
	case N_METRICS:
	case N_README:
		text_open(req, n, fi);
		break;
	default:
		reply_err(req, -EISDIR);
		break;
	}
}

/* Sent only when LOOKUP said ENOENT: for names that can never be, and in
 * files/. Nothing may wait here, the kernel holds the folder's lock (C1). */
static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct node *p = node_get(&server_of(req)->nodes, parent);

	if (!p)
		reply_err(req, -ESTALE);
	else if (p->kind == N_FILES)
		files_create(req, p, name, mode, fi);
	else if (p->kind == N_NAMESPACE || p->kind == N_ROOT)
		reply_err(req, lk_component_valid(name) ? -EPERM : -EINVAL);
	else
		reply_err(req, p->kind == N_SEM_BOUND ? -ENOENT : -EPERM);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct node *p = node_get(&server_of(req)->nodes, parent);

	(void)rdev;
	if (p && p->kind == N_FILES && S_ISREG(mode))
		files_mknod(req, p, name, mode);
	else
		reply_err(req, p ? -EPERM : -ESTALE);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct node *n = node_get(&server_of(req)->nodes, ino), *to = node_get(&server_of(req)->nodes, newparent);

	if (n && to && n->kind == N_FILE && to->kind == N_FILES)
		files_link(req, n, to, newname);
	else
		reply_err(req, n && to ? -EPERM : -ESTALE);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct node *p = node_get(&server_of(req)->nodes, parent);

	if (p && p->kind == N_FILES)
		files_symlink(req, link, p, name);
	else
		reply_err(req, p ? -EPERM : -ESTALE);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct node *n = node_get(&server_of(req)->nodes, ino);

	if (n && n->kind == N_FILE)
		files_readlink(req, n);
	else
		reply_err(req, n ? -EINVAL : -ESTALE);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	(void)ino;
	if (h->kind == H_TEXT)
		text_read(req, h, size, off);
	else if (h->kind == H_FILE)
		files_read(req, h, size, off);
	else
		value_read(req, h, size, off);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	(void)ino;
	if (off < 0)
		reply_err(req, -EINVAL);
	else if (fi->writepage && h->kind != H_FILE)
		value_write_map(req, h, size);
	else if (h->kind == H_FILE)
		files_write(req, h, buf, size, off, fi->flags & O_APPEND);
	else
		value_write(req, h, buf, size, off, fi->flags & O_APPEND);
}

/* Each close of a descriptor: says whether the lock was kept to the end. */
static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	int err = h->lost ? -ESTALE : h->unwritten ? -EIO : 0;

	(void)ino;
	if (h->kind == H_FILE && h->server->range_owners)
		ranges_flush(req, h, fi->lock_owner, err);
	else
		reply_err(req, err);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct pl_loop *loop = server_of(req)->loop;

	(void)ino;
	handle_free(handle_of(fi));
	/* Nobody waits for the answer to a RELEASE, but perhaps for what it has given back. */
	pl_run_tasks(loop);
	reply_err(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	(void)ino;
	(void)datasync;
	if (h->kind == H_TEXT)
		reply_err(req, 0);
	else if (h->kind == H_FILE)
		files_fsync(req, h);
	else
		value_fsync(req, h);
}

static void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct handle *h = handle_of(fi);

	(void)ino;
	if (h->kind == H_TEXT)
		reply_err(req, -EBADF);
	else
		lock_flock(req, h, op);
}

static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	(void)ino;
	lock_poll(req, handle_of(fi), ph);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255 };

	(void)ino;
	fuse_reply_statfs(req, &st);
}

const struct fuse_lowlevel_ops plockfs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.access = op_access,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.rmdir = op_rmdir,
	.unlink = op_unlink,
	.symlink = op_symlink,
	.link = op_link,
	.readlink = op_readlink,
	.rename = op_rename,
	.create = op_create,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.flock = op_flock,
	.getlk = op_getlk,
	.setlk = op_setlk,
	.poll = op_poll,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.statfs = op_statfs,
};
