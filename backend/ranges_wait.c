/* Byte ranges that are waited for: the queue of a file, and circles of owners
 * that wait for each other, over all files.
 */
#define HASH_NONFATAL_OOM 1
#include "backend/ranges_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#define MAX_DEPTH 64
#define MAX_STEPS (1u << 16)

/* An owner that waits, on whatever file. */
struct ranges_waiting {
	struct ranges_who who;
	struct ranges_waiter *waits; /* utlist DL, never empty */
	uint64_t round;		     /* of the search that met it last */
	UT_hash_handle hh;
};

/* --- who waits for whom --- */

static struct ranges_waiting *find_waiting(const struct ranges_graph *g, struct ranges_who who)
{
	struct ranges_waiting *p;

	HASH_FIND(hh, g->owners, &who, sizeof(who), p);
	return p;
}

static int enter(struct ranges_graph *g, struct ranges_waiter *w)
{
	struct ranges_waiting *p = find_waiting(g, w->want.who);

	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		p->who = w->want.who;
		HASH_ADD(hh, g->owners, who, sizeof(p->who), p);
		if (!p->hh.tbl) {
			free(p);
			return -ENOMEM;
		}
	}
	w->waiting = p;
	DL_APPEND2(p->waits, w, same_prev, same_next);
	return 0;
}

static void leave(struct ranges_graph *g, struct ranges_waiter *w)
{
	struct ranges_waiting *p = w->waiting;

	DL_DELETE2(p->waits, w, same_prev, same_next);
	w->waiting = NULL;
	if (p->waits)
		return;
	HASH_DEL(g->owners, p);
	free(p);
}

struct search {
	struct ranges_graph *graph;
	struct ranges_who target;
	unsigned depth, steps;
};

static bool stuck_alone(const struct ranges_graph *g, const struct ranges_lock *want)
{
	return !g->single_threaded || g->single_threaded(g->ctx, want);
}

/* Does this holder wait, through whomever, for the target? An owner met again
 * was answered for already, or is on the way here. */
static bool leads_to_target(void *ctx, const struct ranges_lock *held)
{
	struct search *s = ctx;
	struct ranges_waiting *p;
	bool found;

	if (ranges_same(held->who, s->target))
		return true;
	p = find_waiting(s->graph, held->who);
	if (!p || p->round == s->graph->round || p->waits->same_next || s->depth >= MAX_DEPTH || s->steps == 0)
		return false;
	p->round = s->graph->round;
	s->depth++;
	s->steps--;
	found = ranges_blockers(p->waits->file, &p->waits->want, leads_to_target, s);
	s->depth--;
	return found && stuck_alone(s->graph, &p->waits->want);
}

bool ranges_would_deadlock(const struct ranges *r, const struct ranges_lock *want)
{
	struct search s = { .graph = r->graph, .target = want->who, .steps = MAX_STEPS };

	/* An owner that waits already and asks again has another thread. */
	if (!r->graph || find_waiting(r->graph, want->who))
		return false;
	r->graph->round++;
	return ranges_blockers(r, want, leads_to_target, &s) && stuck_alone(r->graph, want);
}

/* --- the queue --- */

static bool crosses(const struct ranges_lock *a, const struct ranges_lock *b)
{
	return a->start <= b->end && b->start <= a->end && !ranges_same(a->who, b->who) &&
	       (a->mode == RANGES_EXCLUSIVE || b->mode == RANGES_EXCLUSIVE);
}

/* An owner with a lock here may be the very one the waiter before waits for. */
static bool yields_to_one_before(const struct ranges *r, const struct ranges_lock *want,
				 const struct ranges_waiter *self)
{
	const struct ranges_waiter *w;

	if (!r->waiters || ranges_has(r, want->who))
		return false;
	for (w = r->waiters; w && w != self; w = w->next) {
		if (crosses(&w->want, want))
			return true;
	}
	return false;
}

bool ranges_should_yield(const struct ranges *r, const struct ranges_lock *want)
{
	return yields_to_one_before(r, want, NULL);
}

int ranges_wait_add(struct ranges *r, struct ranges_waiter *w)
{
	if (!ranges_valid(&w->want) || w->want.mode == RANGES_NONE)
		return -EINVAL;
	if (ranges_would_deadlock(r, &w->want))
		return -EDEADLK;
	if (r->graph && enter(r->graph, w) < 0)
		return -ENOMEM;
	w->file = r;
	DL_APPEND(r->waiters, w);
	r->waiting++;
	return 0;
}

void ranges_wait_remove(struct ranges_waiter *w)
{
	struct ranges *r = w->file;

	if (!r)
		return;
	if (r->next == w)
		r->next = w->next;
	DL_DELETE(r->waiters, w);
	r->waiting--;
	if (w->waiting)
		leave(r->graph, w);
	w->file = NULL;
}

void ranges_pump(struct ranges *r, void (*done)(void *ctx, struct ranges_waiter *w, int err), void *ctx)
{
	struct ranges_waiter *w;
	bool loosens;
	int err;

	r->again = true;
	if (r->pumping)
		return;
	r->pumping = true;
	while (r->again) {
		r->again = false;
		for (w = r->waiters; w; w = r->next) {
			r->next = w->next;
			if (w->yields && yields_to_one_before(r, &w->want, w))
				continue;
			/* Its exclusive bytes may become shared: one before it may enter then. */
			loosens = w->want.mode == RANGES_SHARED && ranges_has_exclusive(r, w->want.who);
			err = ranges_set(r, &w->want);
			if (err == -EAGAIN)
				continue;
			r->again |= loosens;
			ranges_wait_remove(w);
			done(ctx, w, err);
		}
	}
	r->pumping = false;
}
