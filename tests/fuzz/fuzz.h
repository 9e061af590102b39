/* What libFuzzer, or seeded.c in its place, calls. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Aborts when a rule is broken; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
