/* Every call but acquire, made and waited for. */
#include "tests/contract/outcome.h"

#include <stdio.h>
#include <stdlib.h>

/* --- one call under way --- */

struct outcome *outcome_new(void)
{
	/* Static: a callback too many, from whenever, finds it still here. */
	static struct outcome ring[4096];
	static unsigned next;
	struct outcome *o = &ring[next++ % 4096];

	memset(o, 0, sizeof(*o));
	o->inside = true;
	return o;
}

void outcome_came(struct outcome *o, ssize_t n)
{
	assert_false(o->inside);
	o->calls++;
	assert_int_equal(o->calls, 1);
	o->n = n;
}

void on_done(void *arg, int err)
{
	assert_true(err <= 0);
	outcome_came(arg, err);
}

void on_io(void *arg, ssize_t n, const void *data)
{
	struct outcome *o = arg;

	outcome_came(o, n);
	if (!o->out || n < 0)
		return;
	assert_true((size_t)n <= o->size);
	memcpy(o->out, data, (size_t)n);
	o->out[n] = '\0';
}

struct outcome *outcome_begun(struct outcome *o, int ret)
{
	assert_true(ret <= 0);
	assert_int_equal(o->calls, 0);
	if (ret < 0) {
		o->refused = true; /* `inside` stays: a callback after all fails */
		o->n = ret;
	} else {
		o->inside = false;
	}
	return o;
}

ssize_t outcome_of(struct fixture *f, struct outcome *o)
{
	while (!o->refused && !o->calls)
		turn(f);
	return o->n;
}

static ssize_t outcome(struct fixture *f, struct outcome *o, int ret)
{
	return outcome_of(f, outcome_begun(o, ret));
}

/* --- values --- */

ssize_t put(struct ask *a, const char *text, off_t off)
{
	struct outcome *o = outcome_new();
	char *copy = strdup(text);
	size_t len = strlen(text);
	ssize_t n;
	int ret;

	assert_non_null(copy);
	ret = lk_write(a->b, a->hold, copy, len, off, on_io, o);
	memset(copy, 'X', len); /* the data was copied, or it shows */
	free(copy);
	n = outcome(a->f, o, ret);
	if (n >= 0)
		assert_int_equal(n, len);
	return n;
}

ssize_t get(struct ask *a, char *out, size_t size, off_t off)
{
	struct outcome *o = outcome_new();

	o->out = out;
	o->size = size;
	return outcome(a->f, o, lk_read(a->b, a->hold, size, off, on_io, o));
}

void value_is(struct ask *a, const char *text)
{
	char out[MAX_VALUE + 1];

	assert_int_equal(get(a, out, MAX_VALUE, 0), strlen(text));
	assert_string_equal(out, text);
}

int cut(struct ask *a, uint64_t size)
{
	struct outcome *o = outcome_new();

	return (int)outcome(a->f, o, lk_truncate(a->b, a->hold, size, on_done, o));
}

int synced(struct ask *a)
{
	struct outcome *o = outcome_new();

	return (int)outcome(a->f, o, lk_sync(a->b, a->hold, on_done, o));
}

int removed(struct ask *a)
{
	struct outcome *o = outcome_new();

	return (int)outcome(a->f, o, lk_remove(a->b, a->hold, on_done, o));
}

int renamed(struct ask *from, struct ask *to)
{
	struct outcome *o = outcome_new();

	return (int)outcome(from->f, o, lk_rename(from->b, from->hold, to->hold, on_done, o));
}

/* --- by party id --- */

int broken(struct lk_backend *b, struct fixture *f, const char *id)
{
	struct outcome *o = outcome_new();

	return (int)outcome(f, o, lk_break(b, id, on_done, o));
}

int wait_ended(struct lk_backend *b, struct fixture *f, const char *id)
{
	struct outcome *o = outcome_new();

	return (int)outcome(f, o, lk_end_wait(b, id, on_done, o));
}

void break_it(struct ask *a)
{
	const struct seen *s = view_of(a->b, a->f, a->req.kind, a->req.name);
	char id[256] = "";
	size_t i;

	for (i = 0; i < s->n_holders; i++) {
		if (s->holders[i].here && s->holders[i].owner.pid == a->req.owner.pid)
			snprintf(id, sizeof(id), "%s", s->holders[i].id);
	}
	assert_string_not_equal(id, "");
	assert_int_equal(broken(a->b, a->f, id), 0);
	while (!a->lost)
		turn(a->f);
	assert_int_equal(broken(a->b, a->f, id), -ENOENT);
}

/* --- namespaces --- */

int ns_make(struct fixture *f, const char *ns, mode_t perm)
{
	struct outcome *o = outcome_new();

	return (int)outcome(f, o, lk_ns_make(f->b, ns, perm, 0, 0, on_done, o));
}

int ns_remove(struct fixture *f, const char *ns)
{
	struct outcome *o = outcome_new();

	return (int)outcome(f, o, lk_ns_remove(f->b, ns, on_done, o));
}

int ns_rename(struct fixture *f, const char *from, const char *to)
{
	struct outcome *o = outcome_new();

	return (int)outcome(f, o, lk_ns_rename(f->b, from, to, on_done, o));
}

int ns_chmod(struct fixture *f, const char *ns, mode_t perm, uid_t uid, gid_t gid)
{
	struct outcome *o = outcome_new();

	return (int)outcome(f, o, lk_ns_chmod(f->b, ns, perm, uid, gid, on_done, o));
}

int ns_sync(struct fixture *f, const char *ns)
{
	struct outcome *o = outcome_new();

	return (int)outcome(f, o, lk_ns_sync(f->b, ns, on_done, o));
}

/* --- looking --- */

static const char *keep(struct seen *s, const char *text)
{
	size_t len = strlen(text) + 1;
	char *at = s->text + s->used;

	assert_true(s->used + len <= sizeof(s->text));
	memcpy(at, text, len);
	s->used += len;
	return at;
}

static void keep_parties(struct seen *s, struct lk_party *out, const struct lk_party *in, size_t n)
{
	size_t i;

	assert_true(n <= SEEN_MAX);
	for (i = 0; i < n; i++) {
		out[i] = in[i];
		out[i].id = keep(s, in[i].id);
		out[i].host = keep(s, in[i].host);
		out[i].name = keep(s, in[i].name);
	}
}

static void on_view(void *arg, int err, const struct lk_view *view)
{
	struct seen *s = arg;

	assert_false(s->calls > 0);
	s->calls++;
	s->err = err;
	if (err)
		return;
	assert_int_not_equal(view->as_of, 0);
	s->partial = view->partial;
	s->n_holders = view->n_holders;
	s->n_waiters = view->n_waiters;
	keep_parties(s, s->holders, view->holders, view->n_holders);
	keep_parties(s, s->waiters, view->waiters, view->n_waiters);
}

const struct seen *view_of(struct lk_backend *b, struct fixture *f, enum lk_kind kind, const char *name)
{
	static struct seen s;

	memset(&s, 0, sizeof(s));
	assert_int_equal(lk_view(b, kind, name, on_view, &s), 0);
	assert_int_equal(s.calls, 0);
	while (!s.calls)
		turn(f);
	assert_int_equal(s.err, 0);
	assert_false(s.partial);
	return &s;
}

struct stat_seen {
	unsigned calls;
	int err;
	struct lk_stat *st;
};

static void on_stat(void *arg, int err, const struct lk_stat *st)
{
	struct stat_seen *s = arg;

	assert_int_equal(s->calls, 0);
	s->calls++;
	s->err = err;
	if (err == 0)
		*s->st = *st;
}

int stat_of(struct lk_backend *b, struct fixture *f, enum lk_kind kind, const char *name, struct lk_stat *st)
{
	struct stat_seen s = { .st = st };
	int err = lk_stat(b, kind, name, LK_STAT_FULL, on_stat, &s);

	assert_int_equal(s.calls, 0);
	if (err)
		return err;
	while (!s.calls)
		turn(f);
	return s.err;
}

static struct {
	unsigned calls;
	char text[4096];
} listed;

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct lk_entry *)a)->name, ((const struct lk_entry *)b)->name);
}

static void on_list(void *arg, int err, const struct lk_list *list)
{
	struct lk_entry sorted[SEEN_MAX];
	size_t i, at = 0;

	(void)arg;
	assert_int_equal(listed.calls, 0);
	listed.calls++;
	if (err) {
		snprintf(listed.text, sizeof(listed.text), "errno %d", -err);
		return;
	}
	assert_true(list->n <= SEEN_MAX);
	if (list->n)
		memcpy(sorted, list->entries, list->n * sizeof(sorted[0]));
	qsort(sorted, list->n, sizeof(sorted[0]), by_name);
	for (i = 0; i < list->n; i++)
		at += (size_t)snprintf(listed.text + at, sizeof(listed.text) - at, "%s%s ", sorted[i].name,
				       sorted[i].type == LK_T_NAMESPACE ? "/" : "");
	assert_true(at < sizeof(listed.text));
}

const char *list_of(struct lk_backend *b, struct fixture *f, enum lk_kind kind, const char *ns)
{
	int err;

	memset(&listed, 0, sizeof(listed));
	err = lk_list(b, kind, ns, on_list, NULL);
	assert_int_equal(listed.calls, 0);
	if (err) {
		snprintf(listed.text, sizeof(listed.text), "errno %d", -err);
		return listed.text;
	}
	while (!listed.calls)
		turn(f);
	return listed.text;
}
