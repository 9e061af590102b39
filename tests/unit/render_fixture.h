/* One mount and one party, for the tests of what is rendered. */
#ifndef TESTS_UNIT_RENDER_FIXTURE_H
#define TESTS_UNIT_RENDER_FIXTURE_H

#include "base/loop.h"
#include "fs/render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

/* 2026-11-23T11:20:05Z */
#define T0 (UINT64_C(1795432805) * PL_SEC)

static const struct render_info info = {
	.mountpoint = "/mnt/locks",
	.source = "file:/srv/locks",
	.version = "9.8.7",
	.host = "alpha",
	.now = T0 + 3700 * PL_MS,
	.mounted = T0 - 93780 * PL_SEC,
	.requests = 41,
	.open_handles = 42,
	.nodes = 43,
};

static inline struct lk_party party(const char *name, pid_t pid)
{
	return (struct lk_party){
		.id = "x",
		.host = "alpha",
		.owner = { .pid = pid, .tid = pid, .uid = 1000, .gid = 100, .start = 5, .comm = "make" },
		.name = name,
		.mode = LK_EXCLUSIVE,
		.slot_hi = 1,
		.token = 77,
		.since = T0,
		.here = true,
	};
}

static inline void has(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("'%s' is not in:\n%s", part, text ? text : "(null)");
}

static inline void has_not(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("'%s' is in:\n%s", part, text);
}

/* Times are shown in local time. */
static inline int utc(void **state)
{
	(void)state;
	if (setenv("TZ", "UTC", 1) < 0)
		return -1;
	tzset();
	return 0;
}

#endif
