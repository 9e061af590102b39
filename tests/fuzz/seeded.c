/* Runs a fuzz target on inputs drawn from fixed seeds: in every build, with
 * every compiler, the same inputs. Usage: PROGRAM [INPUTS]
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#define INPUTS 3000
#define SIZE_MAX_BYTES 1024

static uint64_t state;

static uint64_t draw(void)
{
	/* xorshift64*: plain, and the same everywhere */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * UINT64_C(0x2545f4914f6cdd1d);
}

int main(int argc, char **argv)
{
	unsigned long inputs = argc > 1 ? strtoul(argv[1], NULL, 10) : INPUTS, n;
	static uint8_t data[SIZE_MAX_BYTES];
	size_t i, size;

	for (n = 1; n <= inputs; n++) {
		state = n * UINT64_C(0x9e3779b97f4a7c15);
		size = (size_t)(draw() % SIZE_MAX_BYTES);
		for (i = 0; i < size; i++)
			data[i] = (uint8_t)(draw() >> 32);
		LLVMFuzzerTestOneInput(data, size);
	}
	printf("%lu inputs\n", inputs);
	return 0;
}
