/* What the files of the fake backend share. */
#ifndef TESTS_SUPPORT_FAKE_INTERNAL_H
#define TESTS_SUPPORT_FAKE_INTERNAL_H

#include "tests/support/fake_backend.h"

#include "backend/arbiter.h"
#include "base/loop.h"

#include <uthash.h>

/* Made at the first use of a name, freed with the world. */
struct fake_name {
	struct arb arb; /* first */
	struct fake_world *world;
	uint64_t token, mtime;
	char *value;
	size_t size;
	bool abandoned;
	UT_hash_handle hh;
	size_t keylen;
	char key[]; /* kind, then the name */
};

struct fake_space {
	mode_t perm;
	uid_t uid;
	gid_t gid;
	uint64_t mtime;
	UT_hash_handle hh;
	char *path;
};

struct fake_world {
	struct fake_name *names;
	struct fake_space *spaces;
	struct fake_backend *mounts; /* utlist DL */
	uint64_t token, serial;
	bool held_back;
};

struct fake_wait {
	struct arb_waiter arb; /* first */
	struct lk_request *req;
	struct fake_backend *b;
	struct fake_name *name;
	uint64_t serial;
	struct pl_task finish;
	bool finished;
	int err;
	struct lk_hold *result;
	struct fake_wait *prev, *next;
};

struct fake_hold {
	struct lk_hold pub; /* first */
	struct arb_holder arb;
	struct fake_backend *b;
	struct fake_name *name; /* NULL once lost */
	uint64_t serial;
	struct pl_task lost;
	struct fake_hold *prev, *next;
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
	} cb;
	void *arg;
	ssize_t n;
	enum lk_kind kind;
	bool all;
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
	unsigned n_waits;
	struct fake_backend *prev, *next;
};

static inline struct fake_backend *fake_of(struct lk_backend *b)
{
	return (struct fake_backend *)b;
}

static inline const char *fake_str(const struct fake_name *n)
{
	return n->key + 1;
}

static inline bool fake_used(const struct fake_name *n)
{
	return n->arb.holders || n->arb.waiters;
}

/* fake_backend.c */
struct fake_name *fake_find(struct fake_world *w, enum lk_kind kind, const char *name);
struct fake_name *fake_get(struct fake_world *w, enum lk_kind kind, const char *name);
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
int fake_read(struct lk_backend *, struct lk_hold *, size_t, off_t, lk_io_cb, void *);
int fake_write(struct lk_backend *, struct lk_hold *, const void *, size_t, off_t, lk_io_cb, void *);
int fake_truncate(struct lk_backend *, struct lk_hold *, uint64_t, lk_done_cb, void *);
int fake_sync(struct lk_backend *, struct lk_hold *, lk_done_cb, void *);
int fake_remove(struct lk_backend *, struct lk_hold *, lk_done_cb, void *);
int fake_rename(struct lk_backend *, struct lk_hold *, struct lk_hold *, lk_done_cb, void *);

/* fake_ns.c */
/* "" is above everything. */
bool fake_below(const char *name, const char *ns);
int fake_ns_make(struct lk_backend *, const char *, mode_t, uid_t, gid_t, lk_done_cb, void *);
int fake_ns_remove(struct lk_backend *, const char *, lk_done_cb, void *);
int fake_ns_rename(struct lk_backend *, const char *, const char *, lk_done_cb, void *);
int fake_ns_chmod(struct lk_backend *, const char *, mode_t, uid_t, gid_t, lk_done_cb, void *);

/* fake_look.c */
int fake_stat(struct lk_backend *, enum lk_kind, const char *, enum lk_depth, lk_stat_cb, void *);
int fake_list(struct lk_backend *, enum lk_kind, const char *, lk_list_cb, void *);
int fake_view(struct lk_backend *, enum lk_kind, const char *, lk_view_cb, void *);

#endif
