/* Permission checks on namespaces, one after the other from the top. */
#include "fs/perm.h"

#include "base/zalloc.h"

#include <stdlib.h>
#include <string.h>

struct walk {
	struct server *server;
	fuse_req_t req;
	int want;
	lk_done_cb done;
	void *arg;
	size_t upto; /* bytes of path checked so far */
	char path[LK_NAME_MAX + 1];
	char step[LK_NAME_MAX + 1];
};

bool perm_allows(fuse_req_t req, mode_t mode, uid_t uid, gid_t gid, int want)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	int have;

	if (ctx->uid == 0)
		return true;
	if (ctx->uid == uid)
		have = (mode >> 6) & 7;
	else if (who_in_group(ctx->pid, ctx->gid, gid))
		have = (mode >> 3) & 7;
	else
		have = mode & 7;
	return (have & want) == want;
}

void perm_parent_of(const char *name, char out[LK_NAME_MAX + 1])
{
	const char *slash = strrchr(name, '/');
	size_t len = slash ? (size_t)(slash - name) : 0;

	memcpy(out, name, len);
	out[len] = '\0';
}

static void walk_end(struct walk *w, int err)
{
	lk_done_cb done = w->done;
	void *arg = w->arg;

	free(w);
	done(arg, err);
}

static void walk_next(struct walk *w);

static void on_stat(void *arg, int err, const struct lk_stat *st)
{
	struct walk *w = arg;
	bool last = w->path[w->upto] == '\0';

	if (err == 0 && st->type != LK_T_NAMESPACE)
		err = st->type == LK_T_NONE ? -ENOENT : -ENOTDIR;
	if (err == 0 && !perm_allows(w->req, st->perm, st->uid, st->gid, last ? w->want | PERM_SEARCH : PERM_SEARCH))
		err = -EACCES;
	if (err || last)
		walk_end(w, err);
	else
		walk_next(w);
}

static void walk_next(struct walk *w)
{
	size_t from = w->upto + (w->upto > 0);
	int err;

	w->upto = from + strcspn(w->path + from, "/");
	memcpy(w->step, w->path, w->upto);
	w->step[w->upto] = '\0';
	err = lk_stat(w->server->backend, LK_LOCK, w->step, LK_STAT_LOCAL, on_stat, w);
	if (err < 0)
		walk_end(w, err);
}

void perm_namespace(struct server *s, fuse_req_t req, const char *ns, int want, lk_done_cb done, void *arg)
{
	struct walk *w;
	int top = *ns ? PERM_SEARCH : want | PERM_SEARCH;

	if (fuse_req_ctx(req)->uid == 0) {
		done(arg, 0);
		return;
	}
	if (!perm_allows(req, 0777 & ~s->opt->umask, s->opt->uid, s->opt->gid, top)) {
		done(arg, -EACCES);
		return;
	}
	if (!*ns) {
		done(arg, 0);
		return;
	}
	w = pl_zalloc(sizeof(*w));
	if (!w) {
		done(arg, -ENOMEM);
		return;
	}
	w->server = s;
	w->req = req;
	w->want = want;
	w->done = done;
	w->arg = arg;
	strcpy(w->path, ns); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): names are checked
	walk_next(w);
}
