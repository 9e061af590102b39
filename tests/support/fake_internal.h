/* What the files of the fake backend share. */
#ifndef TESTS_SUPPORT_FAKE_INTERNAL_H
#define TESTS_SUPPORT_FAKE_INTERNAL_H

#include "tests/support/fake_backend.h"

#include "backend/arbiter.h"
#include "base/loop.h"

#include <uthash.h>

#define FAKE_RANGES_MAX 1000 /* of one file */

/* What a name says: the lock and the value of locks/NAME, the inode of
 * files/NAME; or a semaphore. Freed when nothing refers to it any more. */
struct fake_name {
	struct arb arb; /* first */
	struct fake_world *world;
	uint64_t token, mtime, ctime, ino;
	char *value; /* of a symbolic link: its target */
	size_t size;
	bool abandoned;
	bool file; /* made by files/: it is there, even if empty */
	bool link; /* a symbolic one */
	mode_t perm;
	uid_t uid;
	gid_t gid;
	unsigned nlink, opens;
	struct ranges ranges;
	struct fake_name *prev, *next;
	char name[]; /* the one that it was made with */
};

struct fake_entry {
	struct fake_name *name;
	UT_hash_handle hh;
	size_t keylen;
	char key[]; /* kind, then the name */
};

struct fake_space {
	uint64_t ino;
	mode_t perm;
	uid_t uid;
	gid_t gid;
	uint64_t mtime;
	UT_hash_handle hh;
	char *path;
};

struct fake_world {
	struct fake_entry *entries; /* uthash */
	struct fake_name *names;    /* utlist DL: also those without an entry */
	struct fake_space *spaces;
	struct fake_backend *mounts; /* utlist DL */
	struct ranges_graph graph;   /* of all mounts: a circle over two of them is seen, too */
	uint64_t token, serial, ino;
	bool held_back;
};

struct fake_wait {
	struct arb_waiter arb; /* first */
	struct lk_request *req;
	struct fake_backend *b;
	struct fake_name *name;
	uint64_t serial;
	struct pl_task finish;
	bool finished, by_file;
	int err;
	struct lk_hold *result;
	struct fake_wait *prev, *next;
	char path[]; /* of the lock that is asked for; by_file: a hint */
};

struct fake_hold {
	struct lk_hold pub; /* first */
	struct arb_holder arb;
	struct fake_backend *b;
	struct fake_name *name; /* NULL once lost */
	uint64_t serial;
	struct pl_task lost;
	bool by_file; /* flock of an open file */
	struct fake_hold *prev, *next;
	char path[];
};

struct lk_file {
	struct fake_backend *b;
	struct fake_name *name;
	bool ranged; /* a range was locked through it */
	bool lost;
	void (*on_lost)(void *arg);
	void *arg;
	struct pl_task task; /* calls on_lost */
	struct lk_file *prev, *next;
};

/* A range request until its callback. */
struct fake_range {
	struct ranges_waiter w; /* first */
	struct fake_backend *b;
	struct fake_name *name;
	struct lk_range_request *req;
	struct pl_task task;
	bool waits, finished;
	int err;
	struct fake_range *prev, *next;
};

/* A callback of anything but acquire, on its way. */
struct fake_later {
	struct pl_task task; /* first */
	struct fake_backend *b;
	void (*run)(struct fake_later *l);
	union {
		lk_done_cb done;
		lk_io_cb io;
		lk_stat_cb stat;
		lk_list_cb list;
		lk_view_cb view;
		lk_file_stat_cb file_stat;
		lk_file_open_cb file_open;
		lk_range_test_cb range_test;
	} cb;
	void *arg;
	ssize_t n;
	enum lk_kind kind;
	bool all;
	struct lk_file *file;
	struct fake_later *prev, *next;
	char data[]; /* what was read, or a name */
};

struct fake_backend {
	struct lk_backend base; /* first */
	struct lk_config config;
	struct fake_world *world;
	struct fake_wait *waits;   /* utlist DL: until their callback */
	struct fake_hold *holds;   /* utlist DL: until their release */
	struct fake_later *laters; /* utlist DL */
	struct lk_file *files;	   /* utlist DL: until they are closed */
	struct fake_range *ranges; /* utlist DL: until their callback */
	uint64_t session;	   /* of its range owners */
	unsigned n_waits;
	struct fake_backend *prev, *next;
};

static inline struct fake_backend *fake_of(struct lk_backend *b)
{
	return (struct fake_backend *)b;
}

static inline const char *fake_str(const struct fake_entry *e)
{
	return e->key + 1;
}

static inline enum lk_kind fake_kind(const struct fake_entry *e)
{
	return (enum lk_kind)e->key[0];
}

static inline bool fake_used(const struct fake_name *n)
{
	return n->arb.holders || n->arb.waiters;
}

/* For files/; for locks/ one that is held is there, too. */
static inline bool fake_there(const struct fake_name *n)
{
	return n && (n->file || n->size);
}

/* fake_name.c */
struct fake_entry *fake_entry_find(struct fake_world *w, enum lk_kind kind, const char *name);
/* A further entry for n, which has none of that name. NULL: out of memory. */
struct fake_entry *fake_entry_add(struct fake_world *w, struct fake_name *n, const char *name);
/* The name is nobody's. fake_requeue or fake_put of what it said follows. */
void fake_entry_drop(struct fake_world *w, struct fake_entry *e);
struct fake_name *fake_find(struct fake_world *w, enum lk_kind kind, const char *name);
/* Made if nothing has that name. NULL: out of memory. */
struct fake_name *fake_get(struct fake_world *w, enum lk_kind kind, const char *name);
/* Frees it, unless something refers to it. */
void fake_put(struct fake_name *n);
/* An entry of it is gone: who waits for a lock by its name follows the name. Puts n. */
void fake_requeue(struct fake_name *n);
struct fake_space *fake_space_find(struct fake_world *w, const char *path);
/* The namespaces on the way to `name`: 0, -ENOENT, -ENOTDIR. */
int fake_way(struct fake_world *w, const char *name);

/* fake_hold.c */
extern const struct arb_ops fake_arb_ops;
int fake_acquire(struct lk_backend *b, struct lk_request *req);
void fake_cancel(struct lk_backend *b, struct lk_request *req, int err);
void fake_release(struct lk_backend *b, struct lk_hold *hold);
void fake_wait_fail(struct fake_wait *w, int err);

/* fake_value.c */
/* Calls run(l) in a later turn; len bytes of data are copied. NULL: out of memory. */
struct fake_later *fake_later_new(struct fake_backend *b, void (*run)(struct fake_later *), void *arg, const void *data,
				  size_t len);
int fake_done_later(struct fake_backend *b, lk_done_cb cb, void *arg, int err);
/* -EFBIG, -ENOMEM. */
int fake_resize(struct fake_backend *b, struct fake_name *n, uint64_t size);
int fake_io_later(struct fake_backend *b, lk_io_cb cb, void *arg, const void *data, size_t len, ssize_t n);
int fake_value_read(struct fake_backend *, const struct fake_name *, size_t, off_t, lk_io_cb, void *);
int fake_value_write(struct fake_backend *, struct fake_name *, const void *, size_t, off_t, lk_io_cb, void *);
int fake_read(struct lk_backend *, struct lk_hold *, size_t, off_t, lk_io_cb, void *);
int fake_write(struct lk_backend *, struct lk_hold *, const void *, size_t, off_t, lk_io_cb, void *);
int fake_truncate(struct lk_backend *, struct lk_hold *, uint64_t, lk_done_cb, void *);
int fake_sync(struct lk_backend *, struct lk_hold *, lk_done_cb, void *);
int fake_remove(struct lk_backend *, struct lk_hold *, lk_done_cb, void *);
int fake_rename(struct lk_backend *, struct lk_hold *, struct lk_hold *, lk_done_cb, void *);

/* fake_ns.c */
/* "" is above everything. */
bool fake_below(const char *name, const char *ns);
/* Directly in ns: its last component; else NULL. */
const char *fake_child(const char *name, const char *ns);
int fake_space_move(struct fake_world *w, const char *from, const char *to);
int fake_ns_make(struct lk_backend *, const char *, mode_t, uid_t, gid_t, lk_done_cb, void *);
int fake_ns_remove(struct lk_backend *, const char *, lk_done_cb, void *);
int fake_ns_rename(struct lk_backend *, const char *, const char *, lk_done_cb, void *);
int fake_ns_chmod(struct lk_backend *, const char *, mode_t, uid_t, gid_t, lk_done_cb, void *);
int fake_ns_sync(struct lk_backend *, const char *, lk_done_cb, void *);

/* fake_look.c */
int fake_stat(struct lk_backend *, enum lk_kind, const char *, enum lk_depth, lk_stat_cb, void *);
int fake_list(struct lk_backend *, enum lk_kind, const char *, lk_list_cb, void *);
int fake_view(struct lk_backend *, enum lk_kind, const char *, lk_view_cb, void *);

/* fake_files.c */
extern const struct lk_files_impl fake_files_impl;
/* -ESTALE when its ranges were lost. */
int fake_file_check(const struct lk_file *file);
void fake_file_lost(struct lk_file *file);
void fake_files_end(struct fake_backend *b);

/* fake_file_names.c */
int fake_file_unlink(struct lk_backend *, const char *, lk_done_cb, void *);
int fake_file_rename(struct lk_backend *, const char *, const char *, unsigned, lk_done_cb, void *);
int fake_file_link(struct lk_backend *, const char *, const char *, lk_done_cb, void *);
int fake_file_symlink(struct lk_backend *, const char *, const char *, uid_t, gid_t, lk_done_cb, void *);
int fake_file_readlink(struct lk_backend *, const char *, lk_io_cb, void *);
int fake_file_list(struct lk_backend *, const char *, lk_list_cb, void *);

/* fake_ranges.c */
int fake_range_set(struct lk_backend *, struct lk_range_request *);
void fake_range_cancel(struct lk_backend *, struct lk_range_request *, int err);
int fake_range_test(struct lk_backend *, struct lk_file *, const struct ranges_lock *, lk_range_test_cb, void *);
int fake_range_drop(struct lk_backend *, struct lk_file *, uint64_t owner, lk_done_cb, void *);
/* Whether the mount has ranges of it. */
bool fake_range_held(const struct fake_name *n, uint64_t session);
/* Requests of the mount end with -ESTALE, its ranges are free. */
void fake_ranges_lose(struct fake_backend *b);
/* No callback any more, nothing left. */
void fake_ranges_end(struct fake_backend *b);

#endif
