/* Lists of options as -o has them. */
#ifndef FS_OPTION_LIST_H
#define FS_OPTION_LIST_H

#include "fs/options.h"

/* Adds `a,b=c,...` to *o; a backslash takes a comma's meaning away. 0, or 2 after
 * one line on stderr. */
int option_list(struct options *o, const char *list);
/* One line on stderr, whatever control bytes the user typed; returns 2, the exit code. */
int option_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
