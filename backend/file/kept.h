/* Descriptors of lock files that were given up: opening one beneath DIR costs
 * several times what its flock does, and most names are locked again soon.
 * They hold no flock. A few are kept, the latest. */
#ifndef BACKEND_FILE_KEPT_H
#define BACKEND_FILE_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct kept;

/* NULL: no memory. */
struct kept *kept_new(void);
/* Closes them all. */
void kept_free(struct kept *k);
/* False when there was none. */
bool kept_clear(struct kept *k);
/* Takes fd over. */
void kept_put(struct kept *k, const char *key, size_t len, unsigned idx, int fd, dev_t dev, ino_t ino);
/* The caller's again, with what file it is; -1: there is none. */
int kept_take(struct kept *k, const char *key, size_t len, unsigned idx, dev_t *dev, ino_t *ino);

#endif
