/* Two mounts of one folder on the file backend, their files, and programs outside. */
#ifndef TESTS_UNIT_FILES_FIXTURE_H
#define TESTS_UNIT_FILES_FIXTURE_H

#include "backend/file/file.h"
#include "backend/interface.h"
#include "base/log.h"
#include "base/loop.h"
#include "tests/unit/folder_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/file.h>
#include <uv.h>

#include <cmocka.h>

#define DEADLINE (20 * PL_SEC)

struct world {
	struct folder dir;
	struct pl_loop *loop;
	struct lk_backend *a, *b; /* mounts */
};

/* What a call said. */
struct said {
	bool yes;
	int err;
	struct lk_file *file;
	struct lk_file_stat st;
	struct ranges_lock conflict;
	bool conflicts;
};

static inline struct lk_backend *mount_dir(struct world *w)
{
	const struct lk_config config = { .loop = w->loop, .max_value = 4096 };
	struct lk_backend *b = NULL;
	const char *why;

	assert_int_equal(lk_file_backend_open(&config, w->dir.path, &b, &why), 0);
	return b;
}

static inline int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w || folder_make(&w->dir) < 0)
		return -1;
	pl_log_level(PL_ERROR);
	w->loop = pl_loop_new();
	w->a = mount_dir(w);
	w->b = mount_dir(w);
	*state = w;
	return 0;
}

static inline int world_teardown(void **state)
{
	struct world *w = *state;

	if (w->a)
		lk_destroy(w->a);
	if (w->b)
		lk_destroy(w->b);
	pl_loop_free(w->loop);
	folder_remove(&w->dir);
	free(w);
	return 0;
}

static inline void stop_waiting(void *arg)
{
	*(struct pl_timer **)arg = NULL;
}

/* Turns the loop until it is so. */
static inline void until(struct world *w, const bool *so)
{
	struct pl_timer *deadline = pl_timer_start(w->loop, DEADLINE, stop_waiting, &deadline);

	while (!*so && deadline)
		uv_run(pl_loop_uv(w->loop), UV_RUN_ONCE);
	pl_timer_stop(w->loop, deadline);
	assert_true(*so);
}

static inline void on_done(void *arg, int err)
{
	struct said *s = arg;

	assert_false(s->yes);
	s->yes = true;
	s->err = err;
}

/* What the call returned, or said later. */
static inline int outcome(struct world *w, struct said *s, int err)
{
	if (err < 0)
		return err;
	until(w, &s->yes);
	return s->err;
}

static inline void on_open(void *arg, int err, struct lk_file *file)
{
	((struct said *)arg)->file = file;
	on_done(arg, err);
}

static inline struct lk_file *open_file(struct world *w, struct lk_backend *b, const char *name)
{
	struct said s = { 0 };

	assert_int_equal(outcome(w, &s, lk_file_open(b, name, O_RDWR | O_CREAT, 0644, 0, 0, on_open, &s)), 0);
	return s.file;
}

static inline void on_stat(void *arg, int err, const struct lk_file_stat *st)
{
	((struct said *)arg)->st = *st;
	on_done(arg, err);
}

static inline struct lk_file_stat stat_file(struct world *w, struct lk_backend *b, struct lk_file *file)
{
	struct said s = { 0 };

	assert_int_equal(outcome(w, &s, lk_file_fstat(b, file, on_stat, &s)), 0);
	return s.st;
}

/* What was under way before has been answered, if it could be: round trips to worker threads and back. */
static inline void settle(struct world *w, struct lk_backend *b, struct lk_file *file)
{
	int i;

	for (i = 0; i < 3; i++) {
		struct said s = { 0 };

		assert_int_equal(outcome(w, &s, lk_file_sync(b, file, on_done, &s)), 0);
	}
}

static inline int unlink_name(struct world *w, struct lk_backend *b, const char *name)
{
	struct said s = { 0 };

	return outcome(w, &s, lk_file_unlink(b, name, on_done, &s));
}

static inline int rename_name(struct world *w, struct lk_backend *b, const char *from, const char *to)
{
	struct said s = { 0 };

	return outcome(w, &s, lk_file_rename(b, from, to, 0, on_done, &s));
}

/* A program outside opens it. */
static inline int outside(const struct world *w, const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/locks/%s", w->dir.path, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	return fd;
}

/* --- flock(2), and locks/ --- */

struct ask {
	struct lk_request req;
	struct lk_hold *hold;
	bool yes, lost;
	int err;
};

static inline void ask_lost(struct lk_hold *hold)
{
	((struct ask *)hold->arg)->lost = true;
}

static inline void ask_done(struct lk_request *req, int err, struct lk_hold *hold)
{
	struct ask *a = req->arg;

	a->yes = true;
	a->err = err;
	a->hold = hold;
	if (hold) {
		hold->arg = a;
		hold->on_lost = ask_lost;
	}
}

/* file NULL: locks/NAME. Asks; does not wait. */
static inline void ask(struct ask *a, struct lk_backend *b, struct lk_file *file, const char *name, enum lk_mode mode,
		       bool try_only)
{
	*a = (struct ask){ .req = { .kind = LK_LOCK,
				    .mode = mode,
				    .try_only = try_only,
				    .name = name,
				    .file = file,
				    .slot_hi = 1,
				    .done = ask_done,
				    .arg = a } };
	assert_int_equal(lk_acquire(b, &a->req), 0);
}

static inline int answer(struct world *w, struct ask *a)
{
	until(w, &a->yes);
	return a->err;
}

/* A try: its answer. What it was granted is given back. */
static inline int try_lock(struct world *w, struct lk_backend *b, struct lk_file *file, const char *name)
{
	struct ask a;

	ask(&a, b, file, name, LK_EXCLUSIVE, true);
	if (answer(w, &a) == 0)
		lk_release(b, a.hold);
	return a.err;
}

/* --- byte ranges --- */

struct range {
	struct lk_range_request req;
	bool yes;
	int err;
};

static inline void range_done(struct lk_range_request *req, int err)
{
	struct range *r = req->arg;

	assert_false(r->yes);
	r->yes = true;
	r->err = err;
}

static inline void range_ask(struct range *r, struct lk_backend *b, struct lk_file *file, uint64_t owner,
			     enum ranges_mode mode, int64_t start, int64_t end, bool wait)
{
	*r = (struct range){ .req = { .file = file,
				      .want = { .who.owner = owner, .mode = mode, .start = start, .end = end },
				      .wait = wait,
				      .done = range_done,
				      .arg = r } };
	assert_int_equal(lk_range_set(b, &r->req), 0);
}

static inline int range_answer(struct world *w, struct range *r)
{
	until(w, &r->yes);
	return r->err;
}

static inline int range_now(struct world *w, struct lk_backend *b, struct lk_file *file, uint64_t owner,
			    enum ranges_mode mode, int64_t start, int64_t end)
{
	struct range r;

	range_ask(&r, b, file, owner, mode, start, end, false);
	return range_answer(w, &r);
}

static inline struct flock bytes(short type, off_t start, off_t len)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
}

/* A lock of the program outside whose descriptor this is. 0 or errno. */
static inline int outside_set(int fd, short type, off_t start, off_t len)
{
	struct flock l = bytes(type, start, len);

	return fcntl(fd, F_OFD_SETLK, &l) == 0 ? 0 : errno;
}

/* Some other open file description has a lock there. */
static inline bool outside_sees(int fd, off_t start, off_t len)
{
	struct flock l = bytes(F_WRLCK, start, len);

	assert_int_equal(fcntl(fd, F_OFD_GETLK, &l), 0);
	return l.l_type != F_UNLCK;
}

#endif
