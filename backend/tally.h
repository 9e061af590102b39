/* Counting what every backend counts the same way. */
#ifndef BACKEND_TALLY_H
#define BACKEND_TALLY_H

#include "backend/backend.h"

/* A grant, after `waited` ns. */
void tally_grant(struct lk_counters *c, const struct lk_hold *hold, uint64_t waited);
/* A request that ended with this errno (negative). */
void tally_refusal(struct lk_counters *c, int err);

#endif
