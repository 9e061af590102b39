#include "base/duration.h"
#include "base/loop.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define UNTOUCHED UINT64_C(0x5a5a5a5a)

static void duration_is(const char *word, uint64_t ns)
{
	uint64_t got = UNTOUCHED;

	assert_int_equal(pl_parse_duration(word, &got), 0);
	assert_int_equal(got, ns);
}

static void duration_fails(const char *word, int err)
{
	uint64_t got = UNTOUCHED;

	assert_int_equal(pl_parse_duration(word, &got), err);
	assert_int_equal(got, UNTOUCHED);
}

static void test_units(void **state)
{
	(void)state;
	duration_is("250ms", 250 * PL_MS);
	duration_is("5s", 5 * PL_SEC);
	duration_is("2m", 120 * PL_SEC);
	duration_is("1h", 3600 * PL_SEC);
	duration_is("7", 7 * PL_SEC);
	duration_is("0", 0);
	duration_is("007s", 7 * PL_SEC);
}

static void test_fractions(void **state)
{
	(void)state;
	duration_is("0.5", PL_SEC / 2);
	duration_is("1.25m", 75 * PL_SEC);
	duration_is("1.5ms", 1500000);
	duration_is("0.000000001s", 1);
	duration_is("0.0000000019s", 1);
	duration_is("0.1h", 360 * PL_SEC);
}

static void test_bad_durations(void **state)
{
	static const char *const bad[] = { "",	  " 1",	 "1 ",	"-1",	"+1",	"s",	"1x",	 "1S",	"1.s", ".5",
					   "1e3", "0x1", "1,5", "1ms ", "1m2s", "1..2", "1.2.3", "inf", "nan", "1sm" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		duration_fails(bad[i], -EINVAL);
}

static void test_duration_range(void **state)
{
	(void)state;
	duration_is("87600h", UINT64_C(87600) * 3600 * PL_SEC);
	duration_fails("87600.001h", -ERANGE);
	duration_fails("87601h", -ERANGE);
	duration_fails("18446744073709551616", -ERANGE);
	duration_fails("99999999999999999999999999999999999h", -ERANGE);
	duration_fails("99999999999999999999999999999999999x", -EINVAL);
}

static void size_is(const char *word, uint64_t bytes)
{
	uint64_t got = UNTOUCHED;

	assert_int_equal(pl_parse_size(word, &got), 0);
	assert_int_equal(got, bytes);
}

static void size_fails(const char *word, int err)
{
	uint64_t got = UNTOUCHED;

	assert_int_equal(pl_parse_size(word, &got), err);
	assert_int_equal(got, UNTOUCHED);
}

static void test_sizes(void **state)
{
	(void)state;
	size_is("4096", 4096);
	size_is("0", 0);
	size_is("64K", 65536);
	size_is("1M", 1 << 20);
	size_is("3G", UINT64_C(3) << 30);
	size_is("4294967296G", UINT64_C(1) << 62);
	size_fails("4294967297G", -ERANGE);
	size_fails("4611686018427387905", -ERANGE);
	size_fails("99999999999999999999", -ERANGE);
	size_fails("", -EINVAL);
	size_fails("1k", -EINVAL);
	size_fails("1.5M", -EINVAL);
	size_fails("1KB", -EINVAL);
	size_fails("-1", -EINVAL);
	size_fails("M", -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units),	      cmocka_unit_test(test_fractions),
		cmocka_unit_test(test_bad_durations), cmocka_unit_test(test_duration_range),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
