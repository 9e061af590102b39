/* Blocking flock(2) and fcntl(2) calls, for locks that programs outside hold.
 *
 * Each runs on a thread of its own and reports to the loop: the kernel wakes
 * it, nothing polls. Threads are kept for reuse and bounded.
 */
#ifndef BACKEND_FILE_BLOCKER_H
#define BACKEND_FILE_BLOCKER_H

#include <stdbool.h>

struct flock;
struct pl_loop;
struct blockers;
struct blocker;

#define BLOCKERS_MAX 1024

/* err 0: the flock is had; -ECANCELED or another errno: not. The fd is the
 * callback's to keep or to close either way. */
typedef void (*blocker_fn)(void *arg, int fd, int err);

/* NULL when out of memory or descriptors. */
struct blockers *blockers_new(struct pl_loop *loop);
/* Ends all waits (no callback), joins all threads. */
void blockers_free(struct blockers *bs);

/* Waits for flock(fd, operation). The callback runs once, on the loop, later.
 * NULL: BLOCKERS_MAX reached, or no thread to be had. fd is then still yours. */
struct blocker *blocker_start(struct blockers *bs, int fd, int operation, blocker_fn fn, void *arg);
/* The same for fcntl(fd, F_OFD_SETLKW, range). */
struct blocker *blocker_start_range(struct blockers *bs, int fd, const struct flock *range, blocker_fn fn, void *arg);
/* A wish: the callback still comes, with -ECANCELED unless the lock was faster. */
void blocker_cancel(struct blocker *b);

#endif
