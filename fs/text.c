/* status, status.json, metrics and README: rendered at open, read from memory. */
#include "fs/ops.h"
#include "fs/render.h"

#include <stdlib.h>
#include <string.h>

struct rendering {
	fuse_req_t req;
	struct node *node;
	struct fuse_file_info fi;
	struct lk_party *holders, *waiters; /* of locks, copied: the second view comes later */
	struct lk_view locks;
	char *strings;
};

static void info_of(const struct server *s, struct render_info *i)
{
	memset(i, 0, sizeof(*i));
	i->mountpoint = s->opt->mountpoint;
	i->source = lk_describe(s->backend);
	i->version = PLOCKFS_VERSION;
	i->host = lk_host(s->backend);
	i->now = pl_wall(s->loop);
	i->mounted = s->mounted;
	i->requests = s->requests;
	i->open_handles = s->open_handles;
	i->nodes = s->nodes.count;
	i->read_only = s->opt->read_only;
}

static void reply_text(struct rendering *r, char *text, size_t len)
{
	struct handle *h = text ? handle_new(server_of(r->req), r->node, H_TEXT) : NULL;

	if (!h) {
		free(text);
		reply_err(r->req, -ENOMEM);
	} else {
		h->text = text;
		h->text_len = len;
		r->fi.direct_io = 1;
		r->fi.noflush = 1;
		handle_reply_open(r->req, h, &r->fi);
	}
	free(r->holders);
	free(r->waiters);
	free(r->strings);
	free(r);
}

static void fail(struct rendering *r, int err)
{
	reply_err(r->req, err);
	free(r->holders);
	free(r->waiters);
	free(r->strings);
	free(r);
}

static void have_sems(void *arg, int err, const struct lk_view *sems)
{
	struct rendering *r = arg;
	struct server *s = server_of(r->req);
	struct render_info i;
	char *text;
	size_t len = 0;

	if (err) {
		fail(r, err);
		return;
	}
	info_of(s, &i);
	text = r->node->kind == N_STATUS ? render_status(&i, &r->locks, sems, lk_counters(s->backend), &len)
					 : render_status_json(&i, &r->locks, sems, lk_counters(s->backend), &len);
	reply_text(r, text, len);
}

static size_t strings_size(const struct lk_party *p, size_t n)
{
	size_t size = 0, i;

	for (i = 0; i < n; i++)
		size += strlen(p[i].id) + strlen(p[i].host) + strlen(p[i].name) + 3;
	return size;
}

static const char *keep(char **at, const char *s)
{
	size_t n = strlen(s) + 1;
	char *out = *at;

	memcpy(out, s, n);
	*at += n;
	return out;
}

static struct lk_party *copy_parties(const struct lk_party *p, size_t n, char **at)
{
	struct lk_party *out = calloc(n ? n : 1, sizeof(*out));
	size_t i;

	for (i = 0; out && i < n; i++) {
		out[i] = p[i];
		out[i].id = keep(at, p[i].id);
		out[i].host = keep(at, p[i].host);
		out[i].name = keep(at, p[i].name);
	}
	return out;
}

static void have_locks(void *arg, int err, const struct lk_view *locks)
{
	struct rendering *r = arg;
	char *at;

	if (err == 0) {
		at = r->strings = malloc(strings_size(locks->holders, locks->n_holders) +
					 strings_size(locks->waiters, locks->n_waiters) + 1);
		if (at) {
			r->holders = copy_parties(locks->holders, locks->n_holders, &at);
			r->waiters = copy_parties(locks->waiters, locks->n_waiters, &at);
		}
		if (!at || !r->holders || !r->waiters)
			err = -ENOMEM;
	}
	if (err == 0) {
		r->locks = *locks;
		r->locks.holders = r->holders;
		r->locks.waiters = r->waiters;
		err = lk_view(server_of(r->req)->backend, LK_SEM, NULL, have_sems, r);
	}
	if (err)
		fail(r, err);
}

void text_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct rendering *r;
	struct render_info i;
	char *text;
	size_t len = 0;
	int err;

	if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC)) {
		reply_err(req, -EACCES);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		reply_err(req, -ENOMEM);
		return;
	}
	r->req = req;
	r->node = n;
	r->fi = *fi;
	if (n->kind == N_STATUS || n->kind == N_STATUS_JSON) {
		err = lk_view(s->backend, LK_LOCK, NULL, have_locks, r);
		if (err)
			fail(r, err);
		return;
	}
	info_of(s, &i);
	text = n->kind == N_METRICS ? render_metrics(&i, lk_counters(s->backend), &len) : render_readme(&i, &len);
	reply_text(r, text, len);
}

void text_read(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	if (off < 0 || (uint64_t)off >= h->text_len) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (size > h->text_len - (size_t)off)
		size = h->text_len - (size_t)off;
	fuse_reply_buf(req, h->text + off, size);
}
