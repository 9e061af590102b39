/* Byte ranges in random steps, beside references: an array of bytes and the
 * kernel's own locks (open file descriptions are its owners: they split and
 * merge as those of processes do); for deadlocks, all paths by brute force.
 */
#include "tests/unit/ranges_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

enum { OWNERS = 3, BYTES = 48 };

struct model {
	struct ranges r;
	int fd[OWNERS + 1]; /* one owner each; the last only looks */
	int64_t base;	    /* of the bytes used */
	unsigned char byte[OWNERS][BYTES];
	uint64_t seed;
};

static unsigned dice(struct model *m, unsigned sides)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return (unsigned)(m->seed >> 33) % sides;
}

static struct ranges_lock random_lock(struct model *m, unsigned modes)
{
	unsigned start = dice(m, BYTES), len = 1 + dice(m, dice(m, 4) ? 8 : BYTES);
	unsigned end = start + len > BYTES ? BYTES - 1 : start + len - 1;
	static const enum ranges_mode mode[] = { S, X, RANGES_NONE };

	return lock_of(1 + dice(m, OWNERS), mode[dice(m, modes)], m->base + start, m->base + end);
}

static struct flock as_flock(const struct ranges_lock *l)
{
	short type = F_UNLCK;

	if (l->mode != RANGES_NONE)
		type = l->mode == S ? F_RDLCK : F_WRLCK;
	return (struct flock){ .l_type = type,
			       .l_start = l->start,
			       .l_len = l->end == END ? 0 : l->end - l->start + 1 };
}

static void probe(struct model *m, int fd, const struct ranges_lock *want)
{
	struct flock f = as_flock(want);
	struct ranges_lock c;

	assert_int_equal(fcntl(fd, F_OFD_GETLK, &f), 0);
	if (ranges_test(&m->r, want, &c) == 0) {
		assert_int_equal(f.l_type, F_UNLCK);
		return;
	}
	assert_int_equal(f.l_type, c.mode == S ? F_RDLCK : F_WRLCK);
	assert_int_equal(f.l_start, c.start);
	assert_int_equal(f.l_len, c.end == END ? 0 : c.end - c.start + 1);
}

static void step(struct model *m)
{
	struct ranges_lock want = random_lock(m, 3);
	struct flock f = as_flock(&want);
	unsigned o = (unsigned)want.who.owner - 1;
	int err = fcntl(m->fd[o], F_OFD_SETLK, &f) < 0 ? -errno : 0;
	size_t bytes = (size_t)(want.end - want.start + 1);

	assert_int_equal(ranges_set(&m->r, &want), err);
	if (err == 0)
		memset(m->byte[o] + (want.start - m->base), (int)want.mode, bytes);
}

/* The ranges say what the bytes say: sorted, as few as can be, and none against another owner's. */
static void check(const struct model *m)
{
	unsigned char seen[OWNERS][BYTES] = { 0 };
	struct ranges_cursor c = { 0 };
	struct ranges_lock l, last = { 0 };
	size_t n = 0;
	int i;

	for (; ranges_next(&m->r, &c, &l); n++) {
		if (n > 0 && l.who.owner == last.who.owner) {
			assert_true(l.start > last.end);
			assert_true(l.start > last.end + 1 || l.mode != last.mode);
		}
		assert_true(l.mode != RANGES_NONE && l.start >= m->base && l.end >= l.start);
		assert_true(l.end - m->base < BYTES);
		memset(seen[l.who.owner - 1] + (l.start - m->base), (int)l.mode, (size_t)(l.end - l.start + 1));
		last = l;
	}
	assert_int_equal(n, m->r.held);
	assert_memory_equal(seen, m->byte, sizeof(seen));
	for (i = 0; i < OWNERS * BYTES; i++) {
		if (seen[i / BYTES][i % BYTES] != X)
			continue;
		assert_int_equal(seen[(i / BYTES + 1) % OWNERS][i % BYTES], 0);
		assert_int_equal(seen[(i / BYTES + 2) % OWNERS][i % BYTES], 0);
	}
}

static void run_beside_kernel(uint64_t seed, int64_t base)
{
	struct model m = { .base = base, .seed = seed };
	struct ranges_lock want;
	char path[64];
	int i, b, file = memfd_create("ranges", MFD_CLOEXEC);

	assert_true(file >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	for (i = 0; i <= OWNERS; i++) {
		m.fd[i] = open(path, O_RDWR | O_CLOEXEC);
		assert_true(m.fd[i] >= 0);
	}
	for (i = 0; i < 6000; i++) {
		step(&m);
		check(&m);
		want = random_lock(&m, 2);
		probe(&m, m.fd[want.who.owner - 1], &want);
		for (b = 0; i % 50 == 0 && b < BYTES; b++) {
			want = lock_of(OWNERS + 1, X, base + b, base + b);
			probe(&m, m.fd[OWNERS], &want);
		}
	}
	for (i = 0; i <= OWNERS; i++)
		close(m.fd[i]);
	close(file);
	ranges_clear(&m.r);
}

static void test_beside_kernel(void **state)
{
	(void)state;
	run_beside_kernel(1, 0);
	run_beside_kernel(2, 1000);
	run_beside_kernel(3, (INT64_C(1) << 31) - 20);
	run_beside_kernel(4, END - BYTES + 1);
}

/* The wait graph as a table, by brute force: who waits for whom, then all paths. */
static bool circle(const struct ranges_waiter *w, unsigned n, const struct ranges_lock *want, const struct ranges *r)
{
	bool reach[8] = { false };
	struct ranges_lock held;
	unsigned round, i, j;

	for (round = 0; round <= n; round++) {
		for (i = 0; i < n; i++) {
			const struct ranges_lock *ask = i == want->who.owner - 1 ? want : &w[i].want;
			const struct ranges *file = i == want->who.owner - 1 ? r : w[i].file;
			struct ranges_cursor c = { 0 };

			if (!file)
				continue;
			while (ranges_next(file, &c, &held)) {
				j = (unsigned)held.who.owner - 1;
				if (j == i || held.start > ask->end || ask->start > held.end)
					continue;
				if (held.mode == X || ask->mode == X)
					reach[i] |= j == want->who.owner - 1 || reach[j];
			}
		}
	}
	return reach[want->who.owner - 1];
}

static void count_served(void *ctx, struct ranges_waiter *w, int err)
{
	assert_null(w->file);
	assert_int_equal(err, 0);
	++*(unsigned *)ctx;
}

/* Five owners wait, cancel and unlock on two files: nobody who could be served is left, and EDEADLK is said when,
 * and only when, there is a circle. */
static void test_random_waits(void **state)
{
	struct model m = { .seed = 5 };
	struct ranges_graph g = { 0 };
	struct ranges file[2] = { { .graph = &g }, { .graph = &g } };
	struct ranges_waiter w[5] = { { .file = NULL } };
	unsigned i, k, refused = 0, queued = 0, given = 0;
	int err;

	(void)state;
	for (i = 0; i < 40000; i++) {
		struct ranges_lock want = random_lock(&m, 3);
		struct ranges *r = &file[dice(&m, 2)];
		struct ranges_waiter *mine;

		want.who.owner = 1 + dice(&m, 5);
		mine = &w[want.who.owner - 1];
		if (mine->file && dice(&m, 8))
			continue; /* it is stuck, mostly */
		ranges_wait_remove(mine);
		err = ranges_set(r, &want);
		if (err == -EAGAIN) {
			bool expected = circle(w, 5, &want, r);

			mine->want = want;
			err = ranges_wait_add(r, mine);
			assert_int_equal(err, expected ? -EDEADLK : 0);
			refused += expected;
			queued += !expected;
			if (expected)
				ranges_drop_owner(r, want.who);
		}
		for (k = 0; k < 2; k++)
			ranges_pump(&file[k], count_served, &given);
		for (k = 0; k < 5; k++)
			assert_true(!w[k].file || ranges_test(w[k].file, &w[k].want, NULL) == -EAGAIN);
	}
	assert_true(refused > 100 && queued > 1000 && given > 1000);
	for (k = 0; k < 5; k++)
		ranges_wait_remove(&w[k]);
	assert_null(g.owners);
	ranges_clear(&file[0]);
	ranges_clear(&file[1]);
}

/* --- large graphs --- */

static void hold(struct ranges *r, uint64_t owner, enum ranges_mode mode, int64_t at)
{
	struct ranges_lock want = lock_of(owner, mode, at, at);

	assert_int_equal(ranges_set(r, &want), 0);
}

static void wait_for(struct ranges *r, struct ranges_waiter *w, uint64_t owner, int64_t at)
{
	w->want = lock_of(owner, X, at, at);
	assert_int_equal(ranges_wait_add(r, w), 0);
}

/* Layers of owners, each waiting for all of the next: its paths are too many to walk, its owners few. */
static void test_web_is_walked_once(void **state)
{
	enum { LAYERS = 12, WIDE = 8 };
	struct ranges_graph g = { 0 };
	struct ranges file[LAYERS] = { { 0 } };
	struct ranges_waiter w[LAYERS * WIDE] = { { .file = NULL } };
	struct ranges_lock want = lock_of(1, X, 0, 0);
	int i;

	(void)state;
	for (i = 0; i < LAYERS * WIDE; i++) {
		file[i / WIDE].graph = &g;
		hold(&file[i / WIDE], 10 + (uint64_t)i, S, 0);
	}
	/* Behind the web: owner 2, who waits for the one that asks. */
	hold(&file[0], 2, S, 0);
	hold(&file[1], 1, X, 1);
	for (i = 0; i < (LAYERS - 1) * WIDE; i++)
		wait_for(&file[i / WIDE + 1], &w[i], 10 + (uint64_t)i, 0);
	assert_false(ranges_would_deadlock(&file[0], &want));
	wait_for(&file[1], &w[i], 2, 1);
	assert_true(ranges_would_deadlock(&file[0], &want));
	for (i = 0; i < LAYERS * WIDE; i++)
		ranges_wait_remove(&w[i]);
	for (i = 0; i < LAYERS; i++)
		ranges_clear(&file[i]);
	assert_null(g.owners);
}

/* Each waits for the next; the last asks for what the first has. */
static bool chain_closes(unsigned n)
{
	struct ranges_graph g = { 0 };
	struct ranges r = { .graph = &g };
	struct ranges_waiter *w = calloc(n, sizeof(*w));
	struct ranges_lock want = lock_of(n, X, 1, 1);
	bool closes;
	unsigned i;

	assert_non_null(w);
	for (i = 1; i <= n; i++)
		hold(&r, i, X, i);
	for (i = 1; i < n; i++)
		wait_for(&r, &w[i], i, (int64_t)i + 1);
	closes = ranges_would_deadlock(&r, &want);
	for (i = 1; i < n; i++)
		ranges_wait_remove(&w[i]);
	ranges_clear(&r);
	free(w);
	return closes;
}

static void test_chains(void **state)
{
	(void)state;
	assert_true(chain_closes(2));
	assert_true(chain_closes(60));
	/* Too long to follow. */
	assert_false(chain_closes(2000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beside_kernel),
		cmocka_unit_test(test_random_waits),
		cmocka_unit_test(test_web_is_walked_once),
		cmocka_unit_test(test_chains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
