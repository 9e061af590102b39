/* holders/ and waiters/: a view of the backend, as folders and small files.
 *
 * Nothing is remembered between requests: each lookup, open and unlink takes a
 * fresh view, so that rm breaks the hold that has the name now, by its id.
 */
#include "fs/listing.h"
#include "fs/ops.h"
#include "fs/perm.h"
#include "fs/render.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct search;
/* One party found, and its place in the queue of its name (1, 2, ...). */
typedef void (*found_fn)(struct search *f, const struct lk_party *p, unsigned position);

struct search {
	fuse_req_t req;
	struct node *node; /* the party's, or its parent when looking up */
	struct fuse_file_info fi;
	found_fn found;
	uint64_t as_of; /* 0: the view is of now */
	char name[256];
};

static void have_view(void *arg, int err, const struct lk_view *v)
{
	struct search *f = arg;
	const struct lk_party *p = NULL;
	char **names = NULL;
	size_t n = 0, i;

	if (err == 0) {
		p = f->node->waiters ? v->waiters : v->holders;
		n = f->node->waiters ? v->n_waiters : v->n_holders;
		names = render_party_names(p, n, f->node->waiters);
		err = names ? 0 : -ENOMEM;
	}
	for (i = 0; i < n && names; i++) {
		if (strcmp(names[i], f->name) == 0)
			break;
	}
	if (err == 0 && i == n)
		err = -ENOENT;
	f->as_of = err == 0 && v->partial ? v->as_of : 0;
	if (err)
		reply_err(f->req, err);
	else
		f->found(f, &p[i], (unsigned)i + 1);
	free(names);
	free(f);
}

static void search(fuse_req_t req, struct node *n, const char *name, const struct fuse_file_info *fi, found_fn found)
{
	struct search *f = calloc(1, sizeof(*f));
	int err = f ? 0 : -ENOMEM;

	if (err == 0 && strlen(name) > 255)
		err = -ENAMETOOLONG;
	if (err == 0) {
		f->req = req;
		f->node = n;
		f->found = found;
		if (fi)
			f->fi = *fi;
		strcpy(f->name, name); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): length checked above
		err = lk_view(server_of(req)->backend, n->lk, n->path, have_view, f);
	}
	if (err < 0) {
		reply_err(req, err);
		free(f);
	}
}

/* --- lookup and attributes --- */

static void lookup_found(struct search *f, const struct lk_party *p, unsigned position)
{
	struct server *s = server_of(f->req);
	struct node *n = node_child(&s->nodes, f->node, f->name, N_PARTY, NULL);
	struct stat st;

	(void)position;
	if (!n) {
		reply_err(f->req, -ENOMEM);
		return;
	}
	attr_party(s, n, p, &st);
	reply_entry(f->req, n, &st);
}

struct resolving {
	fuse_req_t req;
	struct node *parent;
	char path[LK_NAME_MAX + 1];
	char name[256];
};

/* A folder for a namespace, else one for a name; both resolve when unused. */
static void have_stat(void *arg, int err, const struct lk_stat *st)
{
	struct resolving *r = arg;
	struct server *s = server_of(r->req);
	enum node_kind kind;

	if (err) {
		reply_err(r->req, err);
	} else {
		kind = st->type == LK_T_NAMESPACE ? N_PARTIES_NS : N_PARTIES_NAME;
		reply_static_entry(r->req, node_child(&s->nodes, r->parent, r->name, kind, r->path));
	}
	free(r);
}

static void lookup_name(fuse_req_t req, struct node *parent, const char *name)
{
	struct server *s = server_of(req);
	struct resolving *r;
	int err;

	if (!lk_component_valid(name)) {
		reply_err(req, -ENOENT);
		return;
	}
	if (parent->lk == LK_SEM) {
		reply_static_entry(req, node_child(&s->nodes, parent, name, N_PARTIES_NAME, name));
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		reply_err(req, -ENOMEM);
		return;
	}
	r->req = req;
	r->parent = parent;
	strcpy(r->name, name); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): a valid component fits
	err = node_join(parent, name, r->path);
	if (err == 0)
		err = lk_stat(s->backend, LK_LOCK, r->path, LK_STAT_LOCAL, have_stat, r);
	if (err < 0) {
		reply_err(req, err);
		free(r);
	}
}

void party_lookup(fuse_req_t req, struct node *parent, const char *name)
{
	struct server *s = server_of(req);
	struct node *n;

	if (parent->kind == N_PARTIES_NAME) {
		search(req, parent, name, NULL, lookup_found);
	} else if (parent->kind == N_PARTIES_NS) {
		lookup_name(req, parent, name);
	} else if (strcmp(name, "locks") == 0 || strcmp(name, "sems") == 0) {
		n = node_child(&s->nodes, parent, name, N_PARTIES_NS, "");
		if (n)
			n->lk = name[0] == 'l' ? LK_LOCK : LK_SEM;
		reply_static_entry(req, n);
	} else {
		reply_err(req, -ENOENT);
	}
}

static void getattr_found(struct search *f, const struct lk_party *p, unsigned position)
{
	struct stat st;

	(void)position;
	attr_party(server_of(f->req), f->node, p, &st);
	fuse_reply_attr(f->req, &st, 0);
}

void party_getattr(fuse_req_t req, struct node *n)
{
	search(req, n, node_name(n), NULL, getattr_found);
}

/* --- reading one --- */

static void open_found(struct search *f, const struct lk_party *p, unsigned position)
{
	struct server *s = server_of(f->req);
	struct handle *h = handle_new(s, f->node, H_TEXT);

	if (h)
		h->text = f->node->waiters ? render_waiter(p, position, pl_wall(s->loop), f->as_of, &h->text_len)
					   : render_holder(p, pl_wall(s->loop), f->as_of, &h->text_len);
	if (!h || !h->text) {
		if (h)
			handle_free(h);
		reply_err(f->req, -ENOMEM);
		return;
	}
	f->fi.direct_io = 1;
	f->fi.noflush = 1;
	handle_reply_open(f->req, h, &f->fi);
}

void party_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi)
{
	if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC))
		reply_err(req, -EACCES);
	else
		search(req, n, node_name(n), fi, open_found);
}

/* --- rm: break a hold, end a wait --- */

static void unlinked(void *arg, int err)
{
	reply_err(arg, err);
}

static void unlink_found(struct search *f, const struct lk_party *p, unsigned position)
{
	struct lk_backend *b = server_of(f->req)->backend;
	uid_t uid = fuse_req_ctx(f->req)->uid;
	int err;

	(void)position;
	if (uid != 0 && uid != p->owner.uid)
		err = -EPERM;
	else if (!*p->id) /* a program outside: its lock is not ours to break */
		err = -EPERM;
	else if (f->node->waiters)
		err = lk_end_wait(b, p->id, unlinked, f->req);
	else
		err = lk_break(b, p->id, unlinked, f->req);
	if (err < 0)
		reply_err(f->req, err);
}

void party_unlink(fuse_req_t req, struct node *parent, const char *name)
{
	search(req, parent, name, NULL, unlink_found);
}

/* --- listing --- */

static int add_parties(struct listing *l, const struct lk_party *p, size_t n)
{
	char **names = render_party_names(p, n, l->node->waiters);
	size_t i;
	int err = names ? 0 : -ENOMEM;

	for (i = 0; err == 0 && i < n; i++)
		err = handle_add_entry(l->h, names[i], S_IFREG);
	free(names);
	return err;
}

struct seen {
	UT_hash_handle hh;
	char name[];
};

/* The next component of each name below the listed namespace, once. */
static int add_names(struct listing *l, const struct lk_party *p, size_t n)
{
	const char *ns = l->node->path;
	size_t cut = strlen(ns), i;
	struct seen *all = NULL, *s, *tmp;
	int err = 0;

	for (i = 0; err == 0 && i < n; i++) {
		const char *name = p[i].name;
		size_t len;

		if (cut && (strncmp(name, ns, cut) != 0 || name[cut] != '/'))
			continue;
		name += cut ? cut + 1 : 0;
		len = strcspn(name, "/");
		HASH_FIND(hh, all, name, len, s);
		if (s)
			continue;
		s = calloc(1, sizeof(*s) + len + 1);
		if (!s) {
			err = -ENOMEM;
			break;
		}
		memcpy(s->name, name, len);
		HASH_ADD(hh, all, name, len, s);
		err = handle_add_entry(l->h, s->name, S_IFDIR);
	}
	HASH_ITER(hh, all, s, tmp) {
		HASH_DEL(all, s);
		free(s);
	}
	return err;
}

static void have_list(void *arg, int err, const struct lk_view *v)
{
	struct listing *l = arg;
	const struct lk_party *p;
	size_t n;

	if (err == 0) {
		p = l->node->waiters ? v->waiters : v->holders;
		n = l->node->waiters ? v->n_waiters : v->n_holders;
		err = l->node->kind == N_PARTIES_NAME ? add_parties(l, p, n) : add_names(l, p, n);
	}
	listing_end(l, err);
}

void party_opendir(fuse_req_t req, struct node *n, struct fuse_file_info *fi)
{
	struct listing *l = listing_new(req, n, fi);
	int err;

	if (!l)
		return;
	err = handle_add_dots(l->h);
	if (err == 0 && n->kind == N_PARTIES) {
		err = handle_add_entry(l->h, "locks", S_IFDIR);
		if (err == 0)
			err = handle_add_entry(l->h, "sems", S_IFDIR);
		listing_end(l, err);
		return;
	}
	if (err == 0)
		err = lk_view(server_of(req)->backend, n->lk, n->kind == N_PARTIES_NAME ? n->path : NULL, have_list, l);
	if (err)
		listing_end(l, err);
}
