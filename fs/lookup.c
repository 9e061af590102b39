/* LOOKUP: from a name to a node.
 *
 * Below locks/ every valid name resolves, so that open(2) needs no O_CREAT.
 * That would make mkdir(2) impossible: the kernel looks the name up first and
 * says EEXIST without asking us, and LOOKUP does not tell what it is for. So a
 * name nobody uses does not resolve for a thread that is inside mkdir(2) (or
 * a call like it), nor below with/new/.
 */
#include "fs/ops.h"

#include "fs/render.h"

#include "base/zalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A name's node never changes by itself, only another mount's mkdir or rmdir
 * can change it: so the kernel may keep the entry a little. Attributes never. */
#define ENTRY_SECONDS 1.0

struct lookup {
	fuse_req_t req;
	struct node *parent;
	bool asked_all;
	char path[LK_NAME_MAX + 1];
	char name[];
};

static const struct {
	const char *word;
	enum node_kind kind;
} root_words[] = {
	{ "locks", N_NAMESPACE }, { "sems", N_SEMS },	    { "files", N_FILES },   { "with", N_WITH },
	{ "holders", N_PARTIES }, { "waiters", N_PARTIES }, { "status", N_STATUS }, { "status.json", N_STATUS_JSON },
	{ "metrics", N_METRICS }, { "README", N_README },
};

void reply_entry(fuse_req_t req, struct node *n, const struct stat *attr)
{
	struct server *s = server_of(req);
	struct fuse_entry_param e;

	memset(&e, 0, sizeof(e));
	e.ino = n->id;
	e.attr = *attr;
	if ((n->kind == N_LOCK || n->kind == N_NAMESPACE) && !n->view->only_used)
		e.entry_timeout = ENTRY_SECONDS;
	else if (n->kind != N_PARTY && n->kind != N_FILE && n->kind != N_FILES && n->kind != N_PARTIES_NS &&
		 n->kind != N_PARTIES_NAME && n->kind != N_LOCK && n->kind != N_NAMESPACE)
		e.entry_timeout = 3600.0;
	n->nlookup++;
	if (fuse_reply_entry(req, &e) != 0)
		node_forget(&s->nodes, n, 1);
}

void reply_static_entry(fuse_req_t req, struct node *n)
{
	struct stat st;

	if (!n) {
		reply_err(req, -ENOMEM);
		return;
	}
	attr_static(server_of(req), n, &st);
	reply_entry(req, n, &st);
}

static bool hides_unused(const struct lookup *l)
{
	return l->parent->view->only_used || who_makes_name(fuse_req_ctx(l->req)->pid);
}

static void on_stat(void *arg, int err, const struct lk_stat *ls)
{
	struct lookup *l = arg;
	struct server *s = server_of(l->req);
	struct stat st;
	struct node *n;

	if (err == 0 && ls->type == LK_T_NONE && hides_unused(l)) {
		/* Sure that nobody uses it, other mounts included? */
		err = l->asked_all ? -ENOENT : lk_stat(s->backend, LK_LOCK, l->path, LK_STAT_FULL, on_stat, l);
		l->asked_all = true;
		if (err == 0)
			return;
	}
	if (err) {
		reply_err(l->req, err);
		free(l);
		return;
	}
	n = node_child(&s->nodes, l->parent, l->name, ls->type == LK_T_NAMESPACE ? N_NAMESPACE : N_LOCK, l->path);
	if (n) {
		attr_lock(s, n, ls, &st);
		reply_entry(l->req, n, &st);
	} else {
		reply_err(l->req, -ENOMEM);
	}
	free(l);
}

static void lookup_lock(fuse_req_t req, struct node *parent, const char *name)
{
	struct server *s = server_of(req);
	size_t len = strlen(name);
	struct lookup *l;
	int err;

	if (!lk_component_valid(name)) {
		reply_err(req, -ENOENT);
		return;
	}
	l = pl_zalloc(sizeof(*l) + len + 1);
	if (!l) {
		reply_err(req, -ENOMEM);
		return;
	}
	l->req = req;
	l->parent = parent;
	memcpy(l->name, name, len + 1);
	err = node_join(parent, name, l->path);
	if (err == 0)
		err = lk_stat(s->backend, LK_LOCK, l->path, LK_STAT_LOCAL, on_stat, l);
	if (err < 0) {
		reply_err(req, err);
		free(l);
	}
}

static void lookup_root(fuse_req_t req, struct node *parent, const char *name)
{
	struct server *s = server_of(req);
	struct node *n;
	size_t i;

	for (i = 0; i < sizeof(root_words) / sizeof(root_words[0]); i++) {
		if (strcmp(name, root_words[i].word) != 0)
			continue;
		n = node_child(&s->nodes, parent, name, root_words[i].kind, "");
		if (n && n->kind == N_PARTIES)
			n->waiters = name[0] == 'w';
		reply_static_entry(req, n);
		return;
	}
	lookup_lock(req, parent, name);
}

/* Decimal without sign or leading zeros, 0..LK_SLOTS_MAX; -1 for anything else. */
static long parse_number(const char *word)
{
	char *end;
	long v;

	if (word[0] < '0' || word[0] > '9' || (word[0] == '0' && word[1]))
		return -1;
	errno = 0;
	v = strtol(word, &end, 10);
	return *end || errno || v > (long)LK_SLOTS_MAX ? -1 : v;
}

static void lookup_sem(fuse_req_t req, struct node *parent, const char *name)
{
	struct server *s = server_of(req);
	long v = parse_number(name);
	struct node *n;

	switch (parent->kind) {
	case N_SEMS:
		if (!lk_component_valid(name))
			goto none;
		n = node_child(&s->nodes, parent, name, N_SEM, name);
		break;
	case N_SEM:
		if (v < 1)
			goto none;
		n = node_child(&s->nodes, parent, name, N_SEM_BOUND, NULL);
		if (n)
			n->bound = (unsigned)v;
		break;
	default:
		if (strcmp(name, "any") != 0 && (v < 0 || (unsigned)v >= parent->bound))
			goto none;
		n = node_child(&s->nodes, parent, name, N_SEM_SLOT, NULL);
		if (n)
			n->slot = strcmp(name, "any") == 0 ? -1 : (int)v;
		break;
	}
	reply_static_entry(req, n);
	return;
none:
	reply_err(req, -ENOENT);
}

static void lookup_with(fuse_req_t req, struct node *parent, const char *name)
{
	struct server *s = server_of(req);
	struct acquire_opts o = parent->view->acquire;
	bool only_used = parent->view->only_used;
	int err = 0;

	if (name[0] == '.') {
		reply_err(req, -ENOENT);
		return;
	}
	if (strcmp(name, "new") == 0)
		only_used = true;
	else
		err = acquire_opts_parse(&o, name);
	if (err)
		reply_err(req, err);
	else
		reply_static_entry(req, node_child_view(&s->nodes, parent, name, &o, only_used));
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *s = server_of(req);
	struct node *p = node_get(&s->nodes, parent);

	if (!p) {
		reply_err(req, -ESTALE);
		return;
	}
	if (strlen(name) > 255) {
		reply_err(req, -ENAMETOOLONG);
		return;
	}
	switch (p->kind) {
	case N_ROOT:
		lookup_root(req, p, name);
		break;
	case N_NAMESPACE:
		lookup_lock(req, p, name);
		break;
	case N_SEMS:
	case N_SEM:
	case N_SEM_BOUND:
		lookup_sem(req, p, name);
		break;
	case N_WITH:
		lookup_with(req, p, name);
		break;
	case N_FILES:
		files_lookup(req, p, name);
		break;
	case N_PARTIES:
	case N_PARTIES_NS:
	case N_PARTIES_NAME:
		party_lookup(req, p, name);
		break;
	default:
		reply_err(req, -ENOTDIR);
		break;
	}
}
