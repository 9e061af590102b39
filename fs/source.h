/* SOURCE on the command line: where the locks are. */
#ifndef FS_SOURCE_H
#define FS_SOURCE_H

#include "fs/options.h"

#include <stddef.h>

/* Fills source_kind, source_is_default, source and dir of *o. word NULL: the
 * default. 0, or -EINVAL or -ENOMEM with one line in why, without a password. */
int source_parse(struct options *o, const char *word, char *why, size_t size);
/* The path from the root, symbolic links resolved where it can be; it need not
 * exist, and what is mounted on it is not asked. The caller frees it; NULL: no memory. */
char *source_absolute(const char *path);

#endif
