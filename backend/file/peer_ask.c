/* Questions to the other mounts of DIR, one connection each. A mount that does not
 * answer (stopped, say) makes the view partial and is left alone a while.
 */
#include "backend/file/peer_internal.h"
#include "backend/file/peerwire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHUN_TIME (2 * PL_SEC)
#define ANSWER_MAX ((size_t)64 << 20)

struct silent {
	uint64_t until;
	UT_hash_handle hh;
	char id[MOUNT_ID_SIZE];
};

struct asking {
	struct gather *g; /* of a view */
	peers_done done;
	void (*drop)(void *arg);
	lk_done_cb told; /* of a break */
	const struct peer_range *range;
	peers_told_pid told_pid; /* of a range */
	pid_t pid;
	void *arg;
	unsigned open; /* links that have not answered */
};

static void shun(struct peers *p, const char *id)
{
	struct silent *s;

	HASH_FIND_STR(p->silent, id, s);
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return;
		snprintf(s->id, sizeof(s->id), "%s", id);
		HASH_ADD_STR(p->silent, id, s);
	}
	s->until = pl_now(p->b->base.loop) + SHUN_TIME;
}

static bool shunned(struct peers *p, const char *id)
{
	struct silent *s;

	HASH_FIND_STR(p->silent, id, s);
	if (!s)
		return false;
	if (pl_now(p->b->base.loop) < s->until)
		return true;
	HASH_DEL(p->silent, s);
	free(s);
	return false;
}

void ask_silent(struct link *l)
{
	shun(l->p, l->id);
}

static void ask_finish(struct asking *a, int err)
{
	if (a->open)
		return;
	if (a->g)
		a->done(a->arg, a->g);
	else if (a->told_pid)
		a->told_pid(a->arg, a->pid);
	else if (a->told)
		a->told(a->arg, err);
	free(a);
}

void ask_end(struct link *l, bool ok)
{
	struct asking *a = l->ask;
	int err = -EHOSTDOWN;

	l->ask = NULL;
	if (a->g && !(ok && l->complete))
		a->g->partial = true;
	else if (ok && a->told_pid)
		a->pid = a->pid ? a->pid : peerwire_read_pid(l->buf, l->len);
	else if (ok && !a->g)
		err = peerwire_read_err(l->buf, l->len);
	a->open--;
	ask_finish(a, err);
}

void ask_drop(struct link *l)
{
	struct asking *a = l->ask;

	l->ask = NULL;
	if (--a->open > 0)
		return;
	if (a->drop)
		a->drop(a->arg);
	free(a);
}

/* The lines of a view that are there by now. False: one is no such line. */
static bool read_lines(struct link *l)
{
	size_t from = 0;
	char *end;
	int more = 1;

	while (more > 0 && (end = memchr(l->buf + from, '\n', l->len - from)) != NULL) {
		more = peerwire_read_view(l->buf + from, (size_t)(end - l->buf) - from, l->ask->g);
		from = (size_t)(end - l->buf) + 1;
	}
	l->complete = more == 0;
	l->len -= from;
	memmove(l->buf, l->buf + from, l->len);
	return more >= 0;
}

void ask_read(struct link *l)
{
	if (l->ask->g && !read_lines(l))
		link_end(l, false);
	else if (l->complete || l->len >= l->max)
		link_end(l, l->complete);
	else
		link_lives(l);
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct link *l = connect->data;
	char *text;

	if (l->closing)
		return;
	text = l->out;
	l->out = NULL;
	if (status < 0 || link_send(l, text) < 0 || link_read(l) != 0) {
		if (status < 0)
			free(text);
		link_end(l, false);
	}
}

/* text is the link's from now on. */
static void ask_one(struct peers *p, struct asking *a, const char *id, char *text)
{
	struct link *l = text ? link_new(p, ANSWER_MAX) : NULL;
	char path[128];

	if (!l) {
		free(text);
		if (a->g)
			a->g->partial = true;
		return;
	}
	snprintf(l->id, sizeof(l->id), "%s", id);
	l->ask = a;
	a->open++;
	l->out = text;
	l->connect.data = l;
	/* Through the descriptor: DIR may be longer than a socket's address. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s.sock", p->b->store.mounts, id);
	uv_pipe_connect(&l->connect, &l->pipe, path, on_connected);
}

static void ask_view(struct peers *p, const char *id, void *arg)
{
	struct asking *a = arg;

	if (shunned(p, id))
		a->g->partial = true;
	else
		ask_one(p, a, id, peerwire_write_ask(a->g->kind, a->g->name));
}

void peers_gather(struct peers *p, struct gather *g, peers_done done, void (*drop)(void *arg), void *arg)
{
	struct asking *a = calloc(1, sizeof(*a));

	if (!a) {
		g->partial = true;
		done(arg, g);
		return;
	}
	a->g = g;
	a->done = done;
	a->drop = drop;
	a->arg = arg;
	peer_each(p, ask_view, a);
	ask_finish(a, 0);
}

static void ask_range(struct peers *p, const char *id, void *arg)
{
	struct asking *a = arg;

	if (!shunned(p, id))
		ask_one(p, a, id, peerwire_write_range(a->range));
}

void peers_range(struct peers *p, const struct peer_range *range, peers_told_pid done, void (*drop)(void *arg),
		 void *arg)
{
	struct asking *a = calloc(1, sizeof(*a));

	if (!a) {
		done(arg, 0);
		return;
	}
	a->range = range;
	a->told_pid = done;
	a->drop = drop;
	a->arg = arg;
	peer_each(p, ask_range, a);
	a->range = NULL;
	ask_finish(a, 0);
}

int peers_tell(struct peers *p, const char *op, const char *id, lk_done_cb cb, void *arg)
{
	const char *slash = strchr(id, '/');
	char mount[MOUNT_ID_SIZE], *end;
	struct asking *a;
	uint64_t serial;

	if (!slash || (size_t)(slash - id) >= sizeof(mount) || slash == id || id[0] == '.')
		return -ENOENT;
	memcpy(mount, id, (size_t)(slash - id));
	mount[slash - id] = '\0';
	serial = strtoull(slash + 1, &end, 10);
	if (*end || !peer_alive(p, mount))
		return -ENOENT;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->told = cb;
	a->arg = arg;
	ask_one(p, a, mount, peerwire_write_tell(op, serial));
	if (a->open)
		return 0;
	free(a);
	return -ENOMEM;
}

void ask_free(struct peers *p)
{
	struct silent *s, *tmp;

	HASH_ITER(hh, p->silent, s, tmp) {
		HASH_DEL(p->silent, s);
		free(s);
	}
}
