/* status and status.json. */
#include "tests/unit/render_fixture.h"

#include <json-c/json.h>
#include <stdio.h>

static void test_status(void **state)
{
	struct lk_party holders[3] = { party("zeta", 3), party("job", 1), party("job", 2) };
	struct lk_party waiters[3] = { party("job", 30), party("zeta", 40), party("job", 31) };
	struct lk_party slots[1] = { party("pool", 5) };
	struct lk_view locks = { .holders = holders, .n_holders = 3, .waiters = waiters, .n_waiters = 3, .as_of = T0 };
	struct lk_view sems = { .holders = slots, .n_holders = 1, .as_of = T0 };
	struct lk_counters c = { .held = 4, .waiting = 3 };
	size_t len = 0;
	char *text, *job, *zeta, *pool, *w30, *w31;

	(void)state;
	holders[1].mode = holders[2].mode = LK_SHARED;
	slots[0].kind = LK_SEM;
	slots[0].slot = 2;
	text = render_status(&info, &locks, &sems, &c, &len);
	assert_non_null(text);
	assert_int_equal(len, strlen(text));
	has(text, "plockfs 9.8.7 on /mnt/locks\n");
	has(text, "file:/srv/locks\n");
	has(text, "up       1d02h, since 2026-11-22T09:17:05+00:00\n");
	has(text, "held     4 (4 by this mount)\n");
	has(text, "waiting  3 (3 on this mount)\n");
	has(text, "\nlocks/job         shared     alpha:1  1000   make             "
		  "2026-11-23T11:20:05+00:00  3.7s      77                2\n");
	has(text, "sems/pool slot 2  exclusive  alpha:5");
	has_not(text, "note");
	job = strstr(text, "locks/job ");
	zeta = strstr(text, "locks/zeta ");
	pool = strstr(text, "sems/pool ");
	w30 = strstr(text, "alpha:30 ");
	w31 = strstr(text, "alpha:31 ");
	assert_non_null(zeta);
	assert_non_null(w30);
	assert_non_null(w31);
	assert_true(job < zeta && zeta < pool && pool < w30 && w30 < w31);
	assert_string_equal(strchr(w31, '\n') - 1, strstr(w31, "2\nlocks/zeta")); /* position 2 of job's queue */
	free(text);
}

static void test_status_of_nothing_and_partial(void **state)
{
	struct lk_view locks = { .as_of = T0 - 60 * PL_SEC, .partial = true };
	struct lk_counters c = { 0 };
	struct render_info odd = info;
	size_t len;
	char *text;

	(void)state;
	odd.mountpoint = "/mnt/a\nb";
	text = render_status(&odd, &locks, NULL, &c, &len);
	has(text, "note     some mount or server did not answer: known as of 2026-11-23T11:19:05+00:00\n");
	has(text, "on /mnt/a\\x0ab\n");
	has_not(text, "NAME");
	free(text);
}

static struct json_object *parse_all(const char *text, size_t len)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *o;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, text, (int)len);
	if (json_tokener_get_error(tok) != json_tokener_success)
		fail_msg("%s in:\n%s", json_tokener_error_desc(json_tokener_get_error(tok)), text);
	json_tokener_free(tok);
	return o;
}

static const char *string_of(struct json_object *o, const char *key)
{
	struct json_object *value;

	assert_true(json_object_object_get_ex(o, key, &value));
	return json_object_get_string(value);
}

static uint64_t number_of(struct json_object *o, const char *key)
{
	struct json_object *value;

	assert_true(json_object_object_get_ex(o, key, &value));
	return json_object_get_uint64(value);
}

static struct json_object *element(struct json_object *o, const char *key, size_t i)
{
	struct json_object *array;

	assert_true(json_object_object_get_ex(o, key, &array));
	return json_object_array_get_idx(array, i);
}

static void test_json(void **state)
{
	struct lk_party holders[2] = { party("b/\"q\"", 1), party("a", 2) };
	struct lk_party waiters[2] = { party("a", 30), party("a", 31) };
	struct lk_party slot_waiter = party("pool", 50);
	struct lk_view locks = { .holders = holders, .n_holders = 2, .waiters = waiters, .n_waiters = 2, .as_of = T0 };
	struct lk_view sems = { .waiters = &slot_waiter, .n_waiters = 1, .as_of = T0 };
	struct lk_counters c = { .held = 2, .waiting = 3 };
	struct json_object *o, *e;
	size_t len;
	char *text;

	(void)state;
	holders[1].token = UINT64_MAX;
	holders[0].since = 0;
	slot_waiter.kind = LK_SEM;
	slot_waiter.slot_lo = 1;
	slot_waiter.slot_hi = 4;
	text = render_status_json(&info, &locks, &sems, &c, &len);
	assert_non_null(text);
	assert_int_equal(len, strlen(text));
	o = parse_all(text, len);
	assert_string_equal(string_of(o, "mountpoint"), "/mnt/locks");
	assert_string_equal(string_of(o, "up_since"), "2026-11-22T09:17:05+00:00");
	assert_int_equal(number_of(o, "held"), 2);
	assert_int_equal(number_of(o, "waiting"), 3);
	assert_int_equal(number_of(o, "requests"), 41);
	e = element(o, "holders", 0);
	assert_string_equal(string_of(e, "name"), "a");
	assert_string_equal(string_of(e, "held_seconds"), "3.700");
	assert_int_equal(number_of(e, "token"), UINT64_MAX);
	e = element(o, "holders", 1);
	assert_string_equal(string_of(e, "name"), "b/\"q\"");
	assert_null(string_of(e, "since"));
	assert_null(element(o, "holders", 2));
	assert_int_equal(number_of(element(o, "waiters", 1), "position"), 2);
	e = element(o, "waiters", 2);
	assert_string_equal(string_of(e, "kind"), "sem");
	assert_int_equal(number_of(e, "slot_first"), 1);
	assert_int_equal(number_of(e, "slot_last"), 3);
	assert_int_equal(number_of(e, "position"), 1);
	json_object_put(o);
	free(text);
}

/* Every byte a name can have, and UTF-8 that is nearly right. */
static void test_json_of_any_bytes(void **state)
{
	static const char *const odd[] = {
		"\xff",	  "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xf0\x80\x80\x80",
		"a\xe9z",
	};
	struct lk_counters c = { 0 };
	char all[256];
	struct lk_party p = party(all, 1);
	struct lk_view locks = { .holders = &p, .n_holders = 1, .as_of = T0 };
	struct json_object *o;
	size_t len, i;
	char *text;

	(void)state;
	for (i = 0; i < 255; i++)
		all[i] = (char)(i + 1);
	all[255] = '\0';
	text = render_status_json(&info, &locks, NULL, &c, &len);
	json_object_put(parse_all(text, len));
	free(text);
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		p.name = odd[i];
		text = render_status_json(&info, &locks, NULL, &c, &len);
		o = parse_all(text, len);
		has(string_of(element(o, "holders", 0), "name"), "\\x");
		json_object_put(o);
		free(text);
	}
	p.name = "caf\xc3\xa9 \xf0\x9f\x94\x92";
	text = render_status_json(&info, &locks, NULL, &c, &len);
	o = parse_all(text, len);
	assert_string_equal(string_of(element(o, "holders", 0), "name"), p.name);
	json_object_put(o);
	free(text);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Quadratic work would take minutes; also the figures of the scale aim. */
static void test_many(void **state)
{
	enum { N = 100000 };
	struct lk_party *p = calloc(N, sizeof(*p));
	char(*names)[16] = calloc(N, sizeof(*names));
	struct lk_view locks = { .holders = p, .n_holders = N, .waiters = p, .n_waiters = N, .as_of = T0 };
	struct lk_counters c = { .held = N };
	char **files;
	double start;
	size_t i, len;
	char *text;

	(void)state;
	assert_non_null(p);
	assert_non_null(names);
	for (i = 0; i < N; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "n%zu", i * 7919 % N);
		p[i] = party(names[i], 100);
	}
	start = seconds();
	text = render_status(&info, &locks, NULL, &c, &len);
	assert_non_null(text);
	free(text);
	print_message("# status of %d holders and waiters: %.2f s\n", N, seconds() - start);
	assert_true(seconds() - start < 30);
	start = seconds();
	locks.n_waiters = 0;
	text = render_status_json(&info, &locks, NULL, &c, &len);
	assert_non_null(text);
	free(text);
	print_message("# status.json: %.2f s, %zu bytes\n", seconds() - start, len);
	assert_true(seconds() - start < 60);
	start = seconds();
	files = render_party_names(p, N, false);
	assert_non_null(files);
	assert_string_equal(files[N - 1], "alpha:100:100000");
	free(files);
	print_message("# names: %.2f s\n", seconds() - start);
	assert_true(seconds() - start < 30);
	free(names);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status), cmocka_unit_test(test_status_of_nothing_and_partial),
		cmocka_unit_test(test_json),   cmocka_unit_test(test_json_of_any_bytes),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, utc, NULL);
}
