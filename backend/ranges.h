/* POSIX byte-range locks of one file among owners, and those who wait for one.
 *
 * Pure: no I/O, no clock, one thread. A request conflicts with the locks held
 * by others only: F_SETLK and F_GETLK answer as on a local file, and nobody
 * is refused for one who merely waits. That alone can starve a writer, yet a
 * strict queue hangs programs which are right on a local file (a parent that
 * keeps a shared lock until its child has had one too, with a writer between).
 * So a blocking request may yield to those waiting before it, for as long as
 * its caller lets it: after that time it overtakes. A writer enters when the
 * locks in its way last shorter than that time, and nobody hangs. SQLite
 * asks with F_SETLK, keeps writers from starving itself, and never yields.
 */
#ifndef BACKEND_RANGES_H
#define BACKEND_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum ranges_mode { RANGES_NONE, RANGES_SHARED, RANGES_EXCLUSIVE };

/* The kernel's lock_owner is unique on one mount only. */
struct ranges_who {
	uint64_t session, owner;
};

/* A lock held or asked for. Bytes start to end, both included, 0 <= start <= end; "to the end" is INT64_MAX. */
struct ranges_lock {
	struct ranges_who who;
	int64_t start, end;
	pid_t pid; /* for F_GETLK only: ranges that merge have the pid of the last request */
	enum ranges_mode mode;
};

struct ranges_owner;
struct ranges_waiter;
struct ranges_waiting;

/* Who waits, over all files that share it. Embed it, zeroed; empty once no waiter is queued. */
struct ranges_graph {
	struct ranges_waiting *owners; /* uthash */
	uint64_t round;
	/* Whether the process that wants this has one thread only, so that it is stuck
	 * while it waits. Asked only along a circle. NULL: taken for granted, as fcntl(2) does. */
	bool (*single_threaded)(void *ctx, const struct ranges_lock *want);
	void *ctx;
};

/* The locks of one file. Embed it, zeroed; ranges_clear before it goes. */
struct ranges {
	struct ranges_graph *graph; /* set by the user; NULL: deadlocks are not looked for */
	size_t limit;		    /* the most ranges held; set by the user; 0: as memory allows */
	size_t held;		    /* ranges held now, of all owners */
	size_t waiting;		    /* waiters queued now */
	/* private */
	struct ranges_owner *owners;   /* uthash, in the order of their first lock */
	struct ranges_waiter *waiters; /* utlist DL, queue order */
	struct ranges_waiter *next;    /* the pump's place in it */
	bool pumping, again;
};

/* Embed it, zeroed; set want and yields before it is queued. */
struct ranges_waiter {
	struct ranges_lock want;
	/* Lets those queued before it go first, unless it holds something of the file.
	 * Set it only with a timer that clears it and then pumps: see above. */
	bool yields;
	/* private */
	struct ranges *file; /* NULL: not queued */
	struct ranges_waiting *waiting;
	struct ranges_waiter *prev, *next;	     /* utlist DL of the file */
	struct ranges_waiter *same_prev, *same_next; /* utlist DL of the owner */
};

/* 0: want could be had. -EAGAIN: not, and *conflict (unless NULL) is a lock in
 * the way: of the owner who locked first, the one nearest to the start, as
 * Linux has it. */
int ranges_test(const struct ranges *r, const struct ranges_lock *want, struct ranges_lock *conflict);

/* Locks, converts or (RANGES_NONE) unlocks what want says, all of it or nothing:
 * -EAGAIN another owner is in the way, -ENOLCK the limit (an unlock that splits a
 * range counts) or no memory, -EINVAL not a range. Pump after anything but
 * RANGES_EXCLUSIVE. Cost: the owners, each by a binary search. */
int ranges_set(struct ranges *r, const struct ranges_lock *want);

/* All that the owner holds; its waits stay. Never fails. Pump afterwards. */
void ranges_drop_owner(struct ranges *r, struct ranges_who who);
/* All locks held; no waiter may be queued. */
void ranges_clear(struct ranges *r);

/* Does the owner hold anything? */
bool ranges_has(const struct ranges *r, struct ranges_who who);

/* Owners one after the other, each from low to high. Begin with a zeroed cursor; any change ends it. */
struct ranges_cursor {
	const struct ranges_owner *owner;
	size_t i;
	bool begun;
};
bool ranges_next(const struct ranges *r, struct ranges_cursor *c, struct ranges_lock *held);

/* Calls each(held) for every owner in the way of want, with its lowest lock that is, until each returns true.
 * True when it did. each must not change r. */
bool ranges_blockers(const struct ranges *r, const struct ranges_lock *want,
		     bool (*each)(void *ctx, const struct ranges_lock *held), void *ctx);

/* Would waiting for this close a circle of owners who wait for each other's
 * locks? Follows only owners that wait once: one with two waits has threads,
 * and may go on. False too when the circle is very long. */
bool ranges_would_deadlock(const struct ranges *r, const struct ranges_lock *want);

/* For a blocking request: should it be queued, yielding, even if it could be had? */
bool ranges_should_yield(const struct ranges *r, const struct ranges_lock *want);
/* At the tail of the queue. -EDEADLK, -ENOMEM, -EINVAL (also for RANGES_NONE): it is not queued. */
int ranges_wait_add(struct ranges *r, struct ranges_waiter *w);
/* Nothing happens when it is not queued. Pump afterwards: others may have yielded to it. */
void ranges_wait_remove(struct ranges_waiter *w);

/* Serves all that can be served now, in the order of the queue. done is told
 * about each, which is out of the queue: err 0 it has its lock, -ENOLCK as in
 * ranges_set. done may call anything here but ranges_clear; its ranges_pump
 * returns at once and is made up for. */
void ranges_pump(struct ranges *r, void (*done)(void *ctx, struct ranges_waiter *w, int err), void *ctx);

#endif
