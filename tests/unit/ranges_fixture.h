/* Short ways to say a byte-range lock. */
#ifndef TESTS_UNIT_RANGES_FIXTURE_H
#define TESTS_UNIT_RANGES_FIXTURE_H

#include "backend/ranges.h"

#define S RANGES_SHARED
#define X RANGES_EXCLUSIVE
#define END INT64_MAX

/* The owner's number is its pid too. */
static inline struct ranges_lock lock_of(uint64_t owner, enum ranges_mode mode, int64_t start, int64_t end)
{
	return (struct ranges_lock){
		.who = { .session = 1, .owner = owner }, .start = start, .end = end, .pid = (pid_t)owner, .mode = mode
	};
}

#endif
