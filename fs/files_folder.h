/* files/: what the sticky and the set-group-ID bit of a folder say. */
#ifndef FS_FILES_FOLDER_H
#define FS_FILES_FOLDER_H

#include "fs/server.h"

/* May the caller of req take the name `path` away, as far as its folder's sticky bit has it: done(arg, 0 | -EPERM |
 * what the backend said) runs once, at once or later. Nothing at path is 0. */
void folder_may_take(struct server *s, fuse_req_t req, const char *path, lk_done_cb done, void *arg);

/* The group of what the caller of req makes at `path`; from_folder: because of the folder's bit, which a folder in it
 * gets as well. done runs once, at once or later. */
typedef void (*folder_group_cb)(void *arg, int err, gid_t gid, bool from_folder);
void folder_group(struct server *s, fuse_req_t req, const char *path, folder_group_cb done, void *arg);

#endif
