/* GETATTR and ACCESS: what stat(2) shows of each kind of node. */
#include "fs/ops.h"
#include "fs/perm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void set_time(struct timespec *ts, uint64_t ns)
{
	ts->tv_sec = (time_t)(ns / PL_SEC);
	ts->tv_nsec = (long)(ns % PL_SEC);
}

static void set_times(struct stat *st, uint64_t ns)
{
	set_time(&st->st_mtim, ns);
	set_time(&st->st_ctim, ns);
	set_time(&st->st_atim, ns);
}

static mode_t static_mode(const struct server *s, const struct node *n)
{
	mode_t mask = s->opt->umask;

	switch (n->kind) {
	case N_ROOT:
	case N_NAMESPACE:
	case N_FILES:
		return S_IFDIR | (0777 & ~mask);
	case N_LOCK:
	case N_SEM_SLOT:
		return S_IFREG | (0666 & ~mask);
	case N_SEMS:
	case N_SEM:
	case N_SEM_BOUND:
	case N_WITH:
	case N_PARTIES:
	case N_PARTIES_NS:
	case N_PARTIES_NAME:
		return S_IFDIR | 0555;
	default:
		return S_IFREG | 0444;
	}
}

void attr_static(const struct server *s, const struct node *n, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = n->id;
	st->st_mode = static_mode(s, n);
	st->st_nlink = S_ISDIR(st->st_mode) ? 2 : 1;
	st->st_uid = s->opt->uid;
	st->st_gid = s->opt->gid;
	st->st_blksize = 4096;
	set_times(st, s->mounted);
}

void attr_lock(const struct server *s, const struct node *n, const struct lk_stat *ls, struct stat *st)
{
	attr_static(s, n, st);
	if (ls->type == LK_T_NAMESPACE) {
		if (!*n->path) /* the top is the mount's own */
			return;
		st->st_mode = S_IFDIR | (ls->perm & 07777);
		st->st_uid = ls->uid;
		st->st_gid = ls->gid;
		if (ls->mtime)
			set_times(st, ls->mtime);
		return;
	}
	if (ls->holders) {
		st->st_uid = ls->uid;
		st->st_gid = ls->gid;
	}
	st->st_size = (off_t)ls->size;
	st->st_blocks = (st->st_size + 511) / 512;
	if (ls->mtime)
		set_times(st, ls->mtime);
}

void attr_file(const struct node *n, const struct lk_file_stat *fs, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	/* Programs tell two names of one file from two files by this number. */
	st->st_ino = n->kind == N_FILE ? fs->ino : n->id;
	st->st_mode = fs->mode;
	st->st_nlink = fs->nlink;
	st->st_uid = fs->uid;
	st->st_gid = fs->gid;
	st->st_size = (off_t)fs->size;
	st->st_blocks = (st->st_size + 511) / 512;
	st->st_blksize = 4096;
	set_time(&st->st_mtim, fs->mtime);
	set_time(&st->st_atim, fs->mtime);
	set_time(&st->st_ctim, fs->ctime);
}

void attr_party(const struct server *s, const struct node *n, const struct lk_party *p, struct stat *st)
{
	attr_static(s, n, st);
	st->st_uid = p->owner.uid;
	st->st_gid = p->owner.gid;
	if (p->since)
		set_times(st, p->since);
}

struct getattr {
	fuse_req_t req;
	struct node *node;
};

static void on_stat(void *arg, int err, const struct lk_stat *ls)
{
	struct getattr *g = arg;
	struct stat st;

	/* The node's kind is fixed; a name that became something else is another node. */
	if (err == 0 && g->node->kind == N_NAMESPACE && ls->type != LK_T_NAMESPACE)
		err = -ENOENT;
	else if (err == 0 && g->node->kind == N_LOCK && ls->type == LK_T_NAMESPACE)
		err = -ESTALE;
	if (err) {
		reply_err(g->req, err);
	} else {
		attr_lock(server_of(g->req), g->node, ls, &st);
		fuse_reply_attr(g->req, &st, 0);
	}
	free(g);
}

static void getattr_lock(fuse_req_t req, struct node *n)
{
	struct getattr *g = calloc(1, sizeof(*g));
	int err = -ENOMEM;

	if (g) {
		g->req = req;
		g->node = n;
		err = lk_stat(server_of(req)->backend, LK_LOCK, n->path, LK_STAT_FULL, on_stat, g);
	}
	if (err < 0) {
		reply_err(req, err);
		free(g);
	}
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct node *n = node_get(&s->nodes, ino);
	struct stat st;

	if (!n) {
		reply_err(req, -ESTALE);
		return;
	}
	switch (n->kind) {
	case N_LOCK:
		getattr_lock(req, n);
		return;
	case N_NAMESPACE:
		if (*n->path) {
			getattr_lock(req, n);
			return;
		}
		break;
	case N_FILE:
	case N_FILES:
		files_getattr(req, n, fi && fi->fh ? handle_of(fi) : NULL);
		return;
	case N_PARTY:
		party_getattr(req, n);
		return;
	default:
		break;
	}
	attr_static(s, n, &st);
	fuse_reply_attr(req, &st, 0);
}

/* access(2) on what has fixed bits is decided here; on names and namespaces
 * by the namespace, as an open would. */
struct access {
	fuse_req_t req;
};

static void on_access(void *arg, int err)
{
	struct access *a = arg;

	reply_err(a->req, err);
	free(a);
}

void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct server *s = server_of(req);
	struct node *n = node_get(&s->nodes, ino);
	char ns[LK_NAME_MAX + 1];
	struct access *a;
	struct stat st;
	int want = 0;

	if (!n) {
		reply_err(req, -ESTALE);
		return;
	}
	if (n->kind == N_FILE || (n->kind == N_FILES && *n->path)) {
		files_access(req, n, mask);
		return;
	}
	if (n->kind != N_LOCK && n->kind != N_NAMESPACE) {
		attr_static(s, n, &st);
		reply_err(req, perm_allows(req, st.st_mode, st.st_uid, st.st_gid, mask) ? 0 : -EACCES);
		return;
	}
	if (n->kind == N_LOCK && (mask & X_OK)) {
		reply_err(req, -EACCES);
		return;
	}
	want |= mask & R_OK ? PERM_READ : 0;
	want |= mask & W_OK ? PERM_WRITE : 0;
	if (n->kind == N_LOCK)
		perm_parent_of(n->path, ns);
	else
		strcpy(ns, n->path); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): names are checked
	a = calloc(1, sizeof(*a));
	if (!a) {
		reply_err(req, -ENOMEM);
		return;
	}
	a->req = req;
	perm_namespace(s, req, ns, want, on_access, a);
}
