/* Before the mount: its folders, what is left of a dead one, the background. */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include "fs/options.h"

/* Opens what is closed of stdin, stdout and stderr: no other file may get their numbers. */
void mount_fill_stdio(void);
/* Makes the default source directory with its parents (0711 as root, 0700
 * else), or a given one whose parent exists; checks the mount point. 0, or -1
 * after one line in the log. */
int mount_prepare_dir(const struct options *o);
/* Detaches a dead plockfs mount from there; a living one, or another dead
 * file system, is an error. 0, or -1 after one line in the log. */
int mount_clear_dead(const char *mountpoint);
/* Goes to the background: call before threads and the loop exist. The parent
 * stays until mount_daemonize_ready or our death, and exits with what that
 * said (1 when we died). 0, or -1 after one line in the log. */
int mount_daemonize_begin(void);
/* code 0: also lets go of the terminal. */
void mount_daemonize_ready(int code);
/* As many descriptors as we may have: one is needed for each held lock. */
void mount_raise_limits(void);

#endif
