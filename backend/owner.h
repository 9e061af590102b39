/* Who asked: a process as everything above a raw pid needs to know it.
 *
 * The pid FUSE hands over is a thread's, may be 0 (another pid namespace) and
 * is reused by the kernel; start time makes it unique on one boot.
 */
#ifndef BACKEND_OWNER_H
#define BACKEND_OWNER_H

#include <stdint.h>
#include <sys/types.h>

#define LK_COMM_MAX 16
#define LK_HOST_MAX 65

struct lk_owner {
	pid_t pid; /* process (thread group) id; 0 when unknown */
	pid_t tid; /* the thread that asked; 0 when unknown */
	uid_t uid;
	gid_t gid;
	uint64_t start; /* field 22 of /proc/PID/stat, clock ticks; 0 unknown */
	char comm[LK_COMM_MAX];
};

#endif
