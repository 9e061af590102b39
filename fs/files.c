/* files/: the same names as ordinary small files. Opening takes nothing; flock(2)
 * takes the lock of the file (fs/lock_open.c), fcntl(2) ranges of it
 * (fs/ranges.c). Here: lookup, attributes and listing. */
#include "fs/fileop.h"
#include "fs/perm.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Opened in advance: see files_pin.c. */
static void pinned_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;
	struct server *s = server_of(f->req);
	struct node *n = err ? NULL : files_node(s, f->node, f->name, f->path, fs);

	if (!n || !pin_keep(f->req, n, f->opened))
		lk_file_close(s->backend, f->opened);
	if (err)
		fileop_fail(f, err);
	else
		fileop_entry(f, n, fs);
}

static void lookup_done(void *arg, int err, const struct lk_file_stat *fs);

static void pinned(void *arg, int err, struct lk_file *file)
{
	struct fileop *f = arg;

	f->opened = file;
	if (err == 0) {
		err = lk_file_fstat(backend_of(f), file, pinned_stat, f);
		if (err < 0)
			lk_file_close(backend_of(f), file);
	} else if (err != -ENOENT) { /* no file, or not for writing: the usual way */
		err = lk_file_stat(backend_of(f), f->path, lookup_done, f);
	}
	if (err)
		fileop_fail(f, err);
}

static void lookup_done(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;

	if (err)
		fileop_fail(f, err);
	else
		fileop_entry(f, files_node(server_of(f->req), f->node, f->name, f->path, fs), fs);
}

static int lookup_call(struct fileop *f)
{
	if (pin_wanted(f->req, f->node, f->name))
		return lk_file_open(backend_of(f), f->path, O_RDWR, 0, 0, 0, pinned, f);
	return lk_file_stat(backend_of(f), f->path, lookup_done, f);
}

void files_lookup(fuse_req_t req, struct node *parent, const char *name)
{
	struct fileop *f;

	if (strlen(name) <= 255 && !lk_file_component_valid(name)) {
		reply_err(req, -ENOENT);
		return;
	}
	f = fileop_new(req, parent, name);
	if (!f)
		return;
	f->call = lookup_call;
	fileop_start(f, PERM_SEARCH);
}

/* stat(2) is LOOKUP and then GETATTR. Who found the file by its name gets what it was, as on
 * a local file system, although the name was gone, or another file's, when the second came. */
static void getattr_nameless(struct fileop *f)
{
	struct lk_file_stat was = *f->node->seen;
	struct stat st;

	was.nlink -= was.nlink > 0;
	attr_file(f->node, &was, &st);
	fuse_reply_attr(f->req, &st, 0);
	fileop_free(f);
}

/* What the kernel must not take for the node's file. */
static int same_thing(const struct node *n, int err, const struct lk_file_stat *fs)
{
	return err || files_is(n, fs) ? err : -ENOENT;
}

static void getattr_done(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;
	struct stat st;

	err = same_thing(f->node, err, fs);
	if (err == -ENOENT && f->node->kind == N_FILE && f->node->seen) {
		getattr_nameless(f);
		return;
	}
	if (err) {
		fileop_fail(f, err);
		return;
	}
	attr_file(f->node, fs, &st);
	fuse_reply_attr(f->req, &st, 0);
	fileop_free(f);
}

/* Through a handle where one is open: the file may have lost its name. */
static struct lk_file *open_file(const struct node *n, const struct handle *h)
{
	if (h && h->kind == H_FILE)
		return h->file;
	return n->opened ? n->opened->file : NULL;
}

static int stat_node(struct fileop *f, const struct handle *h, lk_file_stat_cb cb)
{
	struct lk_file *file = open_file(f->node, h);

	if (file)
		return lk_file_fstat(backend_of(f), file, cb, f);
	return lk_file_stat(backend_of(f), f->path, cb, f);
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
	err = stat_node(f, h, getattr_done);
	if (err < 0)
		fileop_fail(f, err);
}

static void access_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;
	bool runs;

	err = same_thing(f->node, err, fs);
	/* Gone since it was found by its name: as for stat(2). */
	if (err == -ENOENT && f->node->seen) {
		fs = f->node->seen;
		err = 0;
	}
	/* root may all, but run only what somebody may. */
	runs = err == 0 && (S_ISDIR(fs->mode) || (fs->mode & 0111));
	if (err == 0 &&
	    (!perm_allows(f->req, fs->mode, fs->uid, fs->gid, f->want) || ((f->want & PERM_SEARCH) && !runs)))
		err = -EACCES;
	fileop_done(f, err);
}

static int access_call(struct fileop *f)
{
	return stat_node(f, NULL, access_stat);
}

void files_access(fuse_req_t req, struct node *n, int mask)
{
	struct fileop *f = fileop_new(req, n, NULL);

	if (!f)
		return;
	f->want = (mask & R_OK ? PERM_READ : 0) | (mask & W_OK ? PERM_WRITE : 0) | (mask & X_OK ? PERM_SEARCH : 0);
	f->call = access_call;
	fileop_start(f, PERM_SEARCH);
}

static void setattr_done(void *arg, int err)
{
	struct fileop *f = arg;

	if (err) {
		fileop_fail(f, err);
		return;
	}
	files_getattr(f->req, f->node, f->h);
	fileop_free(f);
}

static void setattr_rest(void *arg, int err)
{
	struct fileop *f = arg;
	const struct stat *a = &f->attr;
	struct lk_file_attr attr;
	uint64_t mtime = 0;

	if (err == 0 && (f->to_set & FUSE_SET_ATTR_MTIME_NOW))
		mtime = pl_wall(server_of(f->req)->loop);
	else if (err == 0 && (f->to_set & FUSE_SET_ATTR_MTIME) && a->st_mtim.tv_sec >= 0)
		mtime = (uint64_t)a->st_mtim.tv_sec * PL_SEC + (uint64_t)a->st_mtim.tv_nsec;
	/* 0 would leave it as it is. */
	if (mtime == 0 && (f->to_set & FUSE_SET_ATTR_MTIME))
		mtime = 1;
	attr.perm = f->to_set & FUSE_SET_ATTR_MODE ? a->st_mode & 07777 : (mode_t)-1;
	attr.uid = f->to_set & FUSE_SET_ATTR_UID ? a->st_uid : (uid_t)-1;
	attr.gid = f->to_set & FUSE_SET_ATTR_GID ? a->st_gid : (gid_t)-1;
	attr.mtime = mtime;
	if (err == 0)
		err = lk_file_setattr(backend_of(f), open_file(f->node, f->h), f->path, &attr, setattr_done, f);
	if (err)
		setattr_done(f, err);
}

static void truncate_done(void *arg, int err)
{
	struct fileop *f = arg;

	lk_file_close(backend_of(f), f->opened);
	setattr_rest(f, err);
}

static void truncate_opened(void *arg, int err, struct lk_file *file)
{
	struct fileop *f = arg;

	if (err) {
		setattr_done(f, err);
		return;
	}
	f->opened = file;
	err = lk_file_truncate(backend_of(f), file, (uint64_t)f->attr.st_size, truncate_done, f);
	if (err < 0)
		truncate_done(f, err);
}

/* The owner or root changes mode and times; root the owner; a writer the size, and the time to now. */
static int may_set(struct fileop *f, const struct lk_file_stat *fs)
{
	const int mtime = f->to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW);
	const int atime = f->to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW);
	bool some_time = mtime == FUSE_SET_ATTR_MTIME || atime == FUSE_SET_ATTR_ATIME;
	const struct fuse_ctx *ctx = fuse_req_ctx(f->req);
	bool owner = ctx->uid == 0 || ctx->uid == fs->uid;
	/* Who opened it for writing may still write; the kernel lets nobody else truncate through a handle. */
	bool size_only = (f->to_set & FUSE_SET_ATTR_SIZE) && f->h && f->h->file;

	if (!owner && (f->to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		return -EPERM;
	if (ctx->uid != 0 && (f->to_set & FUSE_SET_ATTR_UID) && f->attr.st_uid != fs->uid)
		return -EPERM;
	if (ctx->uid != 0 && (f->to_set & FUSE_SET_ATTR_GID) && f->attr.st_gid != fs->gid &&
	    !who_in_group(ctx->pid, ctx->gid, f->attr.st_gid))
		return -EPERM;
	if (!owner && !size_only && some_time)
		return -EPERM;
	/* Nobody gives away a group that he is not in. */
	if (ctx->uid != 0 && !who_in_group(ctx->pid, ctx->gid, fs->gid))
		f->attr.st_mode &= ~(mode_t)S_ISGID;
	if ((f->to_set & FUSE_SET_ATTR_SIZE) ? !size_only : !owner)
		return perm_allows(f->req, fs->mode, fs->uid, fs->gid, PERM_WRITE) ? 0 : -EACCES;
	return 0;
}

static void setattr_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;

	err = same_thing(f->node, err, fs);
	/* It lost its last name since it was found by it, and is not open here: as if this came just before. */
	if (err == -ENOENT && f->node->seen && f->node->seen->nlink <= 1) {
		err = may_set(f, f->node->seen);
		if (err == 0) {
			getattr_nameless(f);
			return;
		}
	} else if (err == -ENOENT && f->node->kind == N_FILE) {
		err = -ESTALE;
	}
	if (err == 0)
		err = may_set(f, fs);
	if (err == 0 && f->h && f->h->lost)
		err = -ESTALE;
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
	err = stat_node(f, h, setattr_stat);
	if (err < 0)
		setattr_done(f, err);
}

/* --- listing --- */

static void have_list(void *arg, int err, const struct lk_list *list)
{
	struct fileop *f = arg;
	size_t i;

	if (err == 0)
		err = handle_add_dots(f->h);
	for (i = 0; err == 0 && i < list->n; i++)
		err = handle_add_entry(f->h, list->entries[i].name,
				       list->entries[i].type == LK_T_NAMESPACE ? S_IFDIR
				       : list->entries[i].type == LK_T_LINK    ? S_IFLNK
									       : S_IFREG);
	if (err) {
		handle_free(f->h);
		fileop_fail(f, err);
		return;
	}
	handle_reply_open(f->req, f->h, &f->fi);
	fileop_free(f);
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
