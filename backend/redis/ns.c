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

/* A mode, a user or a group; "-": it stays. */
static const char *number(char out[16], unsigned n, bool stays)
{
	snprintf(out, 16, "%u", n);
	return stays ? "-" : out;
}

/* Our own copy is read again right behind the change, before any later call. */
static int change(struct lk_backend *b, const char *op, unsigned n, const char *const *argv, lk_done_cb cb, void *arg)
{
	return again_ask(rb_of(b), op, n, argv, ns_refresh, cb, arg);
}

int rb_ns_make(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	char p[16], u[16], g[16];
	const char *const argv[] = { ns, number(p, perm & 07777, false), number(u, uid, false), number(g, gid, false) };

	return change(b, "nsmk", 4, argv, cb, arg);
}

int rb_ns_remove(struct lk_backend *b, const char *ns, lk_done_cb cb, void *arg)
{
	return change(b, "nsrm", 1, &ns, cb, arg);
}

int rb_ns_rename(struct lk_backend *b, const char *from, const char *to, lk_done_cb cb, void *arg)
{
	const char *const argv[] = { from, to };
	size_t len = strlen(from);

	if (strncmp(from, to, len) == 0 && to[len] == '/')
		return -EINVAL; /* into itself */
	return change(b, "nsmv", 2, argv, cb, arg);
}

int rb_ns_chmod(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	char p[16], u[16], g[16];
	const char *const argv[] = { ns, number(p, perm & 07777, perm == (mode_t)-1), number(u, uid, uid == (uid_t)-1),
				     number(g, gid, gid == (gid_t)-1) };

	return change(b, "nschmod", 4, argv, cb, arg);
}
