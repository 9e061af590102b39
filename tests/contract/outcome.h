/* One call of the suite under way: its callback comes once, from a later turn,
 * and never after a call that failed.
 */
#ifndef TESTS_CONTRACT_OUTCOME_H
#define TESTS_CONTRACT_OUTCOME_H

#include "tests/contract/suite.h"

struct outcome {
	bool inside, refused;
	unsigned calls;
	ssize_t n;   /* the errno, or the bytes */
	char *out;   /* where read bytes go; may be NULL */
	size_t size; /* of out, without the NUL */
	struct lk_file *file;
	struct lk_file_stat st;
	struct ranges_lock lock;
	bool conflict;
};

/* Its memory is never given back, only used again much later. */
struct outcome *outcome_new(void);
/* The call returned ret: from now on the callback may come. Returns o. */
struct outcome *outcome_begun(struct outcome *o, int ret);
/* Turns until it came; the callback's result, or what the call returned. */
ssize_t outcome_of(struct fixture *f, struct outcome *o);
/* For callbacks: it came, with n. */
void outcome_came(struct outcome *o, ssize_t n);

void on_done(void *arg, int err);
void on_io(void *arg, ssize_t n, const void *data);

#endif
