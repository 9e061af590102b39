/* Holds many locks, or waits many times for one. Says what it did, then does
 * as told on stdin, one letter a line. The Python side: row_scale.py.
 *
 * scale hold DIR FIRST N    opens DIR/l(FIRST) and the N - 1 after it; "held K ERRNO"; then any line: closes all
 * scale wait PATH N         N threads, each opens PATH once; "waiting N"; each grant is closed at
 *                           once; when all are through: "done N ERRORS FIRST LAST", the times
 *                           of the first and the last grant in us (CLOCK_MONOTONIC)
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STACK_BYTES (32 * 1024)

static const char *wait_path;
static atomic_long errors, granted;
static _Atomic double first_us, last_us;

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void *wait_once(void *arg)
{
	int fd = open(wait_path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		atomic_fetch_add(&errors, 1);
		return arg;
	}
	last_us = now_us();
	if (atomic_fetch_add(&granted, 1) == 0)
		first_us = last_us;
	close(fd);
	return arg;
}

static int wait_many(const char *path, long n)
{
	pthread_t *t = calloc((size_t)n, sizeof(*t));
	pthread_attr_t attr;
	long i;

	wait_path = path;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (i = 0; t && i < n; i++) {
		int err = pthread_create(&t[i], &attr, wait_once, NULL);

		if (err) {
			fprintf(stderr, "scale: thread %ld: %s\n", i, strerror(err));
			break;
		}
	}
	printf("waiting %ld\n", i);
	fflush(stdout);
	while (i > 0)
		pthread_join(t[--i], NULL);
	printf("done %ld %ld %.1f %.1f\n", (long)granted, (long)errors, first_us, last_us);
	free(t);
	return 0;
}

static int hold_many(const char *dir, long first, long n)
{
	int *fd = calloc((size_t)n, sizeof(*fd));
	char path[4096];
	long i, k = 0;
	int err = 0;

	if (!fd)
		return 1;
	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/l%ld", dir, first + i);
		fd[k] = open(path, O_RDONLY | O_CLOEXEC);
		if (fd[k] < 0) {
			err = errno;
			break;
		}
		k++;
	}
	printf("held %ld %d\n", k, err);
	fflush(stdout);
	getchar();
	while (k > 0)
		close(fd[--k]);
	printf("closed\n");
	free(fd);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "hold") == 0)
		return hold_many(argv[2], atol(argv[3]), atol(argv[4]));
	if (argc == 4 && strcmp(argv[1], "wait") == 0)
		return wait_many(argv[2], atol(argv[3]));
	fprintf(stderr, "usage: scale hold DIR FIRST N | scale wait PATH N\n");
	return 2;
}
