#include "backend/file/kept.h"

#include "backend/backend.h"
#include "base/zalloc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#define KEPT_MAX 64

struct entry {
	int fd; /* -1: taken, and the entry waits for it */
	dev_t dev;
	ino_t ino;
	size_t len;
	UT_hash_handle hh;
	char key[]; /* slot number, then the name */
};

/* uthash keeps the order in which they were added. */
struct kept {
	struct entry *entries;
};

struct kept *kept_new(void)
{
	return calloc(1, sizeof(struct kept));
}

static void drop(struct kept *k, struct entry *e)
{
	HASH_DEL(k->entries, e);
	if (e->fd >= 0)
		close(e->fd);
	free(e);
}

bool kept_clear(struct kept *k)
{
	struct entry *e, *tmp;
	bool any = false;

	HASH_ITER(hh, k->entries, e, tmp) {
		any |= e->fd >= 0;
		drop(k, e);
	}
	return any;
}

void kept_free(struct kept *k)
{
	if (k)
		kept_clear(k);
	free(k);
}

/* That of a slot, or NULL. key: slot number, then the name. */
static struct entry *entry_of(const struct kept *k, const char *name, size_t len, unsigned idx)
{
	char key[sizeof(idx) + LK_NAME_MAX + 2];
	struct entry *e;

	if (!k->entries || len > sizeof(key) - sizeof(idx))
		return NULL;
	memcpy(key, &idx, sizeof(idx));
	memcpy(key + sizeof(idx), name, len);
	HASH_FIND(hh, k->entries, key, sizeof(idx) + len, e);
	return e;
}

static struct entry *entry_new(struct kept *k, const char *name, size_t len, unsigned idx)
{
	struct entry *e = pl_zalloc(sizeof(*e) + sizeof(idx) + len);

	if (!e)
		return NULL;
	if (HASH_COUNT(k->entries) >= KEPT_MAX)
		drop(k, k->entries);
	e->fd = -1;
	memcpy(e->key, &idx, sizeof(idx));
	memcpy(e->key + sizeof(idx), name, len);
	e->len = sizeof(idx) + len;
	HASH_ADD(hh, k->entries, key, e->len, e);
	return e;
}

void kept_put(struct kept *k, const char *key, size_t len, unsigned idx, int fd, dev_t dev, ino_t ino)
{
	struct entry *e = entry_of(k, key, len, idx);

	if (!e)
		e = entry_new(k, key, len, idx);
	if (!e) {
		close(fd);
		return;
	}
	if (e->fd >= 0)
		close(e->fd);
	e->fd = fd;
	e->dev = dev;
	e->ino = ino;
}

int kept_take(struct kept *k, const char *key, size_t len, unsigned idx, dev_t *dev, ino_t *ino)
{
	struct entry *e = entry_of(k, key, len, idx);
	int fd;

	if (!e || e->fd < 0)
		return -1;
	fd = e->fd;
	e->fd = -1;
	*dev = e->dev;
	*ino = e->ino;
	return fd;
}
