/* Passing a lock on among those who wait for it on this mount.
 *
 * While this mount has the lock, or asks for it, and no other mount is known to
 * want it, its own waiters stay here for a moment (TURN_TIME) and the server
 * hears nothing of them. A hold that is ours to keep (keep.c) goes from one to
 * the next without a round trip; any other is given back, and the next one asks.
 * Whoever has waited that long goes into the server's queue, with all who wait
 * here, and so they do as soon as anybody else wants the lock, looks at it, or
 * asks for it in another way. So the order of asking is kept on this mount, and
 * among mounts but for those who asked within TURN_TIME of each other.
 * A hold that is passed on is the same one at the server: nothing that can go
 * wrong there knows the difference. What has gone wrong here ends with the timer.
 */
#include "backend/redis/internal.h"

#include <utlist.h>

#define TURN_TIME (20 * PL_MS)

static void on_turn(void *arg);

static bool begin(struct rname *n, struct redis_backend *b, uint64_t delay)
{
	if (!n->turn_timer)
		n->turn_timer = pl_timer_start(b->base.loop, delay, on_turn, n);
	return n->turn_timer != NULL;
}

static void on_turn(void *arg)
{
	struct rname *n = arg;
	struct rwait *w = n->turns;
	uint64_t waited;

	n->turn_timer = NULL;
	if (!w || w->b->stopping)
		return;
	waited = pl_now(w->b->base.loop) - w->turn;
	if (waited >= TURN_TIME || !begin(n, w->b, TURN_TIME - waited))
		turns_enter(n);
}

/* Has somebody here asked the server, that has not answered? Answers come in the order of the questions. */
static bool is_asked(const struct redis_backend *b, const struct rname *n)
{
	return n->asked > b->answered || (n->leader && !n->leader->req->waiting);
}

/* Is the lock this mount's, or on its way to it? If somebody waits for it at the server, some of ours do. */
static bool is_here(const struct redis_backend *b, const struct rname *n, unsigned others)
{
	const struct rhold *h = n->holds;

	if (h)
		return !h->next && h->pub.mode == LK_EXCLUSIVE && (!h->pub.contended || others > 0);
	if (others > 0 && n->given && pl_now(b->base.loop) - n->given < TURN_TIME)
		return true;
	return others == 1 && n->leader && n->leader->sent && !n->leader->queued &&
	       n->leader->req->mode == LK_EXCLUSIVE;
}

bool turn_wait(struct rwait *w)
{
	struct redis_backend *b = w->b;
	const struct lk_request *req = w->req;
	struct rname *n = w->name;

	if (n->kn[0] != 'L' || req->mode != LK_EXCLUSIVE || req->try_only || req->convert || w->full ||
	    b->state != SESSION_UP || !is_here(b, n, rname_at_server(n) - 1) || keep_is_wanted(b, n->kn) ||
	    !begin(n, b, TURN_TIME))
		return false;
	w->turn = pl_now(b->base.loop);
	if (!n->turns)
		DL_APPEND2(b->turning, n, turning_prev, turning_next);
	DL_APPEND2(n->turns, w, turn_prev, turn_next);
	n->n_turns++;
	turns_tell(n);
	return true;
}

void turn_leave(struct rwait *w)
{
	struct rname *n = w->name;

	if (!w->turn)
		return;
	w->turn = 0;
	DL_DELETE2(n->turns, w, turn_prev, turn_next);
	n->n_turns--;
	if (!n->turns)
		DL_DELETE2(w->b->turning, n, turning_prev, turning_next);
}

void turns_tell(struct rname *n)
{
	struct rwait *w;

	/* Those before them are told first. */
	if (!n->turns || is_asked(n->turns->b, n))
		return;
	DL_FOREACH2(n->turns, w, turn_next)
		rwait_tell(w);
}

void turns_answered(struct redis_backend *b, uint64_t sent)
{
	struct rname *n;

	DL_FOREACH2(b->turning, n, turning_next) {
		if (n->asked == sent)
			turns_tell(n);
	}
}

bool turn_pass(struct rhold *h)
{
	struct rname *n = h->name;
	struct rwait *w = n->turns;

	if (!w || rname_at_server(n) > 0 || !keep_pass(h, w->req))
		return false;
	rwait_finish(w, 0, &h->pub);
	return true;
}

void turn_lead(struct redis_backend *b, struct rname *n)
{
	struct rwait *w = n->turns;

	n->given = pl_now(b->base.loop);
	if (!w || n->holds || rname_at_server(n) > 0 || w->b->state != SESSION_UP)
		return;
	w->keep = keep_wish(w->b, n->kn);
	rwait_send(w);
}

void turns_enter(struct rname *n)
{
	struct redis_backend *b;
	struct rwait *w;

	if (!n->turns)
		return;
	b = n->turns->b;
	n->pins++;
	while ((w = n->turns) != NULL) {
		if (b->state == SESSION_UP)
			rwait_send(w); /* which takes it out */
		else
			turn_leave(w);
	}
	n->pins--;
	rname_settle(b, n);
}

void turns_enter_name(struct redis_backend *b, char kind, const char *name)
{
	struct rname *n = rname_find(b, kind, name);

	if (n)
		turns_enter(n);
}

void turns_enter_all(struct redis_backend *b)
{
	while (b->turning)
		turns_enter(b->turning);
}

unsigned turns_count(const struct redis_backend *b)
{
	const struct rname *n;
	unsigned count = 0;

	DL_FOREACH2(b->turning, n, turning_next)
		count += n->n_turns;
	return count;
}
