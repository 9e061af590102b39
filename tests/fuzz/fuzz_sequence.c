/* Every order of acquire, cancel, release, lose, convert, break and turns of the
 * loop, on the fake backend: each byte or two is a step. After each step the
 * rules are checked: never two exclusive holders, never a slot twice, callbacks
 * once and never inside a call, first come first served; at the end everybody
 * who waited was served or canceled, and nothing is held.
 *
 * Built with seeded.c it runs without libFuzzer, on fixed seeds.
 */
#include "tests/fuzz/fuzz.h"

#include "tests/support/fake_backend.h"

#include "base/loop.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASKS 24
#define MAX_WAITERS 12

static const char *const locks[] = { "a", "b" };
static const char *const sems[] = { "p", "q" };

/* A loop whose turns are pl_run_tasks, and whose clock counts. */
static uint64_t clock_ns;

static uint64_t fake_clock(struct pl_loop *loop)
{
	(void)loop;
	return ++clock_ns;
}

static void fake_wake(struct pl_loop *loop)
{
	(void)loop;
}

static const struct pl_loop_ops loop_ops = { .now = fake_clock, .wall = fake_clock, .wake = fake_wake };

struct ask {
	struct lk_request req;
	bool used, asked; /* asked: lk_acquire returned 0, its callback is to come */
	unsigned calls;
	struct lk_hold *hold;
	struct ask *old; /* has the hold that this one converts */
	unsigned came;	 /* when it asked, or entered the queue */
	unsigned lost, gave_up;
};

static struct pl_loop loop;
static struct lk_backend *mounts[2];
static struct fake_world *world;
static struct ask asks[ASKS];
static unsigned arrivals;
static uint64_t last_token[2];
static unsigned inside;
static bool held_back;

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static bool same_name(const struct ask *a, const struct ask *b)
{
	return a->req.kind == b->req.kind && strcmp(a->req.name, b->req.name) == 0;
}

static bool holds(const struct ask *a)
{
	return a->used && a->hold && !a->hold->lost;
}

static struct lk_backend *mount_of(const struct ask *a)
{
	return mounts[(a - asks) % 2];
}

/* --- callbacks --- */

/* A waiter that came earlier and could have had it. */
static bool overtaken(const struct ask *o, const struct ask *a)
{
	if (!o->used || !o->asked || !o->req.waiting || o->came > a->came || !same_name(o, a))
		return false;
	return a->req.kind == LK_LOCK || (o->req.slot_lo <= a->hold->slot && a->hold->slot < o->req.slot_hi);
}

static void on_lost(struct lk_hold *hold)
{
	struct ask *a = hold->arg;

	MUST(!inside && hold->lost && a->used && a->hold == hold);
	MUST(++a->lost == 1);
}

static void on_done(struct lk_request *req, int err, struct lk_hold *hold)
{
	struct ask *a = req->arg;
	unsigned i;

	MUST(!inside && a->used && a->asked && !req->waiting);
	MUST(++a->calls == 1);
	a->asked = false;
	MUST(err ? !hold : hold != NULL);
	if (err) {
		MUST(err == -EAGAIN || err == -EINTR || err == -ECANCELED || err == -ESTALE);
		MUST(err != -EAGAIN || req->try_only);
		a->used = false; /* one that it was to convert has its hold still */
		a->old = NULL;
		return;
	}
	a->hold = hold;
	MUST(hold->kind == req->kind && hold->mode == req->mode);
	MUST(hold->slot >= req->slot_lo && hold->slot < req->slot_hi);
	/* A hold that is converted at once is ahead of the queue. */
	if (!a->old && !hold->lost) {
		for (i = 0; i < ASKS; i++)
			MUST(&asks[i] == a || !overtaken(&asks[i], a));
	}
	if (a->old) {
		MUST(a->old->hold == hold);
		a->old->used = false;
	} else if (req->kind == LK_LOCK && req->mode == LK_EXCLUSIVE) {
		i = req->name[0] == locks[1][0];
		MUST(hold->token > last_token[i]);
		last_token[i] = hold->token;
	}
	a->old = NULL;
	hold->arg = a;
	hold->on_lost = on_lost;
}

static void on_queued(struct lk_request *req)
{
	struct ask *a = req->arg;

	MUST(req->waiting && !req->try_only);
	a->came = ++arrivals;
}

static void on_gave_up(struct lk_request *req)
{
	struct ask *a = req->arg;

	MUST(!req->convert && a->old && !a->gave_up);
	a->gave_up = 1;
	a->old->used = false;
	a->old = NULL;
}

/* --- steps --- */

static void go(struct ask *a)
{
	int err;

	a->used = a->asked = true;
	a->came = ++arrivals;
	inside++;
	err = lk_acquire(mount_of(a), &a->req);
	inside--;
	MUST(err <= 0 && a->calls == 0);
	if (err == 0)
		return;
	MUST(err == -ENOLCK || (err == -ESTALE && a->old));
	MUST(!a->gave_up);
	a->used = a->asked = false;
}

static void fresh(struct ask *a, uint8_t bits)
{
	memset(a, 0, sizeof(*a));
	a->req.kind = bits & 1 ? LK_SEM : LK_LOCK;
	a->req.mode = bits & 1 || bits & 2 ? LK_EXCLUSIVE : LK_SHARED;
	a->req.name = (bits & 1 ? sems : locks)[bits >> 2 & 1];
	a->req.slot_hi = 1;
	if (bits & 1) {
		a->req.slot_lo = bits >> 4 & 1;
		a->req.slot_hi = a->req.slot_lo + 1 + (bits >> 5 & 3);
	}
	a->req.try_only = (bits & 8) != 0;
	a->req.owner.pid = 1 + (pid_t)(a - asks);
	a->req.done = on_done;
	a->req.queued = on_queued;
	a->req.gave_up = on_gave_up;
	a->req.arg = a;
}

static void convert(struct ask *old, uint8_t bits)
{
	struct ask *a = old + (old < asks + ASKS - 2 ? 2 : 2 - ASKS); /* the same mount */

	if (a->used || old->req.kind != LK_LOCK)
		return;
	fresh(a, (uint8_t)(bits & ~1u));
	a->req.name = old->req.name;
	a->req.convert = old->hold;
	a->old = old;
	go(a);
	if (!a->asked && !a->calls)
		a->old = NULL;
}

static struct ask *converter(const struct ask *old)
{
	unsigned i;

	for (i = 0; i < ASKS; i++) {
		if (asks[i].used && asks[i].old == old && asks[i].asked)
			return &asks[i];
	}
	return NULL;
}

static void release(struct ask *a)
{
	struct lk_hold *hold = a->hold;

	a->hold = NULL;
	a->used = false;
	inside++;
	lk_release(mount_of(a), hold);
	inside--;
}

static void on_told(void *arg, int err)
{
	MUST(!inside && (err == 0 || err == -ENOENT));
	++*(unsigned *)arg;
}

static char seen_id[32];

static void on_view(void *arg, int err, const struct lk_view *view)
{
	unsigned *calls = arg;
	const struct lk_party *p = NULL;

	MUST(!inside && err == 0);
	++*calls;
	if (view->n_holders)
		p = &view->holders[0];
	if (view->n_waiters && (!p || *calls % 2))
		p = &view->waiters[view->n_waiters - 1];
	snprintf(seen_id, sizeof(seen_id), "%s", p ? p->id : "0");
}

static void by_id(uint8_t bits)
{
	unsigned calls = 0;

	MUST(lk_view(mounts[0], bits & 1 ? LK_SEM : LK_LOCK, NULL, on_view, &calls) == 0 && calls == 0);
	pl_run_tasks(&loop);
	MUST(calls == 1);
	inside++;
	MUST((bits & 2 ? lk_break : lk_end_wait)(mounts[bits >> 2 & 1], seen_id, on_told, &calls) == 0 && calls == 1);
	inside--;
	pl_run_tasks(&loop);
	MUST(calls == 2);
}

static void check(void)
{
	unsigned i, j;

	for (i = 0; i < ASKS; i++) {
		for (j = 0; j < i; j++) {
			if (!holds(&asks[i]) || !holds(&asks[j]) || !same_name(&asks[i], &asks[j]) ||
			    asks[i].hold == asks[j].hold)
				continue;
			if (asks[i].req.kind == LK_SEM)
				MUST(asks[i].hold->slot != asks[j].hold->slot);
			else
				MUST(asks[i].hold->mode == LK_SHARED && asks[j].hold->mode == LK_SHARED);
		}
	}
}

static bool has_slot(const struct ask *like, unsigned slot)
{
	unsigned i;

	for (i = 0; i < ASKS; i++) {
		if (holds(&asks[i]) && same_name(&asks[i], like) && asks[i].hold->slot == slot)
			return true;
	}
	return false;
}

/* Does a holder or somebody ahead keep this waiter of a lock out? */
static bool kept_out(const struct ask *a)
{
	const struct ask *o;

	for (o = asks; o < asks + ASKS; o++) {
		if (o == a || !o->used || !same_name(o, a))
			continue;
		if (o->req.waiting && o->came < a->came)
			return true;
		if (holds(o) && (a->req.mode == LK_EXCLUSIVE || o->hold->mode == LK_EXCLUSIVE))
			return true;
	}
	return false;
}

/* With nothing under way, whoever waits cannot be served. */
static void check_idle(void)
{
	const struct ask *a;
	unsigned slot;

	for (a = asks; a < asks + ASKS; a++) {
		if (!a->used || !a->asked)
			continue;
		MUST(a->req.waiting);
		for (slot = a->req.slot_lo; a->req.kind == LK_SEM && slot < a->req.slot_hi; slot++)
			MUST(has_slot(a, slot));
		MUST(a->req.kind == LK_SEM || kept_out(a));
	}
}

static void step(struct ask *a, uint8_t what, uint8_t bits)
{
	if (what == 0) {
		pl_run_tasks(&loop);
	} else if (what == 1) {
		by_id(bits);
	} else if (what == 2) {
		held_back = bits & 1;
		fake_hold_back(world, held_back);
	} else if (!a->used) {
		fresh(a, bits);
		go(a);
	} else if (a->asked) {
		inside++;
		lk_cancel(mount_of(a), &a->req, bits & 1 ? -EINTR : -ECANCELED);
		inside--;
	} else if (a->hold && !converter(a)) {
		if (what == 3)
			fake_lose(mount_of(a), a->hold);
		else if (what == 4)
			convert(a, bits);
		else
			release(a);
	}
}

static void finish(void)
{
	unsigned i, m, rounds = 0;
	bool left;

	fake_hold_back(world, false);
	do {
		pl_run_tasks(&loop);
		check();
		left = false;
		for (i = 0; i < ASKS; i++) {
			if (asks[i].used && asks[i].hold)
				release(&asks[i]);
			left = left || asks[i].used;
		}
		MUST(++rounds < 4 * ASKS); /* somebody waits for ever otherwise */
	} while (left || loop.tasks);
	for (m = 0; m < 2; m++)
		MUST(lk_counters(mounts[m])->held == 0 && lk_counters(mounts[m])->waiting == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lk_config config = { .loop = &loop, .max_value = 64, .max_waiters = MAX_WAITERS };
	size_t at;
	unsigned m;

	memset(asks, 0, sizeof(asks));
	memset(last_token, 0, sizeof(last_token));
	loop.ops = &loop_ops;
	arrivals = 0;
	held_back = false;
	world = fake_world_new();
	MUST(world);
	for (m = 0; m < 2; m++) {
		mounts[m] = fake_backend_open(world, &config);
		MUST(mounts[m]);
	}
	for (at = 0; at + 1 < size; at += 2) {
		step(&asks[(data[at] >> 3) % ASKS], data[at] & 7, data[at + 1]);
		check();
		if (!loop.tasks && !held_back)
			check_idle();
	}
	if (size % 2 == 0) /* else it ends in the middle of everything */
		finish();
	for (m = 0; m < 2; m++)
		lk_destroy(mounts[m]);
	MUST(!loop.tasks);
	fake_world_free(world);
	return 0;
}
