/* Namespaces. All of them are kept here too, so that a LOOKUP needs no round
 * trip; the server tells when they changed, and each heartbeat has their
 * version, in case that message was lost. */
#include "backend/redis/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct nspace *ns_find(struct redis_backend *b, const char *path)
{
	struct nspace *n;

	HASH_FIND_STR(b->namespaces, path, n);
	return n;
}

void ns_free(struct redis_backend *b)
{
	struct nspace *n, *tmp;

	HASH_ITER(hh, b->namespaces, n, tmp) {
		HASH_DEL(b->namespaces, n);
		free(n);
	}
}

static void add(struct redis_backend *b, const char *path, const char *text)
{
	size_t len = strlen(path);
	unsigned perm, uid, gid;
	unsigned long long mtime;
	struct nspace *n;

	if (lk_name_check(path) < 0 || sscanf(text, "%u %u %u %llu", &perm, &uid, &gid, &mtime) != 4)
		return;
	n = calloc(1, sizeof(*n) + len + 1);
	if (!n)
		return;
	n->perm = perm & 07777;
	n->uid = uid;
	n->gid = gid;
	n->mtime = mtime * PL_MS;
	memcpy(n->path, path, len + 1);
	HASH_ADD_STR(b->namespaces, path, n);
}

static void on_namespaces(void *arg, int err, const redisReply *reply)
{
	struct redis_backend *b = arg;
	size_t i;

	b->namespaces_asked = false;
	if (err || strcmp(script_word(b, reply), "OK") != 0)
		return; /* the next heartbeat sees that the version differs */
	ns_free(b);
	for (i = 2; i + 1 < reply->elements; i += 2)
		add(b, reply_str(reply, i), reply_str(reply, i + 1));
	b->namespaces_version = reply_num(reply, 1);
}

void ns_refresh(struct redis_backend *b)
{
	struct script_call c;

	script_begin(b, &c, "nsget");
	/* Once more even while one is under way: that may have been read before the change. */
	b->namespaces_asked = script_send(b, LANE_COMMANDS, &c, on_namespaces, b) == 0;
}

#define CHANGE_ARGS 4

struct changing {
	struct redis_backend *b;
	lk_done_cb cb;
	void *arg;
	struct ragain again;
	uint64_t until; /* pl_now(): no more asking after it */
	const char *op;
	unsigned n;
	char *argv[CHANGE_ARGS];
};

static int ask(struct changing *g);

static void drop(struct changing *g)
{
	unsigned i;

	for (i = 0; i < g->n; i++)
		free(g->argv[i]);
	free(g);
}

static void on_changed(void *arg, int err, const redisReply *reply)
{
	struct changing *g = arg;
	struct redis_backend *b = g->b;
	const char *word = err ? "" : script_word(b, reply);

	if (strcmp(word, "AGAIN") == 0 && !b->stopping && pl_now(b->base.loop) < g->until) {
		again_later(&g->again);
		return;
	}
	if (err == 0)
		err = strcmp(word, "AGAIN") == 0 ? -EHOSTDOWN : script_errno(word);
	if (!b->stopping)
		g->cb(g->arg, err);
	drop(g);
}

/* Our own copy is read again right behind the change, before any later call. */
static int ask(struct changing *g)
{
	struct script_call c;
	unsigned i;
	int err;

	script_begin(g->b, &c, g->op);
	for (i = 0; i < g->n; i++)
		script_str(&c, g->argv[i]);
	err = script_send(g->b, LANE_COMMANDS, &c, on_changed, g);
	if (err == 0)
		ns_refresh(g->b);
	return err;
}

static void run_again(struct ragain *again)
{
	struct changing *g = (struct changing *)((char *)again - offsetof(struct changing, again));
	int err = ask(g);

	if (err)
		on_changed(g, err, NULL);
}

static void drop_again(struct ragain *again)
{
	drop((struct changing *)((char *)again - offsetof(struct changing, again)));
}

static struct changing *change_new(struct redis_backend *b, const char *op, lk_done_cb cb, void *arg)
{
	struct changing *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->b = b;
	g->op = op;
	g->cb = cb;
	g->arg = arg;
	g->again.b = b;
	g->again.run = run_again;
	g->again.drop = drop_again;
	g->until = pl_now(b->base.loop) + b->conn_config.attempt_ns;
	return g;
}

/* g may be NULL: no memory, found by change_go. */
static void change_str(struct changing *g, const char *s)
{
	if (g && (g->argv[g->n] = strdup(s)) != NULL)
		g->n++;
}

static void change_num(struct changing *g, unsigned n, bool stays)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	change_str(g, stays ? "-" : text);
}

static int change_go(struct changing *g, unsigned args)
{
	int err = !g || g->n != args ? -ENOMEM : g->b->state != SESSION_UP ? -EHOSTDOWN : ask(g);

	if (err && g)
		drop(g);
	return err;
}

int rb_ns_make(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	struct changing *g = change_new(rb_of(b), "nsmk", cb, arg);

	change_str(g, ns);
	change_num(g, perm & 07777, false);
	change_num(g, uid, false);
	change_num(g, gid, false);
	return change_go(g, 4);
}

int rb_ns_remove(struct lk_backend *b, const char *ns, lk_done_cb cb, void *arg)
{
	struct changing *g = change_new(rb_of(b), "nsrm", cb, arg);

	change_str(g, ns);
	return change_go(g, 1);
}

int rb_ns_rename(struct lk_backend *b, const char *from, const char *to, lk_done_cb cb, void *arg)
{
	size_t len = strlen(from);
	struct changing *g;

	if (strncmp(from, to, len) == 0 && to[len] == '/')
		return -EINVAL; /* into itself */
	g = change_new(rb_of(b), "nsmv", cb, arg);
	change_str(g, from);
	change_str(g, to);
	return change_go(g, 2);
}

int rb_ns_chmod(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	struct changing *g = change_new(rb_of(b), "nschmod", cb, arg);

	change_str(g, ns);
	change_num(g, perm & 07777, perm == (mode_t)-1);
	change_num(g, uid, uid == (uid_t)-1);
	change_num(g, gid, gid == (gid_t)-1);
	return change_go(g, 4);
}
