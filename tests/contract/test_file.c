/* The suite, run on the file backend in a folder of its own. */
#include "tests/contract/suite.h"

#include "backend/file/file.h"
#include "base/log.h"
#include "tests/unit/folder_fixture.h"

static struct folder folder;

static void make(void)
{
	assert_int_equal(folder_make(&folder), 0);
}

static void drop(void)
{
	assert_int_equal(folder_remove(&folder), 0);
}

static struct lk_backend *open_dir(const struct lk_config *config)
{
	struct lk_backend *b = NULL;
	const char *why = "";
	int err = lk_file_backend_open(config, folder.path, &b, &why);

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
	snprintf(path, sizeof(path), "%s/locks/%s", folder.path, hold->name);
	assert_int_equal(unlink(path), 0);
}

static const struct contract_world files = {
	.name = "file",
	.two = true,
	.make = make,
	.drop = drop,
	.open = open_dir,
	.lose = remove_file,
	.blocks_in_fcntl = true,
};

int main(void)
{
	pl_log_level(PL_ERROR);
	return contract_run(&files);
}
