/* files/: unlink, rename and links. Each is one call of the backend, so that of two
 * mounts that try, one comes first. */
#include "fs/fileop.h"
#include "fs/files_folder.h"
#include "fs/perm.h"

#include <stdlib.h>
#include <string.h>

static void unlinked(void *arg, int err)
{
	struct fileop *f = arg;
	struct server *s = server_of(f->req);
	struct node *n = node_find(&s->nodes, f->node, f->name);

	/* What is open of it goes on; a new file of that name is another one. */
	if (err == 0 && n)
		node_unname(&s->nodes, n);
	fileop_done(f, err);
}

static int unlink_call(struct fileop *f)
{
	return lk_file_unlink(backend_of(f), f->path, unlinked, f);
}

/* Who takes what is at path away may do so: then next. */
static int fileop_take(struct fileop *f, const char *path, int (*next)(struct fileop *f))
{
	f->call = next;
	folder_may_take(server_of(f->req), f->req, path, fileop_allowed, f);
	return 0;
}

static int unlink_check(struct fileop *f)
{
	return fileop_take(f, f->path, unlink_call);
}

void files_unlink(fuse_req_t req, struct node *parent, const char *name)
{
	struct fileop *f = fileop_new(req, parent, name);

	if (!f)
		return;
	f->call = unlink_check;
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
	struct server *s = server_of(f->req);
	struct node *n = node_find(&s->nodes, f->node, f->name);

	if (n && !node_fits(&s->nodes, n, f->other))
		return -ENAMETOOLONG;
	return lk_file_rename(backend_of(f), f->path, f->other, f->flags, rename_done, f);
}

/* What the new name had until now is taken away as well. */
static int rename_take_target(struct fileop *f)
{
	return fileop_take(f, f->other, rename_call);
}

static int rename_take(struct fileop *f)
{
	return fileop_take(f, f->path, rename_take_target);
}

static int rename_check_target(struct fileop *f)
{
	f->call = rename_take;
	fileop_start_to(f, PERM_WRITE);
	return 0;
}

void files_rename(fuse_req_t req, struct node *from, const char *name, struct node *to, const char *newname,
		  unsigned int flags)
{
	struct fileop *f = fileop_new(req, from, name);

	if (!f || !fileop_to(f, to, newname))
		return;
	f->flags = flags;
	f->call = rename_check_target;
	fileop_start(f, PERM_WRITE);
}

/* --- links --- */

static void linked_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct fileop *f = arg;

	if (err)
		fileop_fail(f, err);
	else
		fileop_entry(f, files_node(server_of(f->req), f->to, f->newname, f->other, fs), fs);
}

static void linked(void *arg, int err)
{
	struct fileop *f = arg;

	if (err == 0)
		err = lk_file_stat(backend_of(f), f->other, linked_stat, f);
	if (err)
		fileop_fail(f, err);
}

static int link_call(struct fileop *f)
{
	return lk_file_link(backend_of(f), f->path, f->other, linked, f);
}

void files_link(fuse_req_t req, struct node *n, struct node *to, const char *newname)
{
	struct fileop *f = fileop_new(req, n, NULL);

	if (!f || !fileop_to(f, to, newname))
		return;
	f->call = link_call;
	/* A file without a name cannot get one again. */
	if (n->hashed)
		fileop_start_to(f, PERM_WRITE);
	else
		fileop_fail(f, -ENOENT);
}

static int make_symlink(struct fileop *f)
{
	return lk_file_symlink(backend_of(f), f->target, f->other, fuse_req_ctx(f->req)->uid, f->gid, linked, f);
}

static int symlink_call(struct fileop *f)
{
	return fileop_group(f, f->other, make_symlink);
}

void files_symlink(fuse_req_t req, const char *target, struct node *parent, const char *name)
{
	struct fileop *f = fileop_new(req, parent, NULL);

	if (!f || !fileop_to(f, parent, name))
		return;
	f->target = strdup(target);
	f->call = symlink_call;
	if (f->target)
		fileop_start_to(f, PERM_WRITE);
	else
		fileop_fail(f, -ENOMEM);
}

static void readlink_done(void *arg, ssize_t n, const void *data)
{
	struct fileop *f = arg;

	/* No link by now: the kernel looks again. */
	if (n == -EINVAL || n == -ENOENT)
		n = -ESTALE;
	if (n >= 0)
		f->target = strndup(data, (size_t)n);
	if (n < 0 || !f->target) {
		fileop_fail(f, n < 0 ? (int)n : -ENOMEM);
		return;
	}
	fuse_reply_readlink(f->req, f->target);
	fileop_free(f);
}

static int readlink_call(struct fileop *f)
{
	return lk_file_readlink(backend_of(f), f->path, readlink_done, f);
}

void files_readlink(fuse_req_t req, struct node *n)
{
	struct fileop *f = fileop_new(req, n, NULL);

	if (!f)
		return;
	f->call = readlink_call;
	fileop_start(f, PERM_SEARCH);
}
