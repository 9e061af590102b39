/* Steps drawn at random from fixed seeds; after each, who holds what is checked
 * against the rules. */
#include "tests/contract/suite.h"

#include <uv.h>

#define STEPS 200
#define LIVE 24
#define BOUND 3

static const char *const locks[] = { "a", "b", "c" };

struct entry {
	struct ask *a;	 /* NULL: free */
	struct ask *old; /* had the hold that `a` converts */
	unsigned came;	 /* when it was seen in the queue; 0: it was not */
	bool noted;	 /* its answer was looked at */
	bool unsure;	 /* a conversion was canceled, which may have been made all the same: in either mode */
};

struct run {
	struct fixture *f;
	uint32_t seed;
	struct entry live[LIVE];
	uint64_t token[3];
};

static uint32_t draw(struct run *r, uint32_t below)
{
	r->seed = r->seed * 1664525 + 1013904223;
	return (r->seed >> 8) % below;
}

static bool holds(const struct entry *e)
{
	return e->a && e->a->hold && !e->a->hold->lost;
}

static bool rival(const struct ask *a, const struct ask *b)
{
	if (a->req.kind != b->req.kind || strcmp(a->req.name, b->req.name) != 0)
		return false;
	if (a->req.kind == LK_SEM)
		return a->hold->slot == b->hold->slot;
	return a->req.mode == LK_EXCLUSIVE || b->req.mode == LK_EXCLUSIVE;
}

/* Nobody who came earlier to this lock still waits at this mount. */
static void check_turn(const struct run *r, const struct entry *e)
{
	const struct entry *o;

	for (o = r->live; o < r->live + LIVE; o++) {
		if (!o->a || o == e || !e->came || !o->came || o->a->b != e->a->b || !o->a->req.waiting ||
		    o->a->req.kind != LK_LOCK || strcmp(o->a->req.name, e->a->req.name) != 0)
			continue;
		assert_true(o->came > e->came);
	}
}

static void took(struct run *r, struct entry *e)
{
	struct ask *a = e->a;
	unsigned n;

	e->noted = true;
	if (a->err) {
		assert_true(a->err == -EAGAIN || a->err == -EINTR || a->err == -ESTALE);
		e->a = e->old && !a->gave_up ? e->old : NULL; /* refused: the old hold stays */
		e->unsure |= e->old && a->err == -EINTR;
		e->old = NULL;
		return;
	}
	e->old = NULL;
	if (a->req.kind != LK_LOCK)
		return;
	check_turn(r, e);
	if (a->req.mode == LK_EXCLUSIVE) {
		n = (unsigned)(a->req.name[0] - 'a');
		assert_true(a->hold->token >= r->token[n]); /* the same: converted to what it was */
		r->token[n] = a->hold->token;
	}
}

/* Takes note of what was answered, in the order of the answers. */
static void look(struct run *r)
{
	struct entry *e, *o, *first;

	do {
		first = NULL;
		for (e = r->live; e < r->live + LIVE; e++) {
			if (e->a && !e->noted && (e->a->calls || e->a->refused) &&
			    (!first || e->a->order < first->a->order))
				first = e;
		}
		if (first)
			took(r, first);
	} while (first);
	for (e = r->live; e < r->live + LIVE; e++) {
		if (e->a && e->a->req.waiting && !e->came)
			e->came = e->a->came;
		for (o = r->live; o < e; o++)
			assert_false(holds(e) && holds(o) && !e->unsure && !o->unsure && rival(e->a, o->a));
	}
}

static void step_ask(struct run *r, struct entry *e)
{
	struct lk_backend *b = r->f->other && draw(r, 2) ? r->f->other : r->f->b;
	struct ask *a;

	if (draw(r, 4) == 0) {
		a = ask_new(r->f, b, LK_SEM, LK_EXCLUSIVE, "pool");
		a->req.slot_hi = 1 + draw(r, BOUND);
		a->req.slot_lo = draw(r, a->req.slot_hi);
	} else {
		a = ask_new(r->f, b, LK_LOCK, draw(r, 2) ? LK_EXCLUSIVE : LK_SHARED, locks[draw(r, 3)]);
	}
	a->req.try_only = draw(r, 5) == 0;
	*e = (struct entry){ .a = ask_go(a) };
}

static void step_convert(struct run *r, struct entry *e)
{
	enum lk_mode mode = draw(r, 2) ? LK_EXCLUSIVE : LK_SHARED;
	struct ask *old = e->a;

	*e = (struct entry){ .old = old, .unsure = e->unsure, .a = ask_convert(old, mode, draw(r, 3) == 0) };
}

static void step_lose(struct run *r, const struct entry *e)
{
	contract->lose(e->a->b, e->a->hold);
	settle(r->f);
	assert_true(e->a->hold->lost);
	assert_int_equal(e->a->lost, 1);
}

static void step(struct run *r)
{
	struct entry *e = &r->live[draw(r, LIVE)];
	unsigned what = draw(r, 8), n;

	if (!e->a)
		step_ask(r, e);
	else if (!e->noted && what < 2)
		lk_cancel(e->a->b, &e->a->req, -EINTR);
	else if (holds(e) && what == 2 && e->a->req.kind == LK_LOCK)
		step_convert(r, e);
	else if (holds(e) && what == 3 && e->a->req.kind == LK_LOCK && contract->lose)
		step_lose(r, e);
	else if (e->noted && what > 3) {
		let_go(e->a);
		e->a = NULL;
	}
	for (n = draw(r, 3); n > 0; n--)
		uv_run(pl_loop_uv(r->f->loop), UV_RUN_NOWAIT);
	look(r);
}

/* Everybody who waits is served once the holders let go. */
static void drain(struct run *r)
{
	struct entry *e;
	unsigned left;

	do {
		left = 0;
		for (e = r->live; e < r->live + LIVE; e++) {
			if (e->a && e->noted) {
				let_go(e->a);
				e->a = NULL;
			}
			left += e->a != NULL;
		}
		if (left)
			turn(r->f);
		look(r);
	} while (left);
	settle(r->f);
	assert_int_equal(lk_counters(r->f->b)->held, 0);
	assert_int_equal(lk_counters(r->f->b)->waiting, 0);
	for (left = 0; left < 3; left++)
		granted(ask_try(r->f, LK_EXCLUSIVE, locks[left]));
}

static void run(struct fixture *f, uint32_t seed)
{
	struct run r = { .f = f, .seed = seed };
	int i;

	for (i = 0; i < STEPS; i++)
		step(&r);
	drain(&r);
}

static void test_seed_1(void **state)
{
	run(*state, 1);
}

static void test_seed_7(void **state)
{
	run(*state, 7);
}

static void test_seed_42(void **state)
{
	run(*state, 42);
}

static void test_two_mounts_seed_3(void **state)
{
	fixture_other(*state);
	run(*state, 3);
}

static void test_two_mounts_seed_11(void **state)
{
	fixture_other(*state);
	run(*state, 11);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_seed_1),
	CONTRACT_TEST(test_seed_7),
	CONTRACT_TEST(test_seed_42),
	CONTRACT_TEST(test_two_mounts_seed_3),
	CONTRACT_TEST(test_two_mounts_seed_11),
};

const struct test_list random_list = TEST_LIST(tests);
