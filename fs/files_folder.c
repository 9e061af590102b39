#include "fs/files_folder.h"

#include "fs/perm.h"

#include "backend/files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct asking {
	struct server *server;
	uid_t uid;
	gid_t gid;
	lk_done_cb may_take;
	folder_group_cb group;
	void *arg;
	char path[LK_NAME_MAX + 1];
	char folder[LK_NAME_MAX + 1];
};

/* NULL: what is directly in files/, which never has these bits, or no memory. */
static struct asking *asking_new(struct server *s, fuse_req_t req, const char *path, void *arg, int *err)
{
	struct asking *a = strchr(path, '/') ? calloc(1, sizeof(*a)) : NULL;

	*err = a || !strchr(path, '/') ? 0 : -ENOMEM;
	if (!a)
		return NULL;
	a->server = s;
	a->uid = fuse_req_ctx(req)->uid;
	a->gid = fuse_req_ctx(req)->gid;
	a->arg = arg;
	strcpy(a->path, path); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): names are checked
	perm_parent_of(path, a->folder);
	return a;
}

static void end_take(struct asking *a, int err)
{
	lk_done_cb done = a->may_take;
	void *arg = a->arg;

	free(a);
	done(arg, err);
}

static void thing_stat(void *arg, int err, const struct lk_file_stat *fs)
{
	struct asking *a = arg;

	if (err == 0 && fs->uid != a->uid)
		err = -EPERM;
	end_take(a, err == -ENOENT ? 0 : err);
}

static void take_folder(void *arg, int err, const struct lk_stat *st)
{
	struct asking *a = arg;

	if (err == 0 && st->type == LK_T_NAMESPACE && (st->perm & S_ISVTX) && st->uid != a->uid) {
		err = lk_file_stat(a->server->backend, a->path, thing_stat, a);
		if (err == 0)
			return;
	}
	end_take(a, err == -ENOENT ? 0 : err);
}

void folder_may_take(struct server *s, fuse_req_t req, const char *path, lk_done_cb done, void *arg)
{
	struct asking *a = NULL;
	int err = 0;

	if (fuse_req_ctx(req)->uid != 0)
		a = asking_new(s, req, path, arg, &err);
	if (!a) {
		done(arg, err);
		return;
	}
	a->may_take = done;
	err = lk_stat(s->backend, LK_LOCK, a->folder, LK_STAT_LOCAL, take_folder, a);
	if (err < 0)
		end_take(a, err);
}

static void end_group(struct asking *a, int err, gid_t gid, bool from_folder)
{
	folder_group_cb done = a->group;
	void *arg = a->arg;

	free(a);
	done(arg, err, gid, from_folder);
}

static void group_folder(void *arg, int err, const struct lk_stat *st)
{
	struct asking *a = arg;
	bool inherit = err == 0 && st->type == LK_T_NAMESPACE && (st->perm & S_ISGID);

	end_group(a, err, inherit ? st->gid : a->gid, inherit);
}

void folder_group(struct server *s, fuse_req_t req, const char *path, folder_group_cb done, void *arg)
{
	int err;
	struct asking *a = asking_new(s, req, path, arg, &err);

	if (!a) {
		done(arg, err, fuse_req_ctx(req)->gid, false);
		return;
	}
	a->group = done;
	err = lk_stat(s->backend, LK_LOCK, a->folder, LK_STAT_LOCAL, group_folder, a);
	if (err < 0)
		end_group(a, err, 0, false);
}
