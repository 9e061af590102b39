#include "fs/status_rows.h"

#include <stdlib.h>
#include <string.h>

int status_by_name(const struct lk_party *a, const struct lk_party *b)
{
	return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcmp(a->name, b->name);
}

static int by_index(const struct row *a, const struct row *b)
{
	return (a->index > b->index) - (a->index < b->index);
}

static int compare_waiters(const void *va, const void *vb)
{
	const struct row *a = va, *b = vb;
	int c = status_by_name(a->p, b->p);

	return c ? c : by_index(a, b);
}

static int compare_holders(const void *va, const void *vb)
{
	const struct row *a = va, *b = vb;
	int c = status_by_name(a->p, b->p);

	if (c)
		return c;
	if (a->p->slot != b->p->slot)
		return a->p->slot < b->p->slot ? -1 : 1;
	if (a->p->since != b->p->since)
		return a->p->since < b->p->since ? -1 : 1;
	return by_index(a, b);
}

static void add(struct rows *rows, const struct lk_party *parties, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		rows->row[rows->n++] = (struct row){ .p = &parties[i], .index = i };
}

bool status_rows(struct rows *rows, const struct lk_view *locks, const struct lk_view *sems, bool waiters)
{
	size_t n = waiters ? locks->n_waiters + sems->n_waiters : locks->n_holders + sems->n_holders;

	rows->n = 0;
	rows->row = calloc(n + 1, sizeof(*rows->row));
	if (!rows->row)
		return false;
	if (waiters) {
		add(rows, locks->waiters, locks->n_waiters);
		add(rows, sems->waiters, sems->n_waiters);
	} else {
		add(rows, locks->holders, locks->n_holders);
		add(rows, sems->holders, sems->n_holders);
	}
	qsort(rows->row, rows->n, sizeof(*rows->row), waiters ? compare_waiters : compare_holders);
	return true;
}

uint64_t status_as_of(const struct render_info *i, const struct lk_view *locks, const struct lk_view *sems)
{
	uint64_t t = i->now;

	if (locks->as_of && locks->as_of < t)
		t = locks->as_of;
	if (sems->as_of && sems->as_of < t)
		t = sems->as_of;
	return t;
}
