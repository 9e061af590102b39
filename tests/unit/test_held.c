/* Locks that were not given back: what each mount tells of its own and of others'. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/held_fixture.h"

#define ENTRIES_MAX (1u << 20)

/* Lost, and then had again. */
static void lose_and_hold_job(struct side *m)
{
	held_abandon(m->t, held_add(m->t, JOB));
	held_add(m->t, JOB);
}

static void hold_many(struct side *m)
{
	char name[16];
	int i;

	for (i = 0; i < 3 * STEP + 1; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		if (!held_add(m->t, held_key(name)))
			_exit(1);
	}
}

/* --- one mount --- */

static void keys_differ(void **state)
{
	static const char *const names[] = { "", "job", "joc", "a/b", "b/a", "ab", "ba", "\xff" };
	size_t i, k, n = sizeof(names) / sizeof(names[0]);

	(void)state;
	for (i = 0; i < n; i++) {
		assert_true(held_key(names[i]) != 0);
		assert_int_equal(held_key(names[i]) & 1, 0);
		for (k = 0; k < n; k++)
			assert_int_equal(held_key(names[i]) == held_key(names[k]), i == k);
	}
}

static void a_clean_life(void **state)
{
	struct side a = mounted(*state, "a");
	uint32_t e = held_add(a.t, JOB);

	assert_true(e > 0);
	assert_true(has_file(*state, "a"));
	assert_false(held_abandoned(a.t, JOB));
	held_clear(a.t, e, JOB);
	assert_false(held_abandoned(a.t, JOB));
	unmounted(&a);
	assert_false(has_file(*state, "a"));
}

static void lost_here(void **state)
{
	struct side a = mounted(*state, "a");
	uint32_t e = held_add(a.t, JOB);

	held_abandon(a.t, e);
	assert_true(held_abandoned(a.t, JOB));
	assert_false(held_abandoned(a.t, held_key("other")));
	e = held_add(a.t, JOB);
	assert_true(held_abandoned(a.t, JOB)); /* until it is given back, not had */
	held_clear(a.t, e, JOB);
	assert_false(held_abandoned(a.t, JOB));
	unmounted(&a);
	assert_false(has_file(*state, "a"));
}

static void entries_are_used_again(void **state)
{
	struct side a = mounted(*state, "a");
	uint32_t first[100], i, round;
	struct stat st;

	for (round = 0; round < 100; round++) {
		for (i = 0; i < 100; i++) {
			first[i] = held_add(a.t, JOB);
			assert_in_range(first[i], 1, 100);
		}
		for (i = 0; i < 100; i++)
			held_clear(a.t, first[i], JOB);
	}
	assert_int_equal(fstatat(((struct folder *)*state)->fd, "a.held", &st, 0), 0);
	assert_int_equal(st.st_size, HEAD + 8 * STEP);
	unmounted(&a);
}

static void as_many_as_there_can_be(void **state)
{
	struct side a = mounted(*state, "a");
	uint32_t i;

	for (i = 0; i < ENTRIES_MAX; i++)
		assert_int_equal(held_add(a.t, JOB), i + 1);
	assert_int_equal(held_add(a.t, JOB), 0);
	held_clear(a.t, 0, JOB);
	held_abandon(a.t, 0);
	assert_false(held_abandoned(a.t, JOB));
	held_clear(a.t, 77, JOB);
	assert_int_equal(held_add(a.t, JOB), 77);
	unmounted(&a);
	assert_true(has_file(*state, "a"));
}

static int no_space(const struct folder *dir)
{
	const struct rlimit limit = { HEAD + 8 * STEP, HEAD + 8 * STEP };
	struct side a = mounted(dir, "a");
	uint32_t i;

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		return 1;
	for (i = 0; i < STEP; i++) {
		if (held_add(a.t, JOB) != i + 1)
			return 2;
	}
	if (held_add(a.t, JOB) != 0 || held_add(a.t, JOB) != 0)
		return 3;
	held_clear(a.t, 5, JOB);
	return held_add(a.t, JOB) == 5 ? 0 : 4;
}

static void a_full_disk_only_forgets(void **state)
{
	assert_int_equal(status_of(no_space, *state), 0);
}

static void nothing_is_remembered(void **state)
{
	struct held *t = held_new(-1, "a");

	(void)state;
	assert_non_null(t);
	assert_int_equal(held_add(t, JOB), 0);
	held_refresh(t);
	held_abandon(t, 0);
	held_clear(t, 0, JOB);
	assert_false(held_abandoned(t, JOB));
	held_free(t);
	held_free(NULL);
}

/* --- what others left --- */

static void the_living_abandon_nothing(void **state)
{
	struct side b = mounted(*state, "b"), a = mounted(*state, "a");

	hold_job(&b);
	assert_false(held_abandoned(a.t, JOB));
	assert_false(held_abandoned(b.t, JOB));
	unmounted(&a);
	unmounted(&b);
	assert_true(has_file(*state, "b"));
}

static void what_a_killed_mount_had(void **state)
{
	struct side a;

	live_and_die(*state, "b", hold_job);
	a = mounted(*state, "a");
	assert_true(held_abandoned(a.t, JOB));
	assert_true(held_abandoned(a.t, held_key("other")));
	assert_false(held_abandoned(a.t, held_key("done")));
	unmounted(&a);
	assert_true(has_file(*state, "b"));
}

static void death_is_seen_while_we_run(void **state)
{
	struct side a = mounted(*state, "a");

	assert_false(held_abandoned(a.t, JOB));
	live_and_die(*state, "b", hold_job);
	assert_true(held_abandoned(a.t, JOB));
	unmounted(&a);
}

static void what_an_ended_mount_still_had(void **state)
{
	struct side b = mounted(*state, "b"), a = mounted(*state, "a");

	hold_job(&b);
	assert_false(held_abandoned(a.t, JOB));
	unmounted(&b);
	assert_true(held_abandoned(a.t, JOB));
	unmounted(&a);
}

/* a sees b's, c gives it back, d comes later. */
static void cleared_by_a_third_one(void **state)
{
	struct side a, c, d;

	live_and_die(*state, "b", hold_job);
	a = mounted(*state, "a");
	c = mounted(*state, "c");
	assert_true(held_abandoned(a.t, JOB));
	held_refresh(c.t);
	held_clear(c.t, held_add(c.t, JOB), JOB);
	d = mounted(*state, "d");
	assert_false(held_abandoned(a.t, JOB));
	assert_false(held_abandoned(c.t, JOB));
	assert_false(held_abandoned(d.t, JOB));
	assert_true(held_abandoned(d.t, held_key("other")));
	unmounted(&a);
	unmounted(&c);
	unmounted(&d);
}

static void an_empty_file_of_the_dead_goes(void **state)
{
	struct side a;

	live_and_die(*state, "b", hold_nothing);
	live_and_die(*state, "c", hold_job);
	assert_true(has_file(*state, "b"));
	a = mounted(*state, "a");
	assert_false(held_abandoned(a.t, held_key("done")));
	assert_false(has_file(*state, "b"));
	assert_true(has_file(*state, "c"));
	held_clear(a.t, held_add(a.t, JOB), JOB);
	held_clear(a.t, held_add(a.t, held_key("other")), held_key("other"));
	unmounted(&a);
	a = mounted(*state, "a");
	assert_false(held_abandoned(a.t, JOB));
	assert_false(has_file(*state, "c"));
	unmounted(&a);
}

static void lost_by_a_living_one(void **state)
{
	struct side b = mounted(*state, "b"), a = mounted(*state, "a"), c = mounted(*state, "c");

	lose_job(&b);
	assert_true(held_abandoned(a.t, JOB));
	assert_true(held_abandoned(c.t, JOB));
	assert_false(held_abandoned(a.t, held_key("other")));
	held_clear(c.t, held_add(c.t, JOB), JOB);
	assert_false(held_abandoned(a.t, JOB));
	assert_false(held_abandoned(b.t, JOB));
	assert_false(held_abandoned(c.t, JOB));
	/* And again, by the same one. */
	lose_job(&b);
	assert_true(held_abandoned(b.t, JOB));
	assert_true(held_abandoned(c.t, JOB));
	held_clear(b.t, held_add(b.t, JOB), JOB);
	assert_false(held_abandoned(a.t, JOB));
	assert_false(held_abandoned(b.t, JOB));
	unmounted(&a);
	unmounted(&b);
	unmounted(&c);
	assert_false(has_file(*state, "b"));
}

static void lost_and_then_killed(void **state)
{
	struct side a;

	live_and_die(*state, "b", lose_job);
	a = mounted(*state, "a");
	assert_true(held_abandoned(a.t, JOB));
	held_clear(a.t, held_add(a.t, JOB), JOB);
	assert_false(held_abandoned(a.t, JOB));
	unmounted(&a);
}

static void one_name_left_by_two(void **state)
{
	struct side a;

	live_and_die(*state, "b", hold_job);
	live_and_die(*state, "c", hold_job);
	a = mounted(*state, "a");
	assert_true(held_abandoned(a.t, JOB));
	held_clear(a.t, held_add(a.t, JOB), JOB);
	assert_false(held_abandoned(a.t, JOB));
	unmounted(&a);
	a = mounted(*state, "a");
	assert_false(held_abandoned(a.t, JOB));
	unmounted(&a);
}

static void lost_twice_given_back_once_here(void **state)
{
	struct side b = mounted(*state, "b"), a = mounted(*state, "a");

	lose_job(&a);
	lose_job(&a);
	held_clear(a.t, held_add(a.t, JOB), JOB);
	assert_false(held_abandoned(a.t, JOB));
	assert_false(held_abandoned(b.t, JOB));
	unmounted(&a);
	unmounted(&b);
}

static void lost_twice_given_back_once_there(void **state)
{
	struct side b = mounted(*state, "b"), a = mounted(*state, "a");

	lose_job(&a);
	lose_job(&a);
	held_refresh(b.t);
	held_clear(b.t, held_add(b.t, JOB), JOB);
	assert_false(held_abandoned(a.t, JOB));
	assert_false(held_abandoned(b.t, JOB));
	unmounted(&a);
	unmounted(&b);
}

static void twice_in_a_file_of_the_dead(void **state)
{
	struct side a, c;

	live_and_die(*state, "b", lose_and_hold_job);
	a = mounted(*state, "a");
	assert_true(held_abandoned(a.t, JOB));
	held_clear(a.t, held_add(a.t, JOB), JOB);
	assert_false(held_abandoned(a.t, JOB));
	c = mounted(*state, "c");
	assert_false(held_abandoned(c.t, JOB));
	unmounted(&a);
	unmounted(&c);
}

static void many_names(void **state)
{
	struct side a;
	char name[16];
	int i;

	live_and_die(*state, "b", hold_many);
	a = mounted(*state, "a");
	for (i = 0; i < 3 * STEP + 1; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_true(held_abandoned(a.t, held_key(name)));
	}
	assert_false(held_abandoned(a.t, held_key(name) + 4));
	unmounted(&a);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(keys_differ),
		ROW(a_clean_life),
		ROW(lost_here),
		ROW(entries_are_used_again),
		ROW(as_many_as_there_can_be),
		ROW(a_full_disk_only_forgets),
		ROW(nothing_is_remembered),
		ROW(the_living_abandon_nothing),
		ROW(what_a_killed_mount_had),
		ROW(death_is_seen_while_we_run),
		ROW(what_an_ended_mount_still_had),
		ROW(cleared_by_a_third_one),
		ROW(an_empty_file_of_the_dead_goes),
		ROW(lost_by_a_living_one),
		ROW(lost_and_then_killed),
		ROW(one_name_left_by_two),
		ROW(lost_twice_given_back_once_here),
		ROW(lost_twice_given_back_once_there),
		ROW(twice_in_a_file_of_the_dead),
		ROW(many_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
