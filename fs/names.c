/* MKDIR, RMDIR, UNLINK and RENAME: namespaces, values and files. */
#include "fs/files_folder.h"
#include "fs/ops.h"
#include "fs/perm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* One change of a name, after the permission check. */
struct naming {
	fuse_req_t req;
	struct node *parent;
	mode_t mode;
	gid_t gid;
	int (*call)(struct naming *m);
	void (*after)(struct naming *m); /* on success; NULL: reply 0 */
	char path[LK_NAME_MAX + 1];
	char other[LK_NAME_MAX + 1];
	struct node *new_parent;
	char new_name[256];
	char name[256];
};

static struct naming *naming_new(fuse_req_t req, struct node *parent, const char *name)
{
	struct naming *m = calloc(1, sizeof(*m));
	int err = m ? 0 : -ENOMEM;

	if (err == 0 && strlen(name) > 255)
		err = -ENAMETOOLONG;
	if (err == 0)
		err = node_join(parent, name, m->path);
	if (err) {
		reply_err(req, err);
		free(m);
		return NULL;
	}
	m->req = req;
	m->parent = parent;
	strcpy(m->name, name); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): length checked above
	return m;
}

static void naming_done(void *arg, int err)
{
	struct naming *m = arg;

	if (err == 0 && m->after)
		m->after(m);
	else
		reply_err(m->req, err);
	free(m);
}

static void naming_allowed(void *arg, int err)
{
	struct naming *m = arg;

	if (err == 0)
		err = m->call(m);
	if (err < 0) {
		reply_err(m->req, err);
		free(m);
	}
}

/* Who takes what is at path away may do so: then next. */
static int naming_take(struct naming *m, const char *path, int (*next)(struct naming *m))
{
	m->call = next;
	folder_may_take(server_of(m->req), m->req, path, naming_allowed, m);
	return 0;
}

static void naming_start(struct naming *m)
{
	perm_namespace(server_of(m->req), m->req, m->parent->path, PERM_WRITE, naming_allowed, m);
}

static bool is_lock_dir(const struct node *n)
{
	return n->kind == N_NAMESPACE || n->kind == N_ROOT;
}

/* --- mkdir, rmdir --- */

static void make_folder(void *arg, int err, gid_t gid, bool from_folder)
{
	struct naming *m = arg;

	m->gid = gid;
	if (from_folder)
		m->mode |= S_ISGID;
	if (err == 0)
		err = lk_file_mkdir(server_of(m->req)->backend, m->path, m->mode & 07777, fuse_req_ctx(m->req)->uid,
				    gid, naming_done, m);
	if (err < 0)
		naming_done(m, err);
}

static int make_call(struct naming *m)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(m->req);

	/* In files/ nothing gives way: who finds that mkdir(2) works has made the folder. */
	if (m->parent->kind == N_FILES) {
		folder_group(server_of(m->req), m->req, m->path, make_folder, m);
		return 0;
	}
	m->gid = ctx->gid;
	return lk_ns_make(server_of(m->req)->backend, m->path, m->mode & 07777, ctx->uid, ctx->gid, naming_done, m);
}

static void make_after(struct naming *m)
{
	struct server *s = server_of(m->req);
	struct lk_stat ls = {
		.type = LK_T_NAMESPACE, .perm = m->mode & 07777, .uid = fuse_req_ctx(m->req)->uid, .gid = m->gid
	};
	enum node_kind kind = m->parent->kind == N_FILES ? N_FILES : N_NAMESPACE;
	struct node *n = node_child(&s->nodes, m->parent, m->name, kind, m->path);
	struct stat st;

	if (!n) {
		reply_err(m->req, -ENOMEM);
		return;
	}
	attr_lock(s, n, &ls, &st);
	reply_entry(m->req, n, &st);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct node *p = node_get(&server_of(req)->nodes, parent);
	struct naming *m;

	if (!p || !(is_lock_dir(p) || p->kind == N_FILES)) {
		reply_err(req, p ? -EPERM : -ESTALE);
		return;
	}
	if (!lk_component_valid(name)) {
		reply_err(req, strlen(name) > 255 ? -ENAMETOOLONG : -EINVAL);
		return;
	}
	m = naming_new(req, p, name);
	if (!m)
		return;
	m->mode = mode;
	m->call = make_call;
	m->after = make_after;
	naming_start(m);
}

static int remove_folder(struct naming *m)
{
	struct lk_backend *b = server_of(m->req)->backend;

	if (m->parent->kind == N_FILES)
		return lk_file_rmdir(b, m->path, naming_done, m);
	return lk_ns_remove(b, m->path, naming_done, m);
}

static int remove_call(struct naming *m)
{
	return naming_take(m, m->path, remove_folder);
}

static void gone_after(struct naming *m)
{
	struct server *s = server_of(m->req);
	struct node *n = node_find(&s->nodes, m->parent, m->name);

	if (n)
		node_unname(&s->nodes, n);
	reply_err(m->req, 0);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *p = node_get(&server_of(req)->nodes, parent);
	struct node *n = p ? node_find(&server_of(req)->nodes, p, name) : NULL;
	struct naming *m;

	if (n && n->kind == N_FILE) {
		reply_err(req, -ENOTDIR);
		return;
	}
	if (!p || !(is_lock_dir(p) || p->kind == N_FILES) || (n && n->kind != N_NAMESPACE && n->kind != N_FILES) ||
	    (n && !*n->path)) {
		reply_err(req, p ? -EPERM : -ESTALE);
		return;
	}
	m = naming_new(req, p, name);
	if (!m)
		return;
	m->call = remove_call;
	m->after = gone_after;
	naming_start(m);
}

/* --- unlink --- */

static void removed(void *arg, int err)
{
	struct momentary *m = arg;

	momentary_end(m, err);
}

static void momentary_remove(struct momentary *m, struct lk_hold *hold)
{
	int err = lk_remove(m->server->backend, hold, removed, m);

	if (err < 0)
		momentary_end(m, err);
}

static void momentary_answer(struct momentary *m, int err)
{
	reply_err(m->req, err);
}

static struct momentary *momentary_new(fuse_req_t req, struct node *parent, const char *name)
{
	struct momentary *m = calloc(1, sizeof(*m));
	int err = m ? node_join(parent, name, m->path) : -ENOMEM;

	if (err) {
		reply_err(req, err);
		free(m);
		return NULL;
	}
	m->server = server_of(req);
	m->req = req;
	m->answer = momentary_answer;
	return m;
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *s = server_of(req);
	struct node *p = node_get(&s->nodes, parent);
	struct node *n = p ? node_find(&s->nodes, p, name) : NULL;
	struct momentary *m;

	if (!p) {
		reply_err(req, -ESTALE);
	} else if (p->kind == N_FILES) {
		files_unlink(req, p, name);
	} else if (p->kind == N_PARTIES_NAME) {
		party_unlink(req, p, name);
	} else if (!is_lock_dir(p) || (n && n->kind != N_LOCK) || !lk_component_valid(name)) {
		reply_err(req, -EPERM);
	} else {
		m = momentary_new(req, p, name);
		if (!m)
			return;
		m->act = momentary_remove;
		momentary_start(m);
	}
}

/* --- rename --- */

static void renamed(void *arg, int err)
{
	struct momentary *m = arg;

	momentary_end(m, err);
}

static void rename_both(struct momentary *m, struct lk_hold *to)
{
	int err = lk_rename(m->server->backend, m->first, to, renamed, m);

	if (err < 0)
		momentary_end(m, err);
}

/* Has the source; now the target, through the same steps. */
static void rename_first(struct momentary *m, struct lk_hold *from)
{
	m->own_first = m->taken == NULL;
	m->first = from;
	m->taken = NULL;
	m->act = rename_both;
	memcpy(m->path, m->other, sizeof(m->path));
	momentary_start(m);
}

static void move_node(struct server *s, struct node *n, struct node *to, const char *name, const char *path)
{
	/* Without memory the kernel would use the node for the wrong name. */
	if (node_move(&s->nodes, n, to, name, path) < 0)
		node_unname(&s->nodes, n);
}

static void rename_answer(struct momentary *m, int err)
{
	if (err == 0 && m->node) {
		const char *slash = strrchr(m->other, '/');

		move_node(m->server, m->node, m->new_parent, slash ? slash + 1 : m->other, m->other);
	}
	reply_err(m->req, err);
}

static int ns_rename_go(struct naming *m)
{
	struct server *s = server_of(m->req);
	struct node *n = node_find(&s->nodes, m->parent, m->name);

	if (n && !node_fits(&s->nodes, n, m->other))
		return -ENAMETOOLONG;
	return lk_ns_rename(s->backend, m->path, m->other, naming_done, m);
}

static int ns_rename_take_target(struct naming *m)
{
	return naming_take(m, m->other, ns_rename_go);
}

static int ns_rename_take(struct naming *m)
{
	return naming_take(m, m->path, ns_rename_take_target);
}

/* As rename(2) of a folder: one that goes elsewhere is written to itself, its `..`. */
static int ns_rename_call(struct naming *m)
{
	if (m->new_parent == m->parent)
		return ns_rename_take(m);
	m->call = ns_rename_take;
	perm_namespace(server_of(m->req), m->req, m->path, PERM_WRITE, naming_allowed, m);
	return 0;
}

static void ns_rename_after(struct naming *m)
{
	struct server *s = server_of(m->req);
	struct node *n = node_find(&s->nodes, m->parent, m->name);

	if (n)
		move_node(s, n, m->new_parent, m->new_name, m->other);
	reply_err(m->req, 0);
}

/* The target's namespace was checked: now the source's. */
static void ns_rename_target_allowed(void *arg, int err)
{
	struct naming *m = arg;

	if (err) {
		reply_err(m->req, err);
		free(m);
		return;
	}
	naming_start(m);
}

static void rename_namespace(fuse_req_t req, struct node *p, const char *name, struct node *np, const char *newname)
{
	struct naming *m = naming_new(req, p, name);
	int err;

	if (!m)
		return;
	err = strlen(newname) > 255 ? -ENAMETOOLONG : node_join(np, newname, m->other);
	if (err) {
		reply_err(req, err);
		free(m);
		return;
	}
	strcpy(m->new_name, newname); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): length checked above
	m->new_parent = np;
	m->call = ns_rename_call;
	m->after = ns_rename_after;
	perm_namespace(server_of(req), req, np->path, PERM_WRITE, ns_rename_target_allowed, m);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
	       unsigned int flags)
{
	struct server *s = server_of(req);
	struct node *p = node_get(&s->nodes, parent), *np = node_get(&s->nodes, newparent);
	struct node *n = p ? node_find(&s->nodes, p, name) : NULL, *target;
	struct momentary *m;

	if (!p || !np) {
		reply_err(req, -ESTALE);
		return;
	}
	if (p->kind == N_FILES && np->kind == N_FILES) {
		files_rename(req, p, name, np, newname, flags);
		return;
	}
	if (!is_lock_dir(p) || !is_lock_dir(np)) {
		reply_err(req, p->kind == N_FILES || np->kind == N_FILES ? -EXDEV : -EPERM);
		return;
	}
	/* Every name resolves, so NOREPLACE could never be granted, nor EXCHANGE be atomic. */
	if (flags || !lk_component_valid(newname)) {
		reply_err(req, -EINVAL);
		return;
	}
	target = node_find(&s->nodes, np, newname);
	if (target && target->kind != N_LOCK && (target->kind != N_NAMESPACE || !*target->path)) {
		reply_err(req, -EPERM); /* status and the like */
		return;
	}
	if (n && n->kind == N_NAMESPACE && *n->path) {
		rename_namespace(req, p, name, np, newname);
		return;
	}
	if (n && n->kind != N_LOCK) {
		reply_err(req, -EPERM);
		return;
	}
	m = momentary_new(req, p, name);
	if (!m)
		return;
	m->node = n;
	m->new_parent = np;
	m->act = rename_first;
	m->answer = rename_answer;
	if (node_join(np, newname, m->other) < 0) {
		momentary_end(m, -ENAMETOOLONG);
		return;
	}
	if (strcmp(m->path, m->other) == 0) {
		momentary_end(m, 0);
		return;
	}
	momentary_start(m);
}
