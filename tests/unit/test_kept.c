/* backend/file/kept.c */
#include "backend/file/kept.h"
#include "tests/unit/folder_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static int descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int take(struct kept *k, const char *key, unsigned idx)
{
	dev_t dev;
	ino_t ino;
	int fd = kept_take(k, key, strlen(key), idx, &dev, &ino);

	if (fd >= 0) {
		assert_int_equal(dev, 7);
		assert_int_equal(ino, 8);
	}
	return fd;
}

static void put(struct kept *k, const char *key, unsigned idx, int fd)
{
	kept_put(k, key, strlen(key), idx, fd, 7, 8);
}

static void taken_once(void **state)
{
	struct kept *k = kept_new();
	int fd = descriptor(), other = descriptor();

	(void)state;
	assert_int_equal(take(k, "job", 0), -1);
	put(k, "job", 0, fd);
	put(k, "job", 1, other);
	assert_int_equal(take(k, "jo", 0), -1);
	assert_int_equal(take(k, "job", 1), other);
	assert_int_equal(take(k, "job", 0), fd);
	assert_int_equal(take(k, "job", 0), -1);
	close(fd);
	close(other);
	kept_free(k);
}

static void one_for_each(void **state)
{
	struct kept *k = kept_new();
	int fd = descriptor(), newer = descriptor();

	(void)state;
	put(k, "job", 0, fd);
	put(k, "job", 0, newer);
	assert_false(is_open(fd));
	kept_clear(k);
	assert_false(is_open(newer));
	assert_int_equal(take(k, "job", 0), -1);
	kept_free(k);
}

static void the_oldest_goes(void **state)
{
	struct kept *k = kept_new();
	int first = descriptor(), i, open_ones = 0;

	(void)state;
	put(k, "first", 0, first);
	for (i = 0; i < 200; i++)
		put(k, "job", (unsigned)i, descriptor());
	assert_int_equal(take(k, "first", 0), -1);
	for (i = 0; i < 200; i++) {
		int fd = take(k, "job", (unsigned)i);

		if (fd >= 0) {
			open_ones++;
			close(fd);
		}
		assert_int_equal(fd >= 0, i >= 200 - 64);
	}
	assert_int_equal(open_ones, 64);
	kept_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken_once),
		cmocka_unit_test(one_for_each),
		cmocka_unit_test(the_oldest_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
