/* Counting what every backend counts the same way. */
#include "backend/tally.h"

#include <errno.h>

void tally_grant(struct lk_counters *c, const struct lk_hold *hold, uint64_t waited)
{
	uint64_t bound = 100000;
	unsigned i = 0;

	if (hold->kind == LK_SEM)
		c->granted_sem++;
	else
		c->granted[hold->mode]++;
	while (i < LK_WAIT_BUCKETS - 1 && waited > bound) {
		bound *= 4;
		i++;
	}
	c->wait_bucket[i]++;
	c->wait_ns += waited;
	c->held++;
}

void tally_refusal(struct lk_counters *c, int err)
{
	enum lk_refusal why = LK_R_OTHER;

	if (err == -EAGAIN)
		why = LK_R_BUSY;
	else if (err == -ETIMEDOUT)
		why = LK_R_TIMEOUT;
	else if (err == -EINTR)
		why = LK_R_INTERRUPTED;
	else if (err == -ECANCELED)
		why = LK_R_CANCELED;
	else if (err == -ENOLCK)
		why = LK_R_LIMIT;
	else if (err == -EHOSTDOWN)
		why = LK_R_UNAVAILABLE;
	c->refused[why]++;
}
