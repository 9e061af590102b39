/* The fake backend's namespaces. Errors come in the callback, so that callers
 * cannot count on hearing them at once. */
#include "tests/support/fake_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool fake_below(const char *name, const char *ns)
{
	size_t len = strlen(ns);

	return len == 0 || (strncmp(name, ns, len) == 0 && name[len] == '/');
}

/* Anything below ns that is held or waited for, or (values) that is listed? */
static bool busy(struct fake_world *w, const char *ns, bool values)
{
	struct fake_entry *e, *etmp;
	struct fake_space *s, *stmp;

	HASH_ITER(hh, w->entries, e, etmp) {
		if (fake_kind(e) == LK_LOCK && fake_below(fake_str(e), ns) &&
		    (fake_used(e->name) || (values && fake_there(e->name))))
			return true;
	}
	HASH_ITER(hh, w->spaces, s, stmp) {
		if (values && fake_below(s->path, ns))
			return true;
	}
	return false;
}

static bool lock_there(struct fake_world *w, const char *name)
{
	const struct fake_name *n = fake_find(w, LK_LOCK, name);

	return n && (fake_used(n) || fake_there(n));
}

int fake_ns_make(struct lk_backend *base, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	struct fake_space *s;
	int err = fake_way(b->world, ns);

	if (err == 0 && (fake_space_find(b->world, ns) || lock_there(b->world, ns)))
		err = -EEXIST;
	if (err)
		return fake_done_later(b, cb, arg, err);
	s = calloc(1, sizeof(*s));
	if (!s || !(s->path = strdup(ns))) {
		free(s);
		return -ENOMEM;
	}
	s->perm = perm;
	s->uid = uid;
	s->gid = gid;
	s->mtime = pl_wall(base->loop);
	s->ino = ++b->world->ino;
	HASH_ADD_KEYPTR(hh, b->world->spaces, s->path, strlen(s->path), s);
	return fake_done_later(b, cb, arg, 0);
}

static int ns_missing(struct fake_world *w, const char *ns)
{
	int err = fake_way(w, ns);

	if (err == 0 && !fake_space_find(w, ns))
		err = lock_there(w, ns) ? -ENOTDIR : -ENOENT;
	return err;
}

static void drop_space(struct fake_world *w, struct fake_space *s)
{
	HASH_DEL(w->spaces, s);
	free(s->path);
	free(s);
}

int fake_ns_remove(struct lk_backend *base, const char *ns, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	int err = ns_missing(b->world, ns);

	if (err == 0 && busy(b->world, ns, true))
		err = -ENOTEMPTY;
	if (err == 0)
		drop_space(b->world, fake_space_find(b->world, ns));
	return fake_done_later(b, cb, arg, err);
}

/* "FROM/x" to "TO/x"; NULL: out of memory. */
static char *moved(const char *path, const char *from, const char *to)
{
	char *out;

	return asprintf(&out, "%s%s", to, path + strlen(from)) < 0 ? NULL : out;
}

static int move_names(struct fake_world *w, const char *from, const char *to)
{
	struct fake_entry *e, *there, *tmp;
	struct fake_name *n, *old;
	char *path;

	HASH_ITER(hh, w->entries, e, tmp) {
		n = e->name;
		if (fake_kind(e) != LK_LOCK || !fake_there(n) || !fake_below(fake_str(e), from))
			continue;
		path = moved(fake_str(e), from, to);
		there = path ? fake_entry_find(w, LK_LOCK, path) : NULL;
		if (there) {
			old = there->name; /* nobody uses it */
			fake_entry_drop(w, there);
			fake_put(old);
		}
		there = path ? fake_entry_add(w, n, path) : NULL;
		free(path);
		if (!there)
			return -ENOMEM;
		fake_entry_drop(w, e);
	}
	return 0;
}

static int move_spaces(struct fake_world *w, const char *from, const char *to)
{
	struct fake_space *s, *tmp;
	char *path;

	HASH_ITER(hh, w->spaces, s, tmp) {
		if (strcmp(s->path, from) != 0 && !fake_below(s->path, from))
			continue;
		path = moved(s->path, from, to);
		if (!path)
			return -ENOMEM;
		HASH_DEL(w->spaces, s);
		free(s->path);
		s->path = path;
		HASH_ADD_KEYPTR(hh, w->spaces, s->path, strlen(s->path), s);
	}
	return 0;
}

int fake_space_move(struct fake_world *w, const char *from, const char *to)
{
	int err = ns_missing(w, from);

	if (err == 0)
		err = fake_way(w, to);
	if (err == 0 && fake_below(to, from))
		err = -EINVAL;
	if (err == 0 && (busy(w, from, false) || busy(w, to, false)))
		err = -EBUSY;
	if (err == 0 && strcmp(from, to) == 0)
		return 0;
	if (err == 0 && busy(w, to, true))
		err = -ENOTEMPTY;
	if (err == 0 && lock_there(w, to))
		err = -ENOTDIR;
	if (err)
		return err;
	if (fake_space_find(w, to))
		drop_space(w, fake_space_find(w, to));
	err = move_names(w, from, to);
	return err ? err : move_spaces(w, from, to);
}

int fake_ns_rename(struct lk_backend *base, const char *from, const char *to, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);

	return fake_done_later(b, cb, arg, fake_space_move(b->world, from, to));
}

int fake_ns_chmod(struct lk_backend *base, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	int err = ns_missing(b->world, ns);
	struct fake_space *s = err ? NULL : fake_space_find(b->world, ns);

	if (s && perm != (mode_t)-1)
		s->perm = perm;
	if (s && uid != (uid_t)-1)
		s->uid = uid;
	if (s && gid != (gid_t)-1)
		s->gid = gid;
	return fake_done_later(b, cb, arg, err);
}

int fake_ns_sync(struct lk_backend *base, const char *ns, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);

	return fake_done_later(b, cb, arg, *ns ? ns_missing(b->world, ns) : 0);
}
