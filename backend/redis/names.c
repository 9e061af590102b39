/* Files by name. Every change is one script, so of two mounts one comes first. */
#include "backend/redis/files.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Folders have no inode at the server: their path stands for it, apart from all files' numbers. */
static uint64_t folder_ino(const char *path, size_t len)
{
	uint64_t h = UINT64_C(14695981039346656037);
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ (unsigned char)path[i]) * UINT64_C(1099511628211);
	return h | UINT64_C(1) << 63;
}

static int read_folder(const struct fcall *f, const char *text, struct lk_file_stat *st)
{
	unsigned perm;
	unsigned long long mtime;

	if (sscanf(text, "%u %u %u %llu", &perm, &st->uid, &st->gid, &mtime) != 4)
		return -EIO;
	st->mode = S_IFDIR | (perm & 07777);
	st->nlink = 2;
	st->ino = folder_ino(f->text, f->len[0]);
	st->mtime = st->ctime = mtime * PL_MS;
	return 0;
}

void fcall_stat(struct fcall *f, int err, const redisReply *reply)
{
	struct lk_file_stat st = { 0 };
	const char *what = reply_str(reply, 1);

	if (err == 0 && *what == 'd') {
		err = read_folder(f, reply_str(reply, 2), &st);
	} else if (err == 0) {
		st.mode = (*what == 'l' ? S_IFLNK : S_IFREG) | (reply_num(reply, 2) & 07777);
		st.uid = (uid_t)reply_num(reply, 3);
		st.gid = (gid_t)reply_num(reply, 4);
		st.size = reply_num(reply, 5);
		st.nlink = reply_num(reply, 6);
		st.ino = reply_num(reply, 7);
		st.mtime = reply_num(reply, 8);
		st.ctime = reply_num(reply, 9);
	}
	f->cb.stat(f->arg, err, err ? NULL : &st);
}

int rf_stat(struct lk_backend *base, const char *name, lk_file_stat_cb cb, void *arg)
{
	struct fcall *f = fcall_new(rb_of(base), NULL, "fstatn", strlen(name), fcall_stat, arg);

	if (!f)
		return -ENOMEM;
	f->cb.stat = cb;
	fcall_str(f, name);
	return fcall_go(f);
}

int rf_unlink(struct lk_backend *base, const char *name, lk_done_cb cb, void *arg)
{
	struct fcall *f = fcall_new(rb_of(base), NULL, "funlink", strlen(name), fcall_done, arg);

	if (!f)
		return -ENOMEM;
	f->cb.done = cb;
	fcall_str(f, name);
	return fcall_go(f);
}

static void on_rename(struct fcall *f, int err, const redisReply *reply)
{
	/* It may have been a folder; of those there is a copy here. */
	if (f->b->state == SESSION_UP)
		ns_refresh(f->b);
	fcall_done(f, err, reply);
}

int rf_rename(struct lk_backend *base, const char *from, const char *to, unsigned flags, lk_done_cb cb, void *arg)
{
	struct redis_backend *b = rb_of(base);
	size_t len = strlen(from);
	struct fcall *f;

	f = fcall_new(b, NULL, "frename", len + strlen(to), ns_find(b, from) ? on_rename : fcall_done, arg);
	if (!f)
		return -ENOMEM;
	f->cb.done = cb;
	fcall_str(f, from);
	fcall_str(f, to);
	fcall_num(f, flags & RENAME_NOREPLACE ? 1 : 0);
	return fcall_go(f);
}

int rf_link(struct lk_backend *base, const char *from, const char *to, lk_done_cb cb, void *arg)
{
	struct fcall *f = fcall_new(rb_of(base), NULL, "flink", strlen(from) + strlen(to), fcall_done, arg);

	if (!f)
		return -ENOMEM;
	f->cb.done = cb;
	fcall_str(f, from);
	fcall_str(f, to);
	return fcall_go(f);
}

int rf_symlink(struct lk_backend *base, const char *target, const char *name, uid_t uid, gid_t gid, lk_done_cb cb,
	       void *arg)
{
	struct fcall *f = fcall_new(rb_of(base), NULL, "fsymlink", strlen(target) + strlen(name), fcall_done, arg);

	if (!f)
		return -ENOMEM;
	f->cb.done = cb;
	fcall_str(f, target);
	fcall_str(f, name);
	fcall_num(f, uid);
	fcall_num(f, gid);
	return fcall_go(f);
}

static void on_readlink(struct fcall *f, int err, const redisReply *reply)
{
	const char *data = NULL;
	ssize_t n = err ? err : reply_bytes(reply, 1, PATH_MAX, &data);

	f->cb.io(f->arg, n, data);
}

int rf_readlink(struct lk_backend *base, const char *name, lk_io_cb cb, void *arg)
{
	struct fcall *f = fcall_new(rb_of(base), NULL, "freadlink", strlen(name), on_readlink, arg);

	if (!f)
		return -ENOMEM;
	f->cb.io = cb;
	fcall_str(f, name);
	return fcall_go(f);
}

static void on_list(struct fcall *f, int err, const redisReply *reply)
{
	struct lk_entry *entries = err ? NULL : calloc(reply->elements, sizeof(*entries));
	struct lk_list list = { .entries = entries };
	size_t cut = f->len[0] ? f->len[0] + 1 : 0, i;

	if (!entries) {
		f->cb.list(f->arg, err ? err : -ENOMEM, NULL);
		return;
	}
	for (i = 1; i < reply->elements; i++) {
		const char *kn = reply_str(reply, i);

		if (strlen(kn) <= cut + 1 || !lk_file_component_valid(kn + 1 + cut))
			continue;
		entries[list.n].name = kn + 1 + cut;
		entries[list.n++].type = *kn == 'N' ? LK_T_NAMESPACE : *kn == 'K' ? LK_T_LINK : LK_T_NAME;
	}
	f->cb.list(f->arg, 0, &list);
	free(entries);
}

int rf_list(struct lk_backend *base, const char *ns, lk_list_cb cb, void *arg)
{
	struct fcall *f = fcall_new(rb_of(base), NULL, "flist", strlen(ns), on_list, arg);

	if (!f)
		return -ENOMEM;
	f->cb.list = cb;
	fcall_str(f, ns);
	return fcall_go(f);
}

static void add_attr(struct fcall *f, bool set, int64_t value)
{
	if (set)
		fcall_num(f, value);
	else
		fcall_str(f, "-");
}

int rf_setattr(struct lk_backend *base, struct lk_file *file, const char *name, const struct lk_file_attr *attr,
	       lk_done_cb cb, void *arg)
{
	struct redis_backend *b = rb_of(base);
	struct fcall *f;

	if (file && (!session_check(b) || file->lost))
		return -ESTALE;
	f = fcall_new(b, file, file ? "fsetattr" : "fsetattrn", file ? 0 : strlen(name), fcall_done, arg);
	if (!f)
		return -ENOMEM;
	f->cb.done = cb;
	if (!file)
		fcall_str(f, name);
	add_attr(f, attr->perm != (mode_t)-1, attr->perm & 07777);
	add_attr(f, attr->uid != (uid_t)-1, attr->uid);
	add_attr(f, attr->gid != (gid_t)-1, attr->gid);
	add_attr(f, attr->mtime != 0, (int64_t)attr->mtime);
	return fcall_go(f);
}
