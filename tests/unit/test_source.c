/* SOURCE and MOUNTPOINT. */
#include "tests/unit/options_fixture.h"

#include <limits.h>
#include <sys/stat.h>

static void test_secrets_are_not_shown(void **state)
{
	static const char *const sources[] = {
		"redis://user:hunter2@host/0",	   "redis://:hunter2@host",	  "redis://:hun/hunter2@host:6379/1",
		"rediss://u:hunter2@host",	   "unix://:hunter2@/run/r.sock", "redis+sentinel://:hunter2@a,b/main",
		"unix:///r.sock?password=hunter2", "redis://:p@hunter2@host",
	};
	struct options o;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		assert_int_equal(parse(&o, "plockfs", sources[i], "/mnt", NULL), 2);
		one_line();
		assert_null(strstr(said, "hunter2"));
		assert_non_null(strstr(said, "password_file"));
	}
	assert_int_equal(parse(&o, "plockfs", "http://u:hunter2@host", "/mnt", NULL), 2);
	assert_null(strstr(said, "hunter2"));
	assert_int_equal(parse(&o, "plockfs", "-o", "password=hunter2", "/mnt", NULL), 2);
	one_line();
	assert_null(strstr(said, "hunter2"));
	assert_non_null(strstr(said, "'password'"));
}

static void test_redis_sources(void **state)
{
	static const struct {
		const char *word;
		enum source_kind kind;
	} cases[] = {
		{ "redis://localhost", SOURCE_REDIS },
		{ "redis://me@host:6380/3", SOURCE_REDIS },
		{ "redis://[::1]:6379", SOURCE_REDIS },
		{ "rediss://host", SOURCE_REDIS },
		{ "unix:///run/redis.sock?db=2", SOURCE_UNIX },
		{ "unix:///run/a:b@c", SOURCE_UNIX },
		{ "redis+sentinel://a,b:26380/main", SOURCE_SENTINEL },
	};
	struct options o;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(&o, "plockfs", cases[i].word, "/mnt", NULL), 0);
		assert_int_equal(o.source_kind, cases[i].kind);
		assert_string_equal(o.source, cases[i].word);
		assert_null(o.dir);
		assert_false(o.source_is_default);
		options_free(&o);
	}
	assert_int_equal(parse(&o, "plockfs", "redis://", "/mnt", NULL), 2);
	assert_int_equal(parse(&o, "plockfs", "Redis://host", "/mnt", NULL), 2);
	assert_non_null(strstr(said, "unknown kind of source"));
}

static void file_source(const char *word, const char *dir)
{
	struct options o;
	char source[PATH_MAX + 8];

	assert_int_equal(parse(&o, "plockfs", word, "/mnt", NULL), 0);
	assert_int_equal(o.source_kind, SOURCE_FILE);
	assert_false(o.source_is_default);
	assert_string_equal(o.dir, dir);
	snprintf(source, sizeof(source), "file:%s", dir);
	assert_string_equal(o.source, source);
	options_free(&o);
}

/* In a new folder /tmp/.../w that has d/, and link to d. */
static char work[PATH_MAX], old_cwd[PATH_MAX];

static int enter_work(void **state)
{
	char name[] = "/tmp/plockfs-options-XXXXXX";

	(void)state;
	if (!getcwd(old_cwd, sizeof(old_cwd)) || !mkdtemp(name) || !realpath(name, work) || chdir(work) < 0)
		return -1;
	return mkdir("d", 0700) < 0 || symlink("d", "link") < 0 ? -1 : 0;
}

static int leave_work(void **state)
{
	(void)state;
	return unlink("link") < 0 || rmdir("d") < 0 || chdir(old_cwd) < 0 || rmdir(work) < 0 ? -1 : 0;
}

static const char *below(const char *name)
{
	static char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", work, name);
	return path;
}

static void test_file_sources(void **state)
{
	(void)state;
	file_source("/tmp", "/tmp");
	file_source("file:/tmp", "/tmp");
	file_source("/", "/");
	file_source("d", below("d"));
	file_source("file:d", below("d"));
	file_source("./d/", below("d"));
	file_source("d/.", below("d"));
	file_source("link", below("d"));
	file_source("missing", below("missing"));
	file_source("missing//", below("missing"));
	file_source("d/missing", below("d/missing"));
	file_source("link/missing", below("d/missing"));
	file_source("/no/such/parent", "/no/such/parent");
	file_source("no/parent", below("no/parent"));
	file_source("/no://scheme", "/no://scheme");
	file_source("./x://y", below("./x://y"));
	file_source(".", work);
}

static void test_mount_point_is_absolute(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse(&o, "plockfs", "d/", NULL), 0);
	assert_string_equal(o.mountpoint, below("d"));
	options_free(&o);
	assert_int_equal(parse(&o, "plockfs", "/mnt/missing/", NULL), 0);
	assert_string_equal(o.mountpoint, "/mnt/missing");
	options_free(&o);
}

static void test_password_file_is_absolute(void **state)
{
	struct options o;

	(void)state;
	good(&o, "password_file=secret");
	assert_string_equal(o.password_file, below("secret"));
	options_free(&o);
}

static void test_word_plockfs_is_the_default(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse(&o, "plockfs", "plockfs", "/mnt", NULL), 0);
	assert_true(o.source_is_default);
	options_free(&o);
}

static void test_default_dir(void **state)
{
	struct options o;

	(void)state;
	if (geteuid() == 0) {
		assert_int_equal(parse(&o, "plockfs", "/mnt", NULL), 0);
		assert_string_equal(o.dir, "/var/lib/plockfs");
		assert_string_equal(o.source, "file:/var/lib/plockfs");
		options_free(&o);
		assert_int_equal(seteuid(65534), 0);
	}
	assert_int_equal(setenv("XDG_STATE_HOME", "/x/state", 1), 0);
	assert_int_equal(setenv("HOME", "/h", 1), 0);
	assert_int_equal(parse(&o, "plockfs", "/mnt", NULL), 0);
	assert_string_equal(o.dir, "/x/state/plockfs");
	options_free(&o);
	assert_int_equal(setenv("XDG_STATE_HOME", "relative", 1), 0);
	assert_int_equal(parse(&o, "plockfs", "/mnt", NULL), 0);
	assert_string_equal(o.dir, "/h/.local/state/plockfs");
	options_free(&o);
	assert_int_equal(unsetenv("XDG_STATE_HOME"), 0);
	assert_int_equal(unsetenv("HOME"), 0);
	assert_int_equal(parse(&o, "plockfs", "/mnt", NULL), 2);
	one_line();
	assert_int_equal(seteuid(getuid()), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_secrets_are_not_shown),
		cmocka_unit_test(test_redis_sources),
		cmocka_unit_test_setup_teardown(test_file_sources, enter_work, leave_work),
		cmocka_unit_test_setup_teardown(test_mount_point_is_absolute, enter_work, leave_work),
		cmocka_unit_test_setup_teardown(test_password_file_is_absolute, enter_work, leave_work),
		cmocka_unit_test(test_word_plockfs_is_the_default),
		cmocka_unit_test(test_default_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
