/* Marks in a table of held names, and how long its file is. */
#include "backend/file/held_table.h"

#include <stdlib.h>
#include <sys/stat.h>

void held_marks_free(struct held_mark **marks)
{
	struct held_mark *m, *tmp;

	HASH_ITER(hh, *marks, m, tmp) {
		HASH_DEL(*marks, m);
		free(m);
	}
}

struct held_mark *held_mark_of(struct held_mark *marks, uint64_t key)
{
	struct held_mark *m;

	HASH_FIND(hh, marks, &key, sizeof(key), m);
	return m;
}

void held_mark_add(struct held_mark **marks, uint64_t key, _Atomic uint64_t *entry)
{
	struct held_mark *m = calloc(1, sizeof(*m));

	if (!m)
		return;
	m->key = key;
	m->entry = entry;
	HASH_ADD(hh, *marks, key, sizeof(m->key), m);
}

bool held_mark_clear(_Atomic uint64_t *entry, uint64_t key)
{
	uint64_t held = key, lost = key | HELD_ABANDONED;

	return atomic_compare_exchange_strong(entry, &lost, 0) || atomic_compare_exchange_strong(entry, &held, 0);
}

struct held_mark *held_mark_find(struct held_mark *marks, const struct held_table *table, uint32_t n, uint64_t key)
{
	struct held_mark *m = held_mark_of(marks, key);

	return m && m->entry < table->entry + n && atomic_load(m->entry) ? m : NULL;
}

uint32_t held_entries_in(int fd)
{
	struct stat st;
	uint64_t n;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)HELD_SIZE(HELD_STEP))
		return 0;
	n = ((uint64_t)st.st_size - sizeof(struct held_table)) / sizeof(uint64_t);
	return n < HELD_ENTRIES_MAX ? (uint32_t)n : HELD_ENTRIES_MAX;
}
