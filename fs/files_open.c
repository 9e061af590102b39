/* files/: open, create and what is done through an open file. */
#include "fs/fileop.h"
#include "fs/perm.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static void handle_file(struct handle *h, struct node *n, struct lk_file *file)
{
	h->node = n;
	h->file = file;
	DL_APPEND2(n->opened, h, file_prev, file_next);
	lk_file_on_lost(h->server->backend, file, handle_lost, h);
}

static void reply_create(struct fileop *f, const struct lk_file_stat *fs)
{
	struct server *s = server_of(f->req);
	struct node *n = f->h->node;
	struct fuse_entry_param e;

	memset(&e, 0, sizeof(e));
	e.ino = n->id;
	attr_file(n, fs, &e.attr);
	n->nlookup++;
	f->fi.fh = (uintptr_t)f->h;
	if (fuse_reply_create(f->req, &e, &f->fi) != 0) {
		handle_free(f->h);
		node_forget(&s->nodes, n, 1);
	}
	fileop_free(f);
}

static void opened_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;
	struct server *s = server_of(f->req);
	struct lk_file *file = f->opened;
	struct node *n = f->node;

	if (err == 0 && !f->created && !files_is(n, fs))
		err = pin_next(f->req, n);
	/* What was looked at before may have been another file. */
	if (err == 0 && fs->uid != fuse_req_ctx(f->req)->uid &&
	    !perm_allows(f->req, fs->mode, fs->uid, fs->gid, f->want))
		err = -EACCES;
	if (err == 0 && f->created)
		n = files_node(s, f->node, f->name, f->path, fs);
	f->h = err == 0 && n ? handle_new(s, n, H_FILE) : NULL;
	if (!f->h) {
		lk_file_close(s->backend, file);
		fileop_fail(f, err ? err : -ENOMEM);
		return;
	}
	handle_file(f->h, n, file);
	f->h->lost_signal = n->view->acquire.lost_set ? n->view->acquire.lost_signal : s->opt->lost_signal;
	/* What another mount wrote must be seen by the next read. */
	f->fi.direct_io = 1;
	if (f->created) {
		reply_create(f, fs);
		return;
	}
	handle_reply_open(f->req, f->h, &f->fi);
	fileop_free(f);
}

static void opened(void *arg, int err, struct lk_file *file)
{
	struct fileop *f = arg;

	f->opened = file;
	if (err == 0) {
		err = lk_file_fstat(backend_of(f), file, opened_stat, f);
		if (err < 0)
			lk_file_close(backend_of(f), file);
	}
	if (err == -ENOENT && !f->created)
		err = pin_next(f->req, f->node);
	/* A link since the kernel looked: it is to look again, and follow it. */
	if (err == -ELOOP)
		err = -ESTALE;
	if (err)
		fileop_fail(f, err);
}

static void pinned_truncated(void *arg, int err)
{
	struct fileop *f = arg;

	if (err == 0) {
		opened(f, 0, f->opened);
		return;
	}
	lk_file_close(backend_of(f), f->opened);
	fileop_fail(f, err);
}

static int open_pinned(struct fileop *f)
{
	int err = 0;

	if (f->fi.flags & O_TRUNC) {
		err = lk_file_truncate(backend_of(f), f->opened, 0, pinned_truncated, f);
		if (err < 0)
			lk_file_close(backend_of(f), f->opened);
	} else {
		opened(f, 0, f->opened);
	}
	return err;
}

static int open_call(struct fileop *f)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(f->req);
	int flags = f->fi.flags & (O_ACCMODE | O_EXCL | O_TRUNC);

	if (f->opened)
		return open_pinned(f);
	return lk_file_open(backend_of(f), f->path, flags | (f->created ? O_CREAT : 0), f->mode & 07777, ctx->uid,
			    f->gid, opened, f);
}

static int create_call(struct fileop *f)
{
	return fileop_group(f, f->path, open_call);
}

static void open_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;

	if ((err == -ENOENT || (err == 0 && !files_is(f->node, fs))) && !f->opened)
		err = pin_next(f->req, f->node);
	if (err == 0 && !S_ISREG(fs->mode))
		err = -ELOOP;
	if (err == 0 && !perm_allows(f->req, fs->mode, fs->uid, fs->gid, f->want))
		err = -EACCES;
	if (err && f->opened)
		lk_file_close(backend_of(f), f->opened);
	fileop_allowed(f, err);
}

static int open_check(struct fileop *f)
{
	int err;

	f->call = open_call;
	f->opened = pin_take(f->req, f->node);
	if (f->opened) {
		err = lk_file_fstat(backend_of(f), f->opened, open_stat, f);
		if (err < 0)
			lk_file_close(backend_of(f), f->opened);
		return err;
	}
	return lk_file_stat(backend_of(f), f->path, open_stat, f);
}

void files_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi)
{
	struct fileop *f = fileop_new(req, n, NULL);
	int acc = fi->flags & O_ACCMODE;

	if (!f)
		return;
	f->fi = *fi;
	f->want = (acc != O_WRONLY ? PERM_READ : 0) | (acc != O_RDONLY || (fi->flags & O_TRUNC) ? PERM_WRITE : 0);
	f->call = open_check;
	fileop_start(f, PERM_SEARCH);
}

void files_create(fuse_req_t req, struct node *parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct fileop *f = fileop_new(req, parent, name);

	if (!f)
		return;
	f->fi = *fi;
	f->mode = mode;
	f->created = true;
	f->want = (fi->flags & O_ACCMODE) == O_RDONLY ? PERM_READ : PERM_READ | PERM_WRITE;
	f->call = create_call;
	fileop_start(f, PERM_WRITE);
}

/* mknod(2) of a regular file, as old programs make theirs. */
static void made_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;
	struct server *s = server_of(f->req);

	lk_file_close(s->backend, f->opened);
	if (err)
		fileop_fail(f, err);
	else
		fileop_entry(f, files_node(s, f->node, f->name, f->path, fs), fs);
}

static void made(void *arg, int err, struct lk_file *file)
{
	struct fileop *f = arg;

	f->opened = file;
	if (err == 0) {
		err = lk_file_fstat(backend_of(f), file, made_stat, f);
		if (err < 0)
			lk_file_close(backend_of(f), file);
	}
	if (err)
		fileop_fail(f, err);
}

static int make_call(struct fileop *f)
{
	return lk_file_open(backend_of(f), f->path, O_RDWR | O_CREAT | O_EXCL, f->mode & 07777,
			    fuse_req_ctx(f->req)->uid, f->gid, made, f);
}

static int mknod_call(struct fileop *f)
{
	return fileop_group(f, f->path, make_call);
}

void files_mknod(fuse_req_t req, struct node *parent, const char *name, mode_t mode)
{
	struct fileop *f = fileop_new(req, parent, name);

	if (!f)
		return;
	f->mode = mode;
	f->call = mknod_call;
	fileop_start(f, PERM_WRITE);
}

/* --- data --- */

static void read_done(void *arg, ssize_t n, const void *data)
{
	if (n < 0)
		reply_err(arg, (int)n);
	else
		fuse_reply_buf(arg, data, (size_t)n);
}

void files_read(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	int err = h->lost ? -ESTALE : lk_file_read(h->server->backend, h->file, size, off, read_done, req);

	if (err < 0)
		reply_err(req, err);
}

static void write_done(void *arg, ssize_t n, const void *data)
{
	(void)data;
	if (n < 0)
		reply_err(arg, (int)n);
	else
		fuse_reply_write(arg, (size_t)n);
}

void files_write(fuse_req_t req, struct handle *h, const char *buf, size_t size, off_t off, bool append)
{
	int err = -ESTALE;

	/* The kernel's idea of where the end is may be older than another mount's write. */
	if (!h->lost)
		err = lk_file_write(h->server->backend, h->file, buf, size, append ? -1 : off, write_done, req);

	if (err < 0)
		reply_err(req, err);
}

static void sync_done(void *arg, int err)
{
	reply_err(arg, err);
}

void files_fsync(fuse_req_t req, struct handle *h)
{
	int err = h->lost ? -ESTALE : lk_file_sync(h->server->backend, h->file, sync_done, req);

	if (err < 0)
		reply_err(req, err);
}
