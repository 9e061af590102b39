/* Parses command lines as options_parse gets them and keeps what it says. */
#ifndef TESTS_UNIT_OPTIONS_FIXTURE_H
#define TESTS_UNIT_OPTIONS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ARGS 16
#define MS UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

static char said[8192]; /* on stderr by the last parse() */

/* Parses a NULL-ended argv from copies, since getopt may write to it. */
static inline int parse(struct options *o, const char *arg0, ...)
{
	char *argv[MAX_ARGS + 1] = { NULL };
	int argc = 0, code, saved, out;
	FILE *f = tmpfile();
	const char *word;
	va_list ap;
	size_t n;

	va_start(ap, arg0);
	for (word = arg0; word; word = va_arg(ap, const char *)) {
		assert_true(argc < MAX_ARGS);
		argv[argc++] = strdup(word);
	}
	va_end(ap);
	assert_non_null(f);
	out = fileno(f);
	saved = dup(STDERR_FILENO);
	assert_int_equal(dup2(out, STDERR_FILENO), STDERR_FILENO);
	code = options_parse(o, argc, argv);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	(void)close(saved);
	rewind(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = '\0';
	(void)fclose(f);
	while (argc > 0)
		free(argv[--argc]);
	return code;
}

/* -o LIST is taken. */
static inline void good(struct options *o, const char *list)
{
	assert_int_equal(parse(o, "plockfs", "-o", list, "/tmp", "/mnt", NULL), 0);
	assert_string_equal(said, "");
}

static inline void one_line(void)
{
	const char *end = strchr(said, '\n');

	assert_int_equal(strncmp(said, "plockfs: ", 9), 0);
	assert_non_null(end);
	assert_int_equal(end[1], '\0');
}

/* -o LIST is refused, with exit code 2 and one line that has `naming` in it. */
static inline void refused(const char *list, const char *naming)
{
	struct options o;

	assert_int_equal(parse(&o, "plockfs", "-o", list, "/tmp", "/mnt", NULL), 2);
	one_line();
	if (!strstr(said, naming))
		fail_msg("'%s' not named in: %s", naming, said);
	assert_null(o.source);
}

#endif
