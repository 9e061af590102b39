/* The one suite that every backend passes: what backend.h says, tested.
 *
 * A program gives a contract_world and calls contract_run. Nothing here counts
 * on an answer at once: the loop is run until the callback came. A callback
 * that comes inside its call, twice, or after a call that failed, fails the
 * test in which it happens.
 */
#ifndef TESTS_CONTRACT_SUITE_H
#define TESTS_CONTRACT_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/interface.h"
#include "base/loop.h"

#include <errno.h>
#include <string.h>

#define MAX_VALUE 4096
#define SEEN_MAX 64

/* How to make the backend that is tested. A world is fresh for every test. */
struct contract_world {
	const char *name;
	bool two; /* two mounts of one world may be open at once */
	void (*make)(void);
	void (*drop)(void);					    /* after the loop was freed */
	struct lk_backend *(*open)(const struct lk_config *config); /* a mount of the world; NULL: failed */
	/* Takes the lock away from below, on_lost follows; NULL: only lk_break does. */
	void (*lose)(struct lk_backend *b, struct lk_hold *hold);
	/* The lease of the mount is over; NULL: there is none, or it takes its time. Its tests are left out then. */
	void (*lapse)(struct lk_backend *b);
	/* Its threads wait in fcntl(2). NO_BLOCKING_FCNTL in the environment leaves those tests out: valgrind lets
	 * no thread go on while one is in F_OFD_SETLKW. */
	bool blocks_in_fcntl;
};

/* Runs everything in this world; returns main's exit code. */
int contract_run(const struct contract_world *world);
extern const struct contract_world *contract;
extern bool contract_over; /* every backend is destroyed: no callback any more */
/* Frees it at the end of the test. NULL fails; returns memory. */
void *contract_keep(void *memory);

/* What every test starts with: *state. */
struct fixture {
	struct pl_loop *loop;
	struct lk_config config;
	struct lk_backend *b;	   /* open */
	struct lk_backend *other;  /* NULL until fixture_other */
	struct pl_timer *deadline; /* NULL: passed */
};

int fixture_setup(void **state);
int fixture_teardown(void **state);
/* A second mount of the same world. Skips the test where there is none. */
struct lk_backend *fixture_other(struct fixture *f);
/* Ends f->b and opens it anew, with f->config. */
void fixture_reopen(struct fixture *f);

/* lk_destroy; from now on a callback of an ask fails the test. */
void fixture_destroy(struct fixture *f);

/* One turn of the loop; waits for something to happen. Fails past the deadline of the test. */
void turn(struct fixture *f);
/* Until what is under way has been answered: round trips to every mount. */
void settle(struct fixture *f);

/* --- acquiring --- */

struct ask {
	struct lk_request req;
	struct fixture *f;
	struct lk_backend *b;
	unsigned calls; /* of done */
	int err;	/* of done, or what lk_acquire returned */
	struct lk_hold *hold;
	unsigned queued, gave_up, lost, told; /* how often; told: on_contended */
	unsigned order, came;		      /* of its callback, of its entry into a queue: among all */
	bool refused;			      /* lk_acquire returned < 0 */
};

struct ask *ask_new(struct fixture *f, struct lk_backend *b, enum lk_kind kind, enum lk_mode mode, const char *name);
/* Asks; does not wait. Returns a. */
struct ask *ask_go(struct ask *a);
/* A lock on f->b: new, and asked. */
struct ask *ask_lock(struct fixture *f, enum lk_mode mode, const char *name);
/* As ask_lock, a try. */
struct ask *ask_try(struct fixture *f, enum lk_mode mode, const char *name);
struct ask *ask_slots(struct fixture *f, const char *name, unsigned lo, unsigned hi, bool try_only);
/* Turns until it has been answered; returns err. */
int answer(struct ask *a);
/* Turns until it was granted: fails otherwise. Returns the hold. */
struct lk_hold *granted(struct ask *a);
/* Turns until it is in the queue: fails when it was answered instead. */
void in_queue(struct ask *a);
/* After settle(): not answered yet. */
void still_waits(struct ask *a);
/* Ends the wait with err and takes the answer, which must be err. */
void give_up(struct ask *a, int err);
/* Gives back what it holds, for a new ask with the same struct. */
void let_go(struct ask *a);
/* Asks to convert what `a` holds; done comes to the returned one, which then has the hold. */
struct ask *ask_convert(struct ask *a, enum lk_mode mode, bool try_only);

/* --- everything else: the call's errno, or its callback's --- */

ssize_t put(struct ask *a, const char *text, off_t off);
int cut(struct ask *a, uint64_t size);
int synced(struct ask *a);
int removed(struct ask *a);
int renamed(struct ask *from, struct ask *to);
/* The bytes read, in `out` of `size` + 1, with a NUL behind; or negative errno. */
ssize_t get(struct ask *a, char *out, size_t size, off_t off);
/* The value is this text, read through a. */
void value_is(struct ask *a, const char *text);
int broken(struct lk_backend *b, struct fixture *f, const char *id);
int wait_ended(struct lk_backend *b, struct fixture *f, const char *id);
/* Breaks what `a` holds by its party id and waits for on_lost. */
void break_it(struct ask *a);

int ns_make(struct fixture *f, const char *ns, mode_t perm);
int ns_remove(struct fixture *f, const char *ns);
int ns_rename(struct fixture *f, const char *from, const char *to);
int ns_chmod(struct fixture *f, const char *ns, mode_t perm, uid_t uid, gid_t gid);
int ns_sync(struct fixture *f, const char *ns);

struct seen {
	struct lk_party holders[SEEN_MAX], waiters[SEEN_MAX]; /* their strings are in `text` */
	size_t n_holders, n_waiters;
	bool partial;
	struct fixture *f;
	unsigned calls;
	int err;
	size_t used;
	char text[SEEN_MAX * 256];
};

/* Static storage: valid until the next call. name NULL: all of that kind. */
const struct seen *view_of(struct lk_backend *b, struct fixture *f, enum lk_kind kind, const char *name);
int stat_of(struct lk_backend *b, struct fixture *f, enum lk_kind kind, const char *name, struct lk_stat *st);
/* "a b/ c ": sorted, namespaces with a slash; or "errno N". Static storage. */
const char *list_of(struct lk_backend *b, struct fixture *f, enum lk_kind kind, const char *ns);

/* --- the tests, a list for each file --- */

struct test_list {
	const struct CMUnitTest *tests;
	size_t n;
};

#define CONTRACT_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
#define TEST_LIST(array)                                                                                               \
	{                                                                                                              \
		(array), sizeof(array) / sizeof((array)[0])                                                            \
	}

extern const struct test_list acquire_list, cancel_list, convert_list, sem_list, value_list, lost_list, look_list,
	ns_list, mounts_list, destroy_list, random_list, files_list, file_names_list, file_flock_list, ranges_list,
	range_wait_list, range_model_list, lock_files_list, files_lost_list;

#endif
