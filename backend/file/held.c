/* Our own table of held names, and what the others say of a name. */
#include "backend/file/held.h"

#include "backend/file/held_table.h"
#include "backend/file/store.h"
#include "base/guard.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct held {
	int mounts;
	char id[MOUNT_ID_SIZE];
	int fd;
	struct held_table *own; /* NULL: nothing is remembered */
	struct pl_guard guard;
	uint32_t room;	 /* entries that the file has */
	uint32_t *spare; /* entries given back */
	uint32_t n_spare, spare_cap, next;
	struct held_mark *marks; /* own ones that were lost */
	struct held_others *others;
	struct pl_log_limit log;
};

uint64_t held_key(const char *name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return (h ^ h >> 29) << 2 | HELD_USED;
}

bool held_quiet(const struct held *t)
{
	return held_others_quiet(t->others);
}

void held_refresh(struct held *t)
{
	if (t->own)
		held_others_refresh(t->others);
}

/* Our own file, as long as we made it. It may be found cut by the very touch, which is harmless. */
static bool own_there(struct held *t)
{
	if (!t->own)
		return false;
	if (!t->guard.cut)
		return true;
	pl_log(PL_WARN, "%s.held was cut: abandoned locks will not be told", t->id);
	held_marks_free(&t->marks);
	pl_guard_remove(&t->guard);
	munmap(t->own, HELD_SIZE(HELD_ENTRIES_MAX));
	t->own = NULL;
	return false;
}

bool held_abandoned(struct held *t, uint64_t key)
{
	if (!own_there(t))
		return false;
	held_refresh(t);
	if (held_mark_find(t->marks, t->own, t->room, key))
		return true;
	return held_others_abandoned(t->others, key);
}

/* An entry that cannot be listed as spare is not used again: harmless. */
static void give_back(struct held *t, uint32_t i)
{
	if (t->n_spare == t->spare_cap) {
		uint32_t cap = t->spare_cap ? t->spare_cap * 2 : 64;
		uint32_t *more = realloc(t->spare, cap * sizeof(*more));

		if (!more)
			return;
		t->spare = more;
		t->spare_cap = cap;
	}
	t->spare[t->n_spare++] = i;
}

static void clear_abandoned(struct held *t, uint64_t key)
{
	struct held_mark *m;

	HASH_FIND(hh, t->marks, &key, sizeof(key), m);
	if (m) {
		if (held_mark_clear(m->entry, key))
			atomic_fetch_sub(&t->own->abandoned, 1);
		give_back(t, (uint32_t)(m->entry - t->own->entry));
		HASH_DEL(t->marks, m);
		free(m);
	}
	held_others_clear(t->others, key);
}

/* --- our own --- */

static bool grow(struct held *t)
{
	int err;

	if (t->room >= HELD_ENTRIES_MAX)
		return false;
	/* Really there: a write to a hole on a full disk would be SIGBUS. */
	err = posix_fallocate(t->fd, 0, (off_t)HELD_SIZE(t->room + HELD_STEP));
	if (err) {
		pl_log_limited(&t->log, PL_WARN, "abandoned locks will not be told: %s", strerror(err));
		return false;
	}
	t->room += HELD_STEP;
	return true;
}

uint32_t held_add(struct held *t, uint64_t key)
{
	uint32_t i;

	if (!own_there(t))
		return 0;
	if (t->n_spare)
		i = t->spare[--t->n_spare];
	else if (t->next < t->room || grow(t))
		i = t->next++;
	else
		return 0;
	atomic_store(&t->own->entry[i], key);
	return i + 1;
}

void held_clear(struct held *t, uint32_t entry, uint64_t key)
{
	if (!own_there(t))
		return;
	if (entry) {
		atomic_store(&t->own->entry[entry - 1], 0);
		give_back(t, entry - 1);
	}
	clear_abandoned(t, key);
}

void held_abandon(struct held *t, uint32_t entry)
{
	struct held_mark *m;
	uint64_t key;

	if (!entry || !own_there(t))
		return;
	key = atomic_load(&t->own->entry[entry - 1]);
	m = held_mark_of(t->marks, key);
	if (m) { /* lost before: that one goes, cleared by another mount or not */
		if (held_mark_clear(m->entry, key))
			atomic_fetch_sub(&t->own->abandoned, 1);
		give_back(t, (uint32_t)(m->entry - t->own->entry));
		HASH_DEL(t->marks, m);
		free(m);
	}
	atomic_fetch_or(&t->own->entry[entry - 1], HELD_ABANDONED);
	atomic_fetch_add(&t->own->abandoned, 1);
	held_mark_add(&t->marks, key, &t->own->entry[entry - 1]);
}

static int open_own(struct held *t)
{
	char name[64];
	void *p;

	snprintf(name, sizeof(name), "%s.held", t->id);
	t->fd = openat(t->mounts, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (t->fd < 0)
		return -errno;
	if (!grow(t))
		return -ENOSPC;
	p = mmap(NULL, HELD_SIZE(HELD_ENTRIES_MAX), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, t->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	t->own = p;
	pl_guard_add(&t->guard, p, HELD_SIZE(HELD_ENTRIES_MAX));
	t->own->magic = HELD_MAGIC;
	return 0;
}

/* The same entries at the same addresses, in a file that has a name again. */
static int move_own(struct held *t, const char *name)
{
	size_t size = HELD_SIZE(t->room);
	void *same = t->own;
	int fd = openat(t->mounts, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), err;

	if (fd < 0)
		return -errno;
	err = held_entries_in(t->fd) < t->room ? -EIO : -posix_fallocate(fd, 0, (off_t)size);
	if (err == 0 && pwrite(fd, t->own, size, 0) != (ssize_t)size)
		err = -EIO;
	if (err == 0)
		same = mmap(t->own, HELD_SIZE(HELD_ENTRIES_MAX), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
	if (same == MAP_FAILED)
		err = -errno;
	if (err) {
		close(fd);
		unlinkat(t->mounts, name, 0);
		return err;
	}
	close(t->fd);
	t->fd = fd;
	return 0;
}

void held_again(struct held *t, int mounts)
{
	char name[64];
	int err;

	t->mounts = mounts;
	held_others_again(t->others, mounts);
	if (!t->own)
		return;
	snprintf(name, sizeof(name), "%s.held", t->id);
	err = move_own(t, name);
	if (err)
		pl_log(PL_WARN, "abandoned locks will not be told to other mounts: %s", strerror(-err));
}

struct held *held_new(int mounts, const char *id)
{
	struct held *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return NULL;
	t->mounts = mounts;
	t->fd = -1;
	snprintf(t->id, sizeof(t->id), "%s", id);
	t->others = held_others_new(mounts, id);
	if (!t->others) {
		free(t);
		return NULL;
	}
	if (mounts < 0)
		return t;
	err = open_own(t);
	if (err)
		pl_log(PL_WARN, "abandoned locks will not be told: %s", strerror(-err));
	return t;
}

void held_free(struct held *t)
{
	char name[64];
	uint32_t i;

	if (!t)
		return;
	held_others_free(t->others);
	own_there(t);
	held_marks_free(&t->marks);
	for (i = 0; t->own && i < t->next && !atomic_load(&t->own->entry[i]); i++)
		;
	if (t->fd >= 0 && (!t->own || i == t->next)) {
		snprintf(name, sizeof(name), "%s.held", t->id);
		unlinkat(t->mounts, name, 0);
	}
	pl_guard_remove(&t->guard);
	if (t->own)
		munmap(t->own, HELD_SIZE(HELD_ENTRIES_MAX));
	if (t->fd >= 0)
		close(t->fd);
	free(t->spare);
	free(t);
}
