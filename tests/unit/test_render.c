/* holders/, waiters/, metrics and README. */
#include "tests/unit/render_fixture.h"

#include <stdio.h>

static void test_holder(void **state)
{
	struct lk_party p = party("job", 4711);
	size_t len = 0;
	char *text = render_holder(&p, T0 + 3299 * PL_MS, 0, &len);

	(void)state;
	assert_string_equal(text, "host: alpha\npid: 4711\nuid: 1000\ngid: 100\ncomm: make\nmode: exclusive\n"
				  "since: 2026-11-23T11:20:05+00:00\nheld_for: 3.2s\ntoken: 77\n");
	assert_int_equal(len, strlen(text));
	free(text);
	p.kind = LK_SEM;
	p.slot = 3;
	p.mode = LK_SHARED;
	text = render_holder(&p, T0, 0, &len);
	has(text, "slot: 3\n");
	has(text, "mode: shared\n");
	free(text);
}

static void span_is(uint64_t since, uint64_t now, const char *line)
{
	struct lk_party p = party("job", 1);
	size_t len;
	char *text;

	p.since = since;
	text = render_holder(&p, now, 0, &len);
	has(text, line);
	free(text);
}

static void test_spans(void **state)
{
	(void)state;
	span_is(T0, T0, "held_for: 0.0s\n");
	span_is(T0, T0 + 59999 * PL_MS, "held_for: 59.9s\n");
	span_is(T0, T0 + 60 * PL_SEC, "held_for: 1m00s\n");
	span_is(T0, T0 + 125 * PL_SEC, "held_for: 2m05s\n");
	span_is(T0, T0 + 3599 * PL_SEC, "held_for: 59m59s\n");
	span_is(T0, T0 + 3720 * PL_SEC, "held_for: 1h02m\n");
	span_is(T0, T0 + 100 * 3600 * PL_SEC, "held_for: 4d04h\n");
	span_is(T0 + 5 * PL_SEC, T0, "held_for: 0.0s\n"); /* the wall clock went back */
	span_is(0, T0, "since: -\nheld_for: -\n");
}

static void test_time_zone(void **state)
{
	struct lk_party p = party("job", 1);
	size_t len;
	char *text;

	(void)state;
	assert_int_equal(setenv("TZ", "XST-05:30", 1), 0);
	tzset();
	text = render_holder(&p, T0, 0, &len);
	assert_int_equal(setenv("TZ", "UTC", 1), 0);
	tzset();
	has(text, "since: 2026-11-23T16:50:05+05:30\n");
	free(text);
}

static void test_waiter(void **state)
{
	struct lk_party p = party("job", 4711);
	size_t len;
	char *text = render_waiter(&p, 12, T0 + 90 * PL_SEC, 0, &len);

	(void)state;
	assert_string_equal(text, "host: alpha\npid: 4711\nuid: 1000\ngid: 100\ncomm: make\nmode: exclusive\n"
				  "since: 2026-11-23T11:20:05+00:00\nwaiting_for: 1m30s\nposition: 12\n");
	free(text);
	p.kind = LK_SEM;
	p.slot_lo = 2;
	p.slot_hi = 3;
	text = render_waiter(&p, 1, T0, 0, &len);
	has(text, "slot: 2\n");
	free(text);
	p.slot_hi = 8;
	text = render_waiter(&p, 1, T0, 0, &len);
	has(text, "slots: 2-7\n");
	free(text);
}

static void test_one_line_stays_one_line(void **state)
{
	struct lk_party p = party("job", 1);
	size_t len;
	char *text;

	(void)state;
	(void)snprintf(p.owner.comm, sizeof(p.owner.comm), "a\ntoken: 9\\\x1b\xff");
	text = render_holder(&p, T0, 0, &len);
	has(text, "comm: a\\x0atoken: 9\\x5c\\x1b\\xff\nmode");
	free(text);
	/* C1 control as UTF-8; a letter stays. */
	(void)snprintf(p.owner.comm, sizeof(p.owner.comm), "\xc2\x9b\xc3\xa9");
	text = render_holder(&p, T0, 0, &len);
	has(text, "comm: \\xc2\\x9b\xc3\xa9\n");
	free(text);
}

static void test_party_names(void **state)
{
	struct lk_party p[6] = { party("a", 10), party("a", 11), party("a", 10),
				 party("a", 10), party("a", 10), party("a", 11) };
	char **names;

	(void)state;
	p[4].host = "beta";
	names = render_party_names(p, 6, false);
	assert_non_null(names);
	assert_string_equal(names[0], "alpha:10");
	assert_string_equal(names[1], "alpha:11");
	assert_string_equal(names[2], "alpha:10:2");
	assert_string_equal(names[3], "alpha:10:3");
	assert_string_equal(names[4], "beta:10");
	assert_string_equal(names[5], "alpha:11:2");
	free(names);
	names = render_party_names(p, 6, true);
	assert_non_null(names);
	assert_string_equal(names[0], "0001:alpha:10");
	assert_string_equal(names[2], "0003:alpha:10");
	assert_string_equal(names[5], "0006:alpha:11");
	free(names);
	names = render_party_names(NULL, 0, false);
	assert_non_null(names);
	free(names);
}

static void test_party_name_cannot_leave_its_place(void **state)
{
	struct lk_party p = party("a", 10);
	char long_host[200];
	char **names;

	(void)state;
	p.host = "../e:v\n/l";
	names = render_party_names(&p, 1, false);
	assert_non_null(names);
	assert_string_equal(names[0], "_._e_v__l:10");
	free(names);
	memset(long_host, 'h', sizeof(long_host) - 1);
	long_host[sizeof(long_host) - 1] = '\0';
	p.host = long_host;
	names = render_party_names(&p, 1, true);
	assert_non_null(names);
	assert_true(strlen(names[0]) < 100);
	has(names[0], "h:10");
	free(names);
	p.host = "";
	names = render_party_names(&p, 1, false);
	assert_non_null(names);
	assert_string_equal(names[0], "_:10");
	free(names);
}

static void test_metrics(void **state)
{
	struct lk_counters c = {
		.granted = { [LK_SHARED] = 2, [LK_EXCLUSIVE] = 5 },
		.granted_sem = 3,
		.refused = { [LK_R_BUSY] = 9, [LK_R_OTHER] = 8 },
		.released = 6,
		.lost = 1,
		.broken = 4,
		.wait_bucket = { [0] = 7, [2] = 1, [LK_WAIT_BUCKETS - 1] = 2 },
		.wait_ns = 12 * PL_SEC + 5,
		.held = 11,
		.waiting = 12,
	};
	size_t len = 0;
	char *text = render_metrics(&info, &c, &len);
	const char *p;

	(void)state;
	assert_non_null(text);
	assert_int_equal(len, strlen(text));
	has(text, "\nplockfs_acquisitions_total{mode=\"exclusive\"} 5\n");
	has(text, "\nplockfs_acquisitions_total{mode=\"shared\"} 2\n");
	has(text, "\nplockfs_acquisitions_total{mode=\"slot\"} 3\n");
	has(text, "\nplockfs_refusals_total{reason=\"busy\"} 9\n");
	has(text, "\nplockfs_refusals_total{reason=\"deadlock\"} 0\n");
	has(text, "\nplockfs_refusals_total{reason=\"other\"} 8\n");
	has(text, "\nplockfs_releases_total 6\n");
	has(text, "\nplockfs_lost_total 1\n");
	has(text, "\nplockfs_broken_total 4\n");
	has(text, "\n# TYPE plockfs_held gauge\nplockfs_held 11\n");
	has(text, "\nplockfs_waiting 12\n");
	has(text, "\n# TYPE plockfs_wait_seconds histogram\nplockfs_wait_seconds_bucket{le=\"0.0001\"} 7\n");
	has(text, "\nplockfs_wait_seconds_bucket{le=\"0.0004\"} 7\n");
	has(text, "\nplockfs_wait_seconds_bucket{le=\"0.0016\"} 8\n");
	has(text, "\nplockfs_wait_seconds_bucket{le=\"26843.5456\"} 8\n");
	has(text, "\nplockfs_wait_seconds_bucket{le=\"+Inf\"} 10\n");
	has(text, "\nplockfs_wait_seconds_sum 12.000000005\n");
	has(text, "\nplockfs_wait_seconds_count 10\n");
	has(text, "\nplockfs_requests_total 41\n");
	has(text, "\nplockfs_open_handles 42\n");
	has(text, "\nplockfs_nodes 43\n");
	has(text, "\nplockfs_start_time_seconds 1795339025.000000000\n");
	/* Every sample's family has its HELP and TYPE. */
	for (p = text; *p; p = strchr(p, '\n') + 1) {
		char family[80];
		char help[100], type[100];

		if (*p == '#')
			continue;
		assert_int_equal(sscanf(p, "%70[a-z_]", family), 1);
		if (strncmp(family, "plockfs_wait_seconds", 20) == 0)
			family[20] = '\0';
		(void)snprintf(help, sizeof(help), "# HELP %s ", family);
		(void)snprintf(type, sizeof(type), "# TYPE %s ", family);
		has(text, help);
		has(text, type);
	}
	free(text);
}

static void test_readme(void **state)
{
	static const char *const words[] = {
		"EAGAIN", "ETIMEDOUT", "EINTR", "ECANCELED", "EDEADLK", "ESTALE", "EHOSTDOWN",
		"EBUSY",  "ENOLCK",    "EFBIG", "EACCES",    "EROFS",	"ENOENT", "EINVAL",
	};
	struct render_info odd = info;
	size_t len = 0, i;
	char *text = render_readme(&info, &len);

	(void)state;
	assert_non_null(text);
	assert_int_equal(len, strlen(text));
	has(text, "flock /mnt/locks/job ");
	has(text, "/mnt/locks/with/try/job");
	has(text, "/mnt/locks/sems/pool/3/any");
	has(text, "plockfs 9.8.7 on alpha");
	has_not(text, "@");
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		has(text, words[i]);
	free(text);
	odd.mountpoint = "/mnt/my locks@$(x)";
	text = render_readme(&odd, &len);
	has(text, "flock /mnt/my\\ locks@\\$\\(x\\)/job ");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holder),
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_time_zone),
		cmocka_unit_test(test_waiter),
		cmocka_unit_test(test_one_line_stays_one_line),
		cmocka_unit_test(test_party_names),
		cmocka_unit_test(test_party_name_cannot_leave_its_place),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_readme),
	};

	return cmocka_run_group_tests(tests, utc, NULL);
}
