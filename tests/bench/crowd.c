/* Many clients that open and close: crowd CLIENTS SECONDS PATH one|distinct. With
 * distinct each has PATH with its number behind it. Prints "PER_SECOND MAX/MIN" of
 * what the clients managed; all begin at once.
 */
#include <err.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shared {
	atomic_int ready, go, stop;
	unsigned long done[1024];
};

static void work(struct shared *s, int me, const char *path)
{
	atomic_fetch_add(&s->ready, 1);
	while (!atomic_load(&s->go))
		usleep(200);
	while (!atomic_load(&s->stop)) {
		int fd = open(path, O_RDWR | O_CLOEXEC);

		if (fd < 0 || close(fd) < 0)
			err(1, "%s", path);
		s->done[me]++;
	}
}

int main(int argc, char **argv)
{
	unsigned long total = 0, most = 0, least = ~0ul;
	int clients = argc == 5 ? atoi(argv[1]) : 0, i, status, failed = 0;
	struct timespec from, to;
	struct shared *s;
	char path[4200];

	if (clients < 1 || clients > 1024)
		errx(2, "usage: crowd CLIENTS SECONDS PATH one|distinct");
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		err(1, "memory");
	for (i = 0; i < clients; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid == 0) {
			snprintf(path, sizeof(path), strcmp(argv[4], "one") == 0 ? "%s" : "%s%d", argv[3], i);
			work(s, i, path);
			_exit(0);
		}
	}
	while (atomic_load(&s->ready) < clients)
		usleep(200);
	clock_gettime(CLOCK_MONOTONIC, &from);
	atomic_store(&s->go, 1);
	usleep((unsigned)(atof(argv[2]) * 1e6));
	atomic_store(&s->stop, 1);
	clock_gettime(CLOCK_MONOTONIC, &to);
	while (wait(&status) > 0)
		failed |= status;
	for (i = 0; i < clients; i++) {
		total += s->done[i];
		most = s->done[i] > most ? s->done[i] : most;
		least = s->done[i] < least ? s->done[i] : least;
	}
	printf("%.0f %.2f\n",
	       (double)total / ((double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9),
	       least ? (double)most / (double)least : 0.0);
	return failed ? 1 : 0;
}
