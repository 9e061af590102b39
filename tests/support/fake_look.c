/* The fake backend's stat, list and view: answered as things stand when the
 * callback comes. */
#include "tests/support/fake_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* --- view --- */

struct seen {
	struct lk_party *parties;
	char (*ids)[24];
	size_t n, cap;
};

static struct lk_party *add_party(struct seen *s, const struct fake_entry *e, uint64_t serial)
{
	struct lk_party *p = &s->parties[s->n];

	snprintf(s->ids[s->n], sizeof(s->ids[0]), "%" PRIu64, serial);
	p->id = s->ids[s->n++];
	p->kind = fake_kind(e);
	p->name = fake_str(e);
	return p;
}

static void add_holders(struct seen *s, const struct fake_backend *b, const struct fake_entry *e)
{
	struct arb_holder *ah;

	DL_FOREACH(e->name->arb.holders, ah) {
		const struct fake_hold *h = (struct fake_hold *)((char *)ah - offsetof(struct fake_hold, arb));
		struct lk_party *p = add_party(s, e, h->serial);

		p->host = h->b->base.host;
		p->owner = h->pub.owner;
		p->mode = h->pub.mode;
		p->slot = h->pub.slot;
		p->token = h->pub.token;
		p->since = h->pub.since;
		p->here = h->b == b;
	}
}

static void add_waiters(struct seen *s, const struct fake_backend *b, const struct fake_entry *e)
{
	struct arb_waiter *aw;

	DL_FOREACH(e->name->arb.waiters, aw) {
		const struct fake_wait *w = (struct fake_wait *)aw;
		struct lk_party *p = add_party(s, e, w->serial);

		p->host = w->b->base.host;
		p->owner = w->req->owner;
		p->mode = w->req->mode;
		p->slot_lo = w->req->slot_lo;
		p->slot_hi = w->req->slot_hi;
		p->since = w->req->asked;
		p->here = w->b == b;
	}
}

static bool wanted(const struct fake_later *l, const struct fake_entry *e)
{
	return fake_kind(e) == l->kind && (l->all || strcmp(fake_str(e), l->data) == 0);
}

static bool seen_init(struct seen *s, size_t cap)
{
	s->n = 0;
	s->parties = calloc(cap + 1, sizeof(*s->parties));
	s->ids = calloc(cap + 1, sizeof(*s->ids));
	return s->parties && s->ids;
}

static void seen_free(struct seen *s)
{
	free(s->parties);
	free(s->ids);
}

static void run_view(struct fake_later *l)
{
	struct seen holders, waiters;
	size_t n_holders = 0, n_waiters = 0;
	struct fake_entry *e, *tmp;
	struct lk_view view;
	bool room;

	HASH_ITER(hh, l->b->world->entries, e, tmp) {
		n_holders += e->name->arb.n_holders;
		n_waiters += e->name->arb.n_waiters;
	}
	room = seen_init(&holders, n_holders);
	room = seen_init(&waiters, n_waiters) && room;
	HASH_ITER(hh, l->b->world->entries, e, tmp) {
		if (room && wanted(l, e)) {
			add_holders(&holders, l->b, e);
			add_waiters(&waiters, l->b, e);
		}
	}
	view = (struct lk_view){ .holders = holders.parties,
				 .waiters = waiters.parties,
				 .n_holders = holders.n,
				 .n_waiters = waiters.n,
				 .as_of = pl_wall(l->b->base.loop) };
	l->cb.view(l->arg, room ? 0 : -ENOMEM, room ? &view : NULL);
	seen_free(&holders);
	seen_free(&waiters);
}

int fake_view(struct lk_backend *b, enum lk_kind kind, const char *name, lk_view_cb cb, void *arg)
{
	struct fake_later *l = fake_later_new(fake_of(b), run_view, arg, name, name ? strlen(name) : 0);

	if (!l)
		return -ENOMEM;
	l->cb.view = cb;
	l->kind = kind;
	l->all = !name;
	return 0;
}

/* --- stat --- */

/* Held, waited for, or with a value. */
static bool in_locks(const struct fake_name *n)
{
	return fake_used(n) || (n->size && !n->link);
}

static void stat_name(struct lk_stat *st, const struct fake_name *n)
{
	const struct fake_hold *h;

	st->size = n->size;
	st->mtime = n->mtime;
	st->token = n->token;
	st->abandoned = n->abandoned;
	st->holders = n->arb.n_holders;
	st->waiters = n->arb.n_waiters;
	if (in_locks(n))
		st->type = LK_T_NAME;
	if (!n->arb.holders)
		return;
	h = (struct fake_hold *)((char *)n->arb.holders - offsetof(struct fake_hold, arb));
	st->exclusive = h->pub.mode == LK_EXCLUSIVE;
	st->uid = h->pub.owner.uid;
	st->gid = h->pub.owner.gid;
	st->mtime = h->pub.since;
	st->token = h->pub.token;
}

static void run_stat(struct fake_later *l)
{
	struct fake_world *w = l->b->world;
	const struct fake_name *n = fake_find(w, l->kind, l->data);
	const struct fake_space *s = l->kind == LK_LOCK ? fake_space_find(w, l->data) : NULL;
	int err = l->kind == LK_LOCK ? fake_way(w, l->data) : 0;
	struct lk_stat st = { 0 };

	if (n)
		stat_name(&st, n);
	if (s || !*l->data) {
		st.type = LK_T_NAMESPACE;
		st.perm = s ? s->perm : 0777;
		st.uid = s ? s->uid : 0;
		st.gid = s ? s->gid : 0;
		st.mtime = s ? s->mtime : 0;
	}
	l->cb.stat(l->arg, err, err ? NULL : &st);
}

int fake_stat(struct lk_backend *b, enum lk_kind kind, const char *name, enum lk_depth depth, lk_stat_cb cb, void *arg)
{
	struct fake_later *l = fake_later_new(fake_of(b), run_stat, arg, name, strlen(name));

	(void)depth; /* every mount of a world is at hand */
	if (!l)
		return -ENOMEM;
	l->cb.stat = cb;
	l->kind = kind;
	return 0;
}

/* --- list --- */

const char *fake_child(const char *name, const char *ns)
{
	if (!fake_below(name, ns))
		return NULL;
	name += *ns ? strlen(ns) + 1 : 0;
	return strchr(name, '/') ? NULL : name;
}

static int list_error(const struct fake_later *l)
{
	const struct fake_name *n = fake_find(l->b->world, LK_LOCK, l->data);
	int err;

	if (!*l->data)
		return 0;
	if (l->kind == LK_SEM)
		return -ENOENT;
	err = fake_way(l->b->world, l->data);
	if (err || fake_space_find(l->b->world, l->data))
		return err;
	return n && (fake_used(n) || fake_there(n)) ? -ENOTDIR : -ENOENT;
}

static void run_list(struct fake_later *l)
{
	struct fake_world *w = l->b->world;
	size_t most = HASH_COUNT(w->entries) + HASH_COUNT(w->spaces);
	struct lk_entry *entries = calloc(most + 1, sizeof(*entries));
	int err = entries ? list_error(l) : -ENOMEM;
	struct lk_list list = { .entries = entries };
	struct fake_space *s, *stmp;
	struct fake_entry *e, *etmp;

	HASH_ITER(hh, w->entries, e, etmp) {
		if (err || fake_kind(e) != l->kind || !in_locks(e->name) || !fake_child(fake_str(e), l->data))
			continue;
		entries[list.n].name = fake_child(fake_str(e), l->data);
		entries[list.n++].type = LK_T_NAME;
	}
	HASH_ITER(hh, w->spaces, s, stmp) {
		if (err || l->kind != LK_LOCK || !fake_child(s->path, l->data))
			continue;
		entries[list.n].name = fake_child(s->path, l->data);
		entries[list.n++].type = LK_T_NAMESPACE;
	}
	l->cb.list(l->arg, err, err ? NULL : &list);
	free(entries);
}

int fake_list(struct lk_backend *b, enum lk_kind kind, const char *ns, lk_list_cb cb, void *arg)
{
	struct fake_later *l = fake_later_new(fake_of(b), run_list, arg, ns, strlen(ns));

	if (!l)
		return -ENOMEM;
	l->cb.list = cb;
	l->kind = kind;
	return 0;
}
