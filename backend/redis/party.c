/* What comes over our channel, and breaking holds and ending waits of any
 * mount by "SESSION/HANDLE". A message only wakes: what it says was decided at
 * the server, and a lost one is found by the next heartbeat. */
#include "backend/redis/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* The next word of *text, cut off. */
static char *next_word(char **text)
{
	return *text ? strsep(text, " ") : NULL;
}

void lock_contended(struct redis_backend *b, const char *kn, bool yes, bool by_others)
{
	struct rname *n;
	struct rhold *h, *tmp;
	size_t len = strlen(kn);

	HASH_FIND(hh, b->names, kn, len, n);
	if (yes && by_others)
		keep_wanted(b, kn);
	if (!n)
		return;
	n->wanted = yes ? b->seq : 0;
	if (n->idle) {
		keep_release(b, n);
		return;
	}
	DL_FOREACH_SAFE(n->holds, h, tmp) {
		h->pub.contended = yes;
		if (h->pub.on_contended)
			h->pub.on_contended(&h->pub);
	}
	if (yes && by_others)
		turns_enter(n);
}

static void break_hold(struct redis_backend *b, struct rhold *h)
{
	b->base.counters.broken++;
	pl_log(PL_WARN, "lock '%s' of process %d broken by rm", h->pub.name, (int)h->pub.owner.pid);
	rhold_lose(h, true);
}

static void on_party(struct redis_backend *b, char what, char *rest)
{
	const char *sid = next_word(&rest), *handle = next_word(&rest);
	uint64_t number = handle ? strtoull(handle, NULL, 10) : 0;
	const char *more;
	struct rrange *range;
	struct rwait *w;
	struct rhold *h;

	/* Of a session that is over: nothing is believed of it. */
	if (!sid || !handle || strcmp(sid, b->sid) != 0)
		return;
	if (what == 'b') {
		b->heard = number;
		b->granted_heard = b->granted_seen;
		b->wanted_heard = b->wanted_seen;
		lease_compare_messages(b);
		return;
	}
	range = rrange_find(b, number);
	w = rwait_find(b, number);
	h = rhold_find(b, number);
	if (what == 'g') {
		b->granted_seen++;
		more = next_word(&rest);
		if (range && more && rest)
			rrange_granted(range, rest);
		if (w && more && rest)
			rwait_granted(w, rest, *more == '1');
	} else if (what == 'l' && h) {
		break_hold(b, h);
	} else if (what == 'e' && w) {
		rwait_fail(w, -ECANCELED);
	}
}

void lock_message(struct redis_backend *b, const char *text)
{
	char *copy = strdup(text), *rest = copy;
	const char *what = next_word(&rest);

	if (!copy)
		return; /* as if it had been lost */
	if (rest && strcmp(what, "W") == 0)
		b->wanted_seen++;
	if (rest && (strcasecmp(what, "w") == 0 || strcmp(what, "o") == 0 || strcmp(what, "u") == 0))
		lock_contended(b, rest, *what != 'u', *what != 'o');
	else if (rest && strcmp(what, "y") == 0)
		keep_recall(b, rest);
	else if (strcmp(what, "k") == 0)
		again_run(b);
	else if (rest && strlen(what) == 1)
		on_party(b, *what, rest);
	free(copy);
}

static int tell(struct redis_backend *b, const char *op, const char *id, lk_done_cb cb, void *arg)
{
	return strchr(id, '/') ? again_ask(b, op, 1, &id, NULL, cb, arg) : -ENOENT;
}

/* An answer without the server. */
struct telling {
	lk_done_cb cb;
	void *arg;
	struct pl_task task;
};

static void run_told(struct pl_task *task)
{
	struct telling *t = (struct telling *)((char *)task - offsetof(struct telling, task));

	t->cb(t->arg, 0);
	free(t);
}

static void drop_told(struct pl_task *task)
{
	free((char *)task - offsetof(struct telling, task));
}

/* One of ours: its handle knows before the caller does. */
static int break_here(struct redis_backend *b, struct rhold *h, lk_done_cb cb, void *arg)
{
	struct telling *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->cb = cb;
	t->arg = arg;
	t->task.run = run_told;
	t->task.drop = drop_told;
	t->task.owner = b;
	break_hold(b, h);
	pl_defer(b->base.loop, &t->task);
	return 0;
}

int rb_break(struct lk_backend *base, const char *id, lk_done_cb cb, void *arg)
{
	struct redis_backend *b = rb_of(base);
	const char *token = strchr(id, '#');
	size_t len = strlen(b->sid);
	struct rhold *h = NULL;

	if (strncmp(id, b->sid, len) == 0 && id[len] == '/')
		h = rhold_find(b, strtoull(id + len + 1, NULL, 10));
	/* Given to another of ours since it was seen. */
	if (h && token && strtoull(token + 1, NULL, 10) != h->pub.token)
		return -ENOENT;
	if (h)
		return break_here(b, h, cb, arg);
	return tell(b, "break", id, cb, arg);
}

int rb_end_wait(struct lk_backend *b, const char *id, lk_done_cb cb, void *arg)
{
	return tell(rb_of(b), "endw", id, cb, arg);
}
