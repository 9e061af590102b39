/* Byte ranges that need no wait: splitting, merging, owners, conflicts, limits. */
#include "tests/contract/ranges.h"

#include <stdlib.h>

/* --- one mount --- */

/* One range of this owner is exactly from..to, as others see it. */
static void held_is(const struct opened *o, uint64_t owner, enum ranges_mode mode, int64_t from, int64_t to)
{
	struct ranges_lock l;

	assert_true(range_taken(o, owner + 100, X, from, to, &l));
	assert_int_equal(l.start, from);
	assert_int_equal(l.end, to);
	assert_int_equal(l.mode, mode);
	assert_int_equal(l.pid, range_pid(owner));
	if (from > 0 && range_taken(o, owner + 100, X, from - 1, from - 1, &l))
		assert_int_not_equal(l.pid, range_pid(owner));
	if (to < END && range_taken(o, owner + 100, X, to + 1, to + 1, &l))
		assert_int_not_equal(l.pid, range_pid(owner));
}

static void test_conflicts(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db"), p = opened(f->b, f, "db");

	assert_int_equal(range_try(&o, 1, X, 10, 19), 0);
	held_is(&p, 1, X, 10, 19);
	assert_false(range_taken(&p, 1, X, 0, END, NULL)); /* one's own */
	assert_int_equal(range_try(&p, 2, S, 19, 30), -EAGAIN);
	assert_int_equal(range_try(&p, 2, X, 0, 10), -EAGAIN);
	assert_int_equal(range_try(&p, 2, X, 0, END), -EAGAIN);
	assert_int_equal(range_try(&o, 2, S, 10, 10), -EAGAIN); /* owners count, not open files */
	assert_int_equal(range_try(&p, 2, X, 20, 30), 0);
	assert_int_equal(range_try(&p, 2, X, 0, 9), 0);
	assert_int_equal(range_try(&p, 1, X, 12, 14), 0);
	held_is(&p, 1, X, 10, 19);
	assert_int_equal(range_unlock(&p, 3, 0, END), 0); /* nothing of its own */
	held_is(&p, 1, X, 10, 19);
	assert_int_equal(range_unlock(&p, 1, 10, 19), 0);
	assert_int_equal(range_try(&p, 3, S, 10, 19), 0);
	assert_int_equal(range_try(&p, 1, S, 5, 15), -EAGAIN);
	assert_int_equal(range_try(&p, 1, S, 10, 19), 0); /* shared with shared */
	assert_int_equal(range_try(&p, 1, X, 10, 19), -EAGAIN);
	assert_int_equal(range_unlock(&p, 3, 10, 19), 0);
	assert_int_equal(range_try(&p, 1, X, 10, 19), 0);
}

static void test_split_and_merge(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");

	assert_int_equal(range_try(&o, 1, X, 100, 199), 0);
	assert_int_equal(range_unlock(&o, 1, 120, 149), 0); /* out of the middle */
	held_is(&o, 1, X, 100, 119);
	held_is(&o, 1, X, 150, 199);
	assert_int_equal(range_try(&o, 2, X, 120, 149), 0);
	assert_int_equal(range_unlock(&o, 2, 0, END), 0);
	assert_int_equal(range_try(&o, 1, X, 120, 149), 0);
	held_is(&o, 1, X, 100, 199); /* one again */
	assert_int_equal(range_unlock(&o, 1, 0, 100), 0);
	assert_int_equal(range_unlock(&o, 1, 199, END), 0);
	held_is(&o, 1, X, 101, 198);
	assert_int_equal(range_try(&o, 1, X, 300, 300), 0);
	assert_int_equal(range_try(&o, 1, X, 199, 299), 0); /* the gap between two */
	held_is(&o, 1, X, 101, 300);
	assert_int_equal(range_unlock(&o, 1, 0, END), 0);
	assert_false(range_taken(&o, 2, X, 0, END, NULL));
	assert_int_equal(range_unlock(&o, 1, 0, END), 0);
}

static void test_upgrade_and_downgrade(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");
	struct ranges_lock l;

	assert_int_equal(range_try(&o, 1, S, 0, 99), 0);
	assert_int_equal(range_try(&o, 1, X, 20, 29), 0);
	assert_true(range_taken(&o, 2, X, 0, END, &l)); /* three now: shared, exclusive, shared */
	assert_int_equal(l.start, 0);
	assert_int_equal(l.end, 19);
	assert_int_equal(l.mode, S);
	assert_true(range_taken(&o, 2, S, 0, END, &l));
	assert_int_equal(l.start, 20);
	assert_int_equal(l.end, 29);
	assert_int_equal(l.mode, X);
	assert_true(range_taken(&o, 2, X, 30, END, &l));
	assert_int_equal(l.start, 30);
	assert_int_equal(l.end, 99);
	assert_int_equal(range_try(&o, 2, S, 0, 19), 0);
	assert_int_equal(range_try(&o, 2, S, 29, 29), -EAGAIN);
	assert_int_equal(range_try(&o, 1, X, 0, 99), -EAGAIN); /* 2 shares it */
	assert_false(range_taken(&o, 3, S, 0, 19, NULL));      /* and nothing was changed */
	assert_int_equal(range_try(&o, 1, S, 20, 29), 0);
	assert_int_equal(range_unlock(&o, 2, 0, END), 0);
	held_is(&o, 1, S, 0, 99); /* one again */
	assert_int_equal(range_try(&o, 1, X, 0, END), 0);
	held_is(&o, 1, X, 0, END);
	assert_int_equal(range_try(&o, 1, S, 0, END), 0);
	assert_int_equal(range_try(&o, 2, S, 0, END), 0);
}

static void test_to_the_end(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");

	assert_int_equal(range_try(&o, 1, X, 1000, END), 0);
	held_is(&o, 1, X, 1000, END);
	assert_int_equal(range_try(&o, 2, X, END, END), -EAGAIN);
	assert_int_equal(range_unlock(&o, 1, 1100, END - 1), 0);
	held_is(&o, 1, X, 1000, 1099);
	held_is(&o, 1, X, END, END);
	assert_int_equal(range_try(&o, 2, S, 1100, END - 1), 0);
	assert_int_equal(range_unlock(&o, 1, END, END), 0);
	assert_int_equal(range_try(&o, 2, S, END, END), 0);
	held_is(&o, 2, S, 1100, END);
	assert_int_equal(range_try(&o, 3, S, 0, 0), 0);
	assert_int_equal(range_try(&o, 3, X, 0, END), -EAGAIN);
	held_is(&o, 3, S, 0, 0); /* refused as a whole */
}

static void test_no_ranges(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");
	const struct ranges_lock want = { .start = 0, .end = 9, .mode = NONE }, back = { .start = 9, .mode = X };

	assert_int_equal(range_try(&o, 1, X, -1, 9), -EINVAL);
	assert_int_equal(range_try(&o, 1, X, 9, 8), -EINVAL);
	assert_int_equal(range_try(&o, 1, NONE, 9, 8), -EINVAL);
	assert_int_equal(range_answer(range_wait(&o, 1, X, -9, -1)), -EINVAL);
	assert_int_equal(lk_range_test(f->b, o.file, &want, NULL, NULL), -EINVAL);
	assert_int_equal(lk_range_test(f->b, o.file, &back, NULL, NULL), -EINVAL);
	assert_false(range_taken(&o, 2, X, 0, END, NULL));
}

static void test_other_file(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db"), p = made(f->b, f, "other");

	assert_int_equal(range_try(&o, 1, X, 0, END), 0);
	assert_int_equal(range_try(&p, 2, X, 0, END), 0);
	assert_int_equal(range_try(&p, 1, S, 0, 0), -EAGAIN);
	assert_int_equal(range_drop(&o, 1), 0);
	assert_int_equal(range_drop(&o, 2), 0); /* has nothing of this file */
	assert_int_equal(range_try(&o, 3, X, 0, END), 0);
	assert_int_equal(range_try(&p, 3, S, 0, 0), -EAGAIN);
}

/* close(2): all that the owner has of the file, whatever it was locked through. */
static void test_drop(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db"), p = opened(f->b, f, "db");
	int i;

	for (i = 0; i < 5; i++) {
		assert_int_equal(range_try(i % 2 ? &o : &p, 1, i % 2 ? X : S, 20 * i, 20 * i + 9), 0);
		assert_int_equal(range_try(i % 2 ? &o : &p, 2, X, 20 * i + 10, 20 * i + 19), 0);
	}
	assert_int_equal(range_drop(&p, 1), 0);
	for (i = 0; i < 5; i++) {
		assert_int_equal(range_try(&o, 3, X, 20 * i, 20 * i + 9), 0);
		assert_int_equal(range_try(&o, 3, S, 20 * i + 10, 20 * i + 19), -EAGAIN);
	}
	assert_int_equal(range_drop(&p, 1), 0);
	file_close(&p);
	assert_int_equal(range_try(&o, 1, S, 10, 10), -EAGAIN);
	assert_int_equal(range_drop(&o, 2), 0);
	assert_int_equal(range_drop(&o, 3), 0);
	assert_false(range_taken(&o, 1, X, 0, END, NULL));
	file_close(&o);
}

static void test_not_flock(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db"), p = opened(f->b, f, "db");
	struct ask *a = ask_flock(&o, LK_EXCLUSIVE);

	granted(a);
	assert_int_equal(range_try(&p, 1, X, 0, END), 0);
	let_go(a);
	granted(ask_flock_try(&p, LK_EXCLUSIVE));
	assert_int_equal(answer(ask_flock_try(&o, LK_SHARED)), -EAGAIN);
	assert_int_equal(range_try(&o, 2, S, 0, 0), -EAGAIN);
	assert_int_equal(range_drop(&o, 1), 0);
	assert_int_equal(range_try(&o, 2, X, 0, END), 0);
	assert_int_equal(answer(ask_try(f, LK_SHARED, "db")), -EAGAIN);
}

/* Ranges are the inode's, whatever becomes of its names. */
static void follow_the_inode(struct fixture *f, struct lk_backend *b)
{
	struct opened o = made(f->b, f, "db"), p = opened(b, f, "db"), fresh, q;

	assert_int_equal(name_link(f->b, f, "db", "two"), 0);
	assert_int_equal(range_try(&o, 1, X, 0, 9), 0);
	q = opened(b, f, "two");
	assert_int_equal(range_try(&q, 2, S, 9, 9), -EAGAIN);
	assert_int_equal(name_unlink(b, f, "db"), 0);
	assert_int_equal(name_rename(b, f, "two", "three", 0), 0);
	fresh = made(b, f, "db");
	assert_int_equal(range_try(&fresh, 2, X, 0, END), 0);
	assert_int_equal(range_try(&q, 2, S, 9, 9), -EAGAIN);
	assert_int_equal(name_unlink(b, f, "three"), 0);
	assert_int_equal(range_try(&p, 2, S, 9, 9), -EAGAIN);
	assert_int_equal(range_try(&p, 2, X, 10, 19), 0);
	assert_int_equal(range_try(&o, 1, X, 10, 19), -EAGAIN);
	assert_int_equal(range_drop(&fresh, 2), 0);
	assert_int_equal(range_try(&o, 1, X, 10, 19), -EAGAIN);
	assert_int_equal(range_drop(&p, 2), 0);
	file_close(&p);
	assert_int_equal(range_try(&o, 1, X, 10, 19), 0);
	assert_int_equal(range_drop(&o, 1), 0);
	file_close(&o);
	assert_int_equal(range_try(&q, 5, X, 0, END), 0);
	assert_int_equal(range_try(&fresh, 6, X, 0, END), 0);
}

static void test_inodes(void **state)
{
	struct fixture *f = *state;

	follow_the_inode(f, f->b);
}

static void test_inodes_on_two_mounts(void **state)
{
	struct fixture *f = *state;

	follow_the_inode(f, fixture_other(f));
}

/* --- the limit --- */

#define FRAGMENTS_MAX 70000
#define AT_ONCE 64

/* One byte in two, until it is refused; how many were had. */
static unsigned shatter(const struct opened *o, int64_t from)
{
	unsigned had = 0, i;
	int err = 0;

	while (err == 0 && had < FRAGMENTS_MAX) {
		struct range_ask *r[AT_ONCE];

		for (i = 0; i < AT_ONCE; i++)
			r[i] = range_ask(o, 1, X, from + 2 * (had + i), from + 2 * (had + i), false, 0);
		for (i = 0; i < AT_ONCE; i++) {
			/* Once refused, refused: nothing makes room. */
			assert_true(err == 0 || range_answer(r[i]) == err);
			err = range_answer(r[i]);
			had += err == 0;
		}
	}
	assert_int_equal(err, -ENOLCK);
	return had;
}

static void test_fragments(void **state)
{
	struct fixture *f = *state;
	struct opened o = made(f->b, f, "db");
	unsigned had, i;
	int err;

	assert_int_equal(range_try(&o, 1, X, 0, 9), 0);
	had = shatter(&o, 20);
	assert_true(had >= 100);			      /* enough for SQLite and its like */
	assert_int_equal(range_unlock(&o, 1, 4, 4), -ENOLCK); /* it would be one more */
	held_is(&o, 1, X, 0, 9);
	err = range_try(&o, 2, S, 11, 11); /* the limit may be each owner's own */
	assert_true(err == 0 || err == -ENOLCK);
	assert_int_equal(range_drop(&o, 2), 0);
	for (i = 0; i < had; i += 1 + had / 16)
		held_is(&o, 1, X, 20 + 2 * i, 20 + 2 * i);
	assert_int_equal(range_unlock(&o, 1, 20, 20), 0); /* room for one */
	assert_int_equal(range_unlock(&o, 1, 4, 4), 0);
	held_is(&o, 1, X, 0, 3);
	held_is(&o, 1, X, 5, 9);
	assert_int_equal(range_try(&o, 1, X, 0, END), 0); /* all of them merge */
	held_is(&o, 1, X, 0, END);
	assert_int_equal(range_drop(&o, 1), 0);
	assert_int_equal(range_try(&o, 2, X, 0, END), 0);
}

/* --- two mounts --- */

static void test_owners_on_two_mounts(void **state)
{
	struct fixture *f = *state;
	struct lk_backend *other = fixture_other(f);
	struct opened o = made(f->b, f, "db"), p = opened(other, f, "db");
	struct ranges_lock l;

	/* The same number there is another owner. */
	assert_int_equal(range_try(&o, 1, X, 0, 9), 0);
	assert_int_equal(range_try(&p, 1, X, 5, 14), -EAGAIN);
	assert_int_equal(range_try(&p, 1, X, 10, 19), 0);
	assert_int_equal(range_try(&o, 1, S, 10, 10), -EAGAIN);
	assert_true(range_taken(&p, 1, S, 0, 19, &l));
	assert_int_equal(l.start, 0);
	assert_int_equal(l.end, 9);
	assert_int_equal(l.mode, X);
	assert_true(l.pid == 0 || l.pid == range_pid(1));
	assert_int_equal(range_unlock(&p, 1, 0, 9), 0); /* not its own */
	assert_int_equal(range_try(&p, 1, S, 0, 0), -EAGAIN);
	assert_int_equal(range_drop(&p, 1), 0);
	assert_int_equal(range_try(&o, 1, X, 0, 19), 0);
	assert_int_equal(range_try(&o, 1, S, 0, 19), 0);
	assert_int_equal(range_try(&p, 1, S, 0, 19), 0);
	assert_int_equal(range_try(&o, 1, X, 19, 19), -EAGAIN);
	assert_int_equal(range_try(&p, 1, X, 0, 0), -EAGAIN);
	assert_int_equal(range_unlock(&o, 1, 5, END), 0);
	assert_int_equal(range_try(&p, 1, X, 5, END), 0);
	assert_int_equal(range_try(&p, 1, X, 4, 4), -EAGAIN);
}

/* Whoever locked before may look at what was written. */
static void test_data_goes_with_the_lock(void **state)
{
	struct fixture *f = *state;
	struct lk_backend *other = fixture_other(f);
	struct opened o[2] = { made(f->b, f, "db"), opened(other, f, "db") };
	char count[2] = "a", out[2];
	int i;

	assert_int_equal(file_put(&o[0], count, 0), 1);
	for (i = 0; i < 20; i++) {
		struct range_ask *r = range_wait(&o[i % 2], 1, X, 0, 0);

		assert_int_equal(range_answer(r), 0);
		assert_int_equal(file_get(&o[i % 2], out, 1, 0), 1);
		assert_int_equal(out[0], count[0]);
		count[0]++;
		assert_int_equal(file_put(&o[i % 2], count, 0), 1);
		assert_int_equal(range_unlock(&o[i % 2], 1, 0, 0), 0);
	}
}

static void test_mount_goes_away(void **state)
{
	struct fixture *f = *state;
	struct lk_backend *other = fixture_other(f);
	struct opened o = made(f->b, f, "db"), p = opened(other, f, "db");
	struct range_ask *w;

	assert_int_equal(range_try(&o, 1, X, 0, 9), 0);
	assert_int_equal(range_try(&o, 2, S, 20, 29), 0);
	assert_int_equal(range_try(&p, 1, X, 40, 49), 0);
	w = range_wait(&p, 1, X, 0, 29);
	range_still_waits(w);
	fixture_reopen(f);
	assert_int_equal(range_answer(w), 0);
	o = opened(f->b, f, "db");
	assert_int_equal(range_try(&o, 1, X, 40, 40), -EAGAIN);
	assert_int_equal(range_try(&o, 1, S, 0, 0), -EAGAIN);
	assert_int_equal(range_try(&o, 1, S, 30, 39), 0);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_conflicts),
	CONTRACT_TEST(test_split_and_merge),
	CONTRACT_TEST(test_upgrade_and_downgrade),
	CONTRACT_TEST(test_to_the_end),
	CONTRACT_TEST(test_no_ranges),
	CONTRACT_TEST(test_other_file),
	CONTRACT_TEST(test_drop),
	CONTRACT_TEST(test_not_flock),
	CONTRACT_TEST(test_inodes),
	CONTRACT_TEST(test_inodes_on_two_mounts),
	CONTRACT_TEST(test_fragments),
	CONTRACT_TEST(test_owners_on_two_mounts),
	CONTRACT_TEST(test_data_goes_with_the_lock),
	CONTRACT_TEST(test_mount_goes_away),
};

const struct test_list ranges_list = TEST_LIST(tests);
