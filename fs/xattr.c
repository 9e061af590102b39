/* GETXATTR and LISTXATTR: the user.plockfs.* attributes of names and semaphores. */
#include "fs/ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PREFIX "user.plockfs."
static const char *const lock_words[] = { "mode", "holders", "waiters", "token", "since", "abandoned" };
static const char *const sem_words[] = { "slots", "free", "holders", "waiters" };
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct asking {
	fuse_req_t req;
	struct node *node;
	const char *word;
	size_t size;
};

/* word NULL: all of them. NULL: answered already. */
static struct asking *asking_new(fuse_req_t req, struct node *n, const char *word, size_t size)
{
	struct asking *a = calloc(1, sizeof(*a));

	if (!a) {
		reply_err(req, -ENOMEM);
		return NULL;
	}
	a->req = req;
	a->node = n;
	a->word = word;
	a->size = size;
	return a;
}

/* size 0 asks for the length only. */
static void reply_bytes(fuse_req_t req, const char *data, size_t len, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, len);
	else if (size < len)
		reply_err(req, -ERANGE);
	else
		fuse_reply_buf(req, data, len);
}

static void have_stat(void *arg, int err, const struct lk_stat *st)
{
	struct asking *a = arg;
	char text[64];
	const char *w = a->word;
	time_t t;
	struct tm tm;
	int n = 0;

	if (err) {
		reply_err(a->req, err);
		free(a);
		return;
	}
	if (strcmp(w, "mode") == 0)
		n = snprintf(text, sizeof(text), "%s", !st->holders ? "free" : st->exclusive ? "exclusive" : "shared");
	else if (strcmp(w, "token") == 0)
		n = snprintf(text, sizeof(text), "%" PRIu64, st->token);
	else if (strcmp(w, "abandoned") == 0)
		n = snprintf(text, sizeof(text), "%d", st->abandoned);
	else if (st->holders) { /* since: RFC 3339, UTC */
		t = (time_t)(st->mtime / PL_SEC);
		gmtime_r(&t, &tm);
		n = (int)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	}
	if (n == 0) /* since, of a name nobody holds */
		reply_err(a->req, -ENODATA);
	else
		reply_bytes(a->req, text, (size_t)n, a->size);
	free(a);
}

static void have_view(void *arg, int err, const struct lk_view *v)
{
	struct asking *a = arg;
	unsigned taken = 0, bound = a->node->bound, value;
	char text[32];
	size_t i;

	if (err) {
		reply_err(a->req, err);
		free(a);
		return;
	}
	for (i = 0; i < v->n_holders; i++)
		taken += !bound || v->holders[i].slot < bound;
	if (strcmp(a->word, "slots") == 0)
		value = bound;
	else if (strcmp(a->word, "free") == 0)
		value = bound > taken ? bound - taken : 0;
	else if (strcmp(a->word, "holders") == 0)
		value = taken;
	else
		value = (unsigned)v->n_waiters;
	reply_bytes(a->req, text, (size_t)snprintf(text, sizeof(text), "%u", value), a->size);
	free(a);
}

static const char *find_word(const char *const *words, size_t n, const char *word)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (strcmp(words[i], word) == 0)
			return words[i];
	}
	return NULL;
}

/* The words a node has: a semaphore without a bound has no slots to count. */
static const char *const *words_of(const struct node *n, size_t *count)
{
	*count = 0;
	switch (n->kind) {
	case N_LOCK:
		*count = COUNT(lock_words);
		return lock_words;
	case N_SEM_BOUND:
	case N_SEM_SLOT:
		*count = COUNT(sem_words);
		return sem_words;
	case N_SEM:
		*count = 2;
		return sem_words + 2;
	default:
		return NULL;
	}
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct server *s = server_of(req);
	const char *const *words;
	struct node *n;
	struct asking *a;
	size_t count;
	int err;

	/* security.capability comes before every write: answer at once. */
	if (strncmp(name, PREFIX, sizeof(PREFIX) - 1) != 0) {
		reply_err(req, -ENODATA);
		return;
	}
	n = node_get(&s->nodes, ino);
	words = n ? words_of(n, &count) : NULL;
	name = words ? find_word(words, count, name + sizeof(PREFIX) - 1) : NULL;
	if (!name) {
		reply_err(req, n ? -ENODATA : -ESTALE);
		return;
	}
	a = asking_new(req, n, name, size);
	if (!a)
		return;
	/* Those of other mounts count too, where a stat may do without asking them. */
	if (n->kind == N_LOCK && strcmp(name, "holders") != 0 && strcmp(name, "waiters") != 0)
		err = lk_stat(s->backend, LK_LOCK, n->path, LK_STAT_FULL, have_stat, a);
	else
		err = lk_view(s->backend, n->kind == N_LOCK ? LK_LOCK : LK_SEM, n->path, have_view, a);
	if (err < 0) {
		reply_err(req, err);
		free(a);
	}
}

/* but: one that is missing now, or NULL. */
static void reply_words(fuse_req_t req, const struct node *n, const char *but, size_t size)
{
	const char *const *words;
	char list[256];
	size_t count, len = 0, i;

	words = words_of(n, &count);
	for (i = 0; i < count; i++) {
		if (!but || strcmp(words[i], but) != 0)
			len += (size_t)snprintf(list + len, sizeof(list) - len, PREFIX "%s", words[i]) + 1;
	}
	reply_bytes(req, list, len, size);
}

/* What is listed must be there when it is asked for: getfattr -d complains else. */
static void list_stat(void *arg, int err, const struct lk_stat *st)
{
	struct asking *a = arg;

	if (err)
		reply_err(a->req, err);
	else
		reply_words(a->req, a->node, st->holders ? NULL : "since", a->size);
	free(a);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct server *s = server_of(req);
	struct node *n = node_get(&s->nodes, ino);
	struct asking *a;
	int err;

	if (!n || n->kind != N_LOCK) {
		if (n)
			reply_words(req, n, NULL, size);
		else
			reply_err(req, -ESTALE);
		return;
	}
	a = asking_new(req, n, NULL, size);
	if (!a)
		return;
	err = lk_stat(s->backend, LK_LOCK, n->path, LK_STAT_FULL, list_stat, a);
	if (err < 0) {
		reply_err(req, err);
		free(a);
	}
}
