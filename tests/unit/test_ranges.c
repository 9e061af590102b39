/* Byte ranges, their queue and their deadlocks, case by case. */
#include "tests/unit/ranges_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static int set(struct ranges *r, uint64_t owner, enum ranges_mode mode, int64_t start, int64_t end)
{
	struct ranges_lock want = lock_of(owner, mode, start, end);

	return ranges_set(r, &want);
}

/* All that is held, such as "1:S0-4,X5-5 2:S0-9". */
static const char *shown(const struct ranges *r)
{
	static char text[1024];
	struct ranges_cursor c = { 0 };
	struct ranges_lock l;
	uint64_t last = 0;
	size_t len = 0, n = 0;

	text[0] = '\0';
	for (; ranges_next(r, &c, &l); n++) {
		if (l.who.owner == last)
			len += (size_t)snprintf(text + len, sizeof(text) - len, ",");
		else
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d:", len ? " " : "",
						(int)l.who.owner);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%c%lld-%lld", l.mode == S ? 'S' : 'X',
					(long long)l.start, (long long)l.end);
		last = l.who.owner;
	}
	assert_int_equal(n, r->held);
	return text;
}

static void test_split_and_merge(void **state)
{
	struct ranges r = { 0 };

	(void)state;
	assert_int_equal(set(&r, 1, X, 0, 99), 0);
	assert_int_equal(set(&r, 1, RANGES_NONE, 40, 49), 0);
	assert_string_equal(shown(&r), "1:X0-39,X50-99");
	assert_int_equal(set(&r, 1, S, 30, 60), 0);
	assert_string_equal(shown(&r), "1:X0-29,S30-60,X61-99");
	assert_int_equal(set(&r, 1, X, 30, 60), 0);
	assert_string_equal(shown(&r), "1:X0-99");
	assert_int_equal(set(&r, 1, S, 10, 10), 0);
	assert_string_equal(shown(&r), "1:X0-9,S10-10,X11-99");
	assert_int_equal(set(&r, 1, S, 11, 12), 0);
	assert_int_equal(set(&r, 1, S, 9, 9), 0);
	assert_string_equal(shown(&r), "1:X0-8,S9-12,X13-99");
	/* Only touching: other modes stay apart, an unlock takes nothing. */
	assert_int_equal(set(&r, 1, RANGES_NONE, 100, END), 0);
	assert_int_equal(set(&r, 1, S, 100, 109), 0);
	assert_string_equal(shown(&r), "1:X0-8,S9-12,X13-99,S100-109");
	assert_int_equal(set(&r, 1, RANGES_NONE, 0, 8), 0);
	assert_string_equal(shown(&r), "1:S9-12,X13-99,S100-109");
	assert_int_equal(set(&r, 1, RANGES_NONE, 0, END), 0);
	assert_string_equal(shown(&r), "");
	assert_null(r.owners);
}

static void test_far_ends(void **state)
{
	struct ranges r = { 0 };

	(void)state;
	assert_int_equal(set(&r, 1, S, END, END), 0);
	assert_int_equal(set(&r, 1, S, 0, 0), 0);
	assert_int_equal(set(&r, 1, S, 1, END - 1), 0);
	assert_int_equal(r.held, 1);
	assert_int_equal(set(&r, 1, X, END, END), 0);
	assert_int_equal(set(&r, 1, X, 0, 0), 0);
	assert_string_equal(shown(&r), "1:X0-0,S1-9223372036854775806,X9223372036854775807-9223372036854775807");
	assert_int_equal(set(&r, 2, S, END, END), -EAGAIN);
	assert_int_equal(set(&r, 2, S, 1, END - 1), 0);
	assert_int_equal(set(&r, 1, X, 5, 4), -EINVAL);
	assert_int_equal(set(&r, 1, X, -1, 4), -EINVAL);
	ranges_clear(&r);
	assert_int_equal(r.held, 0);
}

static void test_conflicts(void **state)
{
	struct ranges r = { 0 };
	struct ranges_lock want = lock_of(9, X, 0, END), c = { 0 };

	(void)state;
	assert_int_equal(ranges_test(&r, &want, &c), 0);
	assert_int_equal(set(&r, 2, S, 50, 59), 0);
	assert_int_equal(set(&r, 1, S, 0, 9), 0);
	assert_int_equal(set(&r, 1, X, 20, 29), 0);
	/* Who locked first comes first, and then the lowest. */
	assert_int_equal(ranges_test(&r, &want, &c), -EAGAIN);
	assert_int_equal(c.who.owner, 2);
	assert_int_equal(c.start, 50);
	assert_int_equal(c.mode, S);
	want.mode = S;
	assert_int_equal(ranges_test(&r, &want, &c), -EAGAIN);
	assert_int_equal(c.who.owner, 1);
	assert_int_equal(c.who.session, 1);
	assert_int_equal(c.pid, 1);
	assert_int_equal(c.start, 20);
	assert_int_equal(c.end, 29);
	assert_int_equal(c.mode, X);
	/* One's own locks are never in the way; the same owner of another mount is another. */
	want = lock_of(1, X, 0, 49);
	assert_int_equal(ranges_test(&r, &want, &c), 0);
	want.who.session = 2;
	assert_int_equal(ranges_test(&r, &want, NULL), -EAGAIN);
	/* A range that merges has the pid of the last request. */
	want = lock_of(1, S, 10, 12);
	want.pid = 77;
	assert_int_equal(ranges_set(&r, &want), 0);
	want = lock_of(9, X, 0, 0);
	assert_int_equal(ranges_test(&r, &want, &c), -EAGAIN);
	assert_int_equal(c.pid, 77);
	assert_int_equal(c.end, 12);
	ranges_drop_owner(&r, c.who);
	ranges_drop_owner(&r, c.who);
	assert_string_equal(shown(&r), "2:S50-59");
	ranges_clear(&r);
}

static void test_limit(void **state)
{
	struct ranges r = { .limit = 3 };

	(void)state;
	assert_int_equal(set(&r, 1, X, 0, 9), 0);
	assert_int_equal(set(&r, 1, X, 20, 29), 0);
	assert_int_equal(set(&r, 2, X, 40, 49), 0);
	assert_int_equal(set(&r, 3, S, 60, 60), -ENOLCK);
	assert_int_equal(set(&r, 1, RANGES_NONE, 5, 5), -ENOLCK);
	assert_int_equal(set(&r, 1, S, 29, 29), -ENOLCK);
	assert_string_equal(shown(&r), "1:X0-9,X20-29 2:X40-49");
	/* What needs no more ranges goes on. */
	assert_int_equal(set(&r, 1, X, 10, 19), 0);
	assert_int_equal(set(&r, 2, S, 40, 49), 0);
	assert_int_equal(set(&r, 1, RANGES_NONE, 3, 3), 0);
	assert_int_equal(set(&r, 1, RANGES_NONE, 4, 9), 0);
	assert_string_equal(shown(&r), "1:X0-2,X10-29 2:S40-49");
	ranges_clear(&r);
}

static void test_many(void **state)
{
	enum { N = 20000 };
	struct ranges r = { 0 };
	struct ranges_lock want = lock_of(2, S, 0, END), c;
	int64_t i;

	(void)state;
	/* In an order that inserts at every place. */
	for (i = 0; i < N; i++)
		assert_int_equal(set(&r, 1, i % 2 ? X : S, (i * 7919 % N) * 3, (i * 7919 % N) * 3 + 1), 0);
	assert_int_equal(r.held, N);
	for (i = 0; i < N; i++) {
		want = lock_of(2, X, i * 3, i * 3 + 2);
		assert_int_equal(ranges_test(&r, &want, &c), -EAGAIN);
		assert_int_equal(c.start, i * 3);
		want.start = want.end;
		assert_int_equal(ranges_test(&r, &want, &c), 0);
	}
	assert_int_equal(set(&r, 1, S, 1, 3 * N - 4), 0);
	assert_int_equal(r.held, 3 - (N % 2 == 0));
	ranges_clear(&r);
}

/* --- the queue --- */

struct served {
	char text[128]; /* owners in order; "!" after one that failed */
	struct ranges *file;
	struct ranges_waiter *cancel;
	uint64_t unlock; /* this owner gives its lock back at once */
};

static void served(void *ctx, struct ranges_waiter *w, int err)
{
	struct served *s = ctx;
	size_t len = strlen(s->text);

	assert_null(w->file);
	snprintf(s->text + len, sizeof(s->text) - len, "%d%s", (int)w->want.who.owner, err ? "!" : "");
	if (s->cancel)
		ranges_wait_remove(s->cancel);
	if (s->file && w->want.who.owner == s->unlock) {
		ranges_drop_owner(s->file, w->want.who);
		ranges_pump(s->file, served, s);
	}
}

static const char *pump(struct ranges *r)
{
	static struct served s;

	memset(&s, 0, sizeof(s));
	ranges_pump(r, served, &s);
	return s.text;
}

static int queue(struct ranges *r, struct ranges_waiter *w, uint64_t owner, enum ranges_mode mode, int64_t start,
		 int64_t end)
{
	memset(w, 0, sizeof(*w));
	w->want = lock_of(owner, mode, start, end);
	return ranges_wait_add(r, w);
}

static void test_queue_order(void **state)
{
	struct ranges r = { .limit = 3 };
	struct ranges_waiter w[5];

	(void)state;
	assert_int_equal(set(&r, 1, X, 0, 9), 0);
	assert_int_equal(queue(&r, &w[0], 2, X, 0, 4), 0);
	assert_int_equal(queue(&r, &w[1], 3, S, 0, 9), 0);
	assert_int_equal(queue(&r, &w[2], 4, X, 5, 9), 0);
	assert_int_equal(queue(&r, &w[3], 5, X, 20, 20), 0);
	assert_int_equal(queue(&r, &w[4], 6, RANGES_NONE, 0, 0), -EINVAL);
	assert_int_equal(r.waiting, 4);
	assert_string_equal(pump(&r), "5");
	/* The first who can; one that cannot is passed over. */
	assert_int_equal(set(&r, 1, RANGES_NONE, 5, 9), 0);
	assert_string_equal(pump(&r), "4");
	assert_int_equal(set(&r, 1, RANGES_NONE, 0, 9), 0);
	assert_string_equal(pump(&r), "2");
	ranges_wait_remove(&w[1]);
	ranges_wait_remove(&w[1]);
	assert_int_equal(r.waiting, 0);
	assert_int_equal(queue(&r, &w[0], 7, X, 30, 30), 0);
	assert_string_equal(pump(&r), "7!");
	ranges_clear(&r);
}

static void test_downgrade_lets_one_before_enter(void **state)
{
	struct ranges r = { 0 };
	struct ranges_waiter w[2];

	(void)state;
	assert_int_equal(set(&r, 1, X, 0, 9), 0);
	assert_int_equal(set(&r, 2, X, 10, 19), 0);
	assert_int_equal(queue(&r, &w[0], 3, S, 0, 9), 0);
	assert_int_equal(queue(&r, &w[1], 1, S, 0, 19), 0);
	assert_string_equal(pump(&r), "");
	assert_int_equal(set(&r, 2, S, 10, 19), 0);
	assert_string_equal(pump(&r), "13");
	ranges_clear(&r);
}

static void test_changes_from_within_the_pump(void **state)
{
	struct ranges r = { 0 };
	struct ranges_waiter w[3];
	struct served s = { .file = &r, .cancel = &w[1], .unlock = 4 };

	(void)state;
	assert_int_equal(set(&r, 1, X, 0, 9), 0);
	assert_int_equal(queue(&r, &w[0], 2, S, 0, 9), 0);
	assert_int_equal(queue(&r, &w[1], 3, S, 0, 9), 0);
	assert_int_equal(queue(&r, &w[2], 4, S, 0, 9), 0);
	assert_int_equal(set(&r, 1, RANGES_NONE, 0, 9), 0);
	ranges_pump(&r, served, &s);
	assert_string_equal(s.text, "24");
	assert_string_equal(shown(&r), "2:S0-9");
	/* Given back within: one before it in the queue gets it. */
	s = (struct served){ .file = &r, .unlock = 4 };
	assert_int_equal(set(&r, 4, S, 5, 5), 0);
	assert_int_equal(queue(&r, &w[0], 3, X, 5, 5), 0);
	assert_int_equal(queue(&r, &w[1], 4, X, 9, 9), 0);
	assert_int_equal(set(&r, 2, RANGES_NONE, 0, END), 0);
	ranges_pump(&r, served, &s);
	assert_string_equal(s.text, "43");
	ranges_clear(&r);
}

static void test_yielding(void **state)
{
	struct ranges r = { 0 };
	struct ranges_waiter w[4];
	struct ranges_lock want = lock_of(3, S, 5, 5), reader = lock_of(1, S, 5, 5), aside = lock_of(3, X, 10, 10);
	struct ranges_lock again = lock_of(2, S, 5, 5);

	(void)state;
	assert_int_equal(set(&r, 1, S, 0, 9), 0);
	assert_false(ranges_should_yield(&r, &want));
	assert_int_equal(queue(&r, &w[0], 2, X, 0, 9), 0);
	/* Not one who holds, not one beside, not the same owner; and asked without waiting, it is had. */
	assert_true(ranges_should_yield(&r, &want));
	assert_false(ranges_should_yield(&r, &again));
	assert_false(ranges_should_yield(&r, &reader));
	assert_false(ranges_should_yield(&r, &aside));
	assert_int_equal(ranges_test(&r, &want, NULL), 0);
	assert_int_equal(queue(&r, &w[1], 3, S, 5, 5), 0);
	assert_int_equal(queue(&r, &w[2], 4, S, 0, 9), 0);
	assert_int_equal(queue(&r, &w[3], 5, S, 10, 19), 0);
	w[1].yields = w[2].yields = w[3].yields = true;
	assert_string_equal(pump(&r), "5");
	/* Its time is over. */
	w[2].yields = false;
	assert_string_equal(pump(&r), "4");
	assert_int_equal(set(&r, 1, RANGES_NONE, 0, 9), 0);
	assert_string_equal(pump(&r), "");
	assert_int_equal(set(&r, 4, RANGES_NONE, 0, 9), 0);
	assert_string_equal(pump(&r), "2");
	/* The one before gives up. */
	assert_int_equal(set(&r, 2, S, 0, 9), 0);
	assert_int_equal(queue(&r, &w[0], 6, X, 5, 5), 0);
	assert_string_equal(pump(&r), "3");
	assert_int_equal(queue(&r, &w[1], 7, S, 5, 5), 0);
	w[1].yields = true;
	assert_string_equal(pump(&r), "");
	ranges_wait_remove(&w[0]);
	assert_string_equal(pump(&r), "7");
	ranges_clear(&r);
}

/* --- deadlocks --- */

static bool not_two(void *ctx, const struct ranges_lock *want)
{
	++*(unsigned *)ctx;
	return want->who.owner != 2;
}

static void test_deadlock_over_files(void **state)
{
	unsigned asked = 0;
	struct ranges_graph g = { 0 };
	struct ranges a = { .graph = &g }, b = { .graph = &g }, c = { .graph = &g };
	struct ranges_waiter w[4];
	struct ranges_lock other_mount = lock_of(3, X, 0, 0);

	(void)state;
	assert_int_equal(set(&a, 1, X, 0, 0), 0);
	assert_int_equal(set(&b, 2, X, 0, 0), 0);
	assert_int_equal(set(&c, 3, S, 0, 0), 0);
	assert_int_equal(queue(&b, &w[0], 1, S, 0, 9), 0);
	assert_int_equal(queue(&a, &w[1], 2, S, 0, 0), -EDEADLK);
	assert_int_equal(queue(&c, &w[1], 2, S, 0, 0), 0);
	assert_int_equal(queue(&a, &w[2], 3, S, 0, 0), 0);
	ranges_wait_remove(&w[1]);
	ranges_wait_remove(&w[2]);
	assert_int_equal(queue(&c, &w[1], 2, X, 0, 0), 0);
	assert_int_equal(queue(&a, &w[2], 3, S, 1, 1), 0);
	ranges_wait_remove(&w[2]);
	assert_int_equal(queue(&a, &w[2], 3, S, 0, 0), -EDEADLK);
	other_mount.who.session = 2;
	assert_false(ranges_would_deadlock(&a, &other_mount));
	/* A process with threads may go on; it is asked about only along a circle. */
	g.single_threaded = not_two;
	g.ctx = &asked;
	assert_int_equal(queue(&a, &w[2], 4, X, 0, 0), 0);
	assert_int_equal(asked, 0);
	assert_int_equal(queue(&a, &w[3], 3, S, 0, 0), 0);
	assert_int_equal(asked, 1);
	ranges_wait_remove(&w[3]);
	g.single_threaded = NULL;
	/* So may one that waits twice. */
	assert_int_equal(queue(&c, &w[3], 1, X, 0, 0), 0);
	other_mount = lock_of(3, X, 0, 0);
	assert_false(ranges_would_deadlock(&a, &other_mount));
	ranges_wait_remove(&w[3]);
	assert_true(ranges_would_deadlock(&a, &other_mount));
	ranges_wait_remove(&w[0]);
	ranges_wait_remove(&w[1]);
	ranges_wait_remove(&w[2]);
	assert_null(g.owners);
	ranges_clear(&a);
	ranges_clear(&b);
	ranges_clear(&c);
}

static void test_deadlock_of_two_upgrades(void **state)
{
	struct ranges_graph g = { 0 };
	struct ranges r = { .graph = &g };
	struct ranges_waiter w[3];

	(void)state;
	assert_int_equal(set(&r, 1, S, 0, 9), 0);
	assert_int_equal(set(&r, 2, S, 0, 9), 0);
	assert_int_equal(queue(&r, &w[0], 1, X, 0, 4), 0);
	assert_int_equal(queue(&r, &w[1], 2, X, 5, 9), -EDEADLK);
	/* One that waits already and asks again has threads. */
	assert_int_equal(set(&r, 3, X, 20, 20), 0);
	assert_int_equal(queue(&r, &w[1], 2, X, 20, 20), 0);
	assert_int_equal(queue(&r, &w[2], 2, X, 5, 9), 0);
	ranges_wait_remove(&w[2]);
	ranges_wait_remove(&w[1]);
	r.graph = NULL;
	assert_int_equal(queue(&r, &w[1], 2, X, 5, 9), 0);
	ranges_wait_remove(&w[1]);
	r.graph = &g;
	/* The one refused gives way. */
	assert_int_equal(set(&r, 2, RANGES_NONE, 0, 9), 0);
	assert_string_equal(pump(&r), "1");
	assert_null(g.owners);
	ranges_clear(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split_and_merge),
		cmocka_unit_test(test_far_ends),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_queue_order),
		cmocka_unit_test(test_downgrade_lets_one_before_enter),
		cmocka_unit_test(test_changes_from_within_the_pump),
		cmocka_unit_test(test_yielding),
		cmocka_unit_test(test_deadlock_over_files),
		cmocka_unit_test(test_deadlock_of_two_upgrades),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
