/* Times one kind of operation: timing KIND ARG N. Each line on stdin runs N of
 * them, timed one by one, and is answered by the mean in microseconds; at the end
 * of stdin comes "MEDIAN P99" over all. Kinds: open PATH (open and close), fresh
 * PREFIX (the same on a name not used before), flock PATH (open, flock, close),
 * ping ADDRESS (a Redis PING; HOST:PORT or /SOCKET).
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static unsigned long fresh;
static int server = -1;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void open_close(const char *path, int lock)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || (lock && flock(fd, LOCK_EX) < 0) || close(fd) < 0)
		err(1, "%s", path);
}

static void connect_to(const char *address)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const char *colon = strrchr(address, ':');
	int one = 1, failed;

	if (*address == '/') {
		strncpy(un.sun_path, address, sizeof(un.sun_path) - 1);
		server = socket(AF_UNIX, SOCK_STREAM, 0);
		failed = connect(server, (struct sockaddr *)&un, sizeof(un));
	} else {
		in.sin_port = htons((uint16_t)atoi(colon + 1));
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		server = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		failed = connect(server, (struct sockaddr *)&in, sizeof(in));
	}
	if (failed)
		err(1, "%s", address);
}

static void ping(void)
{
	static const char ask[] = "*1\r\n$4\r\nPING\r\n";
	char answer[64];

	if (write(server, ask, sizeof(ask) - 1) < 0 || read(server, answer, sizeof(answer)) != 7)
		err(1, "ping");
}

static void operate(const char *kind, const char *arg)
{
	char path[4200];

	if (strcmp(kind, "ping") == 0) {
		ping();
	} else if (strcmp(kind, "fresh") == 0) {
		snprintf(path, sizeof(path), "%s%lu", arg, fresh++);
		open_close(path, 0);
	} else {
		open_close(arg, strcmp(kind, "flock") == 0);
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	uint64_t *all = NULL, begun, mark;
	size_t n, done = 0, i;
	char line[16];

	if (argc != 4)
		errx(2, "usage: timing KIND ARG N");
	n = strtoul(argv[3], NULL, 10);
	if (strcmp(argv[1], "ping") == 0)
		connect_to(argv[2]);
	while (fgets(line, sizeof(line), stdin)) {
		all = reallocarray(all, done + n, sizeof(*all));
		if (!all)
			err(1, "memory");
		begun = now();
		for (i = 0; i < n; i++) {
			mark = now();
			operate(argv[1], argv[2]);
			all[done++] = now() - mark;
		}
		printf("%.3f\n", (double)(now() - begun) / 1e3 / (double)n);
		fflush(stdout);
	}
	if (!done)
		return 1;
	qsort(all, done, sizeof(*all), by_value);
	printf("%.3f %.3f\n", (double)all[done / 2] / 1e3, (double)all[done * 99 / 100] / 1e3);
	free(all);
	return 0;
}
