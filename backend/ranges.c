/* Byte ranges that are held: for each owner one sorted array.
 *
 * Invariants: the ranges of one owner do not overlap, and two of one mode do
 * not touch; ranges of two owners overlap only when both are shared; an owner
 * without a range does not exist. Every change is first counted and its
 * memory taken, then made.
 */
#define HASH_NONFATAL_OOM 1
#include "backend/ranges_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct range {
	int64_t start, end;
	pid_t pid;
	enum ranges_mode mode;
};

struct ranges_owner {
	struct ranges_who who;
	struct range *v;
	size_t n, cap;
	size_t exclusive; /* how many of the n */
	UT_hash_handle hh;
};

/* --- looking --- */

static struct ranges_owner *find_owner(const struct ranges *r, struct ranges_who who)
{
	struct ranges_owner *o;

	HASH_FIND(hh, r->owners, &who, sizeof(who), o);
	return o;
}

bool ranges_has(const struct ranges *r, struct ranges_who who)
{
	return find_owner(r, who) != NULL;
}

/* The first range that ends at `at` or later: o->n when there is none. */
static size_t first_reaching(const struct ranges_owner *o, int64_t at)
{
	size_t lo = 0, hi = o->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (o->v[mid].end < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const struct range *in_the_way(const struct ranges_owner *o, const struct ranges_lock *want)
{
	bool any_mode = want->mode == RANGES_EXCLUSIVE;
	size_t i;

	if (want->mode == RANGES_NONE || ranges_same(o->who, want->who) || (!any_mode && o->exclusive == 0))
		return NULL;
	for (i = first_reaching(o, want->start); i < o->n && o->v[i].start <= want->end; i++) {
		if (any_mode || o->v[i].mode == RANGES_EXCLUSIVE)
			return &o->v[i];
	}
	return NULL;
}

static struct ranges_lock as_lock(const struct ranges_owner *o, const struct range *f)
{
	return (struct ranges_lock){ .who = o->who, .start = f->start, .end = f->end, .pid = f->pid, .mode = f->mode };
}

bool ranges_blockers(const struct ranges *r, const struct ranges_lock *want,
		     bool (*each)(void *ctx, const struct ranges_lock *held), void *ctx)
{
	const struct ranges_owner *o;

	for (o = r->owners; o; o = o->hh.next) {
		const struct range *f = in_the_way(o, want);
		struct ranges_lock held;

		if (!f)
			continue;
		held = as_lock(o, f);
		if (each(ctx, &held))
			return true;
	}
	return false;
}

static bool take_first(void *ctx, const struct ranges_lock *held)
{
	struct ranges_lock *conflict = ctx;

	if (conflict)
		*conflict = *held;
	return true;
}

int ranges_test(const struct ranges *r, const struct ranges_lock *want, struct ranges_lock *conflict)
{
	return ranges_blockers(r, want, take_first, conflict) ? -EAGAIN : 0;
}

bool ranges_next(const struct ranges *r, struct ranges_cursor *c, struct ranges_lock *held)
{
	if (!c->begun) {
		c->owner = r->owners;
		c->begun = true;
	}
	if (!c->owner)
		return false;
	*held = as_lock(c->owner, &c->owner->v[c->i++]);
	if (c->i == c->owner->n) {
		c->owner = c->owner->hh.next;
		c->i = 0;
	}
	return true;
}

bool ranges_has_exclusive(const struct ranges *r, struct ranges_who who)
{
	const struct ranges_owner *o = find_owner(r, who);

	return o && o->exclusive > 0;
}

/* --- changing --- */

static struct ranges_owner *new_owner(struct ranges *r, struct ranges_who who)
{
	struct ranges_owner *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->who = who;
	HASH_ADD(hh, r->owners, who, sizeof(o->who), o);
	if (o->hh.tbl)
		return o;
	free(o);
	return NULL;
}

static void free_owner(struct ranges *r, struct ranges_owner *o)
{
	r->held -= o->n;
	HASH_DEL(r->owners, o);
	free(o->v);
	free(o);
}

/* What takes the place of the ranges lo to hi - 1 of an owner. */
struct change {
	size_t lo, hi;
	struct range by[3];
	size_t n;
};

static void add_piece(struct change *c, const struct range *piece)
{
	if (piece->mode != RANGES_NONE)
		c->by[c->n++] = *piece;
}

static void work_out(const struct ranges_owner *o, const struct ranges_lock *want, struct change *c)
{
	struct range mid = { .start = want->start, .end = want->end, .pid = want->pid, .mode = want->mode };
	struct range left = { .mode = RANGES_NONE }, right = { .mode = RANGES_NONE };
	/* A range that only touches may have to merge; if not, it takes its own place again. */
	int touch = mid.mode != RANGES_NONE;
	size_t lo = first_reaching(o, mid.start - touch), hi = lo;

	while (hi < o->n && o->v[hi].start - touch <= mid.end)
		hi++;
	if (lo < hi && o->v[lo].start < mid.start) {
		left = o->v[lo];
		left.end = mid.start - 1;
	}
	if (lo < hi && o->v[hi - 1].end > mid.end) {
		right = o->v[hi - 1];
		right.start = mid.end + 1;
	}
	if (touch && left.mode == mid.mode) {
		mid.start = left.start;
		left.mode = RANGES_NONE;
	}
	if (touch && right.mode == mid.mode) {
		mid.end = right.end;
		right.mode = RANGES_NONE;
	}
	*c = (struct change){ .lo = lo, .hi = hi };
	add_piece(c, &left);
	add_piece(c, &mid);
	add_piece(c, &right);
}

static int reserve(struct ranges_owner *o, size_t n)
{
	size_t cap = o->cap ? o->cap : 4;
	struct range *v;

	if (n <= o->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	v = realloc(o->v, cap * sizeof(*v));
	if (!v)
		return -ENOLCK;
	o->v = v;
	o->cap = cap;
	return 0;
}

static size_t count_exclusive(const struct range *v, size_t n)
{
	size_t i, count = 0;

	for (i = 0; i < n; i++)
		count += v[i].mode == RANGES_EXCLUSIVE;
	return count;
}

static int apply(struct ranges *r, struct ranges_owner *o, const struct change *c)
{
	size_t gone = c->hi - c->lo;

	if (c->n > gone) {
		if (r->limit && r->held - gone + c->n > r->limit)
			return -ENOLCK;
		if (reserve(o, o->n - gone + c->n) < 0)
			return -ENOLCK;
	}
	o->exclusive -= count_exclusive(o->v + c->lo, gone);
	o->exclusive += count_exclusive(c->by, c->n);
	memmove(o->v + c->lo + c->n, o->v + c->hi, (o->n - c->hi) * sizeof(*o->v));
	memcpy(o->v + c->lo, c->by, c->n * sizeof(*o->v));
	o->n = o->n - gone + c->n;
	r->held = r->held - gone + c->n;
	return 0;
}

int ranges_set(struct ranges *r, const struct ranges_lock *want)
{
	struct ranges_owner *o;
	struct change c;
	int err;

	if (!ranges_valid(want))
		return -EINVAL;
	if (ranges_test(r, want, NULL) < 0)
		return -EAGAIN;
	o = find_owner(r, want->who);
	if (!o && want->mode == RANGES_NONE)
		return 0;
	o = o ? o : new_owner(r, want->who);
	if (!o)
		return -ENOLCK;
	work_out(o, want, &c);
	err = apply(r, o, &c);
	if (o->n == 0)
		free_owner(r, o);
	return err;
}

void ranges_drop_owner(struct ranges *r, struct ranges_who who)
{
	struct ranges_owner *o = find_owner(r, who);

	if (o)
		free_owner(r, o);
}

void ranges_clear(struct ranges *r)
{
	struct ranges_owner *o = r->owners, *next;

	HASH_CLEAR(hh, r->owners);
	for (; o; o = next) {
		next = o->hh.next;
		free(o->v);
		free(o);
	}
	r->held = 0;
}
