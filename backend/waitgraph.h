/* Who waits for whom on this mount, to refuse waits that could never end.
 *
 * Every hold and every queued wait of the mount is entered here, whatever the
 * backend. Only a process that has one thread is taken to be stuck while it
 * waits, and only while it still has the descriptor of its hold: a guess too
 * few gives a wait that hangs, a guess too many breaks a program that was
 * right (DESIGN C4), so whatever is unknown counts as "may go on". A wait with
 * a timeout ends by itself: do not enter it.
 */
#ifndef BACKEND_WAITGRAPH_H
#define BACKEND_WAITGRAPH_H

#include "backend/backend.h"

struct waitgraph;

struct waitgraph_env {
	/* True when the process has exactly one thread. */
	bool (*single_threaded)(void *ctx, const struct lk_owner *owner);
	/* True when the process surely still has this hold's file open; handle is what
	 * waitgraph_hold_add was given. */
	bool (*has_open)(void *ctx, const struct lk_owner *owner, void *handle);
	void *ctx;
};

struct waitgraph *waitgraph_new(const struct waitgraph_env *env);
void waitgraph_free(struct waitgraph *g);

/* An entry in the graph; embed it, zeroed. */
struct waitgraph_entry {
	struct waitgraph_process *process;
	struct waitgraph_name *name;
	struct waitgraph_entry *name_prev, *name_next; /* utlist DL in name's holders or waiters */
	struct waitgraph_entry *proc_prev, *proc_next; /* utlist DL of the process */
	bool waits;
	enum lk_mode mode;
	unsigned slot_lo, slot_hi; /* a hold of slot s: s, s + 1 */
	void *handle;
};

/* 0, or -ENOMEM (then nothing was entered). The order of wait_add is the queue's. */
int waitgraph_hold_add(struct waitgraph *g, struct waitgraph_entry *e, enum lk_kind kind, const char *name,
		       const struct lk_owner *owner, enum lk_mode mode, unsigned slot, void *handle);
int waitgraph_wait_add(struct waitgraph *g, struct waitgraph_entry *e, enum lk_kind kind, const char *name,
		       const struct lk_owner *owner, enum lk_mode mode, unsigned slot_lo, unsigned slot_hi);
/* Takes e out; nothing happens when it is not in. */
void waitgraph_remove(struct waitgraph *g, struct waitgraph_entry *e);

/* Would this wait, if begun now, never end? Costs one hash look-up when the
 * process holds nothing here. */
bool waitgraph_would_deadlock(struct waitgraph *g, enum lk_kind kind, const char *name, const struct lk_owner *owner,
			      enum lk_mode mode, unsigned slot_lo, unsigned slot_hi);
/* Does this process hold the name exclusively here? Its hold entry's handle, or NULL. */
void *waitgraph_held_by(struct waitgraph *g, enum lk_kind kind, const char *name, const struct lk_owner *owner);

#endif
