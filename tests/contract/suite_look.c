/* stat, list and view. */
#include "tests/contract/suite.h"

#include <stdio.h>

static void check_party(const struct lk_party *p, const struct ask *a)
{
	assert_string_not_equal(p->id, "");
	assert_string_equal(p->host, lk_host(a->b));
	assert_string_equal(p->name, a->req.name);
	assert_int_equal(p->kind, a->req.kind);
	assert_int_equal(p->mode, a->req.mode);
	assert_int_equal(p->owner.pid, a->req.owner.pid);
	assert_int_equal(p->owner.tid, a->req.owner.tid);
	assert_int_equal(p->owner.uid, a->req.owner.uid);
	assert_int_equal(p->owner.gid, a->req.owner.gid);
	assert_int_equal(p->owner.start, a->req.owner.start);
	assert_string_equal(p->owner.comm, a->req.owner.comm);
	assert_int_not_equal(p->since, 0);
	assert_true(p->here);
}

static void test_view(void **state)
{
	struct fixture *f = *state;
	struct ask *h[2], *w[4];
	const struct seen *s;
	size_t i;

	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_holders, 0);
	for (i = 0; i < 2; i++) {
		h[i] = ask_lock(f, LK_SHARED, "job");
		granted(h[i]);
	}
	for (i = 0; i < 4; i++) {
		w[i] = ask_lock(f, i % 2 ? LK_SHARED : LK_EXCLUSIVE, "job");
		in_queue(w[i]);
	}
	s = view_of(f->b, f, LK_LOCK, "job");
	assert_int_equal(s->n_holders, 2);
	assert_int_equal(s->n_waiters, 4);
	for (i = 0; i < 2; i++) {
		size_t at = s->holders[i].owner.pid == h[0]->req.owner.pid ? 0 : 1;

		check_party(&s->holders[i], h[at]);
		assert_int_equal(s->holders[i].token, h[at]->hold->token);
	}
	assert_string_not_equal(s->holders[0].id, s->holders[1].id);
	for (i = 0; i < 4; i++)
		check_party(&s->waiters[i], w[i]);
	give_up(w[1], -EINTR);
	settle(f);
	s = view_of(f->b, f, LK_LOCK, "job");
	assert_int_equal(s->n_waiters, 3);
	check_party(&s->waiters[1], w[2]);
	check_party(&s->waiters[2], w[3]);
}

static void test_view_of_slots(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_slots(f, "pool", 3, 4, false), *w;
	const struct seen *s;

	granted(a);
	w = ask_slots(f, "pool", 3, 4, false);
	in_queue(w);
	s = view_of(f->b, f, LK_SEM, "pool");
	assert_int_equal(s->n_holders, 1);
	assert_int_equal(s->n_waiters, 1);
	check_party(&s->holders[0], a);
	assert_int_equal(s->holders[0].slot, 3);
	assert_int_equal(s->holders[0].token, a->hold->token);
	check_party(&s->waiters[0], w);
	assert_int_equal(s->waiters[0].slot_lo, 3);
	assert_int_equal(s->waiters[0].slot_hi, 4);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "pool")->n_holders, 0);
}

static void test_view_of_all(void **state)
{
	struct fixture *f = *state;
	const struct seen *s;

	assert_int_equal(ns_make(f, "ops", 0755), 0);
	granted(ask_lock(f, LK_EXCLUSIVE, "a"));
	granted(ask_lock(f, LK_SHARED, "b"));
	granted(ask_lock(f, LK_EXCLUSIVE, "ops/deploy"));
	granted(ask_slots(f, "pool", 0, 2, false));
	in_queue(ask_lock(f, LK_EXCLUSIVE, "a"));
	s = view_of(f->b, f, LK_LOCK, NULL);
	assert_int_equal(s->n_holders, 3);
	assert_int_equal(s->n_waiters, 1);
	assert_string_equal(s->waiters[0].name, "a");
	s = view_of(f->b, f, LK_SEM, NULL);
	assert_int_equal(s->n_holders, 1);
	assert_int_equal(s->n_waiters, 0);
	assert_string_equal(s->holders[0].name, "pool");
}

struct names_seen {
	unsigned calls;
	bool job;
};

static void on_names(void *arg, int err, const struct lk_view *view)
{
	struct names_seen *seen = arg;
	size_t i;

	seen->calls++;
	assert_int_equal(err, 0);
	for (i = 0; i < view->n_holders; i++)
		seen->job |= strcmp(view->holders[i].name, "job") == 0;
	assert_true(view->n_holders == 0 || seen->job);
}

/* Another mount may see it a moment later. */
static void seen_from(struct lk_backend *b, const struct ask *a, char id[256])
{
	const struct seen *s;

	do
		s = view_of(b, a->f, LK_LOCK, "job");
	while (s->n_holders != 1 || s->holders[0].token != a->hold->token);
	snprintf(id, 256, "%s", s->holders[0].id);
	assert_string_not_equal(id, "");
}

/* However often it is given back and taken again, by the same owner: what was seen of a grant breaks that one, and none
 * after it. */
static void seen_and_broken(struct fixture *f, struct lk_backend *by)
{
	struct lk_owner owner = { 0 };
	struct ask *a = NULL;
	char ids[5][256];
	size_t i, k;

	for (i = 0; i < 5; i++) {
		if (a)
			let_go(a);
		a = ask_new(f, f->b, LK_LOCK, LK_EXCLUSIVE, "job");
		if (i)
			a->req.owner = owner;
		owner = a->req.owner;
		granted(ask_go(a));
		seen_from(by, a, ids[i]);
		for (k = 0; k < i; k++) {
			assert_string_not_equal(ids[k], ids[i]);
			assert_int_equal(broken(by, f, ids[k]), -ENOENT);
		}
		assert_int_equal(put(a, "x", 0), 1);
		assert_int_equal(a->lost, 0);
	}
	assert_int_equal(broken(by, f, ids[4]), 0);
	while (!a->lost)
		turn(f);
	let_go(a);
	settle(f);
	assert_int_equal(broken(by, f, ids[4]), -ENOENT);
}

static void test_view_of_one_grant(void **state)
{
	struct fixture *f = *state;

	seen_and_broken(f, f->b);
	seen_and_broken(f, f->b);
}

static void test_view_of_one_grant_of_another_mount(void **state)
{
	struct fixture *f = *state;

	seen_and_broken(f, fixture_other(f));
	seen_and_broken(f, f->other);
}

/* A hold may be given back between the question and the answer. */
static void test_view_of_what_goes(void **state)
{
	struct fixture *f = *state;
	struct names_seen seen = { 0 };
	struct ask *a;

	fixture_other(f);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	assert_int_equal(lk_view(f->b, LK_LOCK, NULL, on_names, &seen), 0);
	let_go(a);
	while (!seen.calls)
		turn(f);
	assert_int_equal(seen.calls, 1);
}

static void test_view_follows(void **state)
{
	struct fixture *f = *state;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job");

	granted(a);
	break_it(a);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_holders, 0); /* lost: none of its holders */
	let_go(a);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_holders, 1);
	let_go(a);
	settle(f);
	assert_int_equal(view_of(f->b, f, LK_LOCK, "job")->n_holders, 0);
}

static void test_stat(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *w;
	struct lk_stat st;

	assert_int_equal(stat_of(f->b, f, LK_LOCK, "job", &st), 0);
	assert_int_equal(st.type, LK_T_NONE);
	assert_int_equal(st.holders, 0);
	assert_int_equal(st.size, 0);
	a = ask_lock(f, LK_EXCLUSIVE, "job");
	granted(a);
	assert_int_equal(put(a, "12345", 0), 5);
	w = ask_lock(f, LK_SHARED, "job");
	in_queue(w);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "job", &st), 0);
	assert_int_equal(st.type, LK_T_NAME);
	assert_int_equal(st.holders, 1);
	assert_int_equal(st.waiters, 1);
	assert_true(st.exclusive);
	assert_int_equal(st.size, 5);
	assert_int_equal(st.token, a->hold->token);
	assert_int_equal(st.mtime, a->hold->since);
	assert_int_equal(st.uid, a->req.owner.uid);
	assert_int_equal(st.gid, a->req.owner.gid);
	let_go(a);
	granted(w);
	settle(f);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "job", &st), 0);
	assert_int_equal(st.holders, 1);
	assert_int_equal(st.waiters, 0);
	assert_false(st.exclusive);
	assert_int_equal(st.uid, w->req.owner.uid);
}

static void test_stat_of_slots(void **state)
{
	struct fixture *f = *state;
	struct lk_stat st;

	assert_int_equal(stat_of(f->b, f, LK_SEM, "pool", &st), 0);
	assert_int_equal(st.type, LK_T_NONE);
	granted(ask_slots(f, "pool", 0, 2, false));
	granted(ask_slots(f, "pool", 0, 2, false));
	in_queue(ask_slots(f, "pool", 0, 2, false));
	assert_int_equal(stat_of(f->b, f, LK_SEM, "pool", &st), 0);
	assert_int_equal(st.type, LK_T_NAME);
	assert_int_equal(st.holders, 2);
	assert_int_equal(st.waiters, 1);
}

/* Listed: held, waited for, or with a value. */
static void test_list(void **state)
{
	struct fixture *f = *state;
	struct ask *a, *v;

	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "");
	assert_string_equal(list_of(f->b, f, LK_SEM, ""), "");
	a = ask_lock(f, LK_EXCLUSIVE, "held");
	granted(a);
	v = ask_lock(f, LK_EXCLUSIVE, "value");
	granted(v);
	assert_int_equal(put(v, "x", 0), 1);
	let_go(v);
	granted(ask_slots(f, "pool", 0, 2, false));
	assert_int_equal(ns_make(f, "ops", 0755), 0);
	granted(ask_lock(f, LK_SHARED, "ops/deploy"));
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "held ops/ value ");
	assert_string_equal(list_of(f->b, f, LK_LOCK, "ops"), "deploy ");
	assert_string_equal(list_of(f->b, f, LK_SEM, ""), "pool ");
	let_go(a);
	settle(f);
	assert_string_equal(list_of(f->b, f, LK_LOCK, ""), "ops/ value ");
}

static void test_bad_names(void **state)
{
	struct fixture *f = *state;
	struct lk_stat st;
	struct ask *a = ask_lock(f, LK_EXCLUSIVE, "job");

	granted(a);
	assert_int_equal(put(a, "x", 0), 1);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, ".x", &st), -ENOENT);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "a//b", &st), -ENOENT);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "none/x", &st), -ENOENT);
	assert_int_equal(stat_of(f->b, f, LK_LOCK, "job/x", &st), -ENOTDIR);
	assert_string_equal(list_of(f->b, f, LK_LOCK, "../x"), "errno 2");
	assert_string_equal(list_of(f->b, f, LK_LOCK, "none"), "errno 2");
	assert_int_equal(lk_view(f->b, LK_LOCK, ".x", NULL, NULL), -ENOENT);
}

static void test_says_where(void **state)
{
	struct fixture *f = *state;

	assert_string_not_equal(lk_describe(f->b), "");
	assert_string_not_equal(lk_host(f->b), "");
	lk_tick(f->b);
	lk_count_refused(f->b, LK_R_DEADLOCK);
	assert_int_equal(lk_counters(f->b)->refused[LK_R_DEADLOCK], 1);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_view),
	CONTRACT_TEST(test_view_of_slots),
	CONTRACT_TEST(test_view_of_all),
	CONTRACT_TEST(test_view_of_what_goes),
	CONTRACT_TEST(test_view_of_one_grant),
	CONTRACT_TEST(test_view_of_one_grant_of_another_mount),
	CONTRACT_TEST(test_view_follows),
	CONTRACT_TEST(test_stat),
	CONTRACT_TEST(test_stat_of_slots),
	CONTRACT_TEST(test_list),
	CONTRACT_TEST(test_bad_names),
	CONTRACT_TEST(test_says_where),
};

const struct test_list look_list = TEST_LIST(tests);
