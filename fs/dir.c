/* OPENDIR, READDIR, RELEASEDIR: a listing is taken at open and read from memory. */
#include "fs/listing.h"
#include "fs/ops.h"
#include "fs/perm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void have_names(void *arg, int err, const struct lk_list *list)
{
	struct listing *l = arg;
	size_t i;

	for (i = 0; err == 0 && i < list->n; i++)
		err = handle_add_entry(l->h, list->entries[i].name,
				       list->entries[i].type == LK_T_NAMESPACE || l->node->kind == N_SEMS ? S_IFDIR
													  : S_IFREG);
	listing_end(l, err);
}

static void have_slots(void *arg, int err, const struct lk_view *v)
{
	struct listing *l = arg;
	char name[16];
	size_t i;

	for (i = 0; err == 0 && i < v->n_holders; i++) {
		if (v->holders[i].slot >= l->node->bound)
			continue;
		snprintf(name, sizeof(name), "%u", v->holders[i].slot);
		err = handle_add_entry(l->h, name, S_IFREG);
	}
	listing_end(l, err);
}

static int add_words(struct handle *h)
{
	static const char *const dirs[] = { "locks", "sems", "files", "with", "holders", "waiters" };
	static const char *const files[] = { "status", "status.json", "metrics", "README" };
	size_t i;
	int err = 0;

	for (i = 0; err == 0 && i < sizeof(dirs) / sizeof(dirs[0]); i++)
		err = handle_add_entry(h, dirs[i], S_IFDIR);
	for (i = 0; err == 0 && i < sizeof(files) / sizeof(files[0]); i++)
		err = handle_add_entry(h, files[i], S_IFREG);
	return err;
}

static void listing_allowed(void *arg, int err)
{
	struct listing *l = arg;
	struct lk_backend *b = server_of(l->req)->backend;

	if (err == 0)
		err = handle_add_dots(l->h);
	if (err == 0 && l->node->kind == N_ROOT)
		err = add_words(l->h);
	if (err) {
		listing_end(l, err);
		return;
	}
	switch (l->node->kind) {
	case N_ROOT:
	case N_NAMESPACE:
		err = lk_list(b, LK_LOCK, l->node->path, have_names, l);
		break;
	case N_SEMS:
		err = lk_list(b, LK_SEM, "", have_names, l);
		break;
	case N_SEM_BOUND:
		err = lk_view(b, LK_SEM, l->node->path, have_slots, l);
		break;
	default: /* with/, sems/NAME/: anything may follow, nothing is there */
		listing_end(l, 0);
		return;
	}
	if (err < 0)
		listing_end(l, err);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct node *n = node_get(&s->nodes, ino);
	struct listing *l;

	if (!n) {
		reply_err(req, -ESTALE);
		return;
	}
	if (n->kind == N_PARTIES || n->kind == N_PARTIES_NS || n->kind == N_PARTIES_NAME) {
		party_opendir(req, n, fi);
		return;
	}
	if (n->kind == N_FILES) {
		files_opendir(req, n, fi);
		return;
	}
	l = listing_new(req, n, fi);
	if (!l)
		return;
	if (n->kind == N_NAMESPACE || n->kind == N_ROOT)
		perm_namespace(s, req, n->path, PERM_READ, listing_allowed, l);
	else
		listing_allowed(l, 0);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	struct stat st;
	char *buf;
	size_t used = 0, i;

	(void)ino;
	if (off < 0) {
		reply_err(req, -EINVAL);
		return;
	}
	buf = malloc(size);
	if (!buf) {
		reply_err(req, -ENOMEM);
		return;
	}
	memset(&st, 0, sizeof(st));
	for (i = (size_t)off; i < h->n_entries; i++) {
		size_t need;

		st.st_mode = h->entries[i].type;
		st.st_ino = 0xffffffff; /* what libfuse says for: unknown until looked up */
		need = fuse_add_direntry(req, buf + used, size - used, h->entries[i].name, &st, (off_t)i + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

static void synced(void *arg, int err)
{
	reply_err(arg, err);
}

/* For programs that make, link or rename a file and want that to last (SQLite, dotlock). */
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	const struct node *n = handle_of(fi)->node;
	int err = 0;

	(void)ino;
	(void)datasync;
	if (n->kind == N_FILES || n->kind == N_NAMESPACE || n->kind == N_ROOT)
		err = lk_ns_sync(server_of(req)->backend, n->path, synced, req);
	else
		err = -EINVAL;
	/* A folder that was removed meanwhile, or one that is only shown. */
	if (err < 0)
		reply_err(req, err == -ENOENT || err == -EINVAL || err == -ENOSYS ? 0 : err);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_free(handle_of(fi));
	reply_err(req, 0);
}
