/* A folder for the token counter, and a look into its file. */
#ifndef TESTS_UNIT_FLOOR_FIXTURE_H
#define TESTS_UNIT_FLOOR_FIXTURE_H

#include "backend/file/floor.h"
#include "tests/unit/folder_fixture.h"

#include <errno.h>

#define NOW (UINT64_C(1700000000) * 1000000)
#define SECOND UINT64_C(1000000)
/* The file: magic, last token, ceiling, boot id; then the durable ceiling. */
#define DURABLE_AT 64
#define FILE_SIZE 72

static inline int setup(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	*state = f;
	return f ? folder_make(f) : -1;
}

static inline int teardown(void **state)
{
	int err = folder_remove(*state);

	free(*state);
	return err;
}

static inline struct floor opened(const struct folder *dir, uint64_t wall)
{
	struct floor f;

	assert_int_equal(floor_open(&f, dir->fd, wall), 0);
	return f;
}

static inline uint64_t next(struct floor *f, uint64_t wall)
{
	uint64_t token = 0;

	assert_int_equal(floor_next(f, wall, &token), 0);
	return token;
}

static inline void get(const struct folder *dir, void *out, size_t size, off_t at)
{
	int fd = openat(dir->fd, "floor", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, out, size, at), size);
	close(fd);
}

static inline uint64_t durable(const struct folder *dir)
{
	uint64_t v;

	get(dir, &v, sizeof(v), DURABLE_AT);
	return v;
}

#endif
