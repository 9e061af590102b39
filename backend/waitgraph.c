/* Deadlock detection: a search from the name asked for, through holders that
 * themselves wait, for the process that asks.
 *
 * A wait for a lock is stuck when one of its holders in the way is; a wait for
 * a slot when the holders of all slots it would take are. A process met for
 * the second time counts with what is known of it then, which may be "not
 * stuck" too often but never too seldom. Depth and steps are bounded, since
 * the loop stands still meanwhile.
 */
#define HASH_NONFATAL_OOM 1
#include "backend/waitgraph.h"

#include "base/zalloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#define MAX_DEPTH 64
#define MAX_STEPS (1u << 18)
#define MAX_QUEUE_ASKS 8 /* waiters ahead whose threads are counted */

struct process_key {
	uint64_t pid, start; /* both wide: no padding in what is hashed */
};

struct waitgraph_process {
	struct process_key key;
	struct lk_owner owner;
	struct waitgraph_entry *holds, *waits;
	uint64_t round; /* of the search that set `stuck` */
	bool stuck;
	UT_hash_handle hh;
};

struct waitgraph_name {
	struct waitgraph_entry *holders, *waiters;
	UT_hash_handle hh;
	char key[]; /* kind (1 byte), then the name */
};

struct waitgraph {
	struct waitgraph_env env;
	struct waitgraph_process *processes;
	struct waitgraph_name *names;
	/* The last ones that became empty, kept: a process that locks in a loop finds them again. Or NULL. */
	struct waitgraph_process *idle_process;
	struct waitgraph_name *idle_name;
	/* the search under way */
	uint64_t round;
	unsigned steps;
};

/* --- entries --- */

static struct process_key process_key(const struct lk_owner *owner)
{
	return (struct process_key){ .pid = (uint64_t)owner->pid, .start = owner->start };
}

/* Not one to reason about: of another pid namespace, or gone before it was looked at. */
static bool unknown(const struct lk_owner *owner)
{
	return owner->pid == 0 || owner->start == 0;
}

static struct waitgraph_process *find_process(const struct waitgraph *g, const struct lk_owner *owner)
{
	struct process_key key = process_key(owner);
	struct waitgraph_process *p;

	HASH_FIND(hh, g->processes, &key, sizeof(key), p);
	return p;
}

static struct waitgraph_process *get_process(struct waitgraph *g, const struct lk_owner *owner)
{
	struct waitgraph_process *p = find_process(g, owner);

	if (p)
		return p;
	p = pl_zalloc(sizeof(*p));
	if (!p)
		return NULL;
	p->key = process_key(owner);
	p->owner = *owner;
	HASH_ADD(hh, g->processes, key, sizeof(p->key), p);
	if (!p->hh.tbl) {
		free(p);
		return NULL;
	}
	return p;
}

static void put_process(struct waitgraph *g, struct waitgraph_process *p)
{
	struct waitgraph_process *old = g->idle_process;

	if (p->holds || p->waits || old == p)
		return;
	g->idle_process = p;
	if (!old || old->holds || old->waits)
		return;
	HASH_DEL(g->processes, old);
	free(old);
}

static size_t name_key(enum lk_kind kind, const char *name, char key[LK_NAME_MAX + 2])
{
	size_t len = strnlen(name, LK_NAME_MAX);

	key[0] = (char)kind;
	memcpy(key + 1, name, len);
	return len + 1;
}

static struct waitgraph_name *find_name(const struct waitgraph *g, enum lk_kind kind, const char *name)
{
	char key[LK_NAME_MAX + 2];
	size_t len = name_key(kind, name, key);
	struct waitgraph_name *n;

	HASH_FIND(hh, g->names, key, len, n);
	return n;
}

static struct waitgraph_name *get_name(struct waitgraph *g, enum lk_kind kind, const char *name)
{
	struct waitgraph_name *n = find_name(g, kind, name);
	char key[LK_NAME_MAX + 2];
	size_t len;

	if (n)
		return n;
	len = name_key(kind, name, key);
	n = pl_zalloc(sizeof(*n) + len);
	if (!n)
		return NULL;
	memcpy(n->key, key, len);
	HASH_ADD_KEYPTR(hh, g->names, n->key, len, n);
	if (!n->hh.tbl) {
		free(n);
		return NULL;
	}
	return n;
}

static void put_name(struct waitgraph *g, struct waitgraph_name *n)
{
	struct waitgraph_name *old = g->idle_name;

	if (n->holders || n->waiters || old == n)
		return;
	g->idle_name = n;
	if (!old || old->holders || old->waiters)
		return;
	HASH_DEL(g->names, old);
	free(old);
}

static int attach(struct waitgraph *g, struct waitgraph_entry *e, enum lk_kind kind, const char *name,
		  const struct lk_owner *owner)
{
	e->process = get_process(g, owner);
	if (!e->process)
		return -ENOMEM;
	e->name = get_name(g, kind, name);
	if (!e->name) {
		put_process(g, e->process);
		e->process = NULL;
		return -ENOMEM;
	}
	return 0;
}

int waitgraph_hold_add(struct waitgraph *g, struct waitgraph_entry *e, enum lk_kind kind, const char *name,
		       const struct lk_owner *owner, enum lk_mode mode, unsigned slot, void *handle)
{
	int err = attach(g, e, kind, name, owner);

	if (err < 0)
		return err;
	e->waits = false;
	e->mode = mode;
	e->slot_lo = slot;
	e->slot_hi = slot + 1;
	e->handle = handle;
	DL_APPEND2(e->name->holders, e, name_prev, name_next);
	DL_APPEND2(e->process->holds, e, proc_prev, proc_next);
	return 0;
}

int waitgraph_wait_add(struct waitgraph *g, struct waitgraph_entry *e, enum lk_kind kind, const char *name,
		       const struct lk_owner *owner, enum lk_mode mode, unsigned slot_lo, unsigned slot_hi)
{
	int err = attach(g, e, kind, name, owner);

	if (err < 0)
		return err;
	e->waits = true;
	e->mode = mode;
	e->slot_lo = slot_lo;
	e->slot_hi = slot_hi;
	e->handle = NULL;
	DL_APPEND2(e->name->waiters, e, name_prev, name_next);
	DL_APPEND2(e->process->waits, e, proc_prev, proc_next);
	return 0;
}

void waitgraph_remove(struct waitgraph *g, struct waitgraph_entry *e)
{
	struct waitgraph_process *p = e->process;
	struct waitgraph_name *n = e->name;

	if (!p)
		return;
	if (e->waits) {
		DL_DELETE2(n->waiters, e, name_prev, name_next);
		DL_DELETE2(p->waits, e, proc_prev, proc_next);
	} else {
		DL_DELETE2(n->holders, e, name_prev, name_next);
		DL_DELETE2(p->holds, e, proc_prev, proc_next);
	}
	memset(e, 0, sizeof(*e));
	put_process(g, p);
	put_name(g, n);
}

/* --- the search --- */

/* What a wait asks for: of the request, or of an entry that waits already. */
struct want {
	const struct waitgraph_name *name;
	const struct waitgraph_entry *self; /* its place in the queue; NULL: would be the last */
	enum lk_mode mode;
	unsigned slot_lo, slot_hi;
};

static bool wait_stuck(struct waitgraph *g, const struct want *w, unsigned depth);

static bool single_threaded(struct waitgraph *g, const struct waitgraph_process *p)
{
	return g->env.single_threaded(g->env.ctx, &p->owner);
}

static bool out_of_steps(struct waitgraph *g)
{
	if (g->steps == 0)
		return true;
	g->steps--;
	return false;
}

static bool process_stuck(struct waitgraph *g, struct waitgraph_process *p, unsigned depth)
{
	const struct waitgraph_entry *e = p->waits;
	struct want w;

	if (p->round == g->round)
		return p->stuck;
	p->round = g->round;
	p->stuck = false;
	/* Two waits of a process with one thread: one of them is over already,
	 * and which one is not known here. */
	if (!e || e->proc_next || depth >= MAX_DEPTH || unknown(&p->owner))
		return false;
	w.name = e->name;
	w.self = e;
	w.mode = e->mode;
	w.slot_lo = e->slot_lo;
	w.slot_hi = e->slot_hi;
	/* Questions about processes cost system calls: asked last, so that they are
	 * asked only along a circle. */
	p->stuck = wait_stuck(g, &w, depth + 1) && single_threaded(g, p);
	return p->stuck;
}

static bool has_open(struct waitgraph *g, const struct waitgraph_entry *h)
{
	return g->env.has_open(g->env.ctx, &h->process->owner, h->handle);
}

/* Does a wait that surely stays stand in the queue before w and want it exclusively? */
static bool exclusive_ahead(struct waitgraph *g, const struct want *w)
{
	const struct waitgraph_entry *e;
	unsigned asks = 0;

	for (e = w->name->waiters; e && e != w->self; e = e->name_next) {
		if (out_of_steps(g) || asks >= MAX_QUEUE_ASKS)
			return false;
		if (e->mode != LK_EXCLUSIVE || e->process->waits->proc_next || unknown(&e->process->owner))
			continue;
		if (single_threaded(g, e->process))
			return true;
		asks++;
	}
	return false;
}

static bool lock_stuck(struct waitgraph *g, const struct want *w, unsigned depth)
{
	bool any_mode = w->mode == LK_EXCLUSIVE, looked = any_mode;
	const struct waitgraph_entry *h;

	DL_FOREACH2(w->name->holders, h, name_next) {
		if (out_of_steps(g))
			return false;
		if (!process_stuck(g, h->process, depth))
			continue;
		/* Shared beside shared waits only for a writer in between. */
		if (h->mode == LK_SHARED && !looked) {
			any_mode = exclusive_ahead(g, w);
			looked = true;
		}
		if ((any_mode || h->mode == LK_EXCLUSIVE) && has_open(g, h))
			return true;
	}
	return false;
}

static bool slots_stuck(struct waitgraph *g, const struct want *w, unsigned depth)
{
	unsigned slots = w->slot_hi - w->slot_lo, taken = 0;
	const struct waitgraph_entry *h;
	unsigned char *seen;
	bool stuck = true;

	/* A slot that nobody here holds is free or another mount's. */
	DL_FOREACH2(w->name->holders, h, name_next) {
		if (out_of_steps(g))
			return false;
		taken += h->slot_lo >= w->slot_lo && h->slot_lo < w->slot_hi;
	}
	if (slots == 0 || taken < slots)
		return false;
	seen = calloc(slots, 1);
	if (!seen)
		return false;
	taken = 0;
	DL_FOREACH2(w->name->holders, h, name_next) {
		if (h->slot_lo < w->slot_lo || h->slot_lo >= w->slot_hi)
			continue;
		stuck = process_stuck(g, h->process, depth) && has_open(g, h);
		if (!stuck)
			break;
		taken += !seen[h->slot_lo - w->slot_lo];
		seen[h->slot_lo - w->slot_lo] = 1;
	}
	free(seen);
	return stuck && taken == slots;
}

static bool wait_stuck(struct waitgraph *g, const struct want *w, unsigned depth)
{
	return w->name->key[0] == LK_SEM ? slots_stuck(g, w, depth) : lock_stuck(g, w, depth);
}

bool waitgraph_would_deadlock(struct waitgraph *g, enum lk_kind kind, const char *name, const struct lk_owner *owner,
			      enum lk_mode mode, unsigned slot_lo, unsigned slot_hi)
{
	struct waitgraph_process *p = find_process(g, owner);
	struct want w;

	/* A process that waits already, asking again, has another thread. */
	if (!p || !p->holds || p->waits || unknown(owner))
		return false;
	w.name = find_name(g, kind, name);
	if (!w.name)
		return false;
	w.self = NULL;
	w.mode = mode;
	w.slot_lo = slot_lo;
	w.slot_hi = slot_hi;
	g->round++;
	g->steps = MAX_STEPS;
	p->round = g->round;
	p->stuck = true;
	return wait_stuck(g, &w, 0) && single_threaded(g, p);
}

void *waitgraph_held_by(struct waitgraph *g, enum lk_kind kind, const char *name, const struct lk_owner *owner)
{
	const struct waitgraph_process *p = find_process(g, owner);
	const struct waitgraph_name *n = p ? find_name(g, kind, name) : NULL;
	const struct waitgraph_entry *h;

	if (!n || unknown(owner))
		return NULL;
	DL_FOREACH2(n->holders, h, name_next) {
		if (h->process == p && h->mode == LK_EXCLUSIVE)
			return h->handle;
	}
	return NULL;
}

struct waitgraph *waitgraph_new(const struct waitgraph_env *env)
{
	struct waitgraph *g = calloc(1, sizeof(*g));

	if (g)
		g->env = *env;
	return g;
}

void waitgraph_free(struct waitgraph *g)
{
	struct waitgraph_process *p, *p2;
	struct waitgraph_name *n, *n2;

	if (!g)
		return;
	/* Entries are embedded in others' memory, which may be gone: not touched. */
	HASH_ITER(hh, g->processes, p, p2) {
		HASH_DEL(g->processes, p);
		free(p);
	}
	HASH_ITER(hh, g->names, n, n2) {
		HASH_DEL(g->names, n);
		free(n);
	}
	free(g);
}
