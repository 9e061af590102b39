/* Names in use, holds of this mount, and what is to be given back.
 *
 * A release is remembered until the server has confirmed it, and sent again
 * after every reconnect; close(2) does not wait for it.
 */
#include "backend/redis/internal.h"
#include "backend/tally.h"

#include "base/zalloc.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* --- names --- */

struct rname *rname_find(struct redis_backend *b, char kind, const char *name)
{
	char kn[LK_NAME_MAX + 2];
	size_t len = strlen(name);
	struct rname *n;

	kn[0] = kind;
	memcpy(kn + 1, name, len);
	HASH_FIND(hh, b->names, kn, len + 1, n);
	return n;
}

struct rname *rname_get(struct redis_backend *b, char kind, const char *name)
{
	struct rname *n = rname_find(b, kind, name);
	size_t len = strlen(name);

	if (n)
		return n;
	n = pl_zalloc(sizeof(*n) + len + 2);
	if (!n)
		return NULL;
	n->kn[0] = kind;
	memcpy(n->kn + 1, name, len + 1);
	n->keylen = len + 1;
	HASH_ADD_KEYPTR(hh, b->names, n->kn, n->keylen, n);
	return n;
}

void rname_settle(struct redis_backend *b, struct rname *n)
{
	if (rname_used(n) || n->idle)
		return;
	pl_timer_stop(b->base.loop, n->turn_timer);
	HASH_DEL(b->names, n);
	free(n);
}

struct rhold *rhold_find(struct redis_backend *b, uint64_t handle)
{
	struct rhold *h;

	HASH_FIND(hh, b->holds, &handle, sizeof(handle), h);
	return h;
}

struct rwait *rwait_find(struct redis_backend *b, uint64_t handle)
{
	struct rwait *w;

	HASH_FIND(hh, b->waits, &handle, sizeof(handle), w);
	return w;
}

/* --- giving back --- */

static void release_send(struct rrelease *r);

static void on_released(void *arg, int err, const redisReply *reply)
{
	struct rrelease *r = arg;
	struct redis_backend *b = r->b;
	/* May end the session, which frees every release that is not `sent`: not this one. */
	const char *word = err ? "" : script_word(b, reply);

	/* Lost on the way, or too late on its connection: sent again. */
	if ((err == -EHOSTDOWN || strcmp(word, "OLD") == 0) && *r->sid) {
		r->sent = false;
		retry_soon(b);
		return;
	}
	if (err && *r->sid)
		pl_log_limited(&b->log_odd, PL_ERROR, "%s: cannot release '%s': %s", wire_where(b->conn), r->kn + 1,
			       strerror(-err));
	DL_DELETE(b->releases, r);
	free(r);
}

static void release_send(struct rrelease *r)
{
	struct script_call c;

	script_begin(r->b, &c, "rel");
	script_handle(&c, r->handle, r->kn);
	script_kn(&c, r->kn);
	script_str(&c, r->how == RELEASE_LOST ? "l" : r->how == RELEASE_KEPT ? "k" : "c");
	r->sent = script_send(r->b, LANE_COMMANDS, &c, on_released, r) == 0;
}

void release_handle(struct redis_backend *b, uint64_t handle, const char *kn, enum release_how how)
{
	size_t len = strlen(kn);
	struct rrelease *r = pl_zalloc(sizeof(*r) + len + 1);

	if (!r) {
		/* The server would keep it as long as this session lives: so it must not. */
		session_lose(b, "out of memory");
		session_again(b);
		return;
	}
	r->b = b;
	r->handle = handle;
	r->how = how;
	memcpy(r->sid, b->sid, sizeof(r->sid));
	memcpy(r->kn, kn, len + 1);
	DL_APPEND(b->releases, r);
	if (b->state == SESSION_UP)
		release_send(r);
}

void releases_drop(struct redis_backend *b)
{
	struct rrelease *r, *tmp;

	DL_FOREACH_SAFE(b->releases, r, tmp) {
		r->sid[0] = '\0';
		if (r->sent)
			continue; /* freed by its answer */
		DL_DELETE(b->releases, r);
		free(r);
	}
}

/* --- holds --- */

static void run_lost(struct pl_task *task)
{
	struct rhold *h = (struct rhold *)((char *)task - offsetof(struct rhold, lost));

	if (h->pub.on_lost)
		h->pub.on_lost(&h->pub);
}

static void detach(struct rhold *h)
{
	struct redis_backend *b = h->b;
	struct rname *n = h->name;

	keep_forget(h);
	HASH_DEL(b->holds, h);
	DL_DELETE(n->holds, h);
	b->base.counters.held--;
	h->name = NULL;
	h->pub.name = "";
	rname_settle(b, n);
}

void rhold_unref(struct rhold *h)
{
	if (--h->ops == 0 && h->released)
		free(h);
}

void rhold_lose(struct rhold *h, bool tell_server)
{
	struct redis_backend *b = h->b;

	if (h->pub.lost || !h->name)
		return;
	h->pub.lost = true;
	b->base.counters.lost++;
	if (tell_server)
		release_handle(b, h->handle, h->name->kn, RELEASE_LOST);
	/* Of the session: a loss of that session may have taken it already. */
	if (h->name)
		detach(h);
	DL_APPEND(b->lost, h);
	if (!b->stopping)
		pl_defer(b->base.loop, &h->lost);
}

void rb_release(struct lk_backend *base, struct lk_hold *hold)
{
	struct rhold *h = (struct rhold *)hold;

	pl_undefer(base->loop, &h->lost);
	if (h->pub.lost)
		DL_DELETE(h->b->lost, h);
	base->counters.released++;
	if (h->name && !h->pub.lost && (turn_pass(h) || keep_put(h)))
		return;
	if (h->name) {
		release_handle(h->b, h->handle, h->name->kn, h->wished ? RELEASE_KEPT : RELEASE_CLEAN);
		if (h->name) {
			struct rname *n = h->name;
			bool waits = n->n_waits > 0; /* then it stays */

			detach(h);
			if (waits)
				turn_lead(h->b, n);
		}
	}
	h->released = true;
	h->ops++;
	rhold_unref(h);
}

struct rhold *rhold_new(struct rwait *w, const char *record, bool contended)
{
	struct redis_backend *b = w->b;
	struct rhold *h = pl_zalloc(sizeof(*h));
	uint64_t since_ms;
	const char *who;

	if (!h || !record_read_hold(record, &h->pub.mode, &h->pub.slot, &h->pub.token, &since_ms, &who)) {
		free(h);
		return NULL;
	}
	h->b = b;
	h->handle = w->handle;
	h->lost.run = run_lost;
	h->name = w->name;
	h->pub.kind = w->req->kind;
	h->pub.name = w->name->kn + 1;
	h->pub.since = since_ms * PL_MS;
	h->pub.owner = w->req->owner;
	h->pub.contended = contended;
	if (h->pub.token > b->floor)
		b->floor = h->pub.token;
	DL_APPEND(w->name->holds, h);
	HASH_ADD(hh, b->holds, handle, sizeof(h->handle), h);
	tally_grant(&b->base.counters, &h->pub,
		    pl_wall(b->base.loop) > w->req->asked ? pl_wall(b->base.loop) - w->req->asked : 0);
	return h;
}

/* --- claiming, of a server that lost its memory --- */

struct claiming {
	struct redis_backend *b;
	uint64_t handle, sent;
	unsigned generation;
};

static void on_claim(void *arg, int err, const redisReply *reply)
{
	struct claiming *a = arg;
	struct redis_backend *b = a->b;
	struct rhold *h = rhold_find(b, a->handle);
	const char *word = err ? "" : script_word(b, reply);

	if (a->generation == b->generation && a->sent == b->hellos && err == 0) {
		if (h && strcmp(word, "OK") != 0 && strcmp(word, "INC") != 0 && strcmp(word, "OLD") != 0)
			rhold_lose(h, false);
		session_claimed(b);
	}
	free(a);
}

void rhold_claim(struct rhold *h)
{
	struct redis_backend *b = h->b;
	struct claiming *a = calloc(1, sizeof(*a));
	struct script_call c;
	char who[256];

	if (!a)
		return; /* never answered: the deadline stays as it was */
	a->b = b;
	a->handle = h->handle;
	a->sent = b->hellos;
	a->generation = b->generation;
	record_who(b, &h->pub.owner, who);
	script_begin(b, &c, "claim");
	script_handle(&c, h->handle, h->name->kn);
	script_kn(&c, h->name->kn);
	script_str(&c, h->pub.mode == LK_SHARED ? "s" : "x");
	script_num(&c, h->pub.slot);
	script_num(&c, (int64_t)h->pub.token);
	script_num(&c, (int64_t)(h->pub.since / PL_MS));
	script_str(&c, who);
	if (script_send(b, LANE_COMMANDS, &c, on_claim, a) < 0)
		free(a);
}

void releases_resend(struct redis_backend *b)
{
	struct rrelease *r, *tmp;

	DL_FOREACH_SAFE(b->releases, r, tmp) {
		if (!r->sent)
			release_send(r);
	}
}

void hold_stop(struct redis_backend *b)
{
	struct rhold *h;

	DL_FOREACH(b->lost, h) {
		pl_undefer(b->base.loop, &h->lost);
	}
}
