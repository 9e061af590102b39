/* fcntl(2) byte ranges through backend/files.h, asked and waited for. */
#ifndef TESTS_CONTRACT_RANGES_H
#define TESTS_CONTRACT_RANGES_H

#include "tests/contract/files.h"

#define S RANGES_SHARED
#define X RANGES_EXCLUSIVE
#define NONE RANGES_NONE
#define END INT64_MAX

struct range_ask {
	struct lk_range_request req;
	struct fixture *f;
	struct lk_backend *b;
	bool refused; /* lk_range_set returned < 0 */
	unsigned calls;
	int err;
};

/* Asks; does not wait. The owner's pid is range_pid(owner), unless pid is not 0. */
struct range_ask *range_ask(const struct opened *o, uint64_t owner, enum ranges_mode mode, int64_t start, int64_t end,
			    bool wait, pid_t pid);
/* As F_SETLK: asks and takes the answer. */
int range_try(const struct opened *o, uint64_t owner, enum ranges_mode mode, int64_t start, int64_t end);
int range_unlock(const struct opened *o, uint64_t owner, int64_t start, int64_t end);
/* As F_SETLKW: asks. */
struct range_ask *range_wait(const struct opened *o, uint64_t owner, enum ranges_mode mode, int64_t start, int64_t end);
int range_answer(struct range_ask *r);
/* After a round trip to every mount: not answered yet. */
void range_still_waits(struct range_ask *r);
void range_cancel(struct range_ask *r, int err);
int range_drop(const struct opened *o, uint64_t owner);
/* F_GETLK: true, and the conflict (unless NULL), when one is in the way. */
bool range_taken(const struct opened *o, uint64_t owner, enum ranges_mode mode, int64_t start, int64_t end,
		 struct ranges_lock *conflict);
pid_t range_pid(uint64_t owner);

#endif
