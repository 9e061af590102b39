/* flock(2) on a handle: SH to EX and back. */
#include "backend/redis/internal.h"

#include <stdlib.h>
#include <string.h>

/* A conversion under way; w is NULL once it was canceled. */
struct converting {
	struct redis_backend *b;
	struct rwait *w;
	struct rhold *h;
	unsigned generation;
};

void convert_canceled(struct rwait *w)
{
	if (w->conv)
		w->conv->w = NULL;
	w->conv = NULL;
}

/* False when the wait was canceled. */
static bool conversion_ends(struct converting *v, int err, struct lk_hold *hold)
{
	if (!v->w)
		return false;
	rwait_finish(v->w, err, hold);
	return true;
}

static void converted(struct converting *v, const redisReply *reply, const char *word)
{
	struct rwait *w = v->w;
	struct rhold *h = v->h;
	uint64_t since;
	const char *who;
	int err = script_errno(word);

	if (err == 0 &&
	    record_read_hold(reply_str(reply, 1), &h->pub.mode, &h->pub.slot, &h->pub.token, &since, &who)) {
		h->pub.since = since * PL_MS;
		if (h->pub.token > h->b->floor)
			h->b->floor = h->pub.token;
		conversion_ends(v, 0, &h->pub);
		return;
	}
	if (err == -ESTALE)
		rhold_lose(h, true);
	if (!w)
		return;
	w->conv = NULL;
	if (err != -EAGAIN || w->req->try_only) {
		rwait_finish(w, err ? err : -EIO, NULL);
		return;
	}
	/* As flock(2): the old lock is given up before waiting for the new one. */
	err = rwait_enter(w);
	if (err) {
		rwait_finish(w, err, NULL);
		return;
	}
	w->req->convert = NULL;
	if (w->req->gave_up)
		w->req->gave_up(w->req);
	rb_release(&h->b->base, &h->pub);
}

static void on_convert(void *arg, int err, const redisReply *reply)
{
	struct converting *v = arg;
	struct redis_backend *b = v->b;
	const char *word = err ? "" : script_word(b, reply);

	if (b->stopping) {
		free(v->w);
	} else if (v->h->pub.lost || v->h->released || v->generation != b->generation) {
		conversion_ends(v, -ESTALE, NULL);
	} else if (err || strcmp(word, "INC") == 0 || strcmp(word, "OLD") == 0) {
		/* Unknown, and the mode with it: what is not sure is not held. */
		rhold_lose(v->h, true);
		conversion_ends(v, -ESTALE, NULL);
	} else {
		converted(v, reply, word);
	}
	rhold_unref(v->h); // NOLINT(clang-analyzer-unix.Malloc): `ops` keeps it until here
	free(v);
}

int rwait_convert(struct rwait *w)
{
	struct redis_backend *b = w->b;
	struct rhold *h = (struct rhold *)w->req->convert;
	struct converting *v;
	struct script_call c;
	int err;

	if (h->pub.lost)
		return -ESTALE;
	if (h->pub.mode == w->req->mode) {
		rwait_finish(w, 0, &h->pub);
		return 0;
	}
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOLCK;
	v->b = b;
	v->w = w;
	v->h = h;
	v->generation = b->generation;
	keep_end(h);
	script_begin(b, &c, "conv");
	script_handle(&c, h->handle, h->name->kn);
	script_kn(&c, h->name->kn);
	script_str(&c, w->req->mode == LK_SHARED ? "s" : "x");
	script_num(&c, w->req->try_only);
	err = b->state == SESSION_UP ? script_send(b, LANE_COMMANDS, &c, on_convert, v) : -EHOSTDOWN;
	if (err) {
		free(v);
		return err;
	}
	h->ops++;
	w->conv = v;
	return 0;
}
