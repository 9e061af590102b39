/* Every call of files/ but byte ranges, made and waited for. */
#include "tests/contract/files.h"

#include <stdio.h>
#include <stdlib.h>

/* --- callbacks --- */

static void on_open(void *arg, int err, struct lk_file *file)
{
	struct outcome *o = arg;

	outcome_came(o, err);
	assert_true(err ? err < 0 && !file : file != NULL);
	o->file = file;
}

static void on_file_stat(void *arg, int err, const struct lk_file_stat *st)
{
	struct outcome *o = arg;

	outcome_came(o, err);
	assert_true(err <= 0);
	if (err == 0)
		o->st = *st;
}

/* --- open files --- */

struct outcome *file_opening_as(struct lk_backend *b, const char *name, int flags, mode_t perm, uid_t uid, gid_t gid)
{
	struct outcome *o = outcome_new();

	return outcome_begun(o, lk_file_open(b, name, flags, perm, uid, gid, on_open, o));
}

struct outcome *file_opening(struct lk_backend *b, const char *name, int flags)
{
	return file_opening_as(b, name, flags, 0644, 0, 0);
}

int file_open(struct opened *o, struct lk_backend *b, struct fixture *f, const char *name, int flags)
{
	struct outcome *out = file_opening(b, name, flags);
	int err = (int)outcome_of(f, out);

	*o = (struct opened){ .f = f, .b = b, .file = out->file, .name = name };
	return err;
}

struct opened opened(struct lk_backend *b, struct fixture *f, const char *name)
{
	struct opened o;

	assert_int_equal(file_open(&o, b, f, name, O_RDWR), 0);
	return o;
}

struct opened made(struct lk_backend *b, struct fixture *f, const char *name)
{
	struct opened o;

	assert_int_equal(file_open(&o, b, f, name, O_RDWR | O_CREAT), 0);
	return o;
}

void file_close(struct opened *o)
{
	lk_file_close(o->b, o->file);
	o->file = NULL;
}

ssize_t file_put(const struct opened *o, const char *text, off_t off)
{
	struct outcome *out = outcome_new();
	char *copy = strdup(text);
	size_t len = strlen(text);
	ssize_t n;

	assert_non_null(copy);
	outcome_begun(out, lk_file_write(o->b, o->file, copy, len, off, on_io, out));
	memset(copy, 'X', len); /* the data was copied, or it shows */
	free(copy);
	n = outcome_of(o->f, out);
	if (n >= 0)
		assert_int_equal(n, len);
	return n;
}

ssize_t file_get(const struct opened *o, char *out, size_t size, off_t off)
{
	struct outcome *get = outcome_new();

	get->out = out;
	get->size = size;
	return outcome_of(o->f, outcome_begun(get, lk_file_read(o->b, o->file, size, off, on_io, get)));
}

void file_is(const struct opened *o, const char *text)
{
	char out[MAX_VALUE + 1];

	assert_int_equal(file_get(o, out, MAX_VALUE, 0), strlen(text));
	assert_string_equal(out, text);
	assert_int_equal(file_fstat(o).size, strlen(text));
}

int file_cut(const struct opened *o, uint64_t size)
{
	struct outcome *out = outcome_new();

	return (int)outcome_of(o->f, outcome_begun(out, lk_file_truncate(o->b, o->file, size, on_done, out)));
}

int file_sync(const struct opened *o)
{
	struct outcome *out = outcome_new();

	return (int)outcome_of(o->f, outcome_begun(out, lk_file_sync(o->b, o->file, on_done, out)));
}

struct lk_file_stat file_fstat(const struct opened *o)
{
	struct outcome *out = outcome_new();

	assert_int_equal(outcome_of(o->f, outcome_begun(out, lk_file_fstat(o->b, o->file, on_file_stat, out))), 0);
	return out->st;
}

int file_fsetattr(const struct opened *o, const struct lk_file_attr *attr)
{
	struct outcome *out = outcome_new();
	int ret = lk_file_setattr(o->b, o->file, NULL, attr, on_done, out);

	return (int)outcome_of(o->f, outcome_begun(out, ret));
}

/* --- names --- */

int name_stat(struct lk_backend *b, struct fixture *f, const char *name, struct lk_file_stat *st)
{
	struct outcome *o = outcome_new();
	int err = (int)outcome_of(f, outcome_begun(o, lk_file_stat(b, name, on_file_stat, o)));

	if (err == 0)
		*st = o->st;
	return err;
}

uint64_t name_ino(struct lk_backend *b, struct fixture *f, const char *name)
{
	struct lk_file_stat st = { 0 };
	int err = name_stat(b, f, name, &st);

	if (err == -ENOENT)
		return 0;
	assert_int_equal(err, 0);
	assert_int_not_equal(st.ino, 0);
	return st.ino;
}

int name_setattr(struct lk_backend *b, struct fixture *f, const char *name, const struct lk_file_attr *attr)
{
	struct outcome *o = outcome_new();

	return (int)outcome_of(f, outcome_begun(o, lk_file_setattr(b, NULL, name, attr, on_done, o)));
}

int name_unlink(struct lk_backend *b, struct fixture *f, const char *name)
{
	struct outcome *o = outcome_new();

	return (int)outcome_of(f, outcome_begun(o, lk_file_unlink(b, name, on_done, o)));
}

int name_rename(struct lk_backend *b, struct fixture *f, const char *from, const char *to, unsigned flags)
{
	struct outcome *o = outcome_new();

	return (int)outcome_of(f, outcome_begun(o, lk_file_rename(b, from, to, flags, on_done, o)));
}

int name_link(struct lk_backend *b, struct fixture *f, const char *from, const char *to)
{
	struct outcome *o = outcome_new();

	return (int)outcome_of(f, outcome_begun(o, lk_file_link(b, from, to, on_done, o)));
}

int name_symlink(struct lk_backend *b, struct fixture *f, const char *target, const char *name)
{
	struct outcome *o = outcome_new();

	return (int)outcome_of(f, outcome_begun(o, lk_file_symlink(b, target, name, 0, 0, on_done, o)));
}

const char *name_readlink(struct lk_backend *b, struct fixture *f, const char *name)
{
	static char text[4096];
	struct outcome *o = outcome_new();
	ssize_t n;

	o->out = text;
	o->size = sizeof(text) - 1;
	n = outcome_of(f, outcome_begun(o, lk_file_readlink(b, name, on_io, o)));
	if (n < 0)
		snprintf(text, sizeof(text), "errno %d", (int)-n);
	return text;
}

void name_is(struct lk_backend *b, struct fixture *f, const char *name, const char *text)
{
	struct opened o = opened(b, f, name);

	file_is(&o, text);
	file_close(&o);
}

/* --- a folder's list --- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct lk_entry *)a)->name, ((const struct lk_entry *)b)->name);
}

static void on_file_list(void *arg, int err, const struct lk_list *list)
{
	struct outcome *o = arg;
	struct lk_entry sorted[SEEN_MAX];
	size_t i, at = 0;

	outcome_came(o, err);
	assert_true(err <= 0);
	if (err)
		return;
	assert_true(list->n <= SEEN_MAX);
	if (list->n)
		memcpy(sorted, list->entries, list->n * sizeof(sorted[0]));
	qsort(sorted, list->n, sizeof(sorted[0]), by_name);
	for (i = 0; i < list->n; i++)
		at += (size_t)snprintf(o->out + at, o->size - at, "%s%s ", sorted[i].name,
				       sorted[i].type == LK_T_NAMESPACE ? "/"
				       : sorted[i].type == LK_T_LINK	? "@"
									: "");
	assert_true(at < o->size);
}

const char *file_list(struct lk_backend *b, struct fixture *f, const char *ns)
{
	static char text[4096];
	struct outcome *o = outcome_new();
	ssize_t n;

	text[0] = '\0';
	o->out = text;
	o->size = sizeof(text);
	n = outcome_of(f, outcome_begun(o, lk_file_list(b, ns, on_file_list, o)));
	if (n < 0)
		snprintf(text, sizeof(text), "errno %d", (int)-n);
	return text;
}

/* --- flock --- */

static struct ask *flock_new(const struct opened *o, enum lk_mode mode)
{
	struct ask *a = ask_new(o->f, o->b, LK_LOCK, mode, o->name);

	a->req.file = o->file;
	return a;
}

struct ask *ask_flock(const struct opened *o, enum lk_mode mode)
{
	return ask_go(flock_new(o, mode));
}

struct ask *ask_flock_try(const struct opened *o, enum lk_mode mode)
{
	struct ask *a = flock_new(o, mode);

	a->req.try_only = true;
	return ask_go(a);
}

struct ask *ask_on(struct lk_backend *b, struct fixture *f, enum lk_mode mode, const char *name, bool try_only)
{
	struct ask *a = ask_new(f, b, LK_LOCK, mode, name);

	a->req.try_only = try_only;
	return ask_go(a);
}
