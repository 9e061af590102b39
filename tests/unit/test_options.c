/* The command line and -o lists. */
#include "tests/unit/options_fixture.h"

#include <signal.h>
#include <sys/stat.h>

static void test_defaults(void **state)
{
	struct options o;
	mode_t mask = umask(0);

	(void)state;
	umask(mask);
	assert_int_equal(parse(&o, "plockfs", "/mnt", NULL), 0);
	assert_string_equal(o.mountpoint, "/mnt");
	assert_int_equal(o.source_kind, SOURCE_FILE);
	assert_true(o.source_is_default);
	assert_false(o.foreground || o.debug || o.nofail || o.read_only || o.allow_other || o.fake || o.timeout_set);
	assert_int_equal(o.ttl_ns, 10 * SEC);
	assert_int_equal(o.unavailable_ns, 30 * SEC);
	assert_string_equal(o.prefix, "plockfs");
	assert_null(o.password_file);
	assert_null(o.tls_ca);
	assert_null(o.tls_cert);
	assert_null(o.tls_key);
	assert_int_equal(o.lost_signal, 0);
	assert_int_equal(o.max_waiters, 0);
	assert_int_equal(o.max_value, 1 << 20);
	assert_int_equal(o.umask, mask);
	assert_int_equal(o.uid, geteuid());
	assert_int_equal(o.gid, getegid());
	assert_string_equal(o.fuse_opts, "");
	options_free(&o);
}

static void test_own_options(void **state)
{
	struct options o;

	(void)state;
	good(&o, "timeout=250ms,ttl=3s,unavailable=1m,prefix=Team-1.a_b:c,lost=SIGUSR1,max_waiters=7,max_value=64K,"
		 "umask=027,uid=1000,gid=1001,nofail,password_file=/etc/secret,"
		 "tls_ca=/etc/ca.pem,tls_cert=/etc/cert.pem,tls_key=/etc/key.pem");
	assert_true(o.timeout_set);
	assert_int_equal(o.timeout_ns, 250 * MS);
	assert_int_equal(o.ttl_ns, 3 * SEC);
	assert_int_equal(o.unavailable_ns, 60 * SEC);
	assert_string_equal(o.prefix, "Team-1.a_b:c");
	assert_int_equal(o.lost_signal, SIGUSR1);
	assert_int_equal(o.max_waiters, 7);
	assert_int_equal(o.max_value, 65536);
	assert_int_equal(o.umask, 027);
	assert_int_equal(o.uid, 1000);
	assert_int_equal(o.gid, 1001);
	assert_true(o.nofail);
	assert_string_equal(o.password_file, "/etc/secret");
	assert_string_equal(o.tls_ca, "/etc/ca.pem");
	assert_string_equal(o.tls_cert, "/etc/cert.pem");
	assert_string_equal(o.tls_key, "/etc/key.pem");
	assert_string_equal(o.fuse_opts, "");
	options_free(&o);
}

static void test_timeout_zero_is_a_timeout(void **state)
{
	struct options o;

	(void)state;
	good(&o, "timeout=0");
	assert_true(o.timeout_set);
	assert_int_equal(o.timeout_ns, 0);
	options_free(&o);
}

static void test_last_one_counts(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(
		parse(&o, "plockfs", "-otimeout=1s,prefix=a", "/tmp", "-o", "timeout=2s,prefix=b", "/mnt", NULL), 0);
	assert_int_equal(o.timeout_ns, 2 * SEC);
	assert_string_equal(o.prefix, "b");
	options_free(&o);
	good(&o, "ro,rw");
	assert_false(o.read_only);
	assert_string_equal(o.fuse_opts, "ro,rw");
	options_free(&o);
}

static void test_fuse_options_pass_through(void **state)
{
	struct options o;

	(void)state;
	good(&o, "ro,allow_other,auto_unmount,nodev,nosuid,noexec,noatime,sync,dirsync,fsname=my locks,max_read=4096");
	assert_true(o.read_only);
	assert_true(o.allow_other);
	assert_string_equal(o.fuse_opts, "ro,allow_other,auto_unmount,nodev,nosuid,noexec,noatime,sync,dirsync,"
					 "fsname=my locks,max_read=4096");
	options_free(&o);
	good(&o, "rw,dev,suid,exec,async,allow_root");
	assert_false(o.read_only || o.allow_other);
	assert_string_equal(o.fuse_opts, "rw,dev,suid,exec,async,allow_root");
	options_free(&o);
}

static void test_mounts_own_words_are_left_out(void **state)
{
	struct options o;

	(void)state;
	good(&o,
	     "defaults,auto,noauto,user,nouser,users,user=me,_netdev,atime,relatime,x-systemd.automount,comment=hello,"
	     "X-mount.mkdir,subtype=plockfs");
	assert_string_equal(o.fuse_opts, "");
	options_free(&o);
}

static void test_empty_words_in_a_list(void **state)
{
	struct options o;

	(void)state;
	good(&o, ",,ro,,nodev,");
	assert_string_equal(o.fuse_opts, "ro,nodev");
	options_free(&o);
	good(&o, "");
	options_free(&o);
}

static void test_escaped_commas(void **state)
{
	struct options o;

	(void)state;
	good(&o, "password_file=/a\\,b\\\\c,fsname=x\\,y,ro");
	assert_string_equal(o.password_file, "/a,b\\c");
	assert_string_equal(o.fuse_opts, "fsname=x\\,y,ro"); /* libfuse unescapes it itself */
	options_free(&o);
	refused("frob\\", "frob");
}

static void test_debug(void **state)
{
	struct options o;

	(void)state;
	good(&o, "debug");
	assert_true(o.debug && o.foreground);
	options_free(&o);
	assert_int_equal(parse(&o, "plockfs", "-d", "/mnt", NULL), 0);
	assert_true(o.debug && o.foreground);
	options_free(&o);
}

static void test_bad_values(void **state)
{
	static const char *const bad[] = {
		"timeout=",
		"timeout=soon",
		"timeout=-1s",
		"timeout=1x",
		"timeout=11y",
		"timeout=99999999h",
		"ttl=0",
		"ttl=x",
		"unavailable=",
		"prefix=",
		"prefix=a b",
		"prefix={x}",
		"prefix=a\nb",
		"password_file=",
		"tls_ca=",
		"tls_cert=",
		"tls_key=",
		"lost=",
		"lost=SIG",
		"lost=SIGWHAT",
		"lost=0",
		"lost=-1",
		"lost=65",
		"lost=9x",
		"lost=32",
		"max_waiters=",
		"max_waiters=-1",
		"max_waiters=many",
		"max_waiters=4294967296",
		"max_waiters= 1",
		"max_value=1Q",
		"max_value=",
		"max_value=2G",
		"max_value=-1",
		"umask=9",
		"umask=1000",
		"umask=",
		"umask=0x1",
		"uid=-3",
		"uid=root",
		"uid=4294967295",
		"uid=18446744073709551616",
		"gid=",
		"gid=1.5",
		"max_read=x",
		"max_read=-1",
		"subtype=other",
	};
	char key[32];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(key, sizeof(key), "%.*s", (int)strcspn(bad[i], "="), bad[i]);
		refused(bad[i], key);
	}
}

static void test_unknown_options(void **state)
{
	(void)state;
	refused("frobnicate", "unknown option 'frobnicate'");
	refused("frobnicate=3", "unknown option 'frobnicate'");
	refused("ro,Timeout=1s,rw", "Timeout");
	refused("=", "unknown option ''");
	refused("nofail=1", "nofail");
	refused("x", "'x'");
	refused("timeout", "needs a value");
	refused("default_permissions", "default_permissions");
}

static void test_hints(void **state)
{
	(void)state;
	refused("timeuot=1s", "did you mean timeout=");
	refused("timout=1s", "did you mean timeout=");
	refused("max-value=1M", "did you mean max_value=");
	refused("maxx_value", "did you mean max_value=");
	refused("uit=5", "did you mean uid=");
	refused("max_vlaeu=1", "see --help");
}

static void test_order_of_flags_and_operands(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(setenv("POSIXLY_CORRECT", "1", 1), 0);
	assert_int_equal(parse(&o, "/usr/bin/plockfs", "/tmp", "-f", "/mnt", "-o", "ro", NULL), 0);
	assert_int_equal(unsetenv("POSIXLY_CORRECT"), 0);
	assert_true(o.foreground && o.read_only);
	assert_string_equal(o.dir, "/tmp");
	assert_string_equal(o.mountpoint, "/mnt");
	options_free(&o);
	assert_int_equal(parse(&o, "plockfs", "-f", "--", "/tmp", "-o", NULL), 0);
	assert_string_equal(strrchr(o.mountpoint, '/'), "/-o");
	options_free(&o);
}

static void test_mount_helper_form(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse(&o, "/sbin/mount.plockfs", "plockfs", "/mnt", "-s", "-n", "-v", "-o",
			       "rw,dev,suid,timeout=1s", "-t", "fuse.plockfs", NULL),
			 0);
	assert_true(o.source_is_default);
	assert_false(o.foreground || o.fake);
	assert_string_equal(o.fuse_opts, "rw,dev,suid");
	options_free(&o);
	assert_int_equal(parse(&o, "mount.fuse.plockfs", "/tmp", "/mnt", "-f", NULL), 0);
	assert_true(o.fake);
	assert_false(o.foreground);
	options_free(&o);
	/* What mount.fuse3 runs. */
	assert_int_equal(parse(&o, "plockfs", "/tmp", "/mnt", "-o", "rw,nosuid,nodev,timeout=2m", NULL), 0);
	assert_int_equal(o.timeout_ns, 120 * SEC);
	options_free(&o);
	assert_int_equal(parse(&o, "plockfs", "-s", "/mnt", NULL), 2);
}

static void test_bad_command_lines(void **state)
{
	struct options o;
	char huge[6000];

	(void)state;
	assert_int_equal(parse(&o, "plockfs", NULL), 2);
	one_line();
	assert_non_null(strstr(said, "usage: plockfs"));
	assert_int_equal(parse(&o, "plockfs", "a", "b", "c", NULL), 2);
	one_line();
	assert_int_equal(parse(&o, "plockfs", "a", "b", "c", "d", "e", NULL), 2);
	one_line();
	assert_int_equal(parse(&o, "plockfs", "-o", NULL), 2);
	one_line();
	assert_int_equal(parse(&o, "plockfs", "-fZ", "/mnt", NULL), 2);
	one_line();
	assert_non_null(strstr(said, "'-Z'"));
	assert_int_equal(parse(&o, "plockfs", "--frobnicate", "/mnt", NULL), 2);
	one_line();
	assert_non_null(strstr(said, "'--frobnicate'"));
	assert_int_equal(parse(&o, "plockfs", "--help=now", NULL), 2);
	one_line();
	assert_int_equal(parse(&o, "plockfs", "", NULL), 2);
	one_line();
	assert_int_equal(parse(&o, "plockfs", "", "/mnt", NULL), 2);
	one_line();
	assert_int_equal(parse(&o, "plockfs", "file:", "/mnt", NULL), 2);
	one_line();
	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	refused(huge, "xxxx");
	memcpy(huge, "timeout=", 8);
	refused(huge, "timeout=");
	huge[0] = '-';
	huge[1] = '-';
	assert_int_equal(parse(&o, "plockfs", huge, "/mnt", NULL), 2);
	one_line();
	refused("a\nb\x1b[31m", "a?b?[31m");
	refused("%s%n%x", "%s%n%x");
}

static void test_no_arguments_at_all(void **state)
{
	char *none[] = { NULL };
	struct options o;

	(void)state;
	assert_int_equal(options_parse(&o, 0, none), 2);
}

static void test_help_and_version_need_no_operands(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse(&o, "plockfs", "--help", NULL), 0);
	assert_true(o.help);
	options_free(&o);
	assert_int_equal(parse(&o, "plockfs", "-h", NULL), 0);
	assert_true(o.help);
	options_free(&o);
	assert_int_equal(parse(&o, "plockfs", "--version", NULL), 0);
	assert_true(o.version && !o.help);
	options_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_own_options),
		cmocka_unit_test(test_timeout_zero_is_a_timeout),
		cmocka_unit_test(test_last_one_counts),
		cmocka_unit_test(test_fuse_options_pass_through),
		cmocka_unit_test(test_mounts_own_words_are_left_out),
		cmocka_unit_test(test_empty_words_in_a_list),
		cmocka_unit_test(test_escaped_commas),
		cmocka_unit_test(test_debug),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_unknown_options),
		cmocka_unit_test(test_hints),
		cmocka_unit_test(test_order_of_flags_and_operands),
		cmocka_unit_test(test_mount_helper_form),
		cmocka_unit_test(test_bad_command_lines),
		cmocka_unit_test(test_no_arguments_at_all),
		cmocka_unit_test(test_help_and_version_need_no_operands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
