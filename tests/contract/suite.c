/* The world, the loop and acquiring, for all tests of the suite. */
#include "tests/contract/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>
#include <uv.h>

#define DEADLINE (60 * PL_SEC) /* of one test; far more under valgrind than it needs */
#define ASKS_MAX 1024

const struct contract_world *contract;

static unsigned answers;	  /* callbacks so far */
static unsigned arrivals;	  /* entries into queues so far */
static const struct ask *calling; /* inside lk_acquire for this one */
static struct ask *asks[ASKS_MAX];
static unsigned n_asks;
bool contract_over;

struct kept {
	void *memory;
	struct kept *next;
};
static struct kept *kept; /* utlist LL */

/* --- the loop --- */

static void on_deadline(void *arg)
{
	struct fixture *f = arg;

	f->deadline = NULL;
}

void turn(struct fixture *f)
{
	uv_run(pl_loop_uv(f->loop), UV_RUN_ONCE);
	if (!f->deadline)
		fail_msg("what was waited for did not happen");
}

void settle(struct fixture *f)
{
	int i;

	/* An answer to this question comes after those to all before it; what they
	 * set going (another grant, say) is answered by the second round. */
	for (i = 0; i < 2; i++) {
		view_of(f->b, f, LK_LOCK, "settle");
		if (f->other)
			view_of(f->other, f, LK_LOCK, "settle");
	}
	for (i = 0; i < 4; i++)
		uv_run(pl_loop_uv(f->loop), UV_RUN_NOWAIT);
}

/* --- the fixture --- */

void *contract_keep(void *memory)
{
	struct kept *k = calloc(1, sizeof(*k));

	assert_non_null(memory);
	assert_non_null(k);
	k->memory = memory;
	LL_PREPEND(kept, k);
	return memory;
}

static void free_kept(void)
{
	struct kept *k, *tmp;

	LL_FOREACH_SAFE(kept, k, tmp) {
		free(k->memory);
		free(k);
	}
	kept = NULL;
}

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	contract->make();
	contract_over = false;
	calling = NULL;
	n_asks = 0;
	f->loop = pl_loop_new();
	assert_non_null(f->loop);
	f->deadline = pl_timer_start(f->loop, DEADLINE, on_deadline, f);
	assert_non_null(f->deadline);
	f->config.loop = f->loop;
	f->config.max_value = MAX_VALUE;
	f->b = contract->open(&f->config);
	assert_non_null(f->b);
	*state = f;
	return 0;
}

void fixture_destroy(struct fixture *f)
{
	contract_over = true;
	pl_timer_stop(f->loop, f->deadline);
	f->deadline = NULL;
	if (f->b)
		lk_destroy(f->b);
	if (f->other)
		lk_destroy(f->other);
	f->b = f->other = NULL;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	if (f->b) {
		settle(f);
		fixture_destroy(f);
	}
	if (f->loop)
		pl_loop_free(f->loop);
	while (n_asks)
		free(asks[--n_asks]);
	free_kept();
	contract->drop();
	free(f);
	return 0;
}

struct lk_backend *fixture_other(struct fixture *f)
{
	if (!contract->two)
		skip();
	f->other = contract->open(&f->config);
	assert_non_null(f->other);
	return f->other;
}

void fixture_reopen(struct fixture *f)
{
	settle(f);
	lk_destroy(f->b);
	f->b = contract->open(&f->config);
	assert_non_null(f->b);
}

/* --- acquiring --- */

static void on_done(struct lk_request *req, int err, struct lk_hold *hold);

static void on_queued(struct lk_request *req)
{
	struct ask *a = req->arg;

	assert_false(contract_over);
	assert_int_equal(a->calls, 0);
	assert_true(req->waiting);
	assert_false(req->try_only);
	a->queued++;
	a->came = ++arrivals;
}

static void on_gave_up(struct lk_request *req)
{
	struct ask *a = req->arg;

	assert_int_equal(a->calls, 0);
	assert_null(req->convert);
	a->gave_up++;
}

static void on_lost(struct lk_hold *hold)
{
	struct ask *a = hold->arg;

	assert_false(contract_over);
	assert_ptr_equal(a->hold, hold);
	assert_true(hold->lost);
	a->lost++;
	assert_int_equal(a->lost, 1);
}

static void on_contended(struct lk_hold *hold)
{
	struct ask *a = hold->arg;

	assert_ptr_equal(a->hold, hold);
	a->told++;
}

struct ask *ask_new(struct fixture *f, struct lk_backend *b, enum lk_kind kind, enum lk_mode mode, const char *name)
{
	struct ask *a = calloc(1, sizeof(*a));

	assert_non_null(a);
	assert_true(n_asks < ASKS_MAX);
	asks[n_asks++] = a;
	a->f = f;
	a->b = b;
	a->req.kind = kind;
	a->req.mode = mode;
	a->req.name = name;
	a->req.slot_hi = 1;
	a->req.owner.pid = 1000 + (pid_t)n_asks;
	a->req.owner.tid = a->req.owner.pid;
	a->req.owner.uid = 500 + n_asks;
	a->req.owner.gid = 700 + n_asks;
	a->req.owner.start = 12345;
	snprintf(a->req.owner.comm, sizeof(a->req.owner.comm), "prog%u", n_asks);
	a->req.done = on_done;
	a->req.queued = on_queued;
	a->req.gave_up = on_gave_up;
	a->req.arg = a;
	return a;
}

static void on_done(struct lk_request *req, int err, struct lk_hold *hold)
{
	struct ask *a = req->arg;

	assert_false(contract_over);
	assert_null(calling);
	assert_false(a->refused);
	assert_ptr_equal(&a->req, req);
	a->calls++;
	assert_int_equal(a->calls, 1);
	assert_false(req->waiting);
	a->order = ++answers;
	a->err = err;
	a->hold = hold;
	if (err) {
		assert_true(err < 0);
		assert_null(hold);
		return;
	}
	assert_non_null(hold);
	assert_int_equal(hold->kind, req->kind);
	assert_int_equal(hold->mode, req->mode);
	if (!hold->lost && !req->file)
		assert_string_equal(hold->name, req->name);
	assert_in_range(hold->slot, req->slot_lo, req->slot_hi - 1);
	assert_int_equal(hold->owner.pid, req->owner.pid);
	assert_int_not_equal(hold->since, 0);
	hold->arg = a;
	hold->on_lost = on_lost;
	hold->on_contended = on_contended;
}

struct ask *ask_go(struct ask *a)
{
	int err;

	calling = a;
	err = lk_acquire(a->b, &a->req);
	calling = NULL;
	assert_true(err <= 0);
	assert_int_equal(a->calls, 0);
	if (err) {
		a->refused = true;
		a->err = err;
	}
	return a;
}

struct ask *ask_lock(struct fixture *f, enum lk_mode mode, const char *name)
{
	return ask_go(ask_new(f, f->b, LK_LOCK, mode, name));
}

struct ask *ask_try(struct fixture *f, enum lk_mode mode, const char *name)
{
	struct ask *a = ask_new(f, f->b, LK_LOCK, mode, name);

	a->req.try_only = true;
	return ask_go(a);
}

struct ask *ask_slots(struct fixture *f, const char *name, unsigned lo, unsigned hi, bool try_only)
{
	struct ask *a = ask_new(f, f->b, LK_SEM, LK_EXCLUSIVE, name);

	a->req.slot_lo = lo;
	a->req.slot_hi = hi;
	a->req.try_only = try_only;
	return ask_go(a);
}

int answer(struct ask *a)
{
	while (!a->refused && a->calls == 0)
		turn(a->f);
	return a->err;
}

struct lk_hold *granted(struct ask *a)
{
	assert_int_equal(answer(a), 0);
	assert_non_null(a->hold);
	assert_false(a->hold->lost);
	return a->hold;
}

void in_queue(struct ask *a)
{
	while (!a->refused && a->calls == 0 && !a->req.waiting)
		turn(a->f);
	assert_true(a->req.waiting);
	assert_int_equal(a->queued, 1);
}

void still_waits(struct ask *a)
{
	assert_false(a->refused);
	assert_int_equal(a->calls, 0);
	assert_true(a->req.waiting);
}

void give_up(struct ask *a, int err)
{
	calling = a;
	lk_cancel(a->b, &a->req, err);
	calling = NULL;
	assert_int_equal(answer(a), err);
}

void let_go(struct ask *a)
{
	struct lk_hold *hold = a->hold;

	assert_non_null(hold);
	a->hold = NULL;
	calling = a;
	lk_release(a->b, hold);
	calling = NULL;
}

struct ask *ask_convert(struct ask *a, enum lk_mode mode, bool try_only)
{
	struct ask *c = ask_new(a->f, a->b, a->req.kind, mode, a->req.name);

	c->req.owner = a->req.owner;
	c->req.file = a->req.file;
	c->req.convert = a->hold;
	c->req.try_only = try_only;
	return ask_go(c);
}

/* --- all of it --- */

int contract_run(const struct contract_world *world)
{
	static const struct test_list *const lists[] = {
		&acquire_list,	  &cancel_list,	     &convert_list,    &sem_list,	 &value_list,
		&lost_list,	  &look_list,	     &ns_list,	       &mounts_list,	 &destroy_list,
		&random_list,	  &files_list,	     &file_names_list, &file_flock_list, &ranges_list,
		&range_wait_list, &range_model_list, &lock_files_list, &files_lost_list,
	};
	struct CMUnitTest all[256];
	size_t i, n = 0;

	contract = world;
	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (lists[i] == &files_lost_list && !world->lapse)
			continue;
		if (world->blocks_in_fcntl && getenv("NO_BLOCKING_FCNTL") &&
		    (lists[i] == &ranges_list || lists[i] == &range_wait_list || lists[i] == &lock_files_list ||
		     lists[i] == &destroy_list))
			continue;
		if (n + lists[i]->n > sizeof(all) / sizeof(all[0]))
			return 1;
		memcpy(all + n, lists[i]->tests, lists[i]->n * sizeof(all[0]));
		n += lists[i]->n;
	}
	return _cmocka_run_group_tests(world->name, all, n, NULL, NULL);
}
