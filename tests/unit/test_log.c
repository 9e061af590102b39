#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* What went to stderr since begin(). */
static int saved, pipe_fds[2];
static char written[8192];

static void begin(void)
{
	assert_int_equal(pipe(pipe_fds), 0);
	saved = dup(STDERR_FILENO);
	assert_true(saved >= 0);
	assert_int_equal(dup2(pipe_fds[1], STDERR_FILENO), STDERR_FILENO);
}

static const char *end(void)
{
	ssize_t n;
	size_t len = 0;

	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	(void)close(saved);
	(void)close(pipe_fds[1]);
	while ((n = read(pipe_fds[0], written + len, sizeof(written) - 1 - len)) > 0)
		len += (size_t)n;
	(void)close(pipe_fds[0]);
	written[len] = '\0';
	return written;
}

static void test_one_event_one_line(void **state)
{
	(void)state;
	begin();
	pl_log(PL_ERROR, "name '%s'", "a\nb\x1b[2J");
	assert_string_equal(end(), "plockfs: name 'a?b?[2J'\n");
}

static void test_level(void **state)
{
	(void)state;
	begin();
	pl_log(PL_DEBUG, "unseen");
	pl_log_level(PL_DEBUG);
	pl_log(PL_DEBUG, "seen");
	pl_log_level(PL_ERROR);
	pl_log(PL_WARN, "unseen");
	pl_log_level(PL_INFO);
	assert_string_equal(end(), "plockfs: seen\n");
}

static void test_limited(void **state)
{
	struct pl_log_limit full = { 0 }, other = { 0 };
	int i;

	(void)state;
	begin();
	for (i = 0; i < 4; i++)
		pl_log_limited(&full, PL_WARN, "full %d", i);
	pl_log_limited(&other, PL_WARN, "other");
	full.last_ns -= UINT64_C(10000000000); /* ten seconds pass */
	pl_log_limited(&full, PL_WARN, "full still");
	pl_log_limited(&full, PL_WARN, "full again");
	assert_string_equal(end(), "plockfs: full 0\nplockfs: other\n"
				   "plockfs: full still (3 more like this were left out)\n");
}

static void test_long_line_keeps_its_end(void **state)
{
	struct pl_log_limit limit = { .last_ns = 1, .swallowed = 7 };
	char big[4000];
	const char *text;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	begin();
	pl_log_limited(&limit, PL_WARN, "%s", big);
	text = end();
	assert_true(strlen(text) < 1100);
	assert_non_null(strstr(text, "(7 more like this were left out)\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_event_one_line),
		cmocka_unit_test(test_level),
		cmocka_unit_test(test_limited),
		cmocka_unit_test(test_long_line_keeps_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
