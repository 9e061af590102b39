/* stat, list and view. */
#include "backend/file/gather.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* --- view --- */

struct viewing {
	struct file_backend *b;
	struct pl_task task;
	struct gather *g;
	lk_view_cb view_cb;
	lk_stat_cb stat_cb;
	lk_list_cb list_cb;
	void *arg;
	struct lk_stat st;
	char *ns;
};

static void answer_view(struct viewing *v)
{
	struct lk_view view = { .holders = v->g->holders,
				.waiters = v->g->waiters,
				.n_holders = v->g->n_holders,
				.n_waiters = v->g->n_waiters,
				.as_of = pl_wall(v->b->base.loop),
				.partial = v->g->partial };

	v->view_cb(v->arg, v->g->err, v->g->err ? NULL : &view);
}

static void answer_stat(struct viewing *v)
{
	const struct lk_party *p;

	v->st.holders = (unsigned)v->g->n_holders;
	v->st.waiters = (unsigned)v->g->n_waiters;
	if (v->st.holders) {
		p = &v->g->holders[0];
		v->st.type = LK_T_NAME;
		v->st.exclusive = p->mode == LK_EXCLUSIVE;
		v->st.uid = p->owner.uid;
		v->st.gid = p->owner.gid;
		if (p->since)
			v->st.mtime = p->since;
		if (p->token)
			v->st.token = p->token;
	}
	if (v->st.waiters)
		v->st.type = LK_T_NAME;
	v->stat_cb(v->arg, v->g->err, v->g->err ? NULL : &v->st);
}

static void answer_list(struct viewing *v);

static void run_viewing(struct pl_task *task)
{
	struct viewing *v = (struct viewing *)((char *)task - offsetof(struct viewing, task));

	if (v->view_cb)
		answer_view(v);
	else if (v->stat_cb)
		answer_stat(v);
	else
		answer_list(v);
	gather_free(v->g);
	free(v->ns);
	free(v);
}

static void viewing_free(void *arg)
{
	struct viewing *v = arg;

	gather_free(v->g);
	free(v->ns);
	free(v);
}

static void all_known(void *arg)
{
	struct viewing *v = arg;

	pl_defer(v->b->base.loop, &v->task);
}

/* The other mounts have answered: programs outside last, as their list of
 * mounts is needed to leave those out. */
static void peers_answered(void *arg, struct gather *g)
{
	gather_outside(g, all_known, viewing_free, arg);
}

static void drop_viewing(struct pl_task *task)
{
	viewing_free((char *)task - offsetof(struct viewing, task));
}

static struct viewing *viewing_new(struct file_backend *b, enum lk_kind kind, const char *name, void *arg)
{
	struct viewing *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->b = b;
	v->arg = arg;
	v->task.run = run_viewing;
	v->task.drop = drop_viewing;
	v->task.owner = b;
	v->g = gather_new(b, kind, name);
	if (v->g)
		return v;
	free(v);
	return NULL;
}

int fb_view(struct lk_backend *base, enum lk_kind kind, const char *name, lk_view_cb cb, void *arg)
{
	struct viewing *v = viewing_new(fb_of(base), kind, name, arg);

	if (!v)
		return -ENOMEM;
	v->view_cb = cb;
	gather_here(v->g);
	peers_gather(v->b->peers, v->g, peers_answered, viewing_free, v);
	return 0;
}

/* --- stat --- */

static uint64_t mtime_of(const struct stat *st)
{
	return (uint64_t)st->st_mtim.tv_sec * PL_SEC + (uint64_t)st->st_mtim.tv_nsec;
}

static int stat_path(struct file_backend *b, const char *name, struct lk_stat *out)
{
	struct stat st;
	int err = *name ? store_stat(b->store.locks, name, &st) : (fstat(b->store.locks, &st) < 0 ? -errno : 0);
	char *parent;
	const char *slash;

	if (err == -ENOENT) {
		/* A free name, or a namespace on the way that is not there? */
		slash = strrchr(name, '/');
		if (!slash)
			return 0;
		parent = strndup(name, (size_t)(slash - name));
		if (!parent)
			return -ENOMEM;
		err = store_stat(b->store.locks, parent, &st);
		free(parent);
		return err ? err : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	}
	if (err)
		return err;
	if (S_ISDIR(st.st_mode)) {
		out->type = LK_T_NAMESPACE;
		out->perm = st.st_mode & 07777;
		out->uid = st.st_uid;
		out->gid = st.st_gid;
	} else {
		out->size = (uint64_t)st.st_size;
		out->type = st.st_size ? LK_T_NAME : LK_T_NONE;
	}
	out->mtime = mtime_of(&st);
	return 0;
}

int fb_stat(struct lk_backend *base, enum lk_kind kind, const char *name, enum lk_depth depth, lk_stat_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	struct viewing *v;
	struct fname *n = *name ? fname_find(b, kind, name) : NULL;
	int err = 0;

	v = viewing_new(b, kind, *name ? name : NULL, arg);
	if (!v)
		return -ENOMEM;
	v->stat_cb = cb;
	if (kind == LK_LOCK)
		err = stat_path(b, name, &v->st);
	if (err) {
		gather_free(v->g);
		free(v);
		return err;
	}
	if (n)
		v->st.token = n->token;
	if (*name && kind == LK_LOCK && depth == LK_STAT_FULL)
		v->st.abandoned = held_abandoned(b->held, held_key(name));
	if (*name)
		gather_here(v->g);
	/* What is held here nobody else holds, but for shared holds. */
	if (depth == LK_STAT_FULL && *name && v->st.type != LK_T_NAMESPACE &&
	    !(n && n->arb.holders && n->arb.holders->mode == LK_EXCLUSIVE))
		peers_gather(b->peers, v->g, peers_answered, viewing_free, v);
	else
		pl_defer(base->loop, &v->task);
	return 0;
}

/* --- list --- */

struct listed {
	enum lk_type type;
	UT_hash_handle hh;
	char name[];
};

static void add_listed(struct listed **all, const char *name, size_t len, enum lk_type type)
{
	struct listed *l;

	HASH_FIND(hh, *all, name, len, l);
	if (l)
		return;
	l = calloc(1, sizeof(*l) + len + 1);
	if (!l)
		return;
	l->type = type;
	memcpy(l->name, name, len);
	HASH_ADD(hh, *all, name, len, l);
}

static void add_party(struct listed **all, const struct lk_party *p, const char *ns)
{
	size_t cut = strlen(ns);
	const char *name = p->name;

	if (cut && (strncmp(name, ns, cut) != 0 || name[cut] != '/'))
		return;
	name += cut ? cut + 1 : 0;
	/* Deeper ones are in a namespace, which the folder itself lists. */
	if (!strchr(name, '/'))
		add_listed(all, name, strlen(name), LK_T_NAME);
}

/* Namespaces, and files with a value (or all: files/). */
static int add_files(struct file_backend *b, struct listed **all, const char *ns, bool every)
{
	DIR *d = store_opendir(b->store.locks, *ns ? ns : ".");
	struct dirent *e;
	struct listed *known;
	struct stat st;
	size_t len;

	if (!d)
		return -errno;
	while ((e = readdir(d)) != NULL) {
		if (!(every ? lk_file_component_valid(e->d_name) : lk_component_valid(e->d_name)))
			continue;
		len = strlen(e->d_name);
		if (e->d_type == DT_DIR) {
			add_listed(all, e->d_name, len, LK_T_NAMESPACE);
			continue;
		}
		if (every) {
			add_listed(all, e->d_name, len, e->d_type == DT_LNK ? LK_T_LINK : LK_T_NAME);
			continue;
		}
		HASH_FIND(hh, *all, e->d_name, len, known);
		if (!known && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    st.st_size > 0)
			add_listed(all, e->d_name, len, LK_T_NAME);
	}
	closedir(d);
	return 0;
}

static void answer_list(struct viewing *v)
{
	struct listed *all = NULL, *l, *tmp;
	struct lk_entry *entries = NULL;
	struct lk_list list = { 0 };
	int err = v->g->err;
	size_t i;

	for (i = 0; i < v->g->n_holders; i++)
		add_party(&all, &v->g->holders[i], v->ns);
	for (i = 0; i < v->g->n_waiters; i++)
		add_party(&all, &v->g->waiters[i], v->ns);
	if (err == 0 && v->g->kind == LK_LOCK)
		err = add_files(v->b, &all, v->ns, v->g->name != NULL);
	if (err == 0 && all) {
		entries = calloc(HASH_COUNT(all), sizeof(*entries));
		if (!entries)
			err = -ENOMEM;
	}
	HASH_ITER(hh, all, l, tmp) {
		if (err == 0) {
			entries[list.n].name = l->name;
			entries[list.n++].type = l->type;
		}
	}
	list.entries = entries;
	v->list_cb(v->arg, err, err ? NULL : &list);
	HASH_ITER(hh, all, l, tmp) {
		HASH_DEL(all, l);
		free(l);
	}
	free(entries);
}

static struct viewing *listing_new(struct file_backend *b, enum lk_kind kind, const char *only, const char *ns,
				   lk_list_cb cb, void *arg)
{
	struct viewing *v = viewing_new(b, kind, only, arg);

	if (!v)
		return NULL;
	v->list_cb = cb;
	v->ns = strdup(ns);
	if (v->ns)
		return v;
	gather_free(v->g);
	free(v);
	return NULL;
}

int fb_list(struct lk_backend *base, enum lk_kind kind, const char *ns, lk_list_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	struct viewing *v = listing_new(b, kind, NULL, ns, cb, arg);

	if (!v)
		return -ENOMEM;
	gather_here(v->g);
	peers_gather(b->peers, v->g, peers_answered, viewing_free, v);
	return 0;
}

/* With a name set, nothing was gathered and answer_list takes every file. */
int fb_list_files(struct lk_backend *base, const char *ns, lk_list_cb cb, void *arg)
{
	struct viewing *v = listing_new(fb_of(base), LK_LOCK, "*", ns, cb, arg);

	if (!v)
		return -ENOMEM;
	pl_defer(base->loop, &v->task);
	return 0;
}
