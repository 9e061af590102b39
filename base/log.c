/* The operator's log: stderr or syslog, one write(2) per line. Also called
 * from worker threads; what is set here is set before they start. */
#include "base/log.h"

#include "base/loop.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024
#define LIMIT_NS (10 * PL_SEC)

static enum pl_level verbosity = PL_INFO;
static bool to_syslog;

void pl_log_to_syslog(const char *ident)
{
	openlog(ident, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	to_syslog = true;
}

void pl_log_level(enum pl_level most_verbose)
{
	verbosity = most_verbose;
}

static int priority(enum pl_level level)
{
	static const int of[] = {
		[PL_ERROR] = LOG_ERR, [PL_WARN] = LOG_WARNING, [PL_INFO] = LOG_INFO, [PL_DEBUG] = LOG_DEBUG
	};

	return of[level];
}

/* One line stays one line, whatever bytes a name in it has. */
static void tame(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	}
}

static void emit(enum pl_level level, const char *text)
{
	char line[LINE_MAX_BYTES + 32];
	ssize_t ignored;
	int n;

	if (to_syslog) {
		syslog(priority(level), "%s", text);
		return;
	}
	n = snprintf(line, sizeof(line), "plockfs: %s\n", text);
	/* stderr may be closed or full; there is nobody left to tell. */
	ignored = write(STDERR_FILENO, line, (size_t)n);
	(void)ignored;
}

static void format(char text[LINE_MAX_BYTES], unsigned left_out, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void format(char text[LINE_MAX_BYTES], unsigned left_out, const char *fmt, va_list ap)
{
	size_t len;

	(void)vsnprintf(text, LINE_MAX_BYTES, fmt, ap);
	tame(text);
	if (!left_out)
		return;
	len = strlen(text);
	/* The count must be seen, also after a long line. */
	if (len > LINE_MAX_BYTES - 48)
		len = LINE_MAX_BYTES - 48;
	(void)snprintf(text + len, LINE_MAX_BYTES - len, " (%u more like this were left out)", left_out);
}

void pl_log(enum pl_level level, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	va_list ap;

	if (level > verbosity)
		return;
	va_start(ap, fmt);
	format(text, 0, fmt, ap);
	va_end(ap);
	emit(level, text);
}

static uint64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * PL_SEC + (uint64_t)ts.tv_nsec;
}

void pl_log_limited(struct pl_log_limit *limit, enum pl_level level, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	uint64_t now = boot_ns();
	va_list ap;

	if (level > verbosity)
		return;
	if (limit->last_ns && now - limit->last_ns < LIMIT_NS) {
		limit->swallowed++;
		return;
	}
	va_start(ap, fmt);
	format(text, limit->swallowed, fmt, ap);
	va_end(ap);
	limit->last_ns = now;
	limit->swallowed = 0;
	emit(level, text);
}
