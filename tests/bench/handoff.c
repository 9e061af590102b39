/* Times hand-offs between two processes: handoff KIND ONE TWO N. The holder gives
 * up; how long until the other, which waits, has it? They change places, N times.
 * Prints "MEDIAN P99" in microseconds. Kinds: open (ONE and TWO are paths of one
 * lock, perhaps on two mounts), flock (of one file), pipe (a byte: a wake-up alone).
 * The holder knows that the other waits: by user.plockfs.waiters of its own path, or
 * because the other sleeps.
 */
#include <err.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

struct shared {
	_Atomic uint64_t given;
	atomic_int begun;  /* pid is filled in, and 0 has the lock */
	atomic_int asking; /* the round that the waiter is about to wait in */
	atomic_int taken;  /* the last round whose lock was had */
	pid_t pid[2];
};

static struct shared *shared;
static const char *kind, *paths[2];
static int pipes[2][2];

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int sleeps(pid_t pid)
{
	char path[40], text[256] = "", *state;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		err(1, "%s", path);
	close(fd);
	state = strrchr(text, ')');
	return state && state[2] == 'S';
}

/* The other one waits by now. */
static int waits(int me, int round)
{
	char text[16] = "";

	if (atomic_load(&shared->asking) != round || !sleeps(shared->pid[!me]))
		return 0;
	if (strcmp(kind, "open") != 0)
		return 1;
	return getxattr(paths[me], "user.plockfs.waiters", text, sizeof(text) - 1) > 0 && atoi(text) > 0;
}

static int take(int me)
{
	char c;
	int fd;

	if (strcmp(kind, "pipe") == 0) {
		if (read(pipes[me][0], &c, 1) != 1)
			err(1, "pipe");
		return 0;
	}
	fd = open(paths[me], O_RDWR | O_CLOEXEC);
	if (fd < 0 || (strcmp(kind, "flock") == 0 && flock(fd, LOCK_EX) < 0))
		err(1, "%s", paths[me]);
	return fd;
}

static void give(int me, int fd)
{
	atomic_store(&shared->given, now());
	if (strcmp(kind, "pipe") == 0) {
		if (write(pipes[!me][1], "x", 1) != 1)
			err(1, "pipe");
	} else if (close(fd) < 0) {
		err(1, "close");
	}
}

/* In even rounds 0 holds and 1 waits. The one that waited in the last round holds. */
static void play(int me, int rounds, uint64_t *took)
{
	int fd = -1, round;

	if (me == 0) {
		if (strcmp(kind, "pipe") != 0)
			fd = take(0);
		atomic_store(&shared->begun, 1);
	}

	for (round = 1; round <= rounds; round++) {
		if ((round & 1) == (me == 0)) {
			while (!waits(me, round))
				usleep(20);
			give(me, fd);
			/* flock(2) goes to whoever asks first after it was given up, not to who waits. */
			while (atomic_load(&shared->taken) != round)
				usleep(20);
		} else {
			atomic_store(&shared->asking, round);
			fd = take(me);
			took[round - 1] = now() - atomic_load(&shared->given);
			atomic_store(&shared->taken, round);
		}
	}
	if ((rounds & 1) != (me == 0) && fd > 0)
		close(fd);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	int n, status;
	pid_t other;
	uint64_t *took;

	if (argc != 5)
		errx(2, "usage: handoff KIND ONE TWO N");
	kind = argv[1];
	paths[0] = argv[2];
	paths[1] = argv[3];
	n = atoi(argv[4]);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	took = mmap(NULL, (size_t)n * sizeof(*took), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (n < 1 || shared == MAP_FAILED || took == MAP_FAILED || pipe(pipes[0]) < 0 || pipe(pipes[1]) < 0)
		err(1, "setup");
	shared->pid[0] = getpid();
	other = fork();
	if (other == 0) {
		while (!atomic_load(&shared->begun))
			usleep(20);
		play(1, n, took);
		_exit(0);
	}
	shared->pid[1] = other;
	play(0, n, took);
	if (waitpid(shared->pid[1], &status, 0) < 0 || status != 0)
		errx(1, "the other one failed");
	qsort(took, (size_t)n, sizeof(*took), by_value);
	printf("%.2f %.2f\n", (double)took[n / 2] / 1e3, (double)took[(long)n * 99 / 100] / 1e3);
	return 0;
}
