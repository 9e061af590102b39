/* The suite, run on the file backend in a folder of its own. */
#include "tests/contract/suite.h"

#include "backend/file/file.h"
#include "base/log.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[64];

static void make(void)
{
	snprintf(dir, sizeof(dir), "/tmp/plockfs-contract-XXXXXX");
	assert_non_null(mkdtemp(dir));
}

static int drop_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void drop(void)
{
	assert_int_equal(nftw(dir, drop_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static struct lk_backend *open_dir(const struct lk_config *config)
{
	struct lk_backend *b = NULL;
	const char *why = "";
	int err = lk_file_backend_open(config, dir, &b, &why);

	if (err)
		fail_msg("%s: %s", why, strerror(-err));
	return b;
}

/* Somebody removes the lock's file. The name of the hold is the file's. */
static void remove_file(struct lk_backend *b, struct lk_hold *hold)
{
	char path[LK_NAME_MAX + 128];

	(void)b;
	if (hold->kind == LK_SEM)
		return; /* the files of slots are not watched */
	snprintf(path, sizeof(path), "%s/locks/%s", dir, hold->name);
	assert_int_equal(unlink(path), 0);
}

static const struct contract_world files = {
	.name = "file",
	.two = true,
	.make = make,
	.drop = drop,
	.open = open_dir,
	.lose = remove_file,
};

int main(void)
{
	pl_log_level(PL_ERROR);
	return contract_run(&files);
}
