/* The words of with/ and of signals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/options.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define SEC UINT64_C(1000000000)

static void test_signal_words(void **state)
{
	(void)state;
	assert_int_equal(signal_number("none"), 0);
	assert_int_equal(signal_number("TERM"), SIGTERM);
	assert_int_equal(signal_number("SIGTERM"), SIGTERM);
	assert_int_equal(signal_number("sigusr2"), SIGUSR2);
	assert_int_equal(signal_number("15"), 15);
	assert_int_equal(signal_number("64"), 64);
	assert_int_equal(signal_number(""), -EINVAL);
	assert_int_equal(signal_number("SIGSIGTERM"), -EINVAL);
	assert_int_equal(signal_number("99999999999999999999"), -EINVAL);
	assert_int_equal(signal_number("TERM "), -EINVAL);
}

static void test_acquire_words(void **state)
{
	struct acquire_opts o = { 0 };

	(void)state;
	assert_int_equal(acquire_opts_parse(&o, "shared,timeout=5s,lost=USR1"), 0);
	assert_true(o.shared && o.timeout_set && o.lost_set && !o.try_only);
	assert_int_equal(o.timeout_ns, 5 * SEC);
	assert_int_equal(o.lost_signal, SIGUSR1);
	/* with/ below with/: added to */
	assert_int_equal(acquire_opts_parse(&o, "timeout=1s,lost=none"), 0);
	assert_true(o.shared && o.lost_set);
	assert_int_equal(o.timeout_ns, SEC);
	assert_int_equal(o.lost_signal, 0);
	memset(&o, 0, sizeof(o));
	assert_int_equal(acquire_opts_parse(&o, "try"), 0);
	assert_true(o.try_only && !o.timeout_set && !o.shared && !o.lost_set);
}

static void test_bad_acquire_words(void **state)
{
	static const char *const bad[] = {
		"",	   ",",		"try,",	      ",try",	     "tryy",	       "Try",
		"timeout", "timeout=",	"timeout=x",  "try=1",	     "try,timeout=1s", "timeout=1s,try",
		"lost",	   "lost=nope", "shared=1",   "exclusive",   "shared,new",     "..",
		"try\n",   "%s",	"timeout=-1", "shared,\xff", "timeout=1s ",    " try"
	};
	struct acquire_opts o, before;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&o, 0, sizeof(o));
		o.lost_signal = 3;
		before = o;
		if (acquire_opts_parse(&o, bad[i]) != -EINVAL)
			fail_msg("taken: '%s'", bad[i]);
		assert_memory_equal(&o, &before, sizeof(o));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signal_words),
		cmocka_unit_test(test_acquire_words),
		cmocka_unit_test(test_bad_acquire_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
