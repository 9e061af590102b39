/* files/: the same names as ordinary small files. Opening takes nothing;
 * flock(2) takes the lock of that name (fs/lock_open.c). */
#include "fs/ops.h"
#include "fs/perm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
	struct node *to;
	int (*call)(struct fileop *f);
	int want; /* permission bits on the file itself */
	char path[LK_NAME_MAX + 1];
	char other[LK_NAME_MAX + 1];
	char name[256];
	char newname[256];
};

static struct fileop *fileop_new(fuse_req_t req, struct node *n, const char *name)
{
	struct fileop *f = calloc(1, sizeof(*f));
	int err = f ? 0 : -ENOMEM;

	if (err == 0 && name) {
		if (strlen(name) > 255)
			err = -ENAMETOOLONG;
		else if (!lk_component_valid(name))
			err = -ENOENT;
		else
			err = node_join(n, name, f->path);
	}
	if (err) {
		reply_err(req, err);
		free(f);
		return NULL;
	}
	f->req = req;
	f->node = n;
	if (name)
		strcpy(f->name, name); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): length checked above
	else
		strcpy(f->path, n->path); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): names are checked
	return f;
}

static struct lk_backend *backend_of(const struct fileop *f)
{
	return server_of(f->req)->backend;
}

static void fileop_fail(struct fileop *f, int err)
{
	reply_err(f->req, err);
	free(f);
}

static void fileop_done(void *arg, int err)
{
	struct fileop *f = arg;

	reply_err(f->req, err);
	free(f);
}

static void fileop_allowed(void *arg, int err)
{
	struct fileop *f = arg;

	if (err == 0)
		err = f->call(f);
	if (err < 0)
		fileop_fail(f, err);
}

/* Checks the folder that the file is in, then calls f->call. */
static void fileop_start(struct fileop *f, int want)
{
	char ns[LK_NAME_MAX + 1];

	perm_parent_of(f->path, ns);
	perm_namespace(server_of(f->req), f->req, ns, want, fileop_allowed, f);
}

/* --- lookup and attributes --- */

static void lookup_done(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;
	struct server *s = server_of(f->req);
	struct stat st;
	struct node *n;

	if (err) {
		fileop_fail(f, err);
		return;
	}
	n = node_child(&s->nodes, f->node, f->name, S_ISDIR(fs->mode) ? N_FILES : N_FILE, f->path);
	if (n) {
		attr_file(n, fs, &st);
		reply_entry(f->req, n, &st);
	} else {
		reply_err(f->req, -ENOMEM);
	}
	free(f);
}

static int lookup_call(struct fileop *f)
{
	return lk_file_stat(backend_of(f), f->path, lookup_done, f);
}

void files_lookup(fuse_req_t req, struct node *parent, const char *name)
{
	struct fileop *f = fileop_new(req, parent, name);

	if (!f)
		return;
	f->call = lookup_call;
	fileop_start(f, PERM_SEARCH);
}

static void getattr_done(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;
	struct stat st;

	if (err) {
		fileop_fail(f, err);
		return;
	}
	attr_file(f->node, fs, &st);
	fuse_reply_attr(f->req, &st, 0);
	free(f);
}

void files_getattr(fuse_req_t req, struct node *n, struct handle *h)
{
	struct fileop *f;
	struct stat st;
	int err;

	if (n->kind == N_FILES && !*n->path) {
		attr_static(server_of(req), n, &st);
		fuse_reply_attr(req, &st, 0);
		return;
	}
	f = fileop_new(req, n, NULL);
	if (!f)
		return;
	if (h && h->kind == H_FILE && h->file)
		err = lk_file_fstat(backend_of(f), h->file, getattr_done, f);
	else
		err = lk_file_stat(backend_of(f), f->path, getattr_done, f);
	if (err < 0)
		fileop_fail(f, err);
}

static void setattr_done(void *arg, int err)
{
	struct fileop *f = arg;

	if (err) {
		fileop_fail(f, err);
		return;
	}
	files_getattr(f->req, f->node, f->h);
	free(f);
}

static void setattr_rest(void *arg, int err)
{
	struct fileop *f = arg;
	const struct stat *a = &f->attr;
	struct lk_file_attr attr;
	uint64_t mtime = 0;

	if (err == 0 && (f->to_set & FUSE_SET_ATTR_MTIME_NOW))
		mtime = pl_wall(server_of(f->req)->loop);
	else if (err == 0 && (f->to_set & FUSE_SET_ATTR_MTIME))
		mtime = (uint64_t)a->st_mtim.tv_sec * PL_SEC + (uint64_t)a->st_mtim.tv_nsec;
	attr.perm = f->to_set & FUSE_SET_ATTR_MODE ? a->st_mode & 07777 : (mode_t)-1;
	attr.uid = f->to_set & FUSE_SET_ATTR_UID ? a->st_uid : (uid_t)-1;
	attr.gid = f->to_set & FUSE_SET_ATTR_GID ? a->st_gid : (gid_t)-1;
	attr.mtime = mtime;
	if (err == 0)
		err = lk_file_setattr(backend_of(f), NULL, f->path, &attr, setattr_done, f);
	if (err)
		setattr_done(f, err);
}

static void truncate_closed(void *arg, int err)
{
	struct fileop *f = arg;

	lk_file_close(backend_of(f), f->h->file);
	f->h->file = NULL;
	handle_free(f->h);
	f->h = NULL;
	setattr_rest(f, err);
}

static void truncate_opened(void *arg, int err, struct lk_file *file)
{
	struct fileop *f = arg;

	if (err == 0) {
		f->h = handle_new(server_of(f->req), f->node, H_FILE);
		if (!f->h) {
			lk_file_close(backend_of(f), file);
			err = -ENOMEM;
		}
	}
	if (err) {
		setattr_done(f, err);
		return;
	}
	f->h->file = file;
	err = lk_file_truncate(backend_of(f), file, (uint64_t)f->attr.st_size, truncate_closed, f);
	if (err < 0)
		truncate_closed(f, err);
}

/* The owner or root changes mode and times; root the owner; a writer the size. */
static void setattr_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;
	const struct fuse_ctx *ctx = fuse_req_ctx(f->req);
	bool owner = ctx->uid == 0 || (err == 0 && ctx->uid == fs->uid);

	if (err == 0 && !owner && (f->to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		err = -EPERM;
	if (err == 0 && ctx->uid != 0 && (f->to_set & FUSE_SET_ATTR_UID) && f->attr.st_uid != fs->uid)
		err = -EPERM;
	if (err == 0 && ctx->uid != 0 && (f->to_set & FUSE_SET_ATTR_GID) &&
	    !who_in_group(ctx->pid, ctx->gid, f->attr.st_gid))
		err = -EPERM;
	if (err == 0 && !owner && !(f->h && f->h->file) && !perm_allows(f->req, fs->mode, fs->uid, fs->gid, PERM_WRITE))
		err = -EACCES;
	if (err == 0 && (f->to_set & FUSE_SET_ATTR_SIZE) && f->h && f->h->file) {
		err = lk_file_truncate(backend_of(f), f->h->file, (uint64_t)f->attr.st_size, setattr_rest, f);
		if (err == 0)
			return;
	} else if (err == 0 && (f->to_set & FUSE_SET_ATTR_SIZE)) {
		err = lk_file_open(backend_of(f), f->path, O_WRONLY, 0, 0, 0, truncate_opened, f);
		if (err == 0)
			return;
	}
	if (err)
		setattr_done(f, err);
	else
		setattr_rest(f, 0);
}

void files_setattr(fuse_req_t req, struct node *n, const struct stat *attr, int to_set, struct handle *h)
{
	struct fileop *f;
	int err;

	if (n->kind == N_FILES && !*n->path) {
		reply_err(req, -EPERM);
		return;
	}
	f = fileop_new(req, n, NULL);
	if (!f)
		return;
	f->h = h;
	f->attr = *attr;
	f->to_set = to_set;
	err = lk_file_stat(backend_of(f), f->path, setattr_stat, f);
	if (err < 0)
		setattr_done(f, err);
}

/* --- open and create --- */

static void created_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;
	struct server *s = server_of(f->req);
	struct fuse_entry_param e;
	struct node *n = NULL;

	if (err == 0) {
		n = node_child(&s->nodes, f->node, f->name, N_FILE, f->path);
		err = n ? 0 : -ENOMEM;
	}
	if (err) {
		handle_free(f->h);
		fileop_fail(f, err);
		return;
	}
	memset(&e, 0, sizeof(e));
	e.ino = n->id;
	attr_file(n, fs, &e.attr);
	n->nlookup++;
	f->h->node = n;
	f->fi.fh = (uintptr_t)f->h;
	if (fuse_reply_create(f->req, &e, &f->fi) != 0) {
		handle_free(f->h);
		node_forget(&s->nodes, n, 1);
	}
	free(f);
}

static void opened(void *arg, int err, struct lk_file *file)
{
	struct fileop *f = arg;
	struct server *s = server_of(f->req);

	if (err) {
		fileop_fail(f, err);
		return;
	}
	f->h = handle_new(s, f->node, H_FILE);
	if (!f->h) {
		lk_file_close(s->backend, file);
		fileop_fail(f, -ENOMEM);
		return;
	}
	f->h->file = file;
	f->h->lost_signal = f->node->view->acquire.lost_set ? f->node->view->acquire.lost_signal : s->opt->lost_signal;
	if (f->created) {
		err = lk_file_fstat(s->backend, file, created_stat, f);
		if (err < 0)
			created_stat(f, err, NULL);
		return;
	}
	handle_reply_open(f->req, f->h, &f->fi);
	free(f);
}

static int open_call(struct fileop *f)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(f->req);
	int flags = f->fi.flags & (O_ACCMODE | O_EXCL | O_TRUNC);

	return lk_file_open(backend_of(f), f->path, flags | (f->created ? O_CREAT : 0), f->mode & 07777, ctx->uid,
			    ctx->gid, opened, f);
}

static void open_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;

	if (err == 0 && !S_ISREG(fs->mode))
		err = -ELOOP;
	if (err == 0 && !perm_allows(f->req, fs->mode, fs->uid, fs->gid, f->want))
		err = -EACCES;
	fileop_allowed(f, err);
}

static int open_check(struct fileop *f)
{
	f->call = open_call;
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
	f->call = open_call;
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

void files_write(fuse_req_t req, struct handle *h, const char *buf, size_t size, off_t off)
{
	int err = h->lost ? -ESTALE : lk_file_write(h->server->backend, h->file, buf, size, off, write_done, req);

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

/* --- names --- */

static int unlink_call(struct fileop *f)
{
	return lk_file_unlink(backend_of(f), f->path, fileop_done, f);
}

void files_unlink(fuse_req_t req, struct node *parent, const char *name)
{
	struct fileop *f = fileop_new(req, parent, name);

	if (!f)
		return;
	f->call = unlink_call;
	fileop_start(f, PERM_WRITE);
}

static void rename_done(void *arg, int err)
{
	struct fileop *f = arg;
	struct server *s = server_of(f->req);
	struct node *n = node_find(&s->nodes, f->node, f->name);

	if (err == 0 && n && node_move(&s->nodes, n, f->to, f->newname, f->other) < 0)
		node_unname(&s->nodes, n);
	fileop_done(f, err);
}

static int rename_call(struct fileop *f)
{
	return lk_file_rename(backend_of(f), f->path, f->other, f->flags, rename_done, f);
}

static int rename_check_target(struct fileop *f)
{
	f->call = rename_call;
	perm_namespace(server_of(f->req), f->req, f->to->path, PERM_WRITE, fileop_allowed, f);
	return 0;
}

void files_rename(fuse_req_t req, struct node *from, const char *name, struct node *to, const char *newname,
		  unsigned int flags)
{
	struct fileop *f = fileop_new(req, from, name);

	if (!f)
		return;
	if (strlen(newname) > 255 || !lk_component_valid(newname) || node_join(to, newname, f->other) < 0) {
		fileop_fail(f, strlen(newname) > 255 ? -ENAMETOOLONG : -EINVAL);
		return;
	}
	strcpy(f->newname, newname); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): length checked above
	f->to = to;
	f->flags = flags;
	f->call = rename_check_target;
	fileop_start(f, PERM_WRITE);
}

/* --- listing --- */

static void have_list(void *arg, int err, const struct lk_list *list)
{
	struct fileop *f = arg;
	size_t i;

	if (err == 0)
		err = handle_add_entry(f->h, ".", S_IFDIR);
	if (err == 0)
		err = handle_add_entry(f->h, "..", S_IFDIR);
	for (i = 0; err == 0 && i < list->n; i++)
		err = handle_add_entry(f->h, list->entries[i].name,
				       list->entries[i].type == LK_T_NAMESPACE ? S_IFDIR : S_IFREG);
	if (err) {
		handle_free(f->h);
		fileop_fail(f, err);
		return;
	}
	handle_reply_open(f->req, f->h, &f->fi);
	free(f);
}

static void list_allowed(void *arg, int err)
{
	struct fileop *f = arg;

	if (err == 0)
		err = lk_file_list(backend_of(f), f->path, have_list, f);
	if (err < 0) {
		handle_free(f->h);
		fileop_fail(f, err);
	}
}

void files_opendir(fuse_req_t req, struct node *n, struct fuse_file_info *fi)
{
	struct fileop *f = fileop_new(req, n, NULL);

	if (!f)
		return;
	f->fi = *fi;
	f->h = handle_new(server_of(req), n, H_DIR);
	if (!f->h) {
		fileop_fail(f, -ENOMEM);
		return;
	}
	perm_namespace(server_of(req), req, f->path, PERM_READ, list_allowed, f);
}
