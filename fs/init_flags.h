/* What libfuse's INIT answer cannot say. */
#ifndef FS_INIT_FLAGS_H
#define FS_INIT_FLAGS_H

#include <fuse_lowlevel.h>

/* After fuse_session_mount. Lets programs map files that are opened with direct_io, where the
 * kernel can (FUSE 7.39, Linux 6.6); elsewhere mmap(MAP_SHARED) of them is ENODEV. 0 or negative errno. */
int init_flags_install(struct fuse_session *se);

#endif
