/* The tables of other mounts: which there are, which of them have died, and what they abandoned. */
#include "backend/file/held_table.h"
#include "backend/file/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

struct other {
	char id[MOUNT_ID_SIZE];
	struct held_table *table;
	size_t size;
	int fd;
	bool dead;
	struct held_mark *marks; /* by key, once dead */
	struct other *prev, *next;
};

struct held_others {
	int mounts;
	char id[MOUNT_ID_SIZE];
	struct other *all;
	struct timespec seen; /* mtime of the folder when last read */
};

/* 0, -EAGAIN for one that is not complete, -EINVAL for one that never will be.
 */
static int map_other(int mounts, struct other *o)
{
	char name[64];
	struct stat st;
	void *p;

	snprintf(name, sizeof(name), "%s.held", o->id);
	o->fd = openat(mounts, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (o->fd < 0)
		return -EINVAL;
	if (fstat(o->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size < (off_t)HELD_SIZE(HELD_STEP))
		return -EAGAIN;
	/* All that it can grow to: pages past the end are not touched. */
	o->size = HELD_SIZE(HELD_ENTRIES_MAX);
	p = mmap(NULL, o->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, o->fd, 0);
	if (p == MAP_FAILED)
		return -EINVAL;
	o->table = p;
	return o->table->magic == HELD_MAGIC ? 0 : o->table->magic == 0 ? -EAGAIN : -EINVAL;
}

static bool is_dead(const struct held_others *t, const char *id)
{
	char name[64];
	bool dead;
	int fd;

	snprintf(name, sizeof(name), "%s.lock", id);
	fd = openat(t->mounts, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT;
	dead = flock(fd, LOCK_SH | LOCK_NB) == 0;
	close(fd);
	return dead;
}

static void other_close(struct other *o)
{
	held_marks_free(&o->marks);
	if (o->table)
		munmap(o->table, o->size);
	if (o->fd >= 0)
		close(o->fd);
	free(o);
}

static void other_free(struct held_others *t, struct other *o)
{
	DL_DELETE(t->all, o);
	other_close(o);
}

static void other_died(struct held_others *t, struct other *o)
{
	uint32_t i, n = held_entries_in(o->fd);
	char name[64];

	o->dead = true;
	for (i = 0; i < n; i++) {
		uint64_t v = atomic_load(&o->table->entry[i]);

		if (!v)
			continue;
		/* One entry tells as much as two, and is cleared at once. */
		if (held_mark_of(o->marks, v & ~HELD_ABANDONED))
			atomic_compare_exchange_strong(&o->table->entry[i], &v, 0);
		else
			held_mark_add(&o->marks, v & ~HELD_ABANDONED, &o->table->entry[i]);
	}
	if (o->marks)
		return;
	snprintf(name, sizeof(name), "%s.held", o->id);
	unlinkat(t->mounts, name, 0);
	other_free(t, o);
}

static void add_other(void *arg, const char *id)
{
	struct held_others *t = arg;
	struct other *o;
	int err;

	if (strcmp(id, t->id) == 0)
		return;
	DL_FOREACH(t->all, o) {
		if (strcmp(o->id, id) == 0)
			return;
	}
	o = calloc(1, sizeof(*o));
	if (!o)
		return;
	snprintf(o->id, sizeof(o->id), "%s", id);
	err = map_other(t->mounts, o);
	if (err == 0) {
		DL_APPEND(t->all, o);
		return;
	}
	/* Its mount is still at it: the folder will not change again for that. */
	if (err == -EAGAIN && !is_dead(t, o->id))
		t->seen = (struct timespec){ 0 };
	other_close(o);
}

bool held_others_quiet(const struct held_others *t)
{
	const struct other *o;

	DL_FOREACH(t->all, o) {
		if (!o->dead)
			return false;
	}
	return true;
}

void held_others_refresh(struct held_others *t)
{
	struct other *o, *tmp;
	struct stat st;

	if (fstat(t->mounts, &st) < 0)
		return;
	if (st.st_mtim.tv_sec != t->seen.tv_sec || st.st_mtim.tv_nsec != t->seen.tv_nsec) {
		t->seen = st.st_mtim;
		store_each_mount(t->mounts, ".held", add_other, t);
	}
	DL_FOREACH_SAFE(t->all, o, tmp) {
		if (!o->dead && is_dead(t, o->id))
			other_died(t, o);
	}
}

/* The marked entry of a living mount, or NULL. Marks are rare there: no index.
 */
static _Atomic uint64_t *find_lost(const struct other *o, uint64_t key)
{
	uint32_t i, n = held_entries_in(o->fd);

	if (n == 0 || !atomic_load(&o->table->abandoned))
		return NULL;
	for (i = 0; i < n; i++) {
		if (atomic_load(&o->table->entry[i]) == (key | HELD_ABANDONED))
			return &o->table->entry[i];
	}
	return NULL;
}

static struct held_mark *dead_mark(const struct other *o, uint64_t key)
{
	return o->dead && o->marks ? held_mark_find(o->marks, o->table, held_entries_in(o->fd), key) : NULL;
}

bool held_others_abandoned(const struct held_others *t, uint64_t key)
{
	const struct other *o;

	DL_FOREACH(t->all, o) {
		if (o->dead ? dead_mark(o, key) != NULL : find_lost(o, key) != NULL)
			return true;
	}
	return false;
}

void held_others_clear(struct held_others *t, uint64_t key)
{
	_Atomic uint64_t *entry;
	struct held_mark *m;
	struct other *o;

	DL_FOREACH(t->all, o) {
		m = dead_mark(o, key);
		if (m)
			held_mark_clear(m->entry, key);
		entry = o->dead ? NULL : find_lost(o, key);
		if (entry && held_mark_clear(entry, key))
			atomic_fetch_sub(&o->table->abandoned, 1);
	}
}

struct held_others *held_others_new(int mounts, const char *id)
{
	struct held_others *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->mounts = mounts;
	snprintf(t->id, sizeof(t->id), "%s", id);
	return t;
}

void held_others_again(struct held_others *t, int mounts)
{
	t->mounts = mounts;
	t->seen = (struct timespec){ 0 };
}

void held_others_free(struct held_others *t)
{
	struct other *o, *tmp;

	if (!t)
		return;
	DL_FOREACH_SAFE(t->all, o, tmp)
		other_free(t, o);
	free(t);
}
