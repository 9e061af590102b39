/* Log lines for the operator: to stderr in front, to syslog in the background.
 *
 * One event, one line, no secrets. pl_log_once_per limits a repeating cause
 * (a directory that is full, say) to one line in a while and counts the rest.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

enum pl_level { PL_ERROR, PL_WARN, PL_INFO, PL_DEBUG };

/* From now on to syslog(3), with `ident`, facility daemon. */
void pl_log_to_syslog(const char *ident);
void pl_log_level(enum pl_level most_verbose);
void pl_log(enum pl_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Limits one cause. Zero-initialise; keep one per cause, static or embedded. */
struct pl_log_limit {
	uint64_t last_ns; /* CLOCK_BOOTTIME of the last line let through */
	unsigned swallowed;
};
/* As pl_log, but at most one line every 10 s; the next one says how many were
 * left out. */
void pl_log_limited(struct pl_log_limit *limit, enum pl_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
