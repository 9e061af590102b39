/* The computed files of the tree: holders, waiters, status, metrics, README.
 *
 * Everything returns a malloc'ed text and its length, or NULL when out of
 * memory. Names in output are escaped so that one line stays one line.
 */
#ifndef FS_RENDER_H
#define FS_RENDER_H

#include "backend/backend.h"

struct render_info {
	const char *mountpoint, *source, *version, *host;
	uint64_t now;	   /* wall ns */
	uint64_t mounted;  /* wall ns of the mount */
	uint64_t requests; /* FUSE requests answered since */
	uint64_t open_handles;
	uint64_t nodes;
	bool read_only;
};

/* holders/.../HOST:PID and waiters/.../0001:HOST:PID: `key: value` lines
 * (host pid uid gid comm mode since held_for token slot; waiters: waiting_for
 * instead of held_for, position, and no token). as_of: wall ns when that was known, 0 for now. */
char *render_holder(const struct lk_party *p, uint64_t now, uint64_t as_of, size_t *len);
char *render_waiter(const struct lk_party *p, unsigned position, uint64_t now, uint64_t as_of, size_t *len);

/* The file names of n parties, in their order: "HOST:PID", or "HOST:PID:n"
 * (n = 2, 3, ...) from the second party of that HOST:PID on; waiters get the
 * position in front, "0001:HOST:PID". Returns an array of n strings in one
 * block: free() frees it all. */
char **render_party_names(const struct lk_party *parties, size_t n, bool waiters);

char *render_status(const struct render_info *i, const struct lk_view *locks, const struct lk_view *sems,
		    const struct lk_counters *c, size_t *len);
char *render_status_json(const struct render_info *i, const struct lk_view *locks, const struct lk_view *sems,
			 const struct lk_counters *c, size_t *len);
char *render_metrics(const struct render_info *i, const struct lk_counters *c, size_t *len);
char *render_readme(const struct render_info *i, size_t *len);

#endif
