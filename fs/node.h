/* The nodes of the tree: what the kernel knows by number.
 *
 * A node is one name in one directory. It is made by LOOKUP, counted by
 * nlookup, and freed when the kernel has forgotten it and no child is left.
 * Node numbers are never reused while the mount lives, so a stale number in a
 * request is answered ESTALE instead of reaching freed memory.
 */
#ifndef FS_NODE_H
#define FS_NODE_H

#include "backend/backend.h"
#include "fs/options.h"

#include <uthash.h>

enum node_kind {
	N_ROOT,		/* the mount point, and with/OPTS/ */
	N_NAMESPACE,	/* locks/, locks/DIR/ */
	N_LOCK,		/* locks/NAME, NAME */
	N_SEMS,		/* sems/ */
	N_SEM,		/* sems/NAME/ */
	N_SEM_BOUND,	/* sems/NAME/N/ */
	N_SEM_SLOT,	/* sems/NAME/N/any, sems/NAME/N/K */
	N_FILES,	/* files/, files/DIR/ */
	N_FILE,		/* files/NAME */
	N_WITH,		/* with/ */
	N_PARTIES,	/* holders/, waiters/ */
	N_PARTIES_NS,	/* holders/locks/, holders/locks/DIR/, holders/sems/ */
	N_PARTIES_NAME, /* holders/locks/NAME/ */
	N_PARTY,	/* holders/locks/NAME/HOST:PID */
	N_STATUS,
	N_STATUS_JSON,
	N_METRICS,
	N_README,
};

/* What with/OPTS/ says for everything below it; shared by those nodes. */
struct node_view {
	struct acquire_opts acquire;
	bool only_used; /* with/new: unused names do not resolve */
	unsigned refs;
};

struct handle;
struct lk_file_stat;

struct node {
	uint64_t id;
	uint64_t nlookup;
	unsigned children;
	enum node_kind kind;
	bool waiters;		   /* N_PARTIES*, N_PARTY: waiters/, not holders/ */
	bool hashed;		   /* found by its name; false once another node took it */
	enum lk_kind lk;	   /* N_PARTIES_NS, _NAME, N_PARTY */
	uint64_t ino;		   /* N_FILE: the backend's number of the file */
	struct handle *opened;	   /* N_FILE: utlist DL by file_prev, file_next */
	struct lk_file_stat *seen; /* N_FILE: when it was last looked up; owned, or NULL */
	unsigned bound;		   /* N_SEM_BOUND, N_SEM_SLOT */
	int slot;		   /* N_SEM_SLOT: K, or -1 for any */
	struct node *parent;	   /* NULL for the root */
	struct node_view *view;
	char *path; /* the lock's, namespace's, file's or semaphore's name; "" at a top */
	UT_hash_handle hh_id, hh_name;
	size_t keylen;
	char *key; /* parent's id (8 bytes), then the name */
};

static inline const char *node_name(const struct node *n)
{
	return n->key + sizeof(uint64_t);
}

struct node_table {
	struct node *by_id, *by_name;
	struct node *root;
	uint64_t next_id;
	uint64_t count;
};

/* 0 or -ENOMEM. */
int nodes_init(struct node_table *t);
void nodes_free(struct node_table *t);
/* NULL when the number is not known. */
struct node *node_get(struct node_table *t, uint64_t id);
/* The child of that name and kind, made when missing (with nlookup 0); a child
 * of another kind loses the name to it. path is copied; NULL: the parent's. NULL: no
 * memory. */
struct node *node_child(struct node_table *t, struct node *parent, const char *name, enum node_kind kind,
			const char *path);
/* The child that has the name now, or NULL. */
struct node *node_find(struct node_table *t, struct node *parent, const char *name);
/* As node_child with a view of its own. */
struct node *node_child_view(struct node_table *t, struct node *parent, const char *name,
			     const struct acquire_opts *acquire, bool only_used);
/* Takes the name from a node (unlinked, renamed away). */
void node_unname(struct node_table *t, struct node *n);
/* Could the node be moved to that path? Not when a path below would be longer than LK_NAME_MAX. */
bool node_fits(const struct node_table *t, const struct node *n, const char *path);
/* Gives the node another place, for rename(2): the kernel goes on using its
 * number there. What had that name loses it; paths below follow. 0 or -ENOMEM. */
int node_move(struct node_table *t, struct node *n, struct node *parent, const char *name, const char *path);
/* Frees a node that nothing refers to (after a reply that failed), or that the
 * kernel has forgotten n times. */
void node_forget(struct node_table *t, struct node *n, uint64_t times);
/* Builds parent->path + "/" + name. 0 or -ENAMETOOLONG. */
int node_join(const struct node *parent, const char *name, char out[LK_NAME_MAX + 1]);

#endif
