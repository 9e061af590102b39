/* SOURCE of a Redis server, taken apart. */
#include "backend/redis/address.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char why[320];

static void parse(const char *source, struct address *a)
{
	why[0] = '\0';
	assert_int_equal(address_parse(source, a, why, sizeof(why)), 0);
}

static void refused(const char *source, const char *word)
{
	struct address a;

	why[0] = '\0';
	assert_int_equal(address_parse(source, &a, why, sizeof(why)), -EINVAL);
	if (!strstr(why, word))
		fail_msg("'%s' does not say '%s' of %s", why, word, source);
	assert_null(strchr(why, '\n'));
}

static void test_server(void **state)
{
	struct address a;

	(void)state;
	parse("redis://db.example", &a);
	assert_string_equal(a.at.host, "db.example");
	assert_int_equal(a.at.port, 6379);
	assert_int_equal(a.db, 0);
	assert_string_equal(a.user, "");
	parse("redis://locker@10.0.0.1:7000/3", &a);
	assert_string_equal(a.user, "locker");
	assert_string_equal(a.at.host, "10.0.0.1");
	assert_int_equal(a.at.port, 7000);
	assert_int_equal(a.db, 3);
	parse("redis://[::1]:7001/", &a);
	assert_string_equal(a.at.host, "::1");
	assert_int_equal(a.at.port, 7001);
	assert_int_equal(a.n_sentinels, 0);
	assert_false(a.tls);
}

static void test_tls(void **state)
{
	struct address a;
	char shown[256];

	(void)state;
	parse("rediss://me@db.example:7000/3", &a);
	assert_true(a.tls);
	assert_string_equal(a.user, "me");
	assert_string_equal(a.at.host, "db.example");
	assert_int_equal(a.at.port, 7000);
	assert_int_equal(a.db, 3);
	address_show(&a, shown, sizeof(shown));
	assert_string_equal(shown, "rediss://db.example:7000/3");
	refused("rediss://", "host");
	refused("rediss+sentinel://host/name", "scheme");
}

static void test_unix(void **state)
{
	struct address a;

	(void)state;
	parse("unix:///run/redis/redis.sock", &a);
	assert_string_equal(a.path, "/run/redis/redis.sock");
	parse("unix:///run/r?db=12", &a);
	assert_string_equal(a.path, "/run/r");
	assert_int_equal(a.db, 12);
	refused("unix://run/r", "absolute");
	refused("unix:///run/r?password=x", "?db=N");
	refused("unix:///1234567890123456789012345678901234567890123456789012345678901234567890"
		"12345678901234567890123456789012345678901234567890",
		"too long");
}

static void test_sentinel(void **state)
{
	struct address a;
	char shown[256];

	(void)state;
	parse("redis+sentinel://me@s1,s2:5000,[fe80::1]:26380/mymaster", &a);
	assert_int_equal(a.n_sentinels, 3);
	assert_string_equal(a.sentinels[0].host, "s1");
	assert_int_equal(a.sentinels[0].port, 26379);
	assert_int_equal(a.sentinels[1].port, 5000);
	assert_string_equal(a.sentinels[2].host, "fe80::1");
	assert_string_equal(a.name, "mymaster");
	assert_string_equal(a.user, "me");
	address_show(&a, shown, sizeof(shown));
	assert_string_equal(shown, "redis+sentinel://s1:26379/mymaster");
	refused("redis+sentinel://s1,s2", "name of a master");
	refused("redis+sentinel:///name", "Sentinel");
	refused("redis+sentinel://a,,b/name", "Sentinel");
	refused("redis+sentinel://a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a/name", "Sentinel");
}

static void test_nonsense(void **state)
{
	(void)state;
	refused("redis://", "host");
	refused("redis://host:0", "port");
	refused("redis://host:65536", "port");
	refused("redis://host:12x", "port");
	refused("redis://host/-1", "database");
	refused("redis://host/zero", "database");
	refused("redis://[::1", "host");
	refused("http://host", "scheme");
	refused("host", "scheme");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server),	 cmocka_unit_test(test_tls),	  cmocka_unit_test(test_unix),
		cmocka_unit_test(test_sentinel), cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
