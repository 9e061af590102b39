/* The file backend: locks of one host in a directory, flock(2) beneath. */
#ifndef BACKEND_FILE_FILE_H
#define BACKEND_FILE_FILE_H

#include "backend/interface.h"

/* Opens DIR (it must exist) and what is below it. 0 and *out; -ENOTDIR,
 * -EACCES, -EROFS, -ELOOP (a symbolic link where a folder belongs), -ENOSPC.
 * *why names the path that failed (static buffer). */
int lk_file_backend_open(const struct lk_config *config, const char *dir, struct lk_backend **out, const char **why);

#endif
