/* Shared maps of files that others may cut short.
 *
 * Touching a page of a map behind the end of its file is a SIGBUS, and asking
 * for the size before each touch costs a system call and still leaves a gap. A
 * guarded map gets a page of zeros there instead, of this process alone, and says
 * so. Any other SIGBUS ends the process as ever.
 */
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

#include <signal.h>
#include <stddef.h>

/* Embed it; zero-initialise. */
struct pl_guard {
	char *start;
	size_t len;
	volatile sig_atomic_t cut; /* a page was missing: what is read and written there is nobody else's */
	struct pl_guard *prev, *next;
};

/* From the loop's thread, as what touches the map. The map is the caller's. */
void pl_guard_add(struct pl_guard *g, void *start, size_t len);
/* Before it is unmapped. One that was not added: nothing happens. */
void pl_guard_remove(struct pl_guard *g);

#endif
