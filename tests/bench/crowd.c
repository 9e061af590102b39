/* Many clients that lock and unlock: crowd open|flock CLIENTS SECONDS one|distinct PATH... Clients take the paths
 * in turn (one lock on several mounts); with distinct each has its path with its number behind it. Prints
 * "SECONDS COUNT...", what each client managed; all begin at once.
 */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 1024

struct shared {
	atomic_int ready, go, stop;
	unsigned long done[MOST];
};

static void work(struct shared *s, int me, const char *path, int lock)
{
	atomic_fetch_add(&s->ready, 1);
	while (!atomic_load(&s->go))
		usleep(200);
	while (!atomic_load(&s->stop)) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

		if (fd < 0 || (lock && flock(fd, LOCK_EX) < 0) || close(fd) < 0)
			err(1, "%s", path);
		s->done[me]++;
	}
}

int main(int argc, char **argv)
{
	int clients = argc >= 6 ? atoi(argv[2]) : 0, i, status, failed = 0;
	unsigned long done[MOST];
	struct timespec from, to;
	struct shared *s;
	char path[4200];

	if (clients < 1 || clients > MOST)
		errx(2, "usage: crowd open|flock CLIENTS SECONDS one|distinct PATH...");
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		err(1, "memory");
	for (i = 0; i < clients; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			snprintf(path, sizeof(path), strcmp(argv[4], "one") == 0 ? "%s" : "%s%d",
				 argv[5 + i % (argc - 5)], i);
			work(s, i, path, strcmp(argv[1], "flock") == 0);
			_exit(0);
		}
	}
	while (atomic_load(&s->ready) < clients)
		usleep(200);
	clock_gettime(CLOCK_MONOTONIC, &from);
	atomic_store(&s->go, 1);
	usleep((unsigned)(atof(argv[3]) * 1e6));
	memcpy(done, s->done, sizeof(done));
	clock_gettime(CLOCK_MONOTONIC, &to);
	atomic_store(&s->stop, 1);
	while (wait(&status) > 0)
		failed |= status;
	printf("%.6f", (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
	for (i = 0; i < clients; i++)
		printf(" %lu", done[i]);
	printf("\n");
	return failed ? 1 : 0;
}
