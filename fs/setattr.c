/* SETATTR: truncate(2), chmod(2), chown(2) and touch. */
#include "fs/ops.h"
#include "fs/perm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct change {
	fuse_req_t req;
	struct node *node;
	struct stat attr;
	int to_set;
};

static void answer(fuse_req_t req, struct node *n, int err)
{
	struct fuse_file_info none = { 0 };

	if (err)
		reply_err(req, err);
	else
		op_getattr(req, n->id, &none);
}

static void change_done(void *arg, int err)
{
	struct change *c = arg;

	answer(c->req, c->node, err);
	free(c);
}

/* Namespaces: chmod by the owner or root, chown by root, chgrp by the owner
 * to a group of theirs (POSIX chown with _POSIX_CHOWN_RESTRICTED). */
static void change_namespace(void *arg, int err, const struct lk_stat *ls)
{
	struct change *c = arg;
	const struct fuse_ctx *ctx = fuse_req_ctx(c->req);
	mode_t perm = (mode_t)-1;
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1;

	if (err == 0 && ls->type != LK_T_NAMESPACE)
		err = -ENOENT;
	if (err == 0 && ctx->uid != 0 && ctx->uid != ls->uid)
		err = -EPERM;
	if (err == 0 && (c->to_set & FUSE_SET_ATTR_MODE))
		perm = c->attr.st_mode & 07777;
	if (err == 0 && (c->to_set & FUSE_SET_ATTR_UID)) {
		uid = c->attr.st_uid;
		if (ctx->uid != 0 && uid != ls->uid)
			err = -EPERM;
	}
	if (err == 0 && (c->to_set & FUSE_SET_ATTR_GID)) {
		gid = c->attr.st_gid;
		if (ctx->uid != 0 && !who_in_group(ctx->pid, ctx->gid, gid))
			err = -EPERM;
	}
	if (err == 0)
		err = lk_ns_chmod(server_of(c->req)->backend, c->node->path, perm, uid, gid, change_done, c);
	if (err)
		change_done(c, err);
}

static void truncated(void *arg, int err)
{
	struct momentary *m = arg;

	momentary_end(m, err);
}

static void momentary_truncate(struct momentary *m, struct lk_hold *hold)
{
	int err = lk_truncate(m->server->backend, hold, m->size, truncated, m);

	if (err < 0)
		momentary_end(m, err);
}

static void momentary_answer(struct momentary *m, int err)
{
	answer(m->req, m->node, err);
}

static void truncate_by_path(fuse_req_t req, struct node *n, uint64_t size)
{
	struct momentary *m = calloc(1, sizeof(*m));

	if (!m) {
		reply_err(req, -ENOMEM);
		return;
	}
	m->server = server_of(req);
	m->req = req;
	m->node = n;
	m->size = size;
	m->act = momentary_truncate;
	m->answer = momentary_answer;
	strcpy(m->path, n->path); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): names are checked
	momentary_start(m);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	const int who = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
	struct server *s = server_of(req);
	struct node *n = node_get(&s->nodes, ino);
	struct handle *h = fi && fi->fh ? handle_of(fi) : NULL;
	struct change *c;
	int err;

	if (!n) {
		reply_err(req, -ESTALE);
		return;
	}
	if (n->kind == N_FILE || n->kind == N_FILES) {
		files_setattr(req, n, attr, to_set, h);
		return;
	}
	if ((to_set & who) && !(n->kind == N_NAMESPACE && *n->path)) {
		reply_err(req, -EPERM);
		return;
	}
	if ((to_set & FUSE_SET_ATTR_SIZE) && n->kind == N_LOCK && !h) {
		truncate_by_path(req, n, (uint64_t)attr->st_size);
		return;
	}
	if ((to_set & (FUSE_SET_ATTR_SIZE | who)) == 0 || ((to_set & FUSE_SET_ATTR_SIZE) && n->kind == N_SEM_SLOT)) {
		/* Times are since when the lock is held: touch(1) changes nothing. */
		answer(req, n, 0);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		reply_err(req, -ENOMEM);
		return;
	}
	c->req = req;
	c->node = n;
	c->attr = *attr;
	c->to_set = to_set;
	if (to_set & FUSE_SET_ATTR_SIZE) {
		if (h && h->kind == H_LOCK)
			value_truncate(req, h, (uint64_t)attr->st_size, change_done, c);
		else
			change_done(c, -EPERM);
		return;
	}
	err = lk_stat(s->backend, LK_LOCK, n->path, LK_STAT_LOCAL, change_namespace, c);
	if (err < 0)
		change_done(c, err);
}
