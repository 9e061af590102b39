/* Putting a view together: parties of this mount, of other mounts of DIR, and
 * programs outside. The strings are the gathering's. */
#ifndef BACKEND_FILE_GATHER_H
#define BACKEND_FILE_GATHER_H

#include "backend/file/internal.h"

struct gather {
	struct file_backend *b;
	enum lk_kind kind;
	char *name; /* NULL: all names */
	struct lk_party *holders, *waiters;
	size_t n_holders, n_waiters, cap_holders, cap_waiters;
	char **strings;
	size_t n_strings, cap_strings;
	pid_t *peers; /* processes of other mounts that answered */
	size_t n_peers;
	bool partial;
	int err; /* out of memory on the way */
};

struct gather *gather_new(struct file_backend *b, enum lk_kind kind, const char *name);
void gather_free(struct gather *g);
/* A copy that lives as long as the gathering; "" when out of memory (g->err). */
const char *gather_string(struct gather *g, const char *s);
void gather_holder(struct gather *g, const struct lk_party *p);
void gather_waiter(struct gather *g, const struct lk_party *p);
/* Everything of this mount. */
void gather_here(struct gather *g);

/* outside.c: flocks of programs that are no mount. done(arg) later or at once, once; drop(arg) instead, when the
 * backend goes first. */
struct outsiders *outsiders_new(struct file_backend *b);
void outsiders_free(struct outsiders *o);
bool outsiders_busy(const struct outsiders *o); /* somebody waits for done */
void gather_outside(struct gather *g, void (*done)(void *arg), void (*drop)(void *arg), void *arg);

/* peer.c: makes this mount one of them. */
struct peers *peers_new(struct file_backend *b);
void peers_free(struct peers *p);
bool peers_busy(const struct peers *p); /* a question is open */

/* peer_ask.c: asks the other mounts; done(arg, g) later or at once, once; drop(arg) instead, when the backend goes
 * first. */
typedef void (*peers_done)(void *arg, struct gather *g);
void peers_gather(struct peers *p, struct gather *g, peers_done done, void (*drop)(void *arg), void *arg);
/* A byte range of a file that some mount has locked. */
struct peer_range {
	uint64_t dev, ino;
	int64_t start, end;
};

/* Asks who has it: done(arg, pid) later or at once, once; 0: nobody knows. */
typedef void (*peers_told_pid)(void *arg, pid_t pid);
/* range_test.c: of this mount. */
pid_t range_pid_here(struct file_backend *b, const struct peer_range *range);
void peers_range(struct peers *p, const struct peer_range *range, peers_told_pid done, void (*drop)(void *arg),
		 void *arg);
/* Asks the mount that has the id to break the hold or end the wait. < 0:
 * -ENOENT no such mount. */
int peers_tell(struct peers *p, const char *op, const char *id, lk_done_cb cb, void *arg);

#endif
