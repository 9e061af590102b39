/* What a backend is: the users' side (fs/) of the locking.
 *
 * Rules, kept by every backend and asserted by backend/backend.c:
 *  - Errors are negative errno. A call that returns < 0 never calls back; one
 *    that returns 0 calls back exactly once, from a later turn of the loop.
 *  - Memory of a request stays valid, and its in-fields unchanged, until its
 *    callback was called; from then on it is the caller's again.
 *  - acquire: FIFO per name; the callback brings err 0 and a hold, or < 0.
 *  - cancel is an idempotent wish: the callback still comes, with the wish's
 *    errno, or with the grant if that won; then the caller releases it.
 *  - A hold is the backend's memory, valid until its release is called.
 *  - on_lost fires at most once per hold and only between grant and release.
 *  - Views, lists and strings given to a callback are valid only inside it.
 * Implementers' side: backend/interface.h.
 */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include "backend/owner.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct lk_backend;
struct lk_file; /* backend/files.h */
struct lk_hold;

/* A lock's name below locks/ ("job", "ops/deploy") or a semaphore's. Valid
 * names: 1..255 bytes a component, no leading dot, no control bytes, no '/'
 * inside one, LK_NAME_MAX in all. */
enum lk_kind { LK_LOCK, LK_SEM };
enum lk_mode { LK_SHARED, LK_EXCLUSIVE };
#define LK_NAME_MAX 1023
#define LK_SLOTS_MAX 65536u

/* True for one valid component of a name. */
bool lk_component_valid(const char *component);
/* 0; -ENAMETOOLONG; -ENOENT for what can never be a name. */
int lk_name_check(const char *name);

/* --- acquiring --- */

struct lk_request {
	enum lk_kind kind;
	enum lk_mode mode; /* semaphores: always LK_EXCLUSIVE */
	bool try_only;	   /* -EAGAIN instead of waiting */
	const char *name;
	struct lk_file *file;	   /* or NULL: flock(2) of this open file, see backend/files.h; name is then a hint */
	unsigned slot_lo, slot_hi; /* LK_SEM: any free slot of [lo, hi); LK_LOCK: 0, 1 */
	struct lk_owner owner;
	/* Convert this hold to `mode` instead of making one. Granted: the same
	 * hold, its mode and token renewed. A try that fails leaves the hold as
	 * it was (or lost); that of a file excludes nobody any more, and is to be
	 * released. A wait gives the hold up first, as flock(2) does: the backend
	 * then sets convert to NULL, tells gave_up and frees it. */
	struct lk_hold *convert;
	void (*done)(struct lk_request *req, int err, struct lk_hold *hold);
	/* Both may be NULL, and may come inside lk_acquire or from a later turn. */
	void (*queued)(struct lk_request *req);	 /* it waits in the queue from now on */
	void (*gave_up)(struct lk_request *req); /* the hold of `convert` is about to be freed */
	void *arg;				 /* the caller's */
	void *priv;				 /* the backend's */
	bool waiting;				 /* set by the backend while queued; for views */
	uint64_t asked;				 /* pl_wall() when asked; set by the backend */
};

struct lk_hold {
	enum lk_kind kind;
	enum lk_mode mode;
	const char *name;
	unsigned slot;	/* LK_SEM: which one; LK_LOCK: 0 */
	uint64_t token; /* LK_EXCLUSIVE: fencing token, greater than all before it of this name; LK_SHARED: the last
			   exclusive one */
	uint64_t since; /* pl_wall() of the grant */
	struct lk_owner owner;
	bool lost;				    /* set before on_lost is called */
	bool contended;				    /* somebody waits behind this hold; kept by the backend */
	void (*on_lost)(struct lk_hold *hold);	    /* set by the caller in done; may be NULL */
	void (*on_contended)(struct lk_hold *hold); /* contended changed; may be NULL */
	void *arg;				    /* the caller's */
};

/* --- looking --- */

/* One holder or waiter, of this mount, another one or an outside program. */
struct lk_party {
	const char *id; /* names it to lk_break/lk_end_wait; "" where it cannot be */
	const char *host;
	struct lk_owner owner;
	enum lk_kind kind;
	const char *name;
	enum lk_mode mode;
	unsigned slot;		   /* LK_SEM holders */
	unsigned slot_lo, slot_hi; /* LK_SEM waiters: what they ask for */
	uint64_t token;		   /* holders */
	uint64_t since;		   /* wall ns of grant or of asking; 0 unknown */
	bool here;		   /* of this mount */
};

struct lk_view {
	const struct lk_party *holders, *waiters; /* waiters in queue order per name */
	size_t n_holders, n_waiters;
	uint64_t as_of; /* wall ns; older than now when the backend did not answer */
	bool partial;	/* some mount or server did not answer */
};

enum lk_type { LK_T_NONE, LK_T_NAME, LK_T_NAMESPACE, LK_T_LINK /* lk_file_list only */ };

struct lk_stat {
	enum lk_type type; /* LK_T_NONE: valid, but nobody uses it */
	mode_t perm;	   /* namespaces: permission bits */
	uid_t uid;	   /* namespaces: theirs; names: the first holder's */
	gid_t gid;
	uint64_t size;	/* of the value */
	uint64_t mtime; /* wall ns: since when held, else of the value */
	uint64_t token; /* of the current exclusive hold, else the last known, 0 none */
	unsigned holders, waiters;
	bool exclusive; /* the holders' mode, when holders > 0 */
	bool abandoned;
};

struct lk_entry {
	const char *name; /* one component */
	enum lk_type type;
};

struct lk_list {
	const struct lk_entry *entries;
	size_t n;
};

typedef void (*lk_stat_cb)(void *arg, int err, const struct lk_stat *st);
typedef void (*lk_list_cb)(void *arg, int err, const struct lk_list *list);
typedef void (*lk_view_cb)(void *arg, int err, const struct lk_view *view);
typedef void (*lk_done_cb)(void *arg, int err);
/* n >= 0 with data (reads), or n = bytes written; < 0 error. */
typedef void (*lk_io_cb)(void *arg, ssize_t n, const void *data);

/* How much a stat looks for: LK_STAT_LOCAL never asks another mount, nor does
 * LK_STAT_FULL for a name held exclusively here: its waiters may be more. */
enum lk_depth { LK_STAT_LOCAL, LK_STAT_FULL };

/* --- counters that every backend keeps; fs/ renders them --- */
#define LK_WAIT_BUCKETS 16 /* upper bounds 100us * 4^i, the last is +Inf */
struct lk_counters {
	uint64_t granted[2]; /* by mode */
	uint64_t granted_sem;
	uint64_t refused[8]; /* by enum lk_refusal */
	uint64_t released, lost, broken;
	uint64_t wait_bucket[LK_WAIT_BUCKETS];
	uint64_t wait_ns;
	uint64_t held, waiting; /* now */
};
enum lk_refusal {
	LK_R_BUSY,
	LK_R_TIMEOUT,
	LK_R_INTERRUPTED,
	LK_R_CANCELED,
	LK_R_DEADLOCK,
	LK_R_UNAVAILABLE,
	LK_R_LIMIT,
	LK_R_OTHER
};

/* --- the calls --- */

/* -EINVAL (bad slots), -ENOLCK (max_waiters, descriptors, memory), -ENAMETOOLONG, -ENOENT (no valid name, or
 * its namespace is missing), -EISDIR (it is a namespace); the last two perhaps through done. */
int lk_acquire(struct lk_backend *b, struct lk_request *req);
/* err: what the callback shall say: -EINTR, -ETIMEDOUT, -ECANCELED. Safe to
 * call from anywhere, also when the callback is already under way. */
void lk_cancel(struct lk_backend *b, struct lk_request *req, int err);
/* Gives the hold back, lost or not, and frees it; cannot fail for the caller.
 * After it returned, the next acquire on this mount sees the name free. */
void lk_release(struct lk_backend *b, struct lk_hold *hold);

/* The value, through a hold. -ESTALE when lost, also if lost on the way;
 * writes: -EACCES for a shared hold, -EFBIG past max_value with nothing
 * written, -ENOSPC, -EIO. off < 0 appends. `data` is copied before return.
 * A hold released meanwhile: the callback still comes. */
int lk_read(struct lk_backend *b, struct lk_hold *hold, size_t size, off_t off, lk_io_cb cb, void *arg);
int lk_write(struct lk_backend *b, struct lk_hold *hold, const void *data, size_t size, off_t off, lk_io_cb cb,
	     void *arg);
int lk_truncate(struct lk_backend *b, struct lk_hold *hold, uint64_t size, lk_done_cb cb, void *arg);
/* 0 only if still held and as durable as the backend can make it. */
int lk_sync(struct lk_backend *b, struct lk_hold *hold, lk_done_cb cb, void *arg);

/* What is at a name. -ENOENT when a namespace on the way is missing, -ENOTDIR
 * when it is a name. */
int lk_stat(struct lk_backend *b, enum lk_kind kind, const char *name, enum lk_depth depth, lk_stat_cb cb, void *arg);
/* Names in a namespace ("" is the top) that are held, waited for or have a
 * value, and namespaces; unordered. LK_SEM: semaphores held or waited for. */
int lk_list(struct lk_backend *b, enum lk_kind kind, const char *ns, lk_list_cb cb, void *arg);
/* Holders and waiters of one name, or of all of that kind when name is NULL. */
int lk_view(struct lk_backend *b, enum lk_kind kind, const char *name, lk_view_cb cb, void *arg);
/* Breaks one hold / ends one wait by its party id. -ENOENT: gone already. The
 * caller checked that it may. */
int lk_break(struct lk_backend *b, const char *id, lk_done_cb cb, void *arg);
int lk_end_wait(struct lk_backend *b, const char *id, lk_done_cb cb, void *arg);

/* Drops the value of a name through an exclusive hold of it; the name is no
 * longer listed once it is released. -ENOENT: it had none. */
int lk_remove(struct lk_backend *b, struct lk_hold *hold, lk_done_cb cb, void *arg);
/* Moves the value of one name over another's, both held exclusively. */
int lk_rename(struct lk_backend *b, struct lk_hold *from, struct lk_hold *to, lk_done_cb cb, void *arg);
/* Namespaces. -EEXIST, -ENOENT, -ENOTEMPTY (names listed below it), -EROFS. */
int lk_ns_make(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg);
int lk_ns_remove(struct lk_backend *b, const char *ns, lk_done_cb cb, void *arg);
/* Renames a namespace; -EBUSY while anything below it is held or waited for. */
int lk_ns_rename(struct lk_backend *b, const char *from, const char *to, lk_done_cb cb, void *arg);
/* Changes what is not -1. */
int lk_ns_chmod(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg);
/* Makes durable which names there are in ns ("" is the top). -ENOSYS: this backend has nothing to do for that. */
int lk_ns_sync(struct lk_backend *b, const char *ns, lk_done_cb cb, void *arg);

/* Looks at the clock: a process that was stopped must learn that its lease is
 * over before it serves anything more. Call before each request. */
void lk_tick(struct lk_backend *b);
/* "file:/var/lib/plockfs": for status and /proc/mounts; no secrets in it. */
const char *lk_describe(struct lk_backend *b);
const char *lk_host(struct lk_backend *b);
const struct lk_counters *lk_counters(struct lk_backend *b);
/* Counts a refusal that was decided above the backend (a deadlock). */
void lk_count_refused(struct lk_backend *b, enum lk_refusal why);
/* Are calls under way whose callback is still to come? Acquiring and ranges do not count: those are cancelled. */
bool lk_busy(struct lk_backend *b);
/* Gives back whatever is held, as not cleanly released, and frees everything. No
 * callback comes any more. */
void lk_destroy(struct lk_backend *b);

#endif
