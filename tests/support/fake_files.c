/* The fake backend's files: opening, bytes, attributes. */
#include "tests/support/fake_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

/* --- open files --- */

static void run_lost(struct pl_task *task)
{
	struct lk_file *file = (struct lk_file *)((char *)task - offsetof(struct lk_file, task));

	file->on_lost(file->arg);
}

static struct lk_file *file_new(struct fake_backend *b, struct fake_name *n)
{
	struct lk_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->b = b;
	file->name = n;
	file->task.run = run_lost;
	n->opens++;
	DL_APPEND(b->files, file);
	return file;
}

static void file_free(struct lk_file *file)
{
	struct fake_name *n = file->name;

	pl_undefer(file->b->base.loop, &file->task);
	DL_DELETE(file->b->files, file);
	free(file);
	n->opens--;
	fake_put(n);
}

int fake_file_check(const struct lk_file *file)
{
	return file->lost ? -ESTALE : 0;
}

void fake_file_lost(struct lk_file *file)
{
	if (file->lost)
		return;
	file->lost = true;
	if (file->on_lost)
		pl_defer(file->b->base.loop, &file->task);
}

void fake_files_end(struct fake_backend *b)
{
	struct lk_file *file, *tmp;

	DL_FOREACH_SAFE(b->files, file, tmp)
		file_free(file);
}

static void fake_file_close(struct lk_backend *b, struct lk_file *file)
{
	(void)b;
	file_free(file);
}

static void fake_file_on_lost(struct lk_backend *b, struct lk_file *file, void (*fn)(void *arg), void *arg)
{
	(void)b;
	file->on_lost = fn;
	file->arg = arg;
}

/* --- open --- */

static struct fake_name *make_file(struct fake_backend *b, const char *name, mode_t perm, uid_t uid, gid_t gid)
{
	struct fake_name *n = fake_get(b->world, LK_LOCK, name);

	if (!n)
		return NULL;
	n->file = true;
	n->perm = perm;
	n->uid = uid;
	n->gid = gid;
	n->mtime = n->ctime = pl_wall(b->base.loop);
	return n;
}

/* May it be opened; *n is set where it is there. */
static int may_open(struct fake_world *w, const char *name, int flags, struct fake_name **n)
{
	int err = fake_way(w, name);

	*n = NULL;
	if (err)
		return err;
	if (fake_space_find(w, name))
		return flags & O_EXCL ? -EEXIST : -EISDIR;
	*n = fake_find(w, LK_LOCK, name);
	if (!fake_there(*n)) {
		*n = NULL;
		return flags & O_CREAT ? 0 : -ENOENT;
	}
	if ((flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	return (*n)->link ? -ELOOP : 0;
}

static void run_open(struct fake_later *l)
{
	l->cb.file_open(l->arg, (int)l->n, l->file);
}

static int fake_file_open(struct lk_backend *base, const char *name, int flags, mode_t perm, uid_t uid, gid_t gid,
			  lk_file_open_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	struct fake_later *l = fake_later_new(b, run_open, arg, NULL, 0);
	struct fake_name *n;

	if (!l)
		return -ENOMEM;
	l->cb.file_open = cb;
	l->n = may_open(b->world, name, flags, &n);
	if (l->n == 0 && !n) {
		n = make_file(b, name, perm, uid, gid);
		l->n = n ? 0 : -ENOMEM;
	}
	if (l->n == 0 && (flags & O_TRUNC))
		l->n = fake_resize(b, n, 0);
	if (l->n == 0) {
		n->file = true; /* it stays when it is emptied */
		l->file = file_new(b, n);
		l->n = l->file ? 0 : -ENOMEM;
	}
	return 0;
}

/* --- attributes --- */

static void stat_name(struct lk_file_stat *st, const struct fake_name *n)
{
	*st = (struct lk_file_stat){ .mode = n->link ? S_IFLNK | 0777 : S_IFREG | n->perm,
				     .uid = n->uid,
				     .gid = n->gid,
				     .size = n->size,
				     .nlink = n->nlink,
				     .ino = n->ino,
				     .mtime = n->mtime,
				     .ctime = n->ctime };
}

static int stat_at(struct fake_world *w, const char *name, struct lk_file_stat *st)
{
	const struct fake_space *s = fake_space_find(w, name);
	const struct fake_name *n = fake_find(w, LK_LOCK, name);
	int err = fake_way(w, name);

	if (err)
		return err;
	if (s) {
		*st = (struct lk_file_stat){ .mode = S_IFDIR | s->perm,
					     .uid = s->uid,
					     .gid = s->gid,
					     .nlink = 2,
					     .ino = s->ino,
					     .mtime = s->mtime,
					     .ctime = s->mtime };
		return 0;
	}
	if (!fake_there(n))
		return -ENOENT;
	stat_name(st, n);
	return 0;
}

static void run_stat(struct fake_later *l)
{
	struct lk_file_stat st;

	memcpy(&st, l->data, sizeof(st));
	l->cb.file_stat(l->arg, (int)l->n, l->n ? NULL : &st);
}

static int stat_later(struct fake_backend *b, int err, const struct lk_file_stat *st, lk_file_stat_cb cb, void *arg)
{
	struct fake_later *l = fake_later_new(b, run_stat, arg, st, sizeof(*st));

	if (!l)
		return -ENOMEM;
	l->cb.file_stat = cb;
	l->n = err;
	return 0;
}

static int fake_file_stat(struct lk_backend *base, const char *name, lk_file_stat_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	struct lk_file_stat st = { 0 };
	int err = stat_at(b->world, name, &st);

	return stat_later(b, err, &st, cb, arg);
}

static int fake_file_fstat(struct lk_backend *b, struct lk_file *file, lk_file_stat_cb cb, void *arg)
{
	struct lk_file_stat st;

	stat_name(&st, file->name);
	return stat_later(fake_of(b), fake_file_check(file), &st, cb, arg);
}

static void set_name(struct fake_backend *b, struct fake_name *n, const struct lk_file_attr *attr)
{
	if (attr->perm != (mode_t)-1)
		n->perm = attr->perm & 07777;
	if (attr->uid != (uid_t)-1)
		n->uid = attr->uid;
	if (attr->gid != (gid_t)-1)
		n->gid = attr->gid;
	if (attr->mtime)
		n->mtime = attr->mtime;
	n->ctime = pl_wall(b->base.loop);
}

static int fake_file_setattr(struct lk_backend *base, struct lk_file *file, const char *name,
			     const struct lk_file_attr *attr, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base);
	struct fake_name *n = file ? file->name : fake_find(b->world, LK_LOCK, name);
	struct fake_space *s = file ? NULL : fake_space_find(b->world, name);
	int err = file ? fake_file_check(file) : fake_way(b->world, name);

	if (err == 0 && s) {
		if (attr->mtime)
			s->mtime = attr->mtime;
		return fake_ns_chmod(base, name, attr->perm, attr->uid, attr->gid, cb, arg);
	}
	if (err == 0 && !file && !fake_there(n))
		err = -ENOENT;
	if (err == 0)
		set_name(b, n, attr);
	return fake_done_later(b, cb, arg, err);
}

/* --- bytes --- */

static int fake_file_read(struct lk_backend *b, struct lk_file *file, size_t size, off_t off, lk_io_cb cb, void *arg)
{
	int err = fake_file_check(file);

	return err ? err : fake_value_read(fake_of(b), file->name, size, off, cb, arg);
}

static int fake_file_write(struct lk_backend *b, struct lk_file *file, const void *data, size_t size, off_t off,
			   lk_io_cb cb, void *arg)
{
	int err = fake_file_check(file);

	return err ? err : fake_value_write(fake_of(b), file->name, data, size, off, cb, arg);
}

static int fake_file_truncate(struct lk_backend *b, struct lk_file *file, uint64_t size, lk_done_cb cb, void *arg)
{
	int err = fake_file_check(file);

	if (err == 0)
		err = fake_resize(fake_of(b), file->name, size);
	return fake_done_later(fake_of(b), cb, arg, err);
}

static int fake_file_sync(struct lk_backend *b, struct lk_file *file, lk_done_cb cb, void *arg)
{
	return fake_done_later(fake_of(b), cb, arg, fake_file_check(file));
}

const struct lk_files_impl fake_files_impl = {
	.stat = fake_file_stat,
	.open = fake_file_open,
	.mkdir = fake_ns_make,
	.rmdir = fake_ns_remove,
	.unlink = fake_file_unlink,
	.rename = fake_file_rename,
	.link = fake_file_link,
	.symlink = fake_file_symlink,
	.readlink = fake_file_readlink,
	.list = fake_file_list,
	.setattr = fake_file_setattr,
	.fstat = fake_file_fstat,
	.read = fake_file_read,
	.write = fake_file_write,
	.truncate = fake_file_truncate,
	.sync = fake_file_sync,
	.close = fake_file_close,
	.on_lost = fake_file_on_lost,
	.range_set = fake_range_set,
	.range_cancel = fake_range_cancel,
	.range_test = fake_range_test,
	.range_drop = fake_range_drop,
};
