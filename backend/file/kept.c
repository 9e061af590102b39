#include "backend/file/kept.h"

#include "base/zalloc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#define KEPT_MAX 64

struct entry {
	int fd;
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
	close(e->fd);
	free(e);
}

bool kept_clear(struct kept *k)
{
	bool any = k->entries != NULL;

	while (k->entries)
		drop(k, k->entries);
	return any;
}

void kept_free(struct kept *k)
{
	if (k)
		kept_clear(k);
	free(k);
}

static struct entry *entry_new(const char *key, size_t len, unsigned idx)
{
	struct entry *e = pl_zalloc(sizeof(*e) + sizeof(idx) + len);

	if (!e)
		return NULL;
	memcpy(e->key, &idx, sizeof(idx));
	memcpy(e->key + sizeof(idx), key, len);
	e->len = sizeof(idx) + len;
	return e;
}

void kept_put(struct kept *k, const char *key, size_t len, unsigned idx, int fd, dev_t dev, ino_t ino)
{
	struct entry *e = entry_new(key, len, idx), *old;

	if (!e) {
		close(fd);
		return;
	}
	HASH_FIND(hh, k->entries, e->key, e->len, old);
	if (old)
		drop(k, old);
	if (HASH_COUNT(k->entries) >= KEPT_MAX)
		drop(k, k->entries);
	e->fd = fd;
	e->dev = dev;
	e->ino = ino;
	HASH_ADD(hh, k->entries, key, e->len, e);
}

int kept_take(struct kept *k, const char *key, size_t len, unsigned idx, dev_t *dev, ino_t *ino)
{
	char full[sizeof(idx) + 1100];
	struct entry *e;
	int fd;

	if (!k->entries || sizeof(idx) + len > sizeof(full))
		return -1;
	memcpy(full, &idx, sizeof(idx));
	memcpy(full + sizeof(idx), key, len);
	HASH_FIND(hh, k->entries, full, sizeof(idx) + len, e);
	if (!e)
		return -1;
	HASH_DEL(k->entries, e);
	fd = e->fd;
	*dev = e->dev;
	*ino = e->ino;
	free(e);
	return fd;
}
