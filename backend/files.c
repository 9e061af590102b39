/* From lk_file_X and lk_range_X to the backend's own: names and ranges are checked here. */
#include "backend/interface.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TARGET_MAX 4095

bool lk_file_component_valid(const char *component)
{
	if (*component != '.')
		return lk_component_valid(component);
	if (strlen(component) > 255)
		return false;
	component += strspn(component, ".");
	return lk_component_valid(component);
}

static int name_check(const char *name)
{
	char visible[LK_NAME_MAX + 2];
	const char *last = strrchr(name, '/');
	size_t len = strlen(name), at = last ? (size_t)(last + 1 - name) : 0;

	if (name[at] != '.')
		return lk_name_check(name);
	if (len > LK_NAME_MAX || len - at > 255)
		return -ENAMETOOLONG;
	if (!lk_file_component_valid(name + at))
		return -ENOENT;
	/* The rest is as for a name without the dot. */
	memcpy(visible, name, len + 1);
	visible[at] = '_';
	return lk_name_check(visible);
}

/* 0, or why the backend is not asked. */
static int check(const struct lk_backend *b, const char *name)
{
	return b->impl->files ? name_check(name) : -EOPNOTSUPP;
}

/* A folder is a namespace too. */
static int check_folder(const struct lk_backend *b, const char *name)
{
	return b->impl->files ? lk_name_check(name) : -EOPNOTSUPP;
}

static int check_two(const struct lk_backend *b, const char *from, const char *to)
{
	int err = check(b, from);

	return err ? err : name_check(to);
}

int lk_file_stat(struct lk_backend *b, const char *name, lk_file_stat_cb cb, void *arg)
{
	int err = check(b, name);

	return err ? err : b->impl->files->stat(b, name, cb, arg);
}

int lk_file_open(struct lk_backend *b, const char *name, int flags, mode_t perm, uid_t uid, gid_t gid,
		 lk_file_open_cb cb, void *arg)
{
	int err = check(b, name);

	if (err)
		return err;
	return b->impl->files->open(b, name, flags & (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC), perm & 07777, uid, gid,
				    cb, arg);
}

int lk_file_mkdir(struct lk_backend *b, const char *name, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	int err = check_folder(b, name);

	return err ? err : b->impl->files->mkdir(b, name, perm & 07777, uid, gid, cb, arg);
}

int lk_file_rmdir(struct lk_backend *b, const char *name, lk_done_cb cb, void *arg)
{
	int err = check_folder(b, name);

	return err ? err : b->impl->files->rmdir(b, name, cb, arg);
}

int lk_file_unlink(struct lk_backend *b, const char *name, lk_done_cb cb, void *arg)
{
	int err = check(b, name);

	return err ? err : b->impl->files->unlink(b, name, cb, arg);
}

int lk_file_rename(struct lk_backend *b, const char *from, const char *to, unsigned flags, lk_done_cb cb, void *arg)
{
	int err = check_two(b, from, to);

	if (err == 0 && (flags & ~(unsigned)RENAME_NOREPLACE))
		err = -EINVAL;
	return err ? err : b->impl->files->rename(b, from, to, flags, cb, arg);
}

int lk_file_link(struct lk_backend *b, const char *from, const char *to, lk_done_cb cb, void *arg)
{
	int err = check_two(b, from, to);

	return err ? err : b->impl->files->link(b, from, to, cb, arg);
}

int lk_file_symlink(struct lk_backend *b, const char *target, const char *name, uid_t uid, gid_t gid, lk_done_cb cb,
		    void *arg)
{
	int err = check(b, name);

	if (err == 0 && (!*target || strlen(target) > TARGET_MAX))
		err = *target ? -ENAMETOOLONG : -ENOENT;
	return err ? err : b->impl->files->symlink(b, target, name, uid, gid, cb, arg);
}

int lk_file_readlink(struct lk_backend *b, const char *name, lk_io_cb cb, void *arg)
{
	int err = check(b, name);

	return err ? err : b->impl->files->readlink(b, name, cb, arg);
}

int lk_file_list(struct lk_backend *b, const char *ns, lk_list_cb cb, void *arg)
{
	int err = b->impl->files ? 0 : -EOPNOTSUPP;

	if (err == 0 && *ns)
		err = lk_name_check(ns);
	return err ? err : b->impl->files->list(b, ns, cb, arg);
}

int lk_file_setattr(struct lk_backend *b, struct lk_file *file, const char *name, const struct lk_file_attr *attr,
		    lk_done_cb cb, void *arg)
{
	int err = file ? 0 : check(b, name);

	return err ? err : b->impl->files->setattr(b, file, name, attr, cb, arg);
}

int lk_file_fstat(struct lk_backend *b, struct lk_file *file, lk_file_stat_cb cb, void *arg)
{
	return b->impl->files->fstat(b, file, cb, arg);
}

int lk_file_read(struct lk_backend *b, struct lk_file *file, size_t size, off_t off, lk_io_cb cb, void *arg)
{
	return off < 0 ? -EINVAL : b->impl->files->read(b, file, size, off, cb, arg);
}

int lk_file_write(struct lk_backend *b, struct lk_file *file, const void *data, size_t size, off_t off, lk_io_cb cb,
		  void *arg)
{
	return b->impl->files->write(b, file, data, size, off, cb, arg);
}

int lk_file_truncate(struct lk_backend *b, struct lk_file *file, uint64_t size, lk_done_cb cb, void *arg)
{
	return b->impl->files->truncate(b, file, size, cb, arg);
}

int lk_file_sync(struct lk_backend *b, struct lk_file *file, lk_done_cb cb, void *arg)
{
	return b->impl->files->sync(b, file, cb, arg);
}

void lk_file_close(struct lk_backend *b, struct lk_file *file)
{
	b->impl->files->close(b, file);
}

void lk_file_on_lost(struct lk_backend *b, struct lk_file *file, void (*fn)(void *arg), void *arg)
{
	b->impl->files->on_lost(b, file, fn, arg);
}

static bool is_range(const struct ranges_lock *l)
{
	return l->start >= 0 && l->start <= l->end;
}

int lk_range_set(struct lk_backend *b, struct lk_range_request *req)
{
	assert(req->done);
	return is_range(&req->want) ? b->impl->files->range_set(b, req) : -EINVAL;
}

void lk_range_cancel(struct lk_backend *b, struct lk_range_request *req, int err)
{
	b->impl->files->range_cancel(b, req, err);
}

int lk_range_test(struct lk_backend *b, struct lk_file *file, const struct ranges_lock *want, lk_range_test_cb cb,
		  void *arg)
{
	if (!is_range(want) || want->mode == RANGES_NONE)
		return -EINVAL;
	return b->impl->files->range_test(b, file, want, cb, arg);
}

int lk_range_drop(struct lk_backend *b, struct lk_file *file, uint64_t owner, lk_done_cb cb, void *arg)
{
	return b->impl->files->range_drop(b, file, owner, cb, arg);
}
