/* Zeroed memory for what lives as long as one request or one hold.
 *
 * glibc's calloc (up to 2.40 at least) passes by the cache of small blocks that
 * malloc and free have, and half of what an open and its close took of the CPU in
 * user mode was calloc. Give it back with free.
 */
#ifndef BASE_ZALLOC_H
#define BASE_ZALLOC_H

#include <stdlib.h>
#include <string.h>

/* NULL: no memory. */
static inline void *pl_zalloc(size_t size)
{
	void *p = malloc(size);

	if (p)
		memset(p, 0, size);
	return p;
}

#endif
