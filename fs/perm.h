/* Who may do what in the tree. The kernel does not check for us (cached
 * lookups never reach the server, so each open is checked here). */
#ifndef FS_PERM_H
#define FS_PERM_H

#include "fs/server.h"

enum { PERM_SEARCH = 1, PERM_WRITE = 2, PERM_READ = 4 };

/* Permission bits `want` of an object for the caller of req. root may all. */
bool perm_allows(fuse_req_t req, mode_t mode, uid_t uid, gid_t gid, int want);

/* May the caller of req use namespace `ns` ("" is the top) with `want`, and
 * search every one above it? done(arg, 0 | -EACCES | what the backend said) runs
 * once: at once when nothing need be asked, else later. */
void perm_namespace(struct server *s, fuse_req_t req, const char *ns, int want, lk_done_cb done, void *arg);
/* The namespace a name is in: everything before its last '/'. */
void perm_parent_of(const char *name, char out[LK_NAME_MAX + 1]);

#endif
