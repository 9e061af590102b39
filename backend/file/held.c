/* The tables of held names. Entries of all files are changed by several mounts
 * at once, each by one atomic operation. */
#include "backend/file/held.h"

#include "backend/file/store.h"
#include "base/guard.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>
#include <utlist.h>

#define MAGIC UINT64_C(0x31646c6568666b70) /* "pkfheld1" */
#define ENTRIES_MAX (1u << 20)		   /* no mount has more descriptors */
#define STEP 4096u			   /* entries that the file grows by */
#define ABANDONED UINT64_C(1)
#define USED UINT64_C(2)

struct table {
	uint64_t magic;
	_Atomic uint64_t abandoned; /* entries of a living mount that are marked */
	_Atomic uint64_t entry[];   /* 0: free; else the key, USED and perhaps ABANDONED */
};

#define FILE_SIZE(n) (sizeof(struct table) + (size_t)(n) * sizeof(uint64_t))

/* An entry of a dead mount, or a marked one of our own. */
struct mark {
	uint64_t key;
	_Atomic uint64_t *entry;
	UT_hash_handle hh;
};

struct other {
	char id[48];
	struct table *table;
	size_t size;
	int fd;
	bool dead;
	struct mark *marks; /* by key, once dead */
	struct other *prev, *next;
};

struct held {
	int mounts;
	char id[48];
	int fd;
	struct table *own; /* NULL: nothing is remembered */
	struct pl_guard guard;
	uint32_t room;	 /* entries that the file has */
	uint32_t *spare; /* entries given back */
	uint32_t n_spare, spare_cap, next;
	struct mark *marks; /* own ones that were lost */
	struct other *others;
	struct timespec seen; /* mtime of the folder when last read */
	struct pl_log_limit log;
};

uint64_t held_key(const char *name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return (h ^ h >> 29) << 2 | USED;
}

static void marks_free(struct mark **marks)
{
	struct mark *m, *tmp;

	HASH_ITER(hh, *marks, m, tmp) {
		HASH_DEL(*marks, m);
		free(m);
	}
}

static struct mark *mark_of(struct mark *marks, uint64_t key)
{
	struct mark *m;

	HASH_FIND(hh, marks, &key, sizeof(key), m);
	return m;
}

static void mark_add(struct mark **marks, uint64_t key, _Atomic uint64_t *entry)
{
	struct mark *m = calloc(1, sizeof(*m));

	if (!m)
		return;
	m->key = key;
	m->entry = entry;
	HASH_ADD(hh, *marks, key, sizeof(m->key), m);
}

/* True when the entry still was that key's. */
static bool mark_clear(_Atomic uint64_t *entry, uint64_t key)
{
	uint64_t held = key, lost = key | ABANDONED;

	return atomic_compare_exchange_strong(entry, &lost, 0) || atomic_compare_exchange_strong(entry, &held, 0);
}

/* --- other mounts --- */

/* 0, -EAGAIN for one that is not complete, -EINVAL for one that never will be.
 */
static int map_other(int mounts, const char *name, struct other *o)
{
	struct stat st;
	void *p;

	o->fd = openat(mounts, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (o->fd < 0)
		return -EINVAL;
	if (fstat(o->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size < (off_t)FILE_SIZE(STEP))
		return -EAGAIN;
	/* All that it can grow to: pages past the end are not touched. */
	o->size = FILE_SIZE(ENTRIES_MAX);
	p = mmap(NULL, o->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, o->fd, 0);
	if (p == MAP_FAILED)
		return -EINVAL;
	o->table = p;
	return o->table->magic == MAGIC ? 0 : o->table->magic == 0 ? -EAGAIN : -EINVAL;
}

/* Asked anew before each look: touching what was cut would be SIGBUS. */
static uint32_t entries_in(int fd)
{
	struct stat st;
	uint64_t n;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)FILE_SIZE(STEP))
		return 0;
	n = ((uint64_t)st.st_size - sizeof(struct table)) / sizeof(uint64_t);
	return n < ENTRIES_MAX ? (uint32_t)n : ENTRIES_MAX;
}

static bool is_dead(const struct held *t, const char *id)
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
	marks_free(&o->marks);
	if (o->table)
		munmap(o->table, o->size);
	if (o->fd >= 0)
		close(o->fd);
	free(o);
}

static void other_free(struct held *t, struct other *o)
{
	DL_DELETE(t->others, o);
	other_close(o);
}

static void other_died(struct held *t, struct other *o)
{
	uint32_t i, n = entries_in(o->fd);
	char name[64];

	o->dead = true;
	for (i = 0; i < n; i++) {
		uint64_t v = atomic_load(&o->table->entry[i]);

		if (!v)
			continue;
		/* One entry tells as much as two, and is cleared at once. */
		if (mark_of(o->marks, v & ~ABANDONED))
			atomic_compare_exchange_strong(&o->table->entry[i], &v, 0);
		else
			mark_add(&o->marks, v & ~ABANDONED, &o->table->entry[i]);
	}
	if (o->marks)
		return;
	snprintf(name, sizeof(name), "%s.held", o->id);
	unlinkat(t->mounts, name, 0);
	other_free(t, o);
}

static void add_other(struct held *t, const char *file, size_t len)
{
	struct other *o;
	int err;

	DL_FOREACH(t->others, o) {
		if (strlen(o->id) == len && memcmp(o->id, file, len) == 0)
			return;
	}
	o = calloc(1, sizeof(*o));
	if (!o)
		return;
	memcpy(o->id, file, len);
	err = map_other(t->mounts, file, o);
	if (err == 0) {
		DL_APPEND(t->others, o);
		return;
	}
	/* Its mount is still at it: the folder will not change again for that. */
	if (err == -EAGAIN && !is_dead(t, o->id))
		t->seen = (struct timespec){ 0 };
	other_close(o);
}

static void read_folder(struct held *t)
{
	int fd = store_openat(t->mounts, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	size_t len;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		len = strlen(e->d_name);
		if (len < 6 || len - 5 >= sizeof(t->id) || strcmp(e->d_name + len - 5, ".held") != 0)
			continue;
		if (strlen(t->id) != len - 5 || memcmp(e->d_name, t->id, len - 5) != 0)
			add_other(t, e->d_name, len - 5);
	}
	closedir(d);
}

bool held_quiet(const struct held *t)
{
	const struct other *o;

	DL_FOREACH(t->others, o) {
		if (!o->dead)
			return false;
	}
	return true;
}

void held_refresh(struct held *t)
{
	struct other *o, *tmp;
	struct stat st;

	if (!t->own || fstat(t->mounts, &st) < 0)
		return;
	if (st.st_mtim.tv_sec != t->seen.tv_sec || st.st_mtim.tv_nsec != t->seen.tv_nsec) {
		t->seen = st.st_mtim;
		read_folder(t);
	}
	DL_FOREACH_SAFE(t->others, o, tmp) {
		if (!o->dead && is_dead(t, o->id))
			other_died(t, o);
	}
}

/* The marked entry of a living mount, or NULL. Marks are rare there: no index.
 */
static _Atomic uint64_t *find_lost(const struct other *o, uint64_t key)
{
	uint32_t i, n = entries_in(o->fd);

	if (n == 0 || !atomic_load(&o->table->abandoned))
		return NULL;
	for (i = 0; i < n; i++) {
		if (atomic_load(&o->table->entry[i]) == (key | ABANDONED))
			return &o->table->entry[i];
	}
	return NULL;
}

/* The mark of a table that has n entries now. */
static struct mark *find_mark(struct mark *marks, const struct table *table, uint32_t n, uint64_t key)
{
	struct mark *m = mark_of(marks, key);

	return m && m->entry < table->entry + n && atomic_load(m->entry) ? m : NULL;
}

static struct mark *dead_mark(const struct other *o, uint64_t key)
{
	return o->dead && o->marks ? find_mark(o->marks, o->table, entries_in(o->fd), key) : NULL;
}

/* Our own file, as long as we made it. It may be found cut by the very touch, which is harmless. */
static bool own_there(struct held *t)
{
	if (!t->own)
		return false;
	if (!t->guard.cut)
		return true;
	pl_log(PL_WARN, "%s.held was cut: abandoned locks will not be told", t->id);
	marks_free(&t->marks);
	pl_guard_remove(&t->guard);
	munmap(t->own, FILE_SIZE(ENTRIES_MAX));
	t->own = NULL;
	return false;
}

bool held_abandoned(struct held *t, uint64_t key)
{
	struct other *o;

	if (!own_there(t))
		return false;
	held_refresh(t);
	if (find_mark(t->marks, t->own, t->room, key))
		return true;
	DL_FOREACH(t->others, o) {
		if (o->dead ? dead_mark(o, key) != NULL : find_lost(o, key) != NULL)
			return true;
	}
	return false;
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
	_Atomic uint64_t *entry;
	struct other *o;
	struct mark *m;

	HASH_FIND(hh, t->marks, &key, sizeof(key), m);
	if (m) {
		if (mark_clear(m->entry, key))
			atomic_fetch_sub(&t->own->abandoned, 1);
		give_back(t, (uint32_t)(m->entry - t->own->entry));
		HASH_DEL(t->marks, m);
		free(m);
	}
	DL_FOREACH(t->others, o) {
		m = dead_mark(o, key);
		if (m)
			mark_clear(m->entry, key);
		entry = o->dead ? NULL : find_lost(o, key);
		if (entry && mark_clear(entry, key))
			atomic_fetch_sub(&o->table->abandoned, 1);
	}
}

/* --- our own --- */

static bool grow(struct held *t)
{
	int err;

	if (t->room >= ENTRIES_MAX)
		return false;
	/* Really there: a write to a hole on a full disk would be SIGBUS. */
	err = posix_fallocate(t->fd, 0, (off_t)FILE_SIZE(t->room + STEP));
	if (err) {
		pl_log_limited(&t->log, PL_WARN, "abandoned locks will not be told: %s", strerror(err));
		return false;
	}
	t->room += STEP;
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
	if (t->marks || t->others)
		clear_abandoned(t, key);
}

void held_abandon(struct held *t, uint32_t entry)
{
	struct mark *m;
	uint64_t key;

	if (!entry || !own_there(t))
		return;
	key = atomic_load(&t->own->entry[entry - 1]);
	m = mark_of(t->marks, key);
	if (m) { /* lost before: that one goes, cleared by another mount or not */
		if (mark_clear(m->entry, key))
			atomic_fetch_sub(&t->own->abandoned, 1);
		give_back(t, (uint32_t)(m->entry - t->own->entry));
		HASH_DEL(t->marks, m);
		free(m);
	}
	atomic_fetch_or(&t->own->entry[entry - 1], ABANDONED);
	atomic_fetch_add(&t->own->abandoned, 1);
	mark_add(&t->marks, key, &t->own->entry[entry - 1]);
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
	p = mmap(NULL, FILE_SIZE(ENTRIES_MAX), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, t->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	t->own = p;
	pl_guard_add(&t->guard, p, FILE_SIZE(ENTRIES_MAX));
	t->own->magic = MAGIC;
	return 0;
}

/* The same entries at the same addresses, in a file that has a name again. */
static int move_own(struct held *t, const char *name)
{
	size_t size = FILE_SIZE(t->room);
	void *same = t->own;
	int fd = openat(t->mounts, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), err;

	if (fd < 0)
		return -errno;
	err = entries_in(t->fd) < t->room ? -EIO : -posix_fallocate(fd, 0, (off_t)size);
	if (err == 0 && pwrite(fd, t->own, size, 0) != (ssize_t)size)
		err = -EIO;
	if (err == 0)
		same = mmap(t->own, FILE_SIZE(ENTRIES_MAX), PROT_READ | PROT_WRITE,
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
	t->seen = (struct timespec){ 0 };
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
	if (mounts < 0)
		return t;
	err = open_own(t);
	if (err)
		pl_log(PL_WARN, "abandoned locks will not be told: %s", strerror(-err));
	return t;
}

void held_free(struct held *t)
{
	struct other *o, *tmp;
	char name[64];
	uint32_t i;

	if (!t)
		return;
	DL_FOREACH_SAFE(t->others, o, tmp)
		other_free(t, o);
	own_there(t);
	marks_free(&t->marks);
	for (i = 0; t->own && i < t->next && !atomic_load(&t->own->entry[i]); i++)
		;
	if (t->fd >= 0 && (!t->own || i == t->next)) {
		snprintf(name, sizeof(name), "%s.held", t->id);
		unlinkat(t->mounts, name, 0);
	}
	pl_guard_remove(&t->guard);
	if (t->own)
		munmap(t->own, FILE_SIZE(ENTRIES_MAX));
	if (t->fd >= 0)
		close(t->fd);
	free(t->spare);
	free(t);
}
