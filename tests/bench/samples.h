/* Times in nanoseconds, kept one by one; how the programs here say them, in microseconds. A program does a round of
 * operations for each line on stdin and answers "MEDIAN MEAN OPEN CLOSE", the last two being medians of its parts, or
 * 0; at the end of stdin it says "MEDIAN P99" over all rounds. The first round is a warm-up and not in there.
 */
#ifndef PLOCKFS_BENCH_SAMPLES_H
#define PLOCKFS_BENCH_SAMPLES_H

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct samples {
	uint64_t *ns;
	size_t n, room;
};

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Room for so many more, so that none is made while the clock runs. */
static inline void samples_reserve(struct samples *s, size_t more)
{
	s->room = s->n + more;
	s->ns = reallocarray(s->ns, s->room, sizeof(*s->ns));
	if (!s->ns)
		err(1, "memory");
}

static inline void samples_add(struct samples *s, uint64_t ns)
{
	if (s->n < s->room)
		s->ns[s->n++] = ns;
}

static inline int samples_by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* In microseconds, of those from `first` on, which are sorted by it. */
static inline double samples_at(struct samples *s, size_t first, size_t percent)
{
	size_t n = s->n - first;

	if (!n)
		return 0;
	qsort(s->ns + first, n, sizeof(*s->ns), samples_by_value);
	return (double)s->ns[first + n * percent / 100] / 1e3;
}

/* What one operation is made of: opens and closes are empty where it has no parts. */
struct timed {
	struct samples all, opens, closes;
	size_t rounds, first; /* the first of this round */
};

static inline void round_begins(struct timed *t, size_t n)
{
	t->first = t->all.n;
	samples_reserve(&t->all, n);
	samples_reserve(&t->opens, n);
	samples_reserve(&t->closes, n);
}

/* The first round warms up: it is said, but not kept. */
static inline void round_said(struct timed *t)
{
	size_t first = t->first, i;
	double sum = 0;

	for (i = first; i < t->all.n; i++)
		sum += (double)t->all.ns[i];
	printf("%.3f %.3f", samples_at(&t->all, first, 50), sum / 1e3 / (double)(t->all.n - first));
	printf(" %.3f %.3f\n", samples_at(&t->opens, t->opens.n ? first : 0, 50),
	       samples_at(&t->closes, t->closes.n ? first : 0, 50));
	fflush(stdout);
	if (t->rounds++ == 0)
		t->all.n = t->opens.n = t->closes.n = 0;
}

static inline void all_said(struct timed *t)
{
	printf("%.3f %.3f\n", samples_at(&t->all, 0, 50), samples_at(&t->all, 0, 99));
}

#endif
