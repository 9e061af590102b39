/* Times one kind of operation: timing KIND ARG N. Each line on stdin runs a round of N, timed one by one; see samples.h
 * for the answers. Kinds: open PATH (open and close), shared PATH (to read only), fresh PREFIX (open and close of a
 * name not used before), turns PATH PATH (the two in turn), flock PATH (open, flock, close), flock-fresh PREFIX, ping
 * ADDRESS (a Redis PING; HOST:PORT or /SOCKET).
 */
#include "redis_socket.h"
#include "samples.h"
#include <fcntl.h>
#include <sys/file.h>

static struct timed times;

static void open_close(const char *path, int flags, int lock)
{
	uint64_t begun = now_ns(), opened, closed;
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0 || (lock && flock(fd, LOCK_EX) < 0))
		err(1, "%s", path);
	opened = now_ns();
	if (close(fd) < 0)
		err(1, "%s", path);
	closed = now_ns();
	samples_add(&times.all, closed - begun);
	samples_add(&times.opens, opened - begun);
	samples_add(&times.closes, closed - opened);
}

static void ping(int server)
{
	uint64_t begun = now_ns();

	redis_send(server, "*1\r\n$4\r\nPING\r\n");
	redis_expect(server, "+PONG\r\n");
	samples_add(&times.all, now_ns() - begun);
}

int main(int argc, char **argv)
{
	const char *kind = argc < 4 ? "" : argv[1], *dash = strchr(kind, '-');
	int turns = strcmp(kind, "turns") == 0, pings = strcmp(kind, "ping") == 0, server = -1;
	int new_names = strcmp(dash ? dash + 1 : kind, "fresh") == 0, lock = strncmp(kind, "flock", 5) == 0;
	int flags = strcmp(kind, "shared") == 0 ? O_RDONLY : O_RDWR | O_CREAT;
	char line[16], path[4200];
	unsigned long fresh = 0;
	size_t n, i;

	if (argc != 4 + turns)
		errx(2, "usage: timing KIND ARG [ARG] N");
	n = strtoul(argv[argc - 1], NULL, 10);
	if (pings)
		server = redis_connect(argv[2]);
	while (fgets(line, sizeof(line), stdin)) {
		round_begins(&times, n);
		for (i = 0; i < n; i++) {
			if (pings) {
				ping(server);
				continue;
			}
			snprintf(path, sizeof(path), "%s", argv[2 + (turns && (i & 1))]);
			if (new_names)
				snprintf(path, sizeof(path), "%s%lu", argv[2], fresh++);
			open_close(path, flags, lock);
		}
		round_said(&times);
	}
	all_said(&times);
	return 0;
}
