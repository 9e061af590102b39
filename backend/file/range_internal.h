/* What range.c (taking and giving back) and range_test.c (asking) share. */
#ifndef BACKEND_FILE_RANGE_INTERNAL_H
#define BACKEND_FILE_RANGE_INTERNAL_H

#include "backend/file/inode.h"

#include <fcntl.h>

struct fowner {
	uint64_t id;
	int fd;
	unsigned blocked; /* calls that a worker waits with */
	UT_hash_handle hh;
};

/* Or NULL. */
struct fowner *range_owner(const struct finode *i, uint64_t id);
/* As the kernel is asked. */
struct flock range_kernel(const struct ranges_lock *want);

#endif
