/* Open files: their bytes, and their end. */
#include "backend/redis/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define OFFSET_FAR (INT64_C(1) << 40)

/* --- open, close --- */

static void file_free(struct lk_file *file)
{
	struct rowner *o, *tmp;

	DL_FOREACH_SAFE(file->owners, o, tmp)
		free(o);
	free(file->ln);
	free(file);
}

static void run_tell(struct pl_task *task)
{
	struct lk_file *file = (struct lk_file *)((char *)task - offsetof(struct lk_file, tell));

	if (file->on_lost)
		file->on_lost(file->arg);
}

static void on_open(struct fcall *f, int err, const redisReply *reply)
{
	struct lk_file *file = f->opening;
	const char *ln;

	f->opening = NULL;
	if (err == 0) {
		ln = reply_str(reply, 1);
		file->ln = *ln && strlen(ln) <= LK_NAME_MAX ? strdup(ln) : NULL;
		err = file->ln ? 0 : -EIO;
	}
	/* It may be open at the server, or become so: unless that said no. */
	if (err == -EHOSTDOWN || err == -ENOMEM || err == -EIO)
		fcall_close(f);
	if (err) {
		free(file);
		f->cb.open(f->arg, err, NULL);
		return;
	}
	DL_APPEND(f->b->files, file);
	f->cb.open(f->arg, 0, file);
}

int rf_open(struct lk_backend *base, const char *name, int flags, mode_t perm, uid_t uid, gid_t gid, lk_file_open_cb cb,
	    void *arg)
{
	struct redis_backend *b = rb_of(base);
	struct lk_file *file = calloc(1, sizeof(*file));
	struct fcall *f = file ? fcall_new(b, NULL, "fopen", strlen(name) + 4, on_open, arg) : NULL;
	char how[4];

	if (!f) {
		free(file);
		return -ENOMEM;
	}
	file->b = b;
	file->handle = ++b->handle;
	file->tell.run = run_tell;
	f->opening = file;
	f->cb.open = cb;
	snprintf(how, sizeof(how), "%s%s%s", flags & O_CREAT ? "c" : "",
		 (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) ? "e" : "", flags & O_TRUNC ? "t" : "");
	fcall_num(f, (int64_t)file->handle);
	fcall_str(f, name);
	fcall_str(f, how);
	fcall_num(f, perm & 07777);
	fcall_num(f, uid);
	fcall_num(f, gid);
	return fcall_go(f);
}

void rf_close(struct lk_backend *base, struct lk_file *file)
{
	struct redis_backend *b = rb_of(base);
	struct fcall *f;

	calls_forget(b, file);
	pl_undefer(base->loop, &file->tell);
	DL_DELETE(b->files, file);
	if (!file->lost) {
		f = fcall_new(b, file, "fclose", 0, NULL, NULL);
		if (f) {
			f->file = NULL;
			f->lasting = true;
			fcall_go(f);
		} else {
			/* The server would keep it as long as this session lives: so it must not. */
			session_lose(b, "out of memory");
			session_again(b);
		}
	}
	file_free(file);
}

/* --- lost --- */

void file_lose(struct lk_file *file)
{
	struct rowner *o, *tmp;

	if (file->lost)
		return;
	file->lost = true;
	if (file->owners && !file->b->stopping)
		pl_defer(file->b->base.loop, &file->tell);
	DL_FOREACH_SAFE(file->owners, o, tmp)
		free(o);
	file->owners = NULL;
}

void files_lost(struct redis_backend *b)
{
	struct lk_file *file;

	ranges_lost(b);
	lock_files_lost(b);
	DL_FOREACH(b->files, file)
		file_lose(file);
	calls_lost(b);
}

void files_stop(struct redis_backend *b)
{
	struct lk_file *file;

	DL_FOREACH(b->files, file)
		pl_undefer(b->base.loop, &file->tell);
}

void files_free(struct redis_backend *b)
{
	struct lk_file *file, *tmp;

	DL_FOREACH_SAFE(b->files, file, tmp)
		file_free(file);
}

void rf_on_lost(struct lk_backend *base, struct lk_file *file, void (*fn)(void *arg), void *arg)
{
	(void)base;
	file->on_lost = fn;
	file->arg = arg;
}

/* --- bytes --- */

static void on_read(struct fcall *f, int err, const redisReply *reply)
{
	const char *data = NULL;
	ssize_t n = err ? err : reply_bytes(reply, 1, f->size, &data);

	f->cb.io(f->arg, n, data);
}

static void on_write(struct fcall *f, int err, const redisReply *reply)
{
	(void)reply;
	f->cb.io(f->arg, err ? err : (ssize_t)f->size, NULL);
}

/* NULL with *err: the file is lost, or no memory. */
static struct fcall *begin(struct lk_file *file, const char *op, size_t room, fcall_fn answer, void *arg, int *err)
{
	struct fcall *f;

	*err = -ESTALE;
	if (!session_check(file->b) || file->lost)
		return NULL;
	*err = -ENOMEM;
	f = fcall_new(file->b, file, op, room, answer, arg);
	return f;
}

int rf_fstat(struct lk_backend *base, struct lk_file *file, lk_file_stat_cb cb, void *arg)
{
	int err;
	struct fcall *f = begin(file, "fstat", 0, fcall_stat, arg, &err);

	(void)base;
	if (!f)
		return err;
	f->cb.stat = cb;
	return fcall_go(f);
}

int rf_read(struct lk_backend *base, struct lk_file *file, size_t size, off_t off, lk_io_cb cb, void *arg)
{
	int err;
	struct fcall *f = begin(file, "fread", 0, on_read, arg, &err);

	(void)base;
	if (!f)
		return err;
	f->cb.io = cb;
	f->size = size;
	/* Past any file there is nothing, however far: the script counts in doubles. */
	fcall_num(f, off > OFFSET_FAR ? OFFSET_FAR : off);
	fcall_num(f, (int64_t)size);
	return fcall_go(f);
}

int rf_write(struct lk_backend *base, struct lk_file *file, const void *data, size_t size, off_t off, lk_io_cb cb,
	     void *arg)
{
	uint64_t max = rb_of(base)->config.max_value;
	struct fcall *f;
	int err;

	if (size > max || (off > 0 && (uint64_t)off > max - size))
		return -EFBIG;
	f = begin(file, "fwrite", size, on_write, arg, &err);
	if (!f)
		return err;
	f->cb.io = cb;
	f->size = size;
	fcall_num(f, off);
	fcall_num(f, (int64_t)max);
	fcall_bytes(f, data, size);
	return fcall_go(f);
}

int rf_truncate(struct lk_backend *base, struct lk_file *file, uint64_t size, lk_done_cb cb, void *arg)
{
	struct fcall *f;
	int err;

	if (size > rb_of(base)->config.max_value)
		return -EFBIG;
	f = begin(file, "ftrunc", 0, fcall_done, arg, &err);
	if (!f)
		return err;
	f->cb.done = cb;
	fcall_num(f, (int64_t)size);
	return fcall_go(f);
}

int rf_sync(struct lk_backend *base, struct lk_file *file, lk_done_cb cb, void *arg)
{
	int err;
	struct fcall *f = begin(file, "fsync", 0, fcall_done, arg, &err);

	(void)base;
	if (!f)
		return err;
	f->cb.done = cb;
	f->replicate = true;
	return fcall_go(f);
}

const struct lk_files_impl redis_files = {
	.stat = rf_stat,
	.open = rf_open,
	.mkdir = rb_ns_make,
	.rmdir = rb_ns_remove,
	.unlink = rf_unlink,
	.rename = rf_rename,
	.link = rf_link,
	.symlink = rf_symlink,
	.readlink = rf_readlink,
	.list = rf_list,
	.setattr = rf_setattr,
	.fstat = rf_fstat,
	.read = rf_read,
	.write = rf_write,
	.truncate = rf_truncate,
	.sync = rf_sync,
	.close = rf_close,
	.on_lost = rf_on_lost,
	.range_set = rf_range_set,
	.range_cancel = rf_range_cancel,
	.range_test = rf_range_test,
	.range_drop = rf_range_drop,
};
