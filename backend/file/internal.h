/* What the rooms of the file backend share.
 *
 * A `fname` exists while somebody here holds or waits for the name. A `fslot`
 * is one flock'ed file: slot 0 of a lock, slot K of a semaphore. A hold points
 * to its slot, all shared holders to the same one: one descriptor a name.
 */
#ifndef BACKEND_FILE_INTERNAL_H
#define BACKEND_FILE_INTERNAL_H

#include "backend/arbiter.h"
#include "backend/files.h"
#include "backend/file/blocker.h"
#include "backend/file/file.h"
#include "backend/file/floor.h"
#include "backend/file/held.h"
#include "backend/file/store.h"
#include "base/log.h"
#include "base/loop.h"

#include <errno.h>
#include <sys/stat.h>
#include <uthash.h>
#include <uv.h>

struct finode;
struct fname;
struct kept;
struct outsiders;
struct peers;
struct watch;

struct fslot {
	unsigned idx;
	int fd; /* -1: not flock'ed by this mount */
	enum lk_mode phys;
	ino_t ino;
	dev_t dev;
	unsigned users;	   /* holds that use it */
	unsigned handoffs; /* without giving the flock up */
	uint64_t since;	   /* pl_now() when the flock was taken */
	struct blocker *blocker;
	enum lk_mode blocker_mode;
	ino_t blocker_ino;
	dev_t blocker_dev;
	struct fname *name;
	UT_hash_handle hh;
};

struct fname {
	struct arb arb; /* first */
	struct file_backend *b;
	struct fslot *slots;
	uint64_t token;	      /* last exclusive one given here */
	unsigned pins;	      /* > 0: not freed though unused */
	struct finode *inode; /* an orphan's: see orphan.c; NULL for a name */
	UT_hash_handle hh;
	size_t keylen;
	char key[]; /* kind, then the name */
};

static inline const char *fname_str(const struct fname *n)
{
	return n->key + 1;
}

/* Not a name that anybody may see. */
static inline bool fname_hidden(const struct fname *n)
{
	return n->key[1] == '\001';
}

struct fwait {
	struct arb_waiter arb; /* first */
	struct lk_request *req;
	struct file_backend *b;
	struct fname *name;
	uint64_t serial;
	struct pl_task finish;
	bool finished;
	int err;
	struct lk_hold *result;
	UT_hash_handle hh;
};

struct fhold {
	struct lk_hold pub; /* first */
	struct arb_holder arb;
	struct fname *name;
	struct fslot *slot;   /* NULL once lost */
	struct finode *inode; /* flock(2) on files/; NULL: by name */
	uint64_t serial;
	uint32_t entry; /* in the table of held names; 0: none */
	struct pl_task lost;
	struct file_backend *b;
	unsigned ops; /* callbacks on the way that look at this hold */
	bool released;
	struct fhold *prev, *next;
	UT_hash_handle hh;
};

struct file_backend {
	struct lk_backend base; /* first */
	struct lk_config config;
	struct store store;
	struct floor floor;
	struct held *held;
	struct kept *kept;
	bool floor_raising;
	struct blockers *blockers;
	struct watch *watch;
	struct peers *peers;
	struct outsiders *outsiders;
	struct fname *names;
	struct finode *inodes;
	struct ranges_graph range_graph;
	struct fhold *holds;	 /* by serial */
	struct fwait *waits;	 /* by serial */
	struct fhold *lost;	 /* utlist DL by prev, next: lost, not released */
	struct syncing *syncs;	 /* utlist DL: fsyncs under way */
	struct raising *raising; /* or NULL */
	uint64_t serial;
	int fd_max; /* locks have descriptors below this: a few are kept for all the rest */
	unsigned n_waits;
	bool gone;		/* DIR is not where it was: checked before every grant */
	char id[MOUNT_ID_SIZE]; /* this mount's, in party ids */
	struct pl_log_limit log_gone, log_limit, log_io;
};

static inline struct file_backend *fb_of(struct lk_backend *b)
{
	return (struct file_backend *)b;
}

/* token.c */
/* For an exclusive grant of this name. 0; -EROFS; what floor_next says. */
int fb_next_token(struct file_backend *b, struct fname *n, uint64_t *token);
/* The backend goes: a token floor being made durable tells nobody. */
void fb_forget_raising(struct file_backend *b);

/* lock.c */
int fb_acquire(struct lk_backend *b, struct lk_request *req);
void fb_cancel(struct lk_backend *b, struct lk_request *req, int err);
void fb_release(struct lk_backend *b, struct lk_hold *hold);
struct fname *fname_find(struct file_backend *b, enum lk_kind kind, const char *name);
/* Made when missing; NULL: no memory. */
struct fname *fname_get(struct file_backend *b, enum lk_kind kind, const char *name);
/* All holds of the slot are lost: told later, flock closed, the next one pumped. */
void fslot_lose(struct fslot *s, const char *why);
void fhold_lose(struct fhold *h);
void fwait_fail(struct fwait *w, int err);
/* A value operation ended: frees a hold that was released meanwhile. */
void fhold_unref(struct fhold *h);

/* slot.c */
int fslot_obtain(struct arb *a, unsigned idx, enum lk_mode mode, bool may_wait);
struct fslot *fslot_find(struct fname *n, unsigned idx);
/* Made when missing; NULL: no memory. */
struct fslot *fslot_get(struct fname *n, unsigned idx);
/* Gives the flock up when nobody uses it; frees what is empty. */
void fslot_idle(struct fslot *s);
/* Nobody here waits any more: ends blocked flocks. */
void fname_settle(struct fname *n);
/* The file of a slot, below locks/ or sems/. 0 or -ENAMETOOLONG. */
int fslot_path(const struct fname *n, unsigned idx, char *out, size_t size);
int fslot_at(const struct fname *n);
/* Locks the slot's own descriptor anew: SH <-> EX. 0, -EAGAIN (kept as it
 * was) or -ESTALE (the kernel gave it to another meanwhile: closed). */
int fslot_convert(struct fslot *s, enum lk_mode mode);
/* Still the file at its path? */
bool fslot_in_place(const struct fslot *s);
/* Ends a blocked flock of a file that is not at the path any more; then the one that is is waited for. */
void fslot_unblock(struct fslot *s);

/* value.c */
int fb_read(struct lk_backend *b, struct lk_hold *h, size_t size, off_t off, lk_io_cb cb, void *arg);
int fb_write(struct lk_backend *b, struct lk_hold *h, const void *data, size_t size, off_t off, lk_io_cb cb, void *arg);
int fb_truncate(struct lk_backend *b, struct lk_hold *h, uint64_t size, lk_done_cb cb, void *arg);
int fb_sync(struct lk_backend *b, struct lk_hold *h, lk_done_cb cb, void *arg);
int fb_remove(struct lk_backend *b, struct lk_hold *h, lk_done_cb cb, void *arg);
int fb_rename(struct lk_backend *b, struct lk_hold *from, struct lk_hold *to, lk_done_cb cb, void *arg);
/* Later, from the loop: cb(arg, n, data), data copied. 0 or -ENOMEM. */
int fb_later_io(struct file_backend *b, lk_io_cb cb, void *arg, ssize_t n, const void *data, size_t len);
int fb_later_done(struct file_backend *b, lk_done_cb cb, void *arg, int err);
/* Is this what open says, or gives, at the limit on descriptors? If some could be spared it is closed: try again. */
bool fb_too_many(struct file_backend *b, int fd);
/* The backend goes: those under way answer nobody. */
void fb_forget_syncs(struct file_backend *b);
/* fsync on a worker; hold NULL: a plain file, else its name is made durable too. fd is duplicated. */
int fb_sync_fd(struct file_backend *b, int fd, struct fhold *h, lk_done_cb cb, void *arg);

/* list.c */
int fb_stat(struct lk_backend *b, enum lk_kind kind, const char *name, enum lk_depth depth, lk_stat_cb cb, void *arg);
int fb_list(struct lk_backend *b, enum lk_kind kind, const char *ns, lk_list_cb cb, void *arg);
/* Everything in the folder, whether locks/ lists it or not. */
int fb_list_files(struct lk_backend *b, const char *ns, lk_list_cb cb, void *arg);
int fb_view(struct lk_backend *b, enum lk_kind kind, const char *name, lk_view_cb cb, void *arg);

/* ns.c */
int fb_ns_make(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg);
/* For files/: of what is really there. */
int fb_file_mkdir(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg);
int fb_file_rmdir(struct lk_backend *b, const char *ns, lk_done_cb cb, void *arg);
int fb_ns_remove(struct lk_backend *b, const char *ns, lk_done_cb cb, void *arg);
int fb_ns_rename(struct lk_backend *b, const char *from, const char *to, lk_done_cb cb, void *arg);
int fb_ns_chmod(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg);
int fb_ns_sync(struct lk_backend *b, const char *ns, lk_done_cb cb, void *arg);

/* files.c */
extern const struct lk_files_impl fb_files;

/* peer.c: listens anew, in a folder made anew */
void peers_again(struct peers *p);

/* watch.c: what happens to DIR behind our back */
struct watch *watch_new(struct file_backend *b);
void watch_free(struct watch *w);
/* Watches the namespace that `name` is in. */
void watch_name(struct watch *w, const char *name);

/* party.c: breaking, ending waits, by id */
int fb_break(struct lk_backend *b, const char *id, lk_done_cb cb, void *arg);
int fb_end_wait(struct lk_backend *b, const char *id, lk_done_cb cb, void *arg);
/* The same for ids of this mount, at once. */
int fb_break_here(struct file_backend *b, uint64_t serial);
int fb_end_wait_here(struct file_backend *b, uint64_t serial);

#endif
