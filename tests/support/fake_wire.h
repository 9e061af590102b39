/* A Redis server that is none, and the loop that goes with it: what it answers, and when, is drawn from an input. */
#ifndef TESTS_SUPPORT_FAKE_WIRE_H
#define TESTS_SUPPORT_FAKE_WIRE_H

#include "base/loop.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

extern struct pl_loop fake_wire_loop;

void fake_wire_begin(const uint8_t *data, size_t size);
/* The next byte of the input; 0 behind its end. */
unsigned take(void);
bool taken_all(void);
/* Timers that are not over. */
bool fake_wire_timers(void);
/* Lets time pass. */
void pass(uint64_t ns);
/* A turn of the loop. */
void turn(void);
/* The connections break, or are there again. */
void flip(void);
/* Answers the oldest call under way: rightly, wrongly, or with nonsense. */
void answer(void);
/* Something comes over the channels. */
void message(void);

#endif
