/* What ranges.c (what is held) and ranges_wait.c (who waits) share. */
#ifndef BACKEND_RANGES_INTERNAL_H
#define BACKEND_RANGES_INTERNAL_H

#include "backend/ranges.h"

static inline bool ranges_same(struct ranges_who a, struct ranges_who b)
{
	return a.owner == b.owner && a.session == b.session;
}

static inline bool ranges_valid(const struct ranges_lock *l)
{
	return l->start >= 0 && l->end >= l->start;
}

bool ranges_has_exclusive(const struct ranges *r, struct ranges_who who);

#endif
