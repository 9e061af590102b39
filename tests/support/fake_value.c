/* The fake backend's values, and callbacks from later turns. */
#include "tests/support/fake_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* --- callbacks --- */

static void run_later(struct pl_task *task)
{
	struct fake_later *l = (struct fake_later *)task;

	DL_DELETE(l->b->laters, l);
	l->run(l);
	free(l);
}

struct fake_later *fake_later_new(struct fake_backend *b, void (*run)(struct fake_later *), void *arg, const void *data,
				  size_t len)
{
	struct fake_later *l = calloc(1, sizeof(*l) + len + 1);

	if (!l)
		return NULL;
	l->task.run = run_later;
	l->b = b;
	l->run = run;
	l->arg = arg;
	if (len)
		memcpy(l->data, data, len);
	DL_APPEND(b->laters, l);
	pl_defer(b->base.loop, &l->task);
	return l;
}

static void run_done(struct fake_later *l)
{
	l->cb.done(l->arg, (int)l->n);
}

int fake_done_later(struct fake_backend *b, lk_done_cb cb, void *arg, int err)
{
	struct fake_later *l = fake_later_new(b, run_done, arg, NULL, 0);

	if (!l)
		return -ENOMEM;
	l->cb.done = cb;
	l->n = err;
	return 0;
}

static void run_io(struct fake_later *l)
{
	l->cb.io(l->arg, l->n, l->data);
}

int fake_io_later(struct fake_backend *b, lk_io_cb cb, void *arg, const void *data, size_t len, ssize_t n)
{
	struct fake_later *l = fake_later_new(b, run_io, arg, data, len);

	if (!l)
		return -ENOMEM;
	l->cb.io = cb;
	l->n = n;
	return 0;
}

/* --- values --- */

static struct fake_name *name_of(struct lk_hold *h)
{
	return ((struct fake_hold *)h)->name;
}

int fake_resize(struct fake_backend *b, struct fake_name *n, uint64_t size)
{
	char *more;

	if (size > b->config.max_value)
		return -EFBIG;
	more = realloc(n->value, size ? size : 1);
	if (!more)
		return -ENOMEM;
	if (size > n->size)
		memset(more + n->size, 0, size - n->size);
	n->value = more;
	n->size = size;
	n->mtime = n->ctime = pl_wall(b->base.loop);
	return 0;
}

int fake_value_read(struct fake_backend *b, const struct fake_name *n, size_t size, off_t off, lk_io_cb cb, void *arg)
{
	if (off < 0)
		return -EINVAL;
	if ((uint64_t)off >= n->size)
		return fake_io_later(b, cb, arg, NULL, 0, 0);
	if (size > n->size - (size_t)off)
		size = n->size - (size_t)off;
	return fake_io_later(b, cb, arg, n->value + off, size, (ssize_t)size);
}

int fake_read(struct lk_backend *b, struct lk_hold *h, size_t size, off_t off, lk_io_cb cb, void *arg)
{
	return fake_value_read(fake_of(b), name_of(h), size, off, cb, arg);
}

int fake_value_write(struct fake_backend *b, struct fake_name *n, const void *data, size_t size, off_t off, lk_io_cb cb,
		     void *arg)
{
	uint64_t at = off < 0 ? n->size : (uint64_t)off;
	int err = 0;

	if (at > b->config.max_value || size > b->config.max_value - at)
		return -EFBIG;
	if (size)
		err = fake_resize(b, n, at + size > n->size ? at + size : n->size);
	if (err)
		return err;
	if (size)
		memcpy(n->value + at, data, size);
	return fake_io_later(b, cb, arg, NULL, 0, (ssize_t)size);
}

int fake_write(struct lk_backend *b, struct lk_hold *h, const void *data, size_t size, off_t off, lk_io_cb cb,
	       void *arg)
{
	return fake_value_write(fake_of(b), name_of(h), data, size, off, cb, arg);
}

int fake_truncate(struct lk_backend *b, struct lk_hold *h, uint64_t size, lk_done_cb cb, void *arg)
{
	return fake_done_later(fake_of(b), cb, arg, fake_resize(fake_of(b), name_of(h), size));
}

int fake_sync(struct lk_backend *b, struct lk_hold *h, lk_done_cb cb, void *arg)
{
	(void)h;
	return fake_done_later(fake_of(b), cb, arg, 0);
}

int fake_remove(struct lk_backend *b, struct lk_hold *h, lk_done_cb cb, void *arg)
{
	struct fake_name *n = name_of(h);
	bool had = fake_there(n);

	n->file = false;
	return fake_done_later(fake_of(b), cb, arg, had ? fake_resize(fake_of(b), n, 0) : -ENOENT);
}

int fake_rename(struct lk_backend *b, struct lk_hold *from, struct lk_hold *to, lk_done_cb cb, void *arg)
{
	struct fake_name *f = name_of(from), *t = name_of(to);

	if (!fake_there(f))
		return fake_done_later(fake_of(b), cb, arg, -ENOENT);
	free(t->value);
	t->value = f->value;
	t->size = f->size;
	t->mtime = f->mtime;
	t->file = f->file;
	f->value = NULL;
	f->size = 0;
	f->file = false;
	return fake_done_later(fake_of(b), cb, arg, 0);
}
