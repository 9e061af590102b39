/* What the rooms of the tables of held names share: a table as it lies in its file, and marks in it.
 *
 * Entries of all files are changed by several mounts at once, each by one atomic operation.
 */
#ifndef BACKEND_FILE_HELD_TABLE_H
#define BACKEND_FILE_HELD_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#define HELD_MAGIC UINT64_C(0x31646c6568666b70) /* "pkfheld1" */
#define HELD_ENTRIES_MAX (1u << 20)		/* no mount has more descriptors */
#define HELD_STEP 4096u				/* entries that a file grows by */
#define HELD_ABANDONED UINT64_C(1)
#define HELD_USED UINT64_C(2)

struct held_table {
	uint64_t magic;
	_Atomic uint64_t abandoned; /* entries of a living mount that are marked */
	_Atomic uint64_t entry[];   /* 0: free; else the key, HELD_USED and perhaps HELD_ABANDONED */
};

#define HELD_SIZE(n) (sizeof(struct held_table) + (size_t)(n) * sizeof(uint64_t))

/* An entry of a dead mount, or a marked one of our own. */
struct held_mark {
	uint64_t key;
	_Atomic uint64_t *entry;
	UT_hash_handle hh;
};

void held_marks_free(struct held_mark **marks);
struct held_mark *held_mark_of(struct held_mark *marks, uint64_t key);
void held_mark_add(struct held_mark **marks, uint64_t key, _Atomic uint64_t *entry);
/* True when the entry still was that key's. */
bool held_mark_clear(_Atomic uint64_t *entry, uint64_t key);
/* The mark of a table that has n entries now. */
struct held_mark *held_mark_find(struct held_mark *marks, const struct held_table *table, uint32_t n, uint64_t key);
/* How many entries the file has now: touching what was cut would be SIGBUS. */
uint32_t held_entries_in(int fd);

/* --- held_others.c: the tables of other mounts --- */

struct held_others;

/* mounts: the folder's descriptor, borrowed. id: of this mount. NULL: no memory. */
struct held_others *held_others_new(int mounts, const char *id);
void held_others_free(struct held_others *t);
/* The folder was made anew. */
void held_others_again(struct held_others *t, int mounts);
/* Looks which there are and which have died. */
void held_others_refresh(struct held_others *t);
/* None that we know of lives. */
bool held_others_quiet(const struct held_others *t);
bool held_others_abandoned(const struct held_others *t, uint64_t key);
/* Nobody abandoned it any more. */
void held_others_clear(struct held_others *t, uint64_t key);

#endif
