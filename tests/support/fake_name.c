/* The fake backend's names: entries, and what they say. */
#include "tests/support/fake_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* --- entries --- */

struct fake_entry *fake_entry_find(struct fake_world *w, enum lk_kind kind, const char *name)
{
	char key[LK_NAME_MAX + 2];
	size_t len = strlen(name);
	struct fake_entry *e;

	key[0] = (char)kind;
	memcpy(key + 1, name, len);
	HASH_FIND(hh, w->entries, key, len + 1, e);
	return e;
}

struct fake_entry *fake_entry_add(struct fake_world *w, struct fake_name *n, const char *name)
{
	size_t len = strlen(name);
	struct fake_entry *e = calloc(1, sizeof(*e) + len + 2);

	if (!e)
		return NULL;
	e->name = n;
	e->key[0] = (char)n->arb.kind;
	memcpy(e->key + 1, name, len + 1);
	e->keylen = len + 1;
	HASH_ADD_KEYPTR(hh, w->entries, e->key, e->keylen, e);
	n->nlink++;
	return e;
}

void fake_entry_drop(struct fake_world *w, struct fake_entry *e)
{
	HASH_DEL(w->entries, e);
	e->name->nlink--;
	free(e);
}

/* --- what they say --- */

struct fake_name *fake_find(struct fake_world *w, enum lk_kind kind, const char *name)
{
	struct fake_entry *e = fake_entry_find(w, kind, name);

	return e ? e->name : NULL;
}

struct fake_name *fake_get(struct fake_world *w, enum lk_kind kind, const char *name)
{
	struct fake_name *n = fake_find(w, kind, name);

	if (n)
		return n;
	n = calloc(1, sizeof(*n) + strlen(name) + 1);
	if (!n)
		return NULL;
	n->arb.ops = &fake_arb_ops;
	n->arb.kind = kind;
	n->world = w;
	n->ranges.graph = &w->graph;
	n->ranges.limit = FAKE_RANGES_MAX;
	n->ino = ++w->ino;
	n->perm = 0644;
	strcpy(n->name, name);
	if (!fake_entry_add(w, n, name)) {
		free(n);
		return NULL;
	}
	DL_APPEND(w->names, n);
	return n;
}

void fake_put(struct fake_name *n)
{
	if (n->nlink || n->opens || fake_used(n))
		return;
	ranges_clear(&n->ranges);
	DL_DELETE(n->world->names, n);
	free(n->value);
	free(n);
}

void fake_requeue(struct fake_name *n)
{
	struct arb_waiter *aw, *tmp;

	n->opens++; /* stays while this looks at it */
	DL_FOREACH_SAFE(n->arb.waiters, aw, tmp) {
		struct fake_wait *w = (struct fake_wait *)aw;
		struct fake_name *to = w->by_file ? n : fake_get(n->world, LK_LOCK, w->path);

		if (to == n)
			continue;
		if (!to || to->link) {
			fake_wait_fail(w, to ? -ELOOP : -ENOLCK);
			continue;
		}
		arb_unwait(&n->arb, aw);
		w->name = to;
		arb_wait(&to->arb, aw);
		arb_pump(&to->arb);
	}
	arb_pump(&n->arb);
	n->opens--;
	fake_put(n);
}

/* --- namespaces --- */

struct fake_space *fake_space_find(struct fake_world *w, const char *path)
{
	struct fake_space *s;

	HASH_FIND_STR(w->spaces, path, s);
	return s;
}

int fake_way(struct fake_world *w, const char *name)
{
	const char *slash = strrchr(name, '/');
	char parent[LK_NAME_MAX + 1];
	struct fake_name *n;

	if (!slash)
		return 0;
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - name), name);
	if (fake_space_find(w, parent))
		return 0;
	n = fake_find(w, LK_LOCK, parent);
	return n && (fake_used(n) || fake_there(n)) ? -ENOTDIR : -ENOENT;
}
