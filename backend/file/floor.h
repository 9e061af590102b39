/* Fencing tokens of one DIR: a counter that never goes back (A5).
 *
 * DIR/.plockfs/floor is shared by all mounts of DIR through mmap: the last
 * token given, and a ceiling. token = max(last + 1, wall clock in us), and none
 * above the ceiling, which is made durable ahead of need. After a reboot the
 * counting goes on from the ceiling, so tokens rise even when the clock was set
 * back or the page cache was lost.
 */
#ifndef BACKEND_FILE_FLOOR_H
#define BACKEND_FILE_FLOOR_H

#include <stdbool.h>
#include <stdint.h>

struct floor_page;

#define FLOOR_WINDOW_US (UINT64_C(600) * 1000000)

struct floor {
	int dir; /* borrowed: DIR/.plockfs */
	int fd;
	uint64_t had; /* the last token that we gave, or of a file that was removed */
	/* Another mount has given one since this was last cleared: for the caller to clear. */
	bool others;
	/* After floor_next: less than half the window is left. Call floor_raise soon, from a
	 * worker thread if you like (it only touches the file, and blocks). */
	bool low;
	struct floor_page *page;
};

/* Opens or makes the file below `dir`. 0 or negative errno. */
int floor_open(struct floor *f, int dir, uint64_t wall_us);
void floor_close(struct floor *f);
/* The next token, greater than all before. 0 or negative errno (the file could
 * not be made durable: no token then). */
int floor_next(struct floor *f, uint64_t wall_us, uint64_t *token);
/* The last token given by anybody. */
uint64_t floor_last(const struct floor *f);
/* Makes the ceiling of fd durable a window above what is needed. */
int floor_raise(int fd, uint64_t wall_us);

#endif
