/* Byte ranges in random steps, each compared with what the kernel says of the
 * same step on a file of its own: F_OFD_SETLK, a descriptor for every owner.
 */
#include "tests/contract/ranges.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STEPS 2500
#define OWNERS 5
#define BYTES 64 /* of each window */

/* Where things happen: the start, far beyond 32 bits, the end of the offsets. */
static const int64_t windows[] = { 0, INT64_C(1) << 40, INT64_MAX - BYTES + 1 };

struct model {
	struct opened by[OWNERS];
	int fd[OWNERS];
	uint64_t seed, first;
	unsigned step;
};

static unsigned dice(struct model *m, unsigned sides)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return (unsigned)(m->seed >> 33) % sides;
}

/* Mostly a few bytes of one window; at times to the end, or over windows. */
static void draw_range(struct model *m, int64_t *start, int64_t *end)
{
	unsigned at = dice(m, 3), from = dice(m, BYTES), len = dice(m, dice(m, 4) ? 8 : BYTES);

	*start = windows[at] + from;
	*end = windows[at] + (from + len < BYTES ? from + len : BYTES - 1);
	if (dice(m, 12) == 0)
		*end = INT64_MAX;
	else if (dice(m, 12) == 0)
		*end = windows[2] + dice(m, BYTES);
	if (dice(m, 60) == 0)
		*start = 0;
	if (*end < *start)
		*end = *start;
}

static struct flock flock_of(enum ranges_mode mode, int64_t start, int64_t end)
{
	return (struct flock){
		.l_type = mode == S   ? F_RDLCK
			  : mode == X ? F_WRLCK
				      : F_UNLCK,
		.l_whence = SEEK_SET,
		.l_start = start,
		.l_len = end == INT64_MAX ? 0 : end - start + 1,
	};
}

static void differ(const struct model *m, const char *what, unsigned owner, enum ranges_mode mode, int64_t start,
		   int64_t end, int is, int should)
{
	fail_msg("seed %" PRIu64 " step %u: %s of owner %u mode %d %" PRId64 "..%" PRId64 " says %d, the kernel %d",
		 m->first, m->step, what, owner, mode, start, end, is, should);
}

static void set(struct model *m)
{
	static const enum ranges_mode modes[] = { S, X, NONE };
	unsigned owner = dice(m, OWNERS);
	enum ranges_mode mode = modes[dice(m, 3)];
	struct flock lock;
	int64_t start, end;
	int is, should;

	draw_range(m, &start, &end);
	lock = flock_of(mode, start, end);
	should = fcntl(m->fd[owner], F_OFD_SETLK, &lock) == 0 ? 0 : errno == EACCES ? -EAGAIN : -errno;
	is = range_try(&m->by[owner], owner + 1, mode, start, end);
	if (is != should)
		differ(m, "a lock", owner, mode, start, end, is, should);
}

/* close(2) of the owner, now and then. */
static void drop(struct model *m)
{
	unsigned owner = dice(m, OWNERS);
	struct flock lock = flock_of(NONE, 0, INT64_MAX);

	assert_int_equal(fcntl(m->fd[owner], F_OFD_SETLK, &lock), 0);
	assert_int_equal(range_drop(&m->by[owner], owner + 1), 0);
}

static void compare(struct model *m, unsigned owner, enum ranges_mode mode, int64_t start, int64_t end)
{
	struct flock lock = flock_of(mode, start, end);
	struct ranges_lock l;
	bool is, should;

	assert_int_equal(fcntl(m->fd[owner], F_OFD_GETLK, &lock), 0);
	should = lock.l_type != F_UNLCK;
	is = range_taken(&m->by[owner], owner + 1, mode, start, end, &l);
	if (is != should)
		differ(m, "F_GETLK", owner, mode, start, end, is, should);
	if (!is)
		return;
	/* It is a lock that is held: its first and last byte are taken, and the kernel says so too. */
	lock = flock_of(mode, l.start, l.start);
	assert_int_equal(fcntl(m->fd[owner], F_OFD_GETLK, &lock), 0);
	if (lock.l_type == F_UNLCK)
		differ(m, "the start of the conflict", owner, mode, l.start, l.start, 1, 0);
	lock = flock_of(mode, l.end, l.end);
	assert_int_equal(fcntl(m->fd[owner], F_OFD_GETLK, &lock), 0);
	if (lock.l_type == F_UNLCK)
		differ(m, "the end of the conflict", owner, mode, l.end, l.end, 1, 0);
}

/* Every byte of a window, as every owner sees it. */
static void compare_all(struct model *m)
{
	unsigned owner, at = dice(m, 3);
	int64_t i;

	for (owner = 0; owner < OWNERS; owner++) {
		for (i = 0; i < BYTES; i += 3)
			compare(m, owner, dice(m, 2) ? X : S, windows[at] + i, windows[at] + i);
	}
}

static void run(struct fixture *f, struct lk_backend *other, uint64_t seed)
{
	struct model m = { .seed = seed * 2654435761, .first = seed };
	char path[] = "/tmp/plockfs-ranges-XXXXXX";
	int64_t start, end;
	unsigned i;

	m.fd[0] = mkstemp(path);
	assert_true(m.fd[0] >= 0);
	for (i = 0; i < OWNERS; i++) {
		if (i > 0)
			m.fd[i] = open(path, O_RDWR | O_CLOEXEC);
		assert_true(m.fd[i] >= 0);
		m.by[i] = made(i % 2 ? other : f->b, f, "db");
	}
	assert_int_equal(unlink(path), 0);
	for (m.step = 0; m.step < STEPS; m.step++) {
		if (dice(&m, 40) == 0)
			drop(&m);
		else
			set(&m);
		if (dice(&m, 3) == 0) {
			draw_range(&m, &start, &end);
			compare(&m, dice(&m, OWNERS), dice(&m, 2) ? X : S, start, end);
		}
		if (dice(&m, 500) == 0)
			compare_all(&m);
	}
	compare_all(&m);
	for (i = 0; i < OWNERS; i++) {
		assert_int_equal(range_drop(&m.by[i], i + 1), 0);
		file_close(&m.by[i]);
		close(m.fd[i]);
	}
}

static void test_seed_1(void **state)
{
	struct fixture *f = *state;

	run(f, f->b, 1);
}

static void test_seed_7(void **state)
{
	struct fixture *f = *state;

	run(f, f->b, 7);
}

static void test_two_mounts_seed_3(void **state)
{
	struct fixture *f = *state;

	run(f, fixture_other(f), 3);
}

static void test_two_mounts_seed_11(void **state)
{
	struct fixture *f = *state;

	run(f, fixture_other(f), 11);
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_seed_1),
	CONTRACT_TEST(test_seed_7),
	CONTRACT_TEST(test_two_mounts_seed_3),
	CONTRACT_TEST(test_two_mounts_seed_11),
};

const struct test_list range_model_list = TEST_LIST(tests);
