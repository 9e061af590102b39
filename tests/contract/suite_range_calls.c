/* Byte ranges, asked and waited for. */
#include "tests/contract/ranges.h"

#include <stdlib.h>

static const struct range_ask *calling; /* inside lk_range_X for this one */

pid_t range_pid(uint64_t owner)
{
	return 3000 + (pid_t)owner;
}

static void on_range(struct lk_range_request *req, int err)
{
	struct range_ask *r = req->arg;

	assert_null(calling);
	assert_false(contract_over);
	assert_false(r->refused);
	assert_true(err <= 0);
	r->calls++;
	assert_int_equal(r->calls, 1);
	r->err = err;
}

struct range_ask *range_ask(const struct opened *o, uint64_t owner, enum ranges_mode mode, int64_t start, int64_t end,
			    bool wait, pid_t pid)
{
	struct range_ask *r = contract_keep(calloc(1, sizeof(*r)));
	int err;

	r->f = o->f;
	r->b = o->b;
	r->req.file = o->file;
	r->req.want = (struct ranges_lock){ .who.owner = owner, .start = start, .end = end, .mode = mode };
	r->req.want.pid = pid ? pid : range_pid(owner);
	r->req.tid = pid;
	r->req.wait = wait;
	r->req.done = on_range;
	r->req.arg = r;
	calling = r;
	err = lk_range_set(o->b, &r->req);
	calling = NULL;
	assert_true(err <= 0);
	assert_int_equal(r->calls, 0);
	r->refused = err < 0;
	r->err = err;
	return r;
}

int range_answer(struct range_ask *r)
{
	while (!r->refused && r->calls == 0)
		turn(r->f);
	return r->err;
}

int range_try(const struct opened *o, uint64_t owner, enum ranges_mode mode, int64_t start, int64_t end)
{
	return range_answer(range_ask(o, owner, mode, start, end, false, 0));
}

int range_unlock(const struct opened *o, uint64_t owner, int64_t start, int64_t end)
{
	return range_try(o, owner, NONE, start, end);
}

struct range_ask *range_wait(const struct opened *o, uint64_t owner, enum ranges_mode mode, int64_t start, int64_t end)
{
	return range_ask(o, owner, mode, start, end, true, 0);
}

void range_still_waits(struct range_ask *r)
{
	settle(r->f);
	assert_false(r->refused);
	assert_int_equal(r->calls, 0);
}

void range_cancel(struct range_ask *r, int err)
{
	calling = r;
	lk_range_cancel(r->b, &r->req, err);
	calling = NULL;
}

int range_drop(const struct opened *o, uint64_t owner)
{
	struct outcome *out = outcome_new();

	return (int)outcome_of(o->f, outcome_begun(out, lk_range_drop(o->b, o->file, owner, on_done, out)));
}

static void on_test(void *arg, int err, const struct ranges_lock *conflict)
{
	struct outcome *o = arg;

	outcome_came(o, err);
	assert_true(err == 0 || (err < 0 && !conflict));
	o->conflict = conflict;
	if (conflict)
		o->lock = *conflict;
}

bool range_taken(const struct opened *o, uint64_t owner, enum ranges_mode mode, int64_t start, int64_t end,
		 struct ranges_lock *conflict)
{
	struct outcome *out = outcome_new();
	const struct ranges_lock want = { .who.owner = owner, .start = start, .end = end, .mode = mode };

	outcome_begun(out, lk_range_test(o->b, o->file, &want, on_test, out));
	assert_int_equal(outcome_of(o->f, out), 0);
	if (!out->conflict)
		return false;
	/* Whatever it is, it is in the way. */
	assert_true(out->lock.start <= end && out->lock.end >= start);
	assert_true(out->lock.mode == X || (out->lock.mode == S && mode == X));
	if (conflict)
		*conflict = out->lock;
	return true;
}
