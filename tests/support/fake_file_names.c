/* The fake backend's files: unlink, rename, links, lists. */
#include "tests/support/fake_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* A locks/ handle, of any mount, holds it by this name. */
static bool held_as(const struct fake_name *n, const char *name)
{
	const struct arb_holder *ah;

	DL_FOREACH(n->arb.holders, ah) {
		const struct fake_hold *h = (struct fake_hold *)((char *)ah - offsetof(struct fake_hold, arb));

		if (!h->by_file && strcmp(h->path, name) == 0)
			return true;
	}
	return false;
}

/* The entry of what is there; NULL and *err: why not. */
static struct fake_entry *find(struct fake_world *w, const char *name, int is_space, int *err)
{
	struct fake_entry *e = fake_entry_find(w, LK_LOCK, name);

	*err = fake_way(w, name);
	if (*err == 0 && fake_space_find(w, name))
		*err = is_space;
	else if (*err == 0 && !(e && fake_there(e->name)))
		*err = -ENOENT;
	return *err ? NULL : e;
}

/* 0: a new entry may have this name. */
static int may_make(struct fake_world *w, const char *name)
{
	const struct fake_name *n = fake_find(w, LK_LOCK, name);
	int err = fake_way(w, name);

	if (err)
		return err;
	return fake_space_find(w, name) || (n && (fake_used(n) || fake_there(n))) ? -EEXIST : 0;
}

/* n gets this name instead of what has it now. */
static int put_entry(struct fake_world *w, struct fake_name *n, const char *name)
{
	struct fake_entry *old = fake_entry_find(w, LK_LOCK, name), *e = fake_entry_add(w, n, name);
	struct fake_name *was = old ? old->name : NULL;

	if (!e)
		return -ENOMEM;
	if (old) {
		fake_entry_drop(w, old);
		fake_requeue(was);
	}
	n->file = true;
	return 0;
}

int fake_file_unlink(struct lk_backend *base, const char *name, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	struct fake_entry *e;
	struct fake_name *n;
	int err;

	e = find(b->world, name, -EISDIR, &err);
	n = e ? e->name : NULL;
	if (n && held_as(n, name))
		err = -EBUSY;
	if (err == 0) {
		n->ctime = pl_wall(base->loop);
		fake_entry_drop(b->world, e);
		fake_requeue(n);
	}
	return fake_done_later(b, cb, arg, err);
}

static int rename_space(struct fake_world *w, const char *from, const char *to, unsigned flags)
{
	const char *slash = strrchr(to, '/');

	if ((slash ? slash + 1 : to)[0] == '.')
		return -EINVAL;
	if ((flags & RENAME_NOREPLACE) && (fake_space_find(w, to) || fake_there(fake_find(w, LK_LOCK, to))))
		return -EEXIST;
	return fake_space_move(w, from, to);
}

static int rename_file(struct fake_backend *b, const char *from, const char *to, unsigned flags)
{
	struct fake_world *w = b->world;
	struct fake_entry *e = fake_entry_find(w, LK_LOCK, from);
	struct fake_name *n = e->name, *over = fake_find(w, LK_LOCK, to);
	int err = fake_way(w, to);

	if (err)
		return err;
	if ((flags & RENAME_NOREPLACE) && (fake_space_find(w, to) || fake_there(over)))
		return -EEXIST;
	if (fake_space_find(w, to))
		return -EISDIR;
	if (over == n)
		return 0;
	if (held_as(n, from) || (over && held_as(over, to)))
		return -EBUSY;
	err = put_entry(w, n, to);
	if (err)
		return err;
	n->ctime = pl_wall(b->base.loop);
	fake_entry_drop(w, e);
	fake_requeue(n);
	return 0;
}

int fake_file_rename(struct lk_backend *base, const char *from, const char *to, unsigned flags, lk_done_cb cb,
		     void *arg)
{
	struct fake_backend *b = fake_of(base);
	int err;

	if (fake_space_find(b->world, from))
		err = rename_space(b->world, from, to, flags);
	else if (find(b->world, from, 0, &err))
		err = rename_file(b, from, to, flags);
	return fake_done_later(b, cb, arg, err);
}

int fake_file_link(struct lk_backend *base, const char *from, const char *to, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	struct fake_entry *e;
	int err;

	e = find(b->world, from, -EPERM, &err);
	if (e)
		err = may_make(b->world, to);
	if (err == 0)
		err = put_entry(b->world, e->name, to);
	if (err == 0)
		e->name->ctime = pl_wall(base->loop);
	return fake_done_later(b, cb, arg, err);
}

static int make_link(struct fake_backend *b, const char *target, const char *name, uid_t uid, gid_t gid)
{
	struct fake_name *n;
	char *copy;

	copy = strdup(target);
	n = copy ? fake_get(b->world, LK_LOCK, name) : NULL;
	if (!n) {
		free(copy);
		return -ENOMEM;
	}
	free(n->value);
	n->value = copy;
	n->size = strlen(copy);
	n->file = n->link = true;
	n->uid = uid;
	n->gid = gid;
	n->mtime = n->ctime = pl_wall(b->base.loop);
	return 0;
}

int fake_file_symlink(struct lk_backend *base, const char *target, const char *name, uid_t uid, gid_t gid,
		      lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	int err = may_make(b->world, name);

	if (err == 0)
		err = make_link(b, target, name, uid, gid);
	return fake_done_later(b, cb, arg, err);
}

int fake_file_readlink(struct lk_backend *base, const char *name, lk_io_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	const struct fake_entry *e;
	int err;

	e = find(b->world, name, -EINVAL, &err);
	if (e && !e->name->link)
		err = -EINVAL;
	if (err)
		return fake_io_later(b, cb, arg, NULL, 0, err);
	return fake_io_later(b, cb, arg, e->name->value, e->name->size, (ssize_t)e->name->size);
}

/* --- list --- */

static int list_error(struct fake_world *w, const char *ns)
{
	int err;

	if (!*ns || fake_space_find(w, ns))
		return 0;
	err = fake_way(w, ns);
	if (err)
		return err;
	return fake_there(fake_find(w, LK_LOCK, ns)) ? -ENOTDIR : -ENOENT;
}

static void run_list(struct fake_later *l)
{
	struct fake_world *w = l->b->world;
	struct lk_entry *entries = calloc(HASH_COUNT(w->entries) + HASH_COUNT(w->spaces) + 1, sizeof(*entries));
	int err = entries ? list_error(w, l->data) : -ENOMEM;
	struct lk_list list = { .entries = entries };
	struct fake_space *s, *stmp;
	struct fake_entry *e, *etmp;

	HASH_ITER(hh, w->entries, e, etmp) {
		if (err || fake_kind(e) != LK_LOCK || !fake_there(e->name) || !fake_child(fake_str(e), l->data))
			continue;
		entries[list.n].name = fake_child(fake_str(e), l->data);
		entries[list.n++].type = e->name->link ? LK_T_LINK : LK_T_NAME;
	}
	HASH_ITER(hh, w->spaces, s, stmp) {
		if (err || !fake_child(s->path, l->data))
			continue;
		entries[list.n].name = fake_child(s->path, l->data);
		entries[list.n++].type = LK_T_NAMESPACE;
	}
	l->cb.list(l->arg, err, err ? NULL : &list);
	free(entries);
}

int fake_file_list(struct lk_backend *b, const char *ns, lk_list_cb cb, void *arg)
{
	struct fake_later *l = fake_later_new(fake_of(b), run_list, arg, ns, strlen(ns));

	if (!l)
		return -ENOMEM;
	l->cb.list = cb;
	return 0;
}
