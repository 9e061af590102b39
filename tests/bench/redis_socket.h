/* As little of a Redis client as a message takes: a socket, and answers known by their length. */
#ifndef PLOCKFS_BENCH_REDIS_SOCKET_H
#define PLOCKFS_BENCH_REDIS_SOCKET_H

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* HOST:PORT, of which HOST is taken for this one, or the path of a socket. */
static inline int redis_connect(const char *address)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const char *colon = strrchr(address, ':');
	int fd, one = 1, failed;

	if (*address == '/') {
		strncpy(un.sun_path, address, sizeof(un.sun_path) - 1);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		failed = connect(fd, (struct sockaddr *)&un, sizeof(un));
	} else {
		in.sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 6379));
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		failed = connect(fd, (struct sockaddr *)&in, sizeof(in));
	}
	if (failed)
		err(1, "%s", address);
	return fd;
}

static inline void redis_send(int fd, const char *command)
{
	if (write(fd, command, strlen(command)) < 0)
		err(1, "redis");
}

static inline void redis_expect(int fd, const char *answer)
{
	size_t n = strlen(answer), got = 0;
	char text[256];

	while (got < n) {
		ssize_t more = read(fd, text + got, n - got);

		if (more <= 0)
			err(1, "redis");
		got += (size_t)more;
	}
	if (memcmp(text, answer, n) != 0)
		errx(1, "redis answered %.*s", (int)n, text);
}

#endif
