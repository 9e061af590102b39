/* Preloaded into plockfs: getaddrinfo of the name "slow" takes $SLOW_NAMES milliseconds, and finds loopback. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
		(int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT,
													"getaddrinfo");

	if (node && strcmp(node, "slow") == 0) {
		usleep((useconds_t)atoi(getenv("SLOW_NAMES")) * 1000);
		node = "127.0.0.1";
	}
	return real(node, service, hints, res);
}
