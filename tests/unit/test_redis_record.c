/* Holders and waiters as text: round trips, and whatever others may have written there. */
#include "backend/redis/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_who(void **state)
{
	static const char *const comms[] = { "bash",	       "two words", "100%",	      "",
					     "\xc3\xa9\x01\n", "%41%",	    "a b c d e f g h" };
	struct redis_backend *b = calloc(1, sizeof(*b));
	struct lk_owner in = { .pid = 12, .tid = 34, .uid = 1000, .gid = 4294967294u, .start = UINT64_MAX }, out;
	char text[256], host[LK_HOST_MAX];
	size_t i;

	(void)state;
	assert_non_null(b);
	snprintf(b->base.host, sizeof(b->base.host), "host-1.example");
	for (i = 0; i < sizeof(comms) / sizeof(comms[0]); i++) {
		snprintf(in.comm, sizeof(in.comm), "%s", comms[i]);
		record_who(b, &in, text);
		assert_null(strchr(text, '\n'));
		assert_true(record_read_who(text, &out, host));
		assert_string_equal(host, "host-1.example");
		assert_int_equal(out.pid, 12);
		assert_int_equal(out.tid, 34);
		assert_int_equal(out.uid, 1000);
		assert_int_equal(out.gid, 4294967294u);
		assert_true(out.start == UINT64_MAX);
		assert_string_equal(out.comm, *in.comm ? in.comm : "-");
	}
	free(b);
}

static void test_hold(void **state)
{
	enum lk_mode mode;
	unsigned slot;
	uint64_t token, since;
	const char *who;

	(void)state;
	assert_true(record_read_hold("x 0 1795443036 1795443 h 1 1 0 0 0 c", &mode, &slot, &token, &since, &who));
	assert_int_equal(mode, LK_EXCLUSIVE);
	assert_int_equal(token, 1795443036);
	assert_int_equal(since, 1795443);
	assert_string_equal(who, "h 1 1 0 0 0 c");
	assert_true(record_read_hold("s 65535 1 2 w", &mode, &slot, &token, &since, &who));
	assert_int_equal(slot, 65535);
}

static void test_wait(void **state)
{
	enum lk_mode mode;
	unsigned lo, hi;
	uint64_t asked;
	const char *who;

	(void)state;
	assert_true(record_read_wait("s 2 5 99 w", &mode, &lo, &hi, &asked, &who));
	assert_int_equal(lo, 2);
	assert_int_equal(hi, 5);
	assert_int_equal(asked, 99);
	assert_false(record_read_wait("s 5 5 99 w", &mode, &lo, &hi, &asked, &who));
	assert_false(record_read_wait("s 0 70000 99 w", &mode, &lo, &hi, &asked, &who));
}

static void test_garbage(void **state)
{
	static const char *const bad[] = { "",		 "x",
					   "x ",	 "y 0 1 2 w",
					   "x -1 1 2 w", "x 65536 1 2 w",
					   "x 0 1",	 "x 0 1 z w",
					   "xx 0 1 2 w", "x 0 99999999999999999999 2 w" };
	struct lk_owner o;
	enum lk_mode mode;
	unsigned slot;
	uint64_t token, since;
	const char *who;
	char host[LK_HOST_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (record_read_hold(bad[i], &mode, &slot, &token, &since, &who))
			fail_msg("'%s' was read", bad[i]);
	}
	assert_false(record_read_who("", &o, host));
	assert_false(record_read_who("host", &o, host));
	assert_false(record_read_who("host 1 2 3", &o, host));
	assert_false(record_read_who("host 1 2 3 x 5 comm", &o, host));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
