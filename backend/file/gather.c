/* Views: who holds and waits, here and outside. */
#include "backend/file/gather.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct gather *gather_new(struct file_backend *b, enum lk_kind kind, const char *name)
{
	struct gather *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->b = b;
	g->kind = kind;
	if (name && !(g->name = strdup(name))) {
		free(g);
		return NULL;
	}
	return g;
}

void gather_free(struct gather *g)
{
	while (g->n_strings)
		free(g->strings[--g->n_strings]);
	free(g->strings);
	free(g->holders);
	free(g->waiters);
	free(g->peers);
	free(g->name);
	free(g);
}

static bool grow(struct gather *g, void **items, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 16;
	void *more;

	if (n < *cap)
		return true;
	more = reallocarray(*items, want, size);
	if (!more) {
		g->err = -ENOMEM;
		return false;
	}
	*items = more;
	*cap = want;
	return true;
}

const char *gather_string(struct gather *g, const char *s)
{
	char *copy;

	if (!*s || !grow(g, (void **)&g->strings, g->n_strings, &g->cap_strings, sizeof(char *)))
		return "";
	copy = strdup(s);
	if (!copy) {
		g->err = -ENOMEM;
		return "";
	}
	g->strings[g->n_strings++] = copy;
	return copy;
}

void gather_holder(struct gather *g, const struct lk_party *p)
{
	if (grow(g, (void **)&g->holders, g->n_holders, &g->cap_holders, sizeof(*p)))
		g->holders[g->n_holders++] = *p;
}

void gather_waiter(struct gather *g, const struct lk_party *p)
{
	if (grow(g, (void **)&g->waiters, g->n_waiters, &g->cap_waiters, sizeof(*p)))
		g->waiters[g->n_waiters++] = *p;
}

/* The name may be freed before the other mounts have answered: it is copied. */
static void name_here(struct gather *g, const struct fname *n)
{
	const char *name = g->name ? g->name : gather_string(g, fname_str(n));
	struct lk_party p;
	struct arb_holder *ah;
	struct arb_waiter *aw;
	char id[80];

	DL_FOREACH(n->arb.holders, ah) {
		struct fhold *h = (struct fhold *)((char *)ah - offsetof(struct fhold, arb));

		memset(&p, 0, sizeof(p));
		snprintf(id, sizeof(id), "%s/%" PRIu64, g->b->id, h->serial);
		p.id = gather_string(g, id);
		p.host = g->b->base.host;
		p.owner = h->pub.owner;
		p.kind = n->arb.kind;
		p.name = name;
		p.mode = h->pub.mode;
		p.slot = h->pub.slot;
		p.token = h->pub.token;
		p.since = h->pub.since;
		p.here = true;
		gather_holder(g, &p);
	}
	DL_FOREACH(n->arb.waiters, aw) {
		struct fwait *w = (struct fwait *)aw;

		memset(&p, 0, sizeof(p));
		snprintf(id, sizeof(id), "%s/%" PRIu64, g->b->id, w->serial);
		p.id = gather_string(g, id);
		p.host = g->b->base.host;
		p.owner = w->req->owner;
		p.kind = n->arb.kind;
		p.name = name;
		p.mode = w->req->mode;
		p.slot_lo = w->req->slot_lo;
		p.slot_hi = w->req->slot_hi;
		p.since = w->req->asked;
		p.here = true;
		gather_waiter(g, &p);
	}
}

void gather_here(struct gather *g)
{
	struct fname *n, *tmp;

	if (g->name) {
		n = fname_find(g->b, g->kind, g->name);
		if (n)
			name_here(g, n);
		return;
	}
	HASH_ITER(hh, g->b->names, n, tmp) {
		if (n->arb.kind == g->kind && !fname_hidden(n))
			name_here(g, n);
	}
}
