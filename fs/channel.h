/* The FUSE device on the loop: reads requests in the kernel's order. */
#ifndef FS_CHANNEL_H
#define FS_CHANNEL_H

#include "fs/server.h"

struct channel;

/* The session must be mounted. 0 or negative errno. When the mount goes away
 * (umount, abort) the loop is stopped. */
int channel_open(struct server *s, struct channel **out);
void channel_close(struct channel *c);

#endif
