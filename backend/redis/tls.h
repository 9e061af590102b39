/* TLS of the connections to a Redis server, where hiredis has it (tls.c; else no_tls.c says that it has not). */
#ifndef BACKEND_REDIS_TLS_H
#define BACKEND_REDIS_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct lane;
struct tls; /* what the connections of one attempt share */

struct tls_files {
	const char *ca;	  /* NULL: whom the system trusts */
	const char *cert; /* NULL: the server is not told who we are */
	const char *key;  /* NULL: it is in cert */
};

/* Reads the files. NULL with one line in why. */
struct tls *tls_new(const struct tls_files *files, char *why, size_t size);
void tls_free(struct tls *t);
/* On a connection that nothing was sent on yet. host: whose certificate it must be. The handshake goes on with what is
 * read and written, and what goes wrong ends the connection with a text that says so, and with `refused` in the lane
 * where trying again cannot help. False: cannot be begun, out of memory. */
bool tls_begin(struct tls *t, struct lane *l, const char *host);
/* The handshake goes on. */
bool tls_unfinished(const struct lane *l);
/* "with TLS (...)" or "without TLS". */
const char *tls_library(void);

#endif
