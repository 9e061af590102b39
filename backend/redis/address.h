/* Where a Redis server is: SOURCE of the command line, taken apart. */
#ifndef BACKEND_REDIS_ADDRESS_H
#define BACKEND_REDIS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#define ADDRESS_HOSTS 16

struct host_port {
	char host[256];
	int port;
};

struct address {
	char user[128]; /* "" none */
	char path[108]; /* of a unix socket; "" */
	int db;
	bool tls;
	struct host_port at; /* the server; of Sentinel: found later */
	struct host_port sentinels[ADDRESS_HOSTS];
	unsigned n_sentinels;
	char name[128]; /* of the master, to Sentinel */
};

/* 0, or -EINVAL with a line in why. */
int address_parse(const char *source, struct address *a, char *why, size_t size);
/* "redis[s]://host:port/db"; no secrets. */
void address_show(const struct address *a, char *out, size_t size);
/* HOST:PORT, [V6]:PORT or HOST. False for nonsense. */
bool address_host_port(const char *text, size_t len, int default_port, struct host_port *out);

#endif
