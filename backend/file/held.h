/* Which locks were not given back: `user.plockfs.abandoned`.
 *
 * Each mount keeps the names it holds exclusively in DIR/.plockfs/mounts/ID.held,
 * shared through mmap: an entry is written at the grant, cleared at the release
 * and marked when the hold is lost. What a dead mount leaves in its file was
 * abandoned by it; whoever next gives such a lock back cleanly clears it there.
 * Survives SIGKILL of any mount, not a loss of power; a lost entry only means
 * that the attribute says 0.
 */
#ifndef BACKEND_FILE_HELD_H
#define BACKEND_FILE_HELD_H

#include <stdbool.h>
#include <stdint.h>

struct held;

/* mounts: the folder's descriptor, borrowed; -1: nothing is remembered. NULL: no memory. */
struct held *held_new(int mounts, const char *id);
/* Keeps what is held until now as abandoned. */
void held_free(struct held *t);
/* The folder was removed and made anew: so is our file in it. */
void held_again(struct held *t, int mounts);
/* What names a lock in the files. */
uint64_t held_key(const char *name);
/* Looks which other mounts there are now and which have died. Cheap when
 * nothing changed; call when a lock came from outside this mount. */
void held_refresh(struct held *t);
/* No other mount that we know of lives. */
bool held_quiet(const struct held *t);
/* Enters a hold: its entry, or 0 when it cannot be remembered. */
uint32_t held_add(struct held *t, uint64_t key);
/* Given back cleanly: gone here, and wherever it was abandoned before. */
void held_clear(struct held *t, uint32_t entry, uint64_t key);
/* Lost: stays until somebody gives the lock back cleanly. */
void held_abandon(struct held *t, uint32_t entry);
bool held_abandoned(struct held *t, uint64_t key);

#endif
