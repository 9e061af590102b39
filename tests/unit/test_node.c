/* The node table: names, numbers, forgetting, views and renames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/node.h"

#include <errno.h>
#include <string.h>

static int setup(void **state)
{
	static struct node_table t;

	assert_int_equal(nodes_init(&t), 0);
	*state = &t;
	return 0;
}

static int teardown(void **state)
{
	nodes_free(*state);
	return 0;
}

static void same_name_same_node(void **state)
{
	struct node_table *t = *state;
	struct node *a = node_child(t, t->root, "job", N_LOCK, "job");

	assert_ptr_equal(node_child(t, t->root, "job", N_LOCK, "job"), a);
	assert_ptr_equal(node_get(t, a->id), a);
	assert_string_equal(node_name(a), "job");
	assert_null(node_find(t, t->root, "jo"));
	assert_null(node_get(t, a->id + 1));
}

static void another_kind_takes_the_name(void **state)
{
	struct node_table *t = *state;
	struct node *lock = node_child(t, t->root, "ops", N_LOCK, "ops");
	struct node *ns = node_child(t, t->root, "ops", N_NAMESPACE, "ops");

	assert_ptr_not_equal(lock, ns);
	assert_ptr_equal(node_find(t, t->root, "ops"), ns);
	assert_ptr_equal(node_get(t, lock->id), lock); /* the kernel may still use its number */
}

static void forgotten_nodes_go_with_their_parents(void **state)
{
	struct node_table *t = *state;
	struct node *ns = node_child(t, t->root, "ops", N_NAMESPACE, "ops");
	struct node *job = node_child(t, ns, "job", N_LOCK, "ops/job");
	uint64_t ns_id = ns->id, job_id = job->id;

	ns->nlookup = 1;
	job->nlookup = 2;
	node_forget(t, ns, 1);
	assert_non_null(node_get(t, ns_id)); /* its child still needs it */
	node_forget(t, job, 1);
	assert_non_null(node_get(t, job_id));
	node_forget(t, job, 5); /* more than were looked up: no wrap */
	assert_null(node_get(t, job_id));
	assert_null(node_get(t, ns_id));
	assert_int_equal(t->count, 1);
	node_forget(t, t->root, 100);
	assert_non_null(node_get(t, 1));
}

static void views_are_inherited(void **state)
{
	struct node_table *t = *state;
	struct acquire_opts o = { .try_only = true };
	struct node *with = node_child(t, t->root, "with", N_WITH, "");
	struct node *v = node_child_view(t, with, "try", &o, false);
	struct node *job = node_child(t, v, "job", N_LOCK, "job");

	assert_true(job->view->acquire.try_only);
	assert_false(with->view->acquire.try_only);
	assert_ptr_equal(node_child_view(t, with, "try", &o, false), v);
}

static void rename_keeps_the_number_and_moves_what_is_below(void **state)
{
	struct node_table *t = *state;
	struct node *a = node_child(t, t->root, "a", N_NAMESPACE, "a");
	struct node *b = node_child(t, t->root, "b", N_NAMESPACE, "b");
	struct node *job = node_child(t, a, "job", N_LOCK, "a/job");
	struct node *victim = node_child(t, b, "new", N_NAMESPACE, "b/new");
	uint64_t id = a->id;

	a->nlookup = b->nlookup = job->nlookup = victim->nlookup = 1;
	assert_int_equal(node_move(t, a, b, "new", "b/new"), 0);
	assert_ptr_equal(node_get(t, id), a);
	assert_ptr_equal(node_find(t, b, "new"), a);
	assert_null(node_find(t, t->root, "a"));
	assert_string_equal(a->path, "b/new");
	assert_string_equal(job->path, "b/new/job");
	assert_false(victim->hashed);
	assert_int_equal(b->children, 2);
}

static void join_refuses_what_is_too_long(void **state)
{
	struct node_table *t = *state;
	char name[256], out[LK_NAME_MAX + 1];
	struct node *n = t->root;
	int depth = 0;

	memset(name, 'x', 255);
	name[255] = '\0';
	while (node_join(n, name, out) == 0) {
		n = node_child(t, n, name, N_NAMESPACE, out);
		depth++;
	}
	assert_int_equal(depth, 4); /* 4 * 255 + 3 = 1023 */
	assert_int_equal(node_join(n, "y", out), -ENAMETOOLONG);
}

/* A folder whose path has `len` bytes. */
static struct node *deep_folder(struct node_table *t, struct node *n, size_t len)
{
	char name[256], path[LK_NAME_MAX + 1];

	while (strlen(n->path) < len) {
		size_t part = len - strlen(n->path) - 1;

		part = part > 200 ? 200 : part;
		memset(name, 'd', part);
		name[part] = '\0';
		assert_int_equal(node_join(n, name, path), 0);
		n = node_child(t, n, name, N_FILES, path);
		n->nlookup = 1;
	}
	return n;
}

static void what_is_below_stays_within_the_limit(void **state)
{
	struct node_table *t = *state;
	struct node *a = node_child(t, t->root, "a", N_FILES, "a"), *deep = deep_folder(t, a, LK_NAME_MAX - 5);

	a->nlookup = 1;
	assert_int_equal(strlen(deep->path), LK_NAME_MAX - 5);
	assert_true(node_fits(t, a, "b"));
	assert_true(node_fits(t, a, "sixsix"));
	assert_false(node_fits(t, a, "sevenxx"));
	/* One that came after the question loses its place, not more. */
	assert_int_equal(node_move(t, a, t->root, "sevenxx", "sevenxx"), 0);
	assert_false(deep->hashed);
	assert_true(strlen(deep->path) <= LK_NAME_MAX);
	assert_true(deep->parent->hashed);
	assert_true(node_fits(t, a, "b"));
	assert_int_equal(node_move(t, a, t->root, "b", "b"), 0);
	assert_memory_equal(deep->parent->path, "b/ddd", 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(same_name_same_node, setup, teardown),
		cmocka_unit_test_setup_teardown(another_kind_takes_the_name, setup, teardown),
		cmocka_unit_test_setup_teardown(forgotten_nodes_go_with_their_parents, setup, teardown),
		cmocka_unit_test_setup_teardown(views_are_inherited, setup, teardown),
		cmocka_unit_test_setup_teardown(rename_keeps_the_number_and_moves_what_is_below, setup, teardown),
		cmocka_unit_test_setup_teardown(join_refuses_what_is_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_below_stays_within_the_limit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
