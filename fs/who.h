/* Facts about processes, read from /proc. */
#ifndef FS_WHO_H
#define FS_WHO_H

#include "backend/owner.h"

#include <stdbool.h>

struct pl_loop;
struct who_cache;

/* Remembers a thread's process for 50 ms, so that a burst of opens by one
 * thread costs one look at /proc. NULL: out of memory. */
struct who_cache *who_cache_new(struct pl_loop *loop);
void who_cache_free(struct who_cache *c);
/* Fills *out from a FUSE request's context. pid 0 (other pid namespace) or a
 * vanished thread gives pid = tid, empty comm and start 0; never fails. */
void who_resolve(struct who_cache *c, pid_t tid, uid_t uid, gid_t gid, struct lk_owner *out);

/* True while that very process (same start time) lives. */
bool who_alive(const struct lk_owner *o);
/* Threads of the process; 0 when unknown. */
unsigned who_threads(const struct lk_owner *o);
/* Does the process have a descriptor whose inode number is `ino` (the number
 * in /proc/PID/fdinfo)? 1 yes, 0 no, < 0 cannot be known. */
int who_has_inode_open(const struct lk_owner *o, uint64_t ino);
/* Is thread `tid` right now inside mkdir(2), mkdirat(2) or another call that
 * wants the name not to exist (mknod, symlink, link) or to exist (rename)? */
bool who_makes_name(pid_t tid);
/* Is `gid` one of the caller's groups (its fsgid or supplementary)? */
bool who_in_group(pid_t tid, gid_t caller_gid, gid_t gid);
/* kill(2) to that very process, by pidfd. 0 or negative errno. */
int who_signal(const struct lk_owner *o, int sig);

#endif
