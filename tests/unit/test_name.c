/* Which names there can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/backend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void good_components(void **state)
{
	static const char *const good[] = {
		"a",	    "job",	"a.b",	"a..", "a b", "-",    "~",
		"\xff\xfe", "\xc3\xa4", "with", "*",   "\\",  "\x80", "a\xc2\x85",
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		if (!lk_component_valid(good[i]))
			fail_msg("'%s' is refused", good[i]);
		assert_int_equal(lk_name_check(good[i]), 0);
	}
}

static void bad_components(void **state)
{
	static const char *const bad[] = { "", ".", "..", ".git", "a\n", "\t", "a\001b", "a\x7f", "a/b", "/" };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		if (lk_component_valid(bad[i]))
			fail_msg("'%s' is accepted", bad[i]);
	}
}

static void every_byte(void **state)
{
	char name[3] = "a";
	int c;

	(void)state;
	for (c = 1; c < 256; c++) {
		name[1] = (char)c;
		assert_int_equal(lk_component_valid(name), c >= 0x20 && c != 0x7f && c != '/');
	}
}

static void bad_paths(void **state)
{
	static const char *const bad[] = { "",	   "/",	     "/a",  "a/",     "a//b",		"a/.",	"a/..",
					   "../a", "a/../b", "./a", "a/.b/c", ".plockfs/floor", "a/b\n" };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		if (lk_name_check(bad[i]) != -ENOENT)
			fail_msg("'%s' gives %d", bad[i], lk_name_check(bad[i]));
	}
	assert_int_equal(lk_name_check("a/b/c"), 0);
}

static void longest_component(void **state)
{
	char name[300];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[255] = '\0';
	assert_true(lk_component_valid(name));
	assert_int_equal(lk_name_check(name), 0);
	memcpy(name + 253, "/b", 3);
	assert_int_equal(lk_name_check(name), 0);
	memset(name, 'x', sizeof(name));
	name[256] = '\0';
	assert_false(lk_component_valid(name));
	assert_int_equal(lk_name_check(name), -ENAMETOOLONG);
	memcpy(name + 256, "/b", 3);
	assert_int_equal(lk_name_check(name), -ENAMETOOLONG);
	memcpy(name, "b/", 2);
	memset(name + 2, 'x', 256);
	name[258] = '\0';
	assert_int_equal(lk_name_check(name), -ENAMETOOLONG);
}

static void longest_name(void **state)
{
	char name[LK_NAME_MAX + 2];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(name); i++)
		name[i] = i % 200 == 199 ? '/' : 'x';
	name[LK_NAME_MAX] = '\0';
	assert_int_equal(lk_name_check(name), 0);
	name[LK_NAME_MAX] = 'x';
	name[LK_NAME_MAX + 1] = '\0';
	assert_int_equal(lk_name_check(name), -ENAMETOOLONG);
	/* Its length says more than what is wrong inside it. */
	name[0] = '.';
	assert_int_equal(lk_name_check(name), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_components), cmocka_unit_test(bad_components),	cmocka_unit_test(every_byte),
		cmocka_unit_test(bad_paths),	   cmocka_unit_test(longest_component), cmocka_unit_test(longest_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
