/* In place of tls.c, where hiredis has no TLS. */
#include "backend/redis/tls.h"

#include <stdio.h>

struct tls *tls_new(const struct tls_files *files, char *why, size_t size)
{
	(void)files;
	snprintf(why, size, "this build has no TLS (its hiredis has none): use redis:// through a local TLS proxy");
	return NULL;
}

void tls_free(struct tls *t)
{
	(void)t;
}

bool tls_begin(struct tls *t, struct lane *l, const char *host)
{
	(void)t;
	(void)l;
	(void)host;
	return false;
}

bool tls_unfinished(const struct lane *l)
{
	(void)l;
	return false;
}

const char *tls_library(void)
{
	return "without TLS";
}
