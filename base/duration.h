/* The words of durations and sizes that options and paths use: 250ms, 5s, 2m,
 * 1h, a bare number of seconds; 4096, 64K, 1M, 1G. */
#ifndef BASE_DURATION_H
#define BASE_DURATION_H

#include <stdint.h>

/* 0, or -EINVAL for anything but digits with an optional fraction and unit, or
 * -ERANGE past 10 years. *ns is untouched on error. */
int pl_parse_duration(const char *word, uint64_t *ns);
/* 0, -EINVAL, -ERANGE (past 2^62). Suffixes K, M, G are powers of 1024. */
int pl_parse_size(const char *word, uint64_t *bytes);

#endif
