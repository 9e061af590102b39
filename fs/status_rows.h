/* The rows of status and status.json: who holds what and who waits, sorted by name. */
#ifndef FS_STATUS_ROWS_H
#define FS_STATUS_ROWS_H

#include "fs/render.h"

struct row {
	const struct lk_party *p;
	size_t index; /* in its view: the queue's order */
};

struct rows {
	struct row *row;
	size_t n;
};

/* Both kinds of holders or waiters, sorted. False when out of memory. */
bool status_rows(struct rows *rows, const struct lk_view *locks, const struct lk_view *sems, bool waiters);
/* The order of names in them. */
int status_by_name(const struct lk_party *a, const struct lk_party *b);
/* When the oldest part of what is shown was seen. */
uint64_t status_as_of(const struct render_info *i, const struct lk_view *locks, const struct lk_view *sems);

#endif
