/* The Redis backend: locks shared by every mount with the same server and prefix. */
#ifndef BACKEND_REDIS_REDIS_H
#define BACKEND_REDIS_REDIS_H

#include "backend/interface.h"

struct lk_redis_config {
	struct lk_config common;
	const char *source; /* as on the command line */
	const char *prefix;
	const char *password_file; /* NULL: $PLOCKFS_REDIS_PASSWORD, if set */
	const char *tls_ca;	   /* with rediss://; NULL: whom the system trusts */
	const char *tls_cert;	   /* NULL: none */
	const char *tls_key;	   /* NULL: in tls_cert */
	uint64_t ttl_ns, unavailable_ns;
	unsigned replicas; /* that must have a heartbeat before it counts */
	bool nofail;	   /* open even when the server does not answer, and keep trying */
};

/* Waits, running the loop, until the server answers. 0; or negative errno with one
 * line in `why`, which never has a password in it. */
int lk_redis_backend_open(const struct lk_redis_config *config, struct lk_backend **out, char *why, size_t size);
/* "hiredis 1.2.3 with TLS (...)" */
const char *lk_redis_library(void);

#endif
