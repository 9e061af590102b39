/* The suite, run on the fake backend; and what only the fake can be told to do. */
#include "tests/contract/suite.h"

#include "tests/support/fake_backend.h"

static struct fake_world *world;

static void make(void)
{
	world = fake_world_new();
	assert_non_null(world);
}

static void drop(void)
{
	fake_world_free(world);
}

static struct lk_backend *open_fake(const struct lk_config *config)
{
	return fake_backend_open(world, config);
}

static const struct contract_world fake = {
	.name = "fake",
	.two = true,
	.make = make,
	.drop = drop,
	.open = open_fake,
	.lose = fake_lose,
	.lapse = fake_lapse,
};

int main(void)
{
	return contract_run(&fake);
}
