/* The node table: two hashes, by number and by (parent, name). */
#include "fs/node.h"

#include "base/zalloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *make_key(const struct node *parent, const char *name, size_t *keylen)
{
	size_t len = strlen(name);
	uint64_t id = parent ? parent->id : 0;
	char *key = malloc(sizeof(id) + len + 1);

	if (!key)
		return NULL;
	memcpy(key, &id, sizeof(id));
	memcpy(key + sizeof(id), name, len + 1);
	*keylen = sizeof(id) + len;
	return key;
}

static struct node *node_new(struct node_table *t, struct node *parent, const char *name, enum node_kind kind)
{
	struct node *n = pl_zalloc(sizeof(*n));

	if (!n)
		return NULL;
	n->key = make_key(parent, name, &n->keylen);
	if (!n->key) {
		free(n);
		return NULL;
	}
	n->kind = kind;
	n->parent = parent;
	n->slot = -1;
	n->id = parent ? t->next_id++ : 1;
	return n;
}

static void node_insert(struct node_table *t, struct node *n)
{
	HASH_ADD(hh_id, t->by_id, id, sizeof(n->id), n);
	HASH_ADD_KEYPTR(hh_name, t->by_name, n->key, n->keylen, n);
	n->hashed = true;
	if (n->parent)
		n->parent->children++;
	t->count++;
}

int nodes_init(struct node_table *t)
{
	struct timespec ts;
	struct node *root;

	memset(t, 0, sizeof(*t));
	/* A start that differs from mount to mount: inode numbers are looked for in
	 * /proc/PID/fdinfo, where those of other mounts are seen too. */
	clock_gettime(CLOCK_BOOTTIME, &ts);
	t->next_id = ((uint64_t)ts.tv_sec << 30 | (uint64_t)ts.tv_nsec >> 10) & ~(UINT64_C(1) << 63);
	if (t->next_id < 1024)
		t->next_id = 1024;
	root = node_new(t, NULL, "", N_ROOT);
	if (!root)
		return -ENOMEM;
	root->path = strdup("");
	root->view = calloc(1, sizeof(*root->view));
	if (!root->path || !root->view) {
		free(root->path);
		free(root->view);
		free(root->key);
		free(root);
		return -ENOMEM;
	}
	root->view->refs = 1;
	root->nlookup = 1;
	node_insert(t, root);
	t->root = root;
	return 0;
}

static void node_destroy(struct node *n)
{
	if (--n->view->refs == 0)
		free(n->view);
	free(n->path);
	free(n->seen);
	free(n->key);
	free(n);
}

void nodes_free(struct node_table *t)
{
	struct node *n, *tmp;

	HASH_CLEAR(hh_name, t->by_name);
	HASH_ITER(hh_id, t->by_id, n, tmp) {
		HASH_DELETE(hh_id, t->by_id, n);
		node_destroy(n);
	}
}

struct node *node_get(struct node_table *t, uint64_t id)
{
	struct node *n;

	HASH_FIND(hh_id, t->by_id, &id, sizeof(id), n);
	return n;
}

struct node *node_find(struct node_table *t, struct node *parent, const char *name)
{
	char key[sizeof(uint64_t) + LK_NAME_MAX + 1];
	size_t len = strlen(name);
	struct node *n;

	if (len > LK_NAME_MAX)
		return NULL;
	memcpy(key, &parent->id, sizeof(parent->id));
	memcpy(key + sizeof(parent->id), name, len);
	HASH_FIND(hh_name, t->by_name, key, sizeof(parent->id) + len, n);
	return n;
}

void node_unname(struct node_table *t, struct node *n)
{
	if (!n->hashed)
		return;
	HASH_DELETE(hh_name, t->by_name, n);
	n->hashed = false;
}

struct node *node_child(struct node_table *t, struct node *parent, const char *name, enum node_kind kind,
			const char *path)
{
	struct node *n = node_find(t, parent, name);

	if (n && n->kind == kind)
		return n;
	if (n)
		node_unname(t, n);
	n = node_new(t, parent, name, kind);
	if (!n)
		return NULL;
	n->path = strdup(path ? path : parent->path);
	if (!n->path) {
		free(n->key);
		free(n);
		return NULL;
	}
	n->view = parent->view;
	n->view->refs++;
	n->waiters = parent->waiters;
	n->lk = parent->lk;
	n->bound = parent->bound;
	node_insert(t, n);
	return n;
}

struct node *node_child_view(struct node_table *t, struct node *parent, const char *name,
			     const struct acquire_opts *acquire, bool only_used)
{
	struct node *n = node_find(t, parent, name);
	struct node_view *view;

	if (n)
		return n;
	view = calloc(1, sizeof(*view));
	if (!view)
		return NULL;
	n = node_child(t, parent, name, N_ROOT, "");
	if (!n) {
		free(view);
		return NULL;
	}
	parent->view->refs--;
	view->acquire = *acquire;
	view->only_used = only_used;
	view->refs = 1;
	n->view = view;
	return n;
}

static bool is_below(const struct node *n, const struct node *top)
{
	for (n = n->parent; n; n = n->parent) {
		if (n == top)
			return true;
	}
	return false;
}

bool node_fits(const struct node_table *t, const struct node *n, const char *path)
{
	size_t cut = strlen(n->path), len = strlen(path);
	const struct node *c;

	if (!n->children)
		return true;
	for (c = t->by_id; c; c = c->hh_id.next) {
		if (c->hashed && strlen(c->path) + len > LK_NAME_MAX + cut && is_below(c, n))
			return false;
	}
	return true;
}

/* Replaces the first `cut` bytes of the path. */
static int repath(struct node *n, size_t cut, const char *head)
{
	size_t a = strlen(head), len = strlen(n->path);
	char *path;

	/* One that was left behind by a move before. */
	if (len < cut)
		return -ENOENT;
	if (a + len - cut > LK_NAME_MAX)
		return -ENAMETOOLONG;
	path = malloc(a + len - cut + 1);
	if (!path)
		return -ENOMEM;
	memcpy(path, head, a);
	memcpy(path + a, n->path + cut, len - cut + 1);
	free(n->path);
	n->path = path;
	return 0;
}

int node_move(struct node_table *t, struct node *n, struct node *parent, const char *name, const char *path)
{
	size_t keylen, cut = strlen(n->path);
	char *key = make_key(parent, name, &keylen);
	struct node *old = node_find(t, parent, name), *c, *tmp;

	if (!key)
		return -ENOMEM;
	if (old)
		node_unname(t, old);
	node_unname(t, n);
	HASH_ITER(hh_id, t->by_id, c, tmp) {
		/* One that cannot be renamed loses its place, so the kernel looks again. */
		if (is_below(c, n) && repath(c, cut, path) < 0)
			node_unname(t, c);
	}
	free(n->key);
	n->key = key;
	n->keylen = keylen;
	parent->children++;
	if (n->parent && n->parent != parent) {
		struct node *was = n->parent;

		n->parent = parent;
		was->children--;
		node_forget(t, was, 0);
	} else {
		parent->children--;
	}
	HASH_ADD_KEYPTR(hh_name, t->by_name, n->key, n->keylen, n);
	n->hashed = true;
	return repath(n, cut, path);
}

void node_forget(struct node_table *t, struct node *n, uint64_t times)
{
	n->nlookup -= times < n->nlookup ? times : n->nlookup;
	while (n && n->nlookup == 0 && n->children == 0 && n->parent) {
		struct node *parent = n->parent;

		node_unname(t, n);
		HASH_DELETE(hh_id, t->by_id, n);
		t->count--;
		node_destroy(n);
		parent->children--;
		n = parent;
	}
}

int node_join(const struct node *parent, const char *name, char out[LK_NAME_MAX + 1])
{
	size_t a = strlen(parent->path), b = strlen(name);

	if (a + !!a + b > LK_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(out, parent->path, a);
	if (a)
		out[a++] = '/';
	memcpy(out + a, name, b + 1);
	return 0;
}
