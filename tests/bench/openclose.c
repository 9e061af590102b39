/* Times open+close of one path: ROUNDS rounds of N each. Prints the median
 * round's microseconds per pair, and the fastest's. It pauses between rounds for a
 * line on stdin, so that two servers can be measured in turn.
 * Usage: openclose PATH N ROUNDS
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int one_round(const char *path, long n, double *us)
{
	double start = now_us();
	long i;

	for (i = 0; i < n; i++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || close(fd) < 0)
			return -errno;
	}
	*us = (now_us() - start) / (double)n;
	return 0;
}

int main(int argc, char **argv)
{
	long n, rounds, i;
	double *us;
	int err = 0;

	if (argc != 4 || (n = atol(argv[2])) < 1 || (rounds = atol(argv[3])) < 1) {
		fprintf(stderr, "usage: openclose PATH N ROUNDS\n");
		return 2;
	}
	us = calloc((size_t)rounds + 1, sizeof(*us));
	if (!us)
		return 1;
	/* Round 0 only warms up. */
	for (i = 0; i <= rounds && err == 0; i++) {
		if (getchar() == EOF)
			break;
		err = one_round(argv[1], n, &us[i]);
		printf("%.3f\n", us[i]);
		fflush(stdout);
	}
	if (err) {
		fprintf(stderr, "openclose: %s: %s\n", argv[1], strerror(-err));
	} else {
		qsort(us + 1, (size_t)rounds, sizeof(*us), by_value);
		printf("median %.3f best %.3f\n", us[1 + rounds / 2], us[1]);
	}
	free(us);
	return err ? 1 : 0;
}
