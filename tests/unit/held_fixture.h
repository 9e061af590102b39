/* Mounts as backend/file/held.c sees them: a table each and a flock'ed ID.lock,
 * as peer.c has it. One that is to die is a process of its own. */
#ifndef TESTS_UNIT_HELD_FIXTURE_H
#define TESTS_UNIT_HELD_FIXTURE_H

#include "backend/file/held.h"
#include "tests/unit/folder_fixture.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define STEP 4096
#define HEAD 16 /* of the file: magic, number of marked entries */
#define JOB (held_key("job"))

struct side {
	struct held *t;
	const struct folder *dir;
	char id[16];
	int lock;
};

static inline int setup(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	*state = f;
	return f ? folder_make(f) : -1;
}

static inline int teardown(void **state)
{
	int err = folder_remove(*state);

	free(*state);
	return err;
}

/* What a child has open when it is killed or exits is not leaked. */
static inline void keep_reachable(struct held *t)
{
	static struct {
		struct held *volatile at[64];
		unsigned n;
	} kept;

	kept.at[kept.n++ % 64] = t;
}

static inline struct side mounted(const struct folder *dir, const char *id)
{
	struct side m = { .dir = dir };
	char name[32];

	snprintf(m.id, sizeof(m.id), "%s", id);
	snprintf(name, sizeof(name), "%s.lock", id);
	m.lock = openat(dir->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (m.lock < 0 || flock(m.lock, LOCK_EX | LOCK_NB) < 0)
		abort();
	m.t = held_new(dir->fd, id);
	if (!m.t)
		abort();
	keep_reachable(m.t);
	return m;
}

static inline void unmounted(struct side *m)
{
	char name[32];

	snprintf(name, sizeof(name), "%s.lock", m->id);
	unlinkat(m->dir->fd, name, 0);
	close(m->lock);
	held_free(m->t);
}

static inline bool has_file(const struct folder *dir, const char *id)
{
	char name[32];

	snprintf(name, sizeof(name), "%s.held", id);
	return folder_has(dir, name);
}

/* --- mounts that die: each is a process --- */

/* Works as a mount, says so and is killed. */
static inline void live_and_die(const struct folder *dir, const char *id, void (*work)(struct side *m))
{
	int said[2], status;
	char c = 0;
	pid_t pid;

	assert_int_equal(pipe(said), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct side m = mounted(dir, id);

		work(&m);
		if (write(said[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(said[1]);
	assert_int_equal(read(said[0], &c, 1), 1);
	close(said[0]);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* What a process of its own ends with, killed by a signal being a failure too. */
static inline int status_of(int (*work)(const struct folder *dir), const struct folder *dir)
{
	const struct rlimit no_core = { 0, 0 };
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGBUS, SIG_DFL);
		_exit(work(dir));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static inline void hold_job(struct side *m)
{
	held_add(m->t, held_key("other"));
	held_clear(m->t, held_add(m->t, held_key("done")), held_key("done"));
	held_add(m->t, JOB);
}

static inline void hold_nothing(struct side *m)
{
	held_clear(m->t, held_add(m->t, JOB), JOB);
}

static inline void lose_job(struct side *m)
{
	held_abandon(m->t, held_add(m->t, JOB));
}

#endif
