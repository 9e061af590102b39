/* One acquisition on behalf of one FUSE request: waits, and can be ended by a
 * signal to the caller, a timeout or an admin; answers exactly once. */
#ifndef FS_ACQUIRE_H
#define FS_ACQUIRE_H

#include "fs/server.h"

struct acquire_spec {
	enum lk_kind kind;
	enum lk_mode mode;
	const char *name; /* copied */
	unsigned slot_lo, slot_hi;
	bool try_only;
	bool no_wait;	     /* a try because of timeout=0: says -ETIMEDOUT, not -EAGAIN */
	uint64_t timeout_ns; /* 0: for ever */
	struct lk_hold *convert;
	struct lk_file *file; /* flock(2) of this file; NULL for locks/ and sems/ */
	bool unseen;	      /* by deadlock detection: `name` does not tell which lock it is */
	void (*done)(void *arg, int err, struct lk_hold *hold);
	/* The hold of `convert` is given up for waiting: inside acquire_start, or later. May be NULL. */
	void (*gave_up)(void *arg);
	void *arg;
};

/* What the tree's view, the mount's options and O_NONBLOCK say. */
void acquire_spec_view(struct acquire_spec *spec, const struct server *s, const struct node *node, bool nonblock);

/* As lk_acquire: < 0 and done never runs (-EDEADLK, -ENOMEM, -ENOLCK), or 0 and it
 * runs once, later. req must not be answered before. */
int acquire_start(struct server *s, fuse_req_t req, const struct acquire_spec *spec);
/* A wish that the request's wait ends: done comes with err, or with the grant if that won. */
void acquire_cancel(struct server *s, fuse_req_t req, int err);

#endif
