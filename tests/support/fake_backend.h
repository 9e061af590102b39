/* A backend in memory, for tests: everything that backend.h promises, nothing
 * below it. A fake_world is what outlives a mount (values, tokens, namespaces,
 * files) and may be opened more than once at a time: mounts of one world exclude
 * each other, first come, first served. Who waits for a byte range yields to nobody.
 */
#ifndef TESTS_SUPPORT_FAKE_BACKEND_H
#define TESTS_SUPPORT_FAKE_BACKEND_H

#include "backend/interface.h"

struct fake_world;

/* NULL: out of memory. */
struct fake_world *fake_world_new(void);
/* After the last lk_destroy. NULL is allowed. */
void fake_world_free(struct fake_world *w);
/* A mount of the world; lk_destroy ends it. NULL: out of memory. */
struct lk_backend *fake_backend_open(struct fake_world *w, const struct lk_config *config);

/* The hold is lost from now on; its on_lost comes in a later turn. */
void fake_lose(struct lk_backend *b, struct lk_hold *hold);
/* The mount's lease is over: its holds and byte ranges are lost. */
void fake_lapse(struct lk_backend *b);
/* While held back, nothing is granted that was not yet, as if programs outside
 * had every lock: who may wait waits. Ending it grants what can be granted. */
void fake_hold_back(struct fake_world *w, bool yes);

#endif
