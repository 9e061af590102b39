/* stat, list and view. While the server does not answer, what this mount knows
 * itself is shown, marked as of when. */
#include "backend/redis/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* A question that has not been answered to the caller. */
struct rlook {
	struct redis_backend *b;
	struct pl_task task; /* an answer that needs no server */
	lk_stat_cb stat_cb;
	lk_view_cb view_cb;
	lk_list_cb list_cb;
	void *arg;
	bool sent;
	struct lk_stat st;
	struct rlook *prev, *next;
	enum lk_kind kind;
	bool all;
	char name[]; /* or namespace, of a list */
};

static struct rlook *look_new(struct redis_backend *b, enum lk_kind kind, const char *name, void *arg)
{
	size_t len = name ? strlen(name) : 0;
	struct rlook *l = calloc(1, sizeof(*l) + len + 1);

	if (!l)
		return NULL;
	l->b = b;
	l->kind = kind;
	l->all = !name;
	l->arg = arg;
	if (name)
		memcpy(l->name, name, len);
	DL_APPEND(b->looks, l);
	return l;
}

static void look_end(struct rlook *l)
{
	DL_DELETE(l->b->looks, l);
	free(l);
}

void look_stop(struct redis_backend *b)
{
	struct rlook *l;

	DL_FOREACH(b->looks, l) {
		pl_undefer(b->base.loop, &l->task);
	}
}

void look_free(struct redis_backend *b)
{
	struct rlook *l, *tmp;

	DL_FOREACH_SAFE(b->looks, l, tmp) {
		pl_undefer(b->base.loop, &l->task);
		look_end(l);
	}
}

static int ask(struct rlook *l, const char *op, const char *name, wire_cb cb)
{
	struct redis_backend *b = l->b;
	char kn[LK_NAME_MAX + 2];
	struct script_call c;

	if (*name)
		turns_enter_name(b, kind_char(l->kind), name);
	else
		turns_enter_all(b);
	keep_tell(b);
	snprintf(kn, sizeof(kn), "%c%s", kind_char(l->kind), name);
	script_begin(b, &c, op);
	script_str(&c, kn);
	return script_send(b, LANE_COMMANDS, &c, cb, l);
}

/* --- view --- */

struct seen_party {
	struct lk_party p;
	char host[LK_HOST_MAX];
	char id[SID_MAX + 24]; /* of one of ours */
};

static bool read_party(const redisReply *entry, struct seen_party *s, bool *holder, const char *mount)
{
	const char *kn = reply_str(entry, 1), *record = reply_str(entry, 3), *who;
	uint64_t ms;

	*holder = *reply_str(entry, 0) == 'h';
	if (*holder ? !record_read_hold(record, &s->p.mode, &s->p.slot, &s->p.token, &ms, &who)
		    : !record_read_wait(record, &s->p.mode, &s->p.slot_lo, &s->p.slot_hi, &ms, &who))
		return false;
	if (!*kn || !record_read_who(who, &s->p.owner, s->host))
		return false;
	s->p.kind = *kn == 'L' ? LK_LOCK : LK_SEM;
	s->p.name = kn + 1;
	s->p.id = reply_str(entry, 2);
	s->p.since = ms * PL_MS;
	s->p.here = strncmp(s->p.id, mount, strlen(mount)) == 0 && s->p.id[strlen(mount)] == '.';
	return true;
}

static void answer_view(struct rlook *l, const struct seen_party *holders, size_t nh, const struct seen_party *waiters,
			size_t nw, bool partial)
{
	struct lk_party *all = calloc(nh + nw + 1, sizeof(*all));
	struct lk_view view = { .n_holders = nh, .n_waiters = nw, .partial = partial };
	size_t i;

	view.as_of = partial ? l->b->contact : pl_wall(l->b->base.loop);
	for (i = 0; all && i < nh + nw; i++) {
		all[i] = i < nh ? holders[i].p : waiters[i - nh].p;
		all[i].host = i < nh ? holders[i].host : waiters[i - nh].host;
	}
	view.holders = all;
	view.waiters = all ? all + nh : NULL;
	l->view_cb(l->arg, all ? 0 : -ENOMEM, all ? &view : NULL);
	free(all);
}

/* What this mount holds and waits for. */
static void view_here(struct rlook *l)
{
	struct redis_backend *b = l->b;
	size_t nh = 0, nw = 0, room = HASH_COUNT(b->holds) + HASH_COUNT(b->waits) + 1;
	struct seen_party *h = calloc(room, sizeof(*h)), *w = calloc(room, sizeof(*w));
	struct rhold *hold, *htmp;
	struct rwait *wait, *wtmp;

	HASH_ITER(hh, b->holds, hold, htmp) {
		if (!h || hold->pub.kind != l->kind || (!l->all && strcmp(hold->pub.name, l->name) != 0))
			continue;
		h[nh].p = (struct lk_party){ .owner = hold->pub.owner,
					     .kind = l->kind,
					     .name = hold->pub.name,
					     .mode = hold->pub.mode,
					     .slot = hold->pub.slot,
					     .token = hold->pub.token,
					     .since = hold->pub.since,
					     .here = true };
		snprintf(h[nh].id, sizeof(h[nh].id), "%s/%" PRIu64, b->sid, hold->handle);
		h[nh].p.id = h[nh].id;
		memcpy(h[nh++].host, b->base.host, LK_HOST_MAX);
	}
	HASH_ITER(hh, b->waits, wait, wtmp) {
		if (!w || wait->req->kind != l->kind || (!l->all && strcmp(wait->req->name, l->name) != 0))
			continue;
		w[nw].p = (struct lk_party){ .owner = wait->req->owner,
					     .kind = l->kind,
					     .name = wait->req->name,
					     .mode = wait->req->mode,
					     .slot_lo = wait->req->slot_lo,
					     .slot_hi = wait->req->slot_hi,
					     .since = wait->req->asked,
					     .here = true };
		snprintf(w[nw].id, sizeof(w[nw].id), "%s/%" PRIu64, b->sid, wait->handle);
		w[nw].p.id = w[nw].id;
		memcpy(w[nw++].host, b->base.host, LK_HOST_MAX);
	}
	answer_view(l, h, nh, w, nw, true);
	free(h);
	free(w);
}

static void on_view(void *arg, int err, const redisReply *reply)
{
	struct rlook *l = arg;
	size_t nh = 0, nw = 0, i;
	struct seen_party *h, *w;
	bool holder;

	if (l->b->stopping) {
		look_end(l);
		return;
	}
	if (err || strcmp(script_word(l->b, reply), "OK") != 0) {
		view_here(l);
		look_end(l);
		return;
	}
	h = calloc(reply->elements, sizeof(*h));
	w = calloc(reply->elements, sizeof(*w));
	for (i = 1; h && w && i < reply->elements; i++) {
		struct seen_party s = { 0 };

		if (!read_party(reply->element[i], &s, &holder, l->b->mount))
			continue;
		if (holder)
			h[nh++] = s;
		else
			w[nw++] = s;
	}
	answer_view(l, h, nh, w, nw, false);
	free(h);
	free(w);
	look_end(l);
}

static void run_view_here(struct pl_task *task)
{
	struct rlook *l = (struct rlook *)((char *)task - offsetof(struct rlook, task));

	view_here(l);
	look_end(l);
}

int rb_view(struct lk_backend *base, enum lk_kind kind, const char *name, lk_view_cb cb, void *arg)
{
	struct redis_backend *b = rb_of(base);
	struct rlook *l = look_new(b, kind, name, arg);

	if (!l)
		return -ENOMEM;
	l->view_cb = cb;
	if (b->state == SESSION_UP && ask(l, "view", name ? name : "", on_view) == 0)
		return 0;
	l->task.run = run_view_here;
	pl_defer(base->loop, &l->task);
	return 0;
}

/* --- stat --- */

static void run_stat(struct pl_task *task)
{
	struct rlook *l = (struct rlook *)((char *)task - offsetof(struct rlook, task));

	l->stat_cb(l->arg, 0, &l->st);
	look_end(l);
}

static void fill_namespace(struct lk_stat *st, const struct nspace *n)
{
	st->type = LK_T_NAMESPACE;
	st->perm = n->perm;
	st->uid = n->uid;
	st->gid = n->gid;
	st->mtime = n->mtime;
}

/* From what is known here, without asking. */
static int stat_here(struct redis_backend *b, enum lk_kind kind, const char *name, struct lk_stat *st)
{
	const char *slash = strrchr(name, '/');
	const struct nspace *n = kind == LK_LOCK ? ns_find(b, name) : NULL;
	const struct rname *used = rname_find(b, kind_char(kind), name);
	char parent[LK_NAME_MAX + 1];

	if (n) {
		fill_namespace(st, n);
		return 0;
	}
	if (kind == LK_LOCK && slash) {
		memcpy(parent, name, (size_t)(slash - name));
		parent[slash - name] = '\0';
		if (!ns_find(b, parent)) {
			used = rname_find(b, kind_char(kind), parent);
			return used && rname_used(used) ? -ENOTDIR : -ENOENT;
		}
	}
	if (used && rname_used(used)) {
		st->type = LK_T_NAME;
		st->waiters = used->n_waits;
	}
	if (used && used->holds) {
		const struct lk_hold *h = &used->holds->pub;
		const struct rhold *each;

		DL_FOREACH(used->holds, each)
			st->holders++;
		st->exclusive = h->mode == LK_EXCLUSIVE;
		st->uid = h->owner.uid;
		st->gid = h->owner.gid;
		st->mtime = h->since;
		st->token = h->token;
	}
	return 0;
}

static int read_stat(const redisReply *reply, struct lk_stat *st)
{
	const char *what = reply_str(reply, 1), *record, *who;
	char host[LK_HOST_MAX];
	struct lk_owner owner;
	enum lk_mode mode;
	unsigned perm, slot;
	uint64_t ms;

	memset(st, 0, sizeof(*st));
	if (*what == 'n') {
		unsigned long long mtime;

		if (sscanf(reply_str(reply, 2), "%u %u %u %llu", &perm, &st->uid, &st->gid, &mtime) != 4)
			return -EIO;
		st->type = LK_T_NAMESPACE;
		st->perm = perm & 07777;
		st->mtime = mtime * PL_MS;
		return 0;
	}
	st->size = reply_num(reply, 2);
	st->mtime = reply_num(reply, 3) * PL_MS;
	st->holders = (unsigned)reply_num(reply, 4);
	st->waiters = (unsigned)reply_num(reply, 5);
	st->abandoned = reply_num(reply, 7) == 1;
	if (st->size || st->holders || st->waiters)
		st->type = LK_T_NAME;
	record = reply_str(reply, 6);
	if (*record && record_read_hold(record, &mode, &slot, &st->token, &ms, &who)) {
		st->exclusive = mode == LK_EXCLUSIVE;
		st->mtime = ms * PL_MS;
		if (record_read_who(who, &owner, host)) {
			st->uid = owner.uid;
			st->gid = owner.gid;
		}
	}
	return 0;
}

static void on_stat(void *arg, int err, const redisReply *reply)
{
	struct rlook *l = arg;
	struct lk_stat st = { 0 };

	if (l->b->stopping) {
		look_end(l);
		return;
	}
	if (err == 0)
		err = script_errno(script_word(l->b, reply));
	if (err == 0)
		err = read_stat(reply, &st);
	else if (err == -EHOSTDOWN) /* what is known here, then */
		err = stat_here(l->b, l->kind, l->name, &st);
	l->stat_cb(l->arg, err, err ? NULL : &st);
	look_end(l);
}

int rb_stat(struct lk_backend *base, enum lk_kind kind, const char *name, enum lk_depth depth, lk_stat_cb cb, void *arg)
{
	struct redis_backend *b = rb_of(base);
	struct rlook *l = look_new(b, kind, name, arg);
	int err;

	if (!l)
		return -ENOMEM;
	l->stat_cb = cb;
	if (*name && depth == LK_STAT_FULL && b->state == SESSION_UP && ask(l, "stat", name, on_stat) == 0)
		return 0;
	if (!*name)
		l->st.type = LK_T_NAMESPACE;
	err = *name ? stat_here(b, kind, name, &l->st) : 0;
	if (err) {
		look_end(l);
		return err;
	}
	l->task.run = run_stat;
	pl_defer(base->loop, &l->task);
	return 0;
}

/* --- list --- */

struct listed {
	enum lk_type type;
	UT_hash_handle hh;
	char name[];
};

/* A full name, if it lies directly in the namespace. */
static void add_listed(struct listed **all, const char *ns, const char *name, enum lk_type type)
{
	size_t cut = strlen(ns), len;
	struct listed *l;

	if (cut && (strncmp(name, ns, cut) != 0 || name[cut] != '/'))
		return;
	name += cut ? cut + 1 : 0;
	len = strlen(name);
	if (strchr(name, '/') || !lk_component_valid(name))
		return;
	HASH_FIND(hh, *all, name, len, l);
	if (l)
		return;
	l = calloc(1, sizeof(*l) + len + 1);
	if (!l)
		return;
	l->type = type;
	memcpy(l->name, name, len);
	HASH_ADD(hh, *all, name, len, l);
}

/* Frees them. */
static void answer_list(struct rlook *l, struct listed *all)
{
	struct lk_entry *entries = calloc(HASH_COUNT(all) + 1, sizeof(*entries));
	struct lk_list list = { .entries = entries };
	struct listed *e, *tmp;

	HASH_ITER(hh, all, e, tmp) {
		if (!entries)
			break;
		entries[list.n].name = e->name;
		entries[list.n++].type = e->type;
	}
	l->list_cb(l->arg, entries ? 0 : -ENOMEM, entries ? &list : NULL);
	HASH_ITER(hh, all, e, tmp) {
		HASH_DEL(all, e);
		free(e);
	}
	free(entries);
}

static void list_here(struct rlook *l, struct listed **all)
{
	struct nspace *n, *tmp;
	struct rname *r, *rtmp;

	if (l->kind == LK_LOCK) {
		HASH_ITER(hh, l->b->namespaces, n, tmp)
			add_listed(all, l->name, n->path, LK_T_NAMESPACE);
	}
	HASH_ITER(hh, l->b->names, r, rtmp) {
		if (r->kn[0] == kind_char(l->kind) && rname_used(r))
			add_listed(all, l->name, r->kn + 1, LK_T_NAME);
	}
}

static void on_list(void *arg, int err, const redisReply *reply)
{
	struct rlook *l = arg;
	struct listed *all = NULL;
	size_t i;

	if (l->b->stopping) {
		look_end(l);
		return;
	}
	if (err == 0 && strcmp(script_word(l->b, reply), "OK") == 0) {
		for (i = 1; i < reply->elements; i++) {
			const char *kn = reply_str(reply, i);

			if (*kn)
				add_listed(&all, l->name, kn + 1, *kn == 'N' ? LK_T_NAMESPACE : LK_T_NAME);
		}
	} else {
		list_here(l, &all);
	}
	answer_list(l, all);
	look_end(l);
}

static void run_list_here(struct pl_task *task)
{
	on_list((struct rlook *)((char *)task - offsetof(struct rlook, task)), -EHOSTDOWN, NULL);
}

int rb_list(struct lk_backend *base, enum lk_kind kind, const char *ns, lk_list_cb cb, void *arg)
{
	struct redis_backend *b = rb_of(base);
	struct rlook *l;

	if (kind == LK_LOCK && *ns && !ns_find(b, ns))
		return -ENOENT;
	l = look_new(b, kind, ns, arg);
	if (!l)
		return -ENOMEM;
	l->list_cb = cb;
	if (b->state == SESSION_UP && ask(l, "list", "", on_list) == 0)
		return 0;
	l->task.run = run_list_here;
	pl_defer(base->loop, &l->task);
	return 0;
}
