/* Lock files that are unlinked, as lock libraries have them: open, lock, compare
 * inodes, work, unlink, let go. Never are two of them at work.
 */
#include "tests/contract/files.h"

#define PROGRAMS 6
#define ROUNDS 10

struct program {
	struct fixture *f;
	struct lk_backend *b;
	enum { OPENING, LOCKING, COMPARING, WORKING, DELETING } at;
	struct outcome *call;
	struct opened o;
	struct ask *ask;
	unsigned entered, retries;
};

static unsigned at_work;

static void start_over(struct program *p)
{
	p->at = OPENING;
	p->call = file_opening(p->b, "pid.lock", O_RDWR | O_CREAT);
}

static void leave(struct program *p)
{
	let_go(p->ask);
	file_close(&p->o);
	if (p->entered < ROUNDS)
		start_over(p);
	else
		p->call = NULL; /* it has finished */
}

static void compare(struct program *p)
{
	struct lk_file_stat st = { 0 };
	int err = name_stat(p->b, p->f, "pid.lock", &st);

	assert_true(err == 0 || err == -ENOENT);
	if (err || st.ino != file_fstat(&p->o).ino) {
		p->retries++;
		leave(p);
		return;
	}
	at_work++;
	assert_int_equal(at_work, 1);
	p->at = WORKING;
	p->call = outcome_new();
	outcome_begun(p->call, lk_file_write(p->b, p->o.file, "1234", 4, 0, on_io, p->call));
}

/* From here on somebody else may enter. */
static void delete_it(struct program *p)
{
	assert_int_equal(p->call->n, 4);
	assert_int_equal(at_work, 1);
	at_work--;
	p->at = DELETING;
	p->call = outcome_new();
	outcome_begun(p->call, lk_file_unlink(p->b, "pid.lock", on_done, p->call));
}

static bool under_way(const struct program *p)
{
	return !p->call || !(p->call->calls || p->call->refused);
}

/* One step, if its turn has come. */
static bool advance(struct program *p)
{
	switch (p->at) {
	case OPENING:
		if (under_way(p))
			return false;
		assert_int_equal(p->call->n, 0);
		p->o = (struct opened){ .f = p->f, .b = p->b, .file = p->call->file, .name = "pid.lock" };
		p->ask = ask_flock(&p->o, LK_EXCLUSIVE);
		p->at = LOCKING;
		return true;
	case LOCKING:
		if (!p->ask->calls && !p->ask->refused)
			return false;
		granted(p->ask);
		p->at = COMPARING;
		return true;
	case COMPARING:
		compare(p);
		return true;
	case WORKING:
		if (under_way(p))
			return false;
		delete_it(p);
		return true;
	default:
		if (under_way(p))
			return false;
		assert_int_equal(p->call->n, 0);
		p->entered++;
		leave(p);
		return true;
	}
}

static void lock_files(struct fixture *f, struct lk_backend *b)
{
	struct program all[PROGRAMS];
	unsigned i, left = PROGRAMS;
	bool moved;

	memset(all, 0, sizeof(all));
	at_work = 0;
	for (i = 0; i < PROGRAMS; i++) {
		all[i].f = f;
		all[i].b = i % 2 ? b : f->b;
		start_over(&all[i]);
	}
	while (left) {
		moved = false;
		for (i = 0, left = 0; i < PROGRAMS; i++) {
			moved = advance(&all[i]) || moved;
			left += all[i].entered < ROUNDS;
		}
		if (left && !moved)
			turn(f);
	}
	assert_int_equal(name_ino(f->b, f, "pid.lock"), 0);
	assert_int_equal(lk_counters(f->b)->held, 0);
}

static void test_lock_files(void **state)
{
	struct fixture *f = *state;

	lock_files(f, f->b);
}

static void test_lock_files_on_two_mounts(void **state)
{
	struct fixture *f = *state;

	lock_files(f, fixture_other(f));
}

static const struct CMUnitTest tests[] = {
	CONTRACT_TEST(test_lock_files),
	CONTRACT_TEST(test_lock_files_on_two_mounts),
};

const struct test_list lock_files_list = TEST_LIST(tests);
