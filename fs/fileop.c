#include "fs/fileop.h"

#include "fs/files_folder.h"
#include "fs/perm.h"

#include <stdlib.h>
#include <string.h>

static int name_problem(const char *name)
{
	if (strlen(name) > 255)
		return -ENAMETOOLONG;
	return lk_file_component_valid(name) ? 0 : -EINVAL;
}

struct fileop *fileop_new(fuse_req_t req, struct node *n, const char *name)
{
	struct fileop *f = calloc(1, sizeof(*f));
	int err = f ? 0 : -ENOMEM;

	if (err == 0 && name)
		err = name_problem(name);
	if (err == 0 && name)
		err = node_join(n, name, f->path);
	if (err) {
		reply_err(req, err);
		free(f);
		return NULL;
	}
	f->req = req;
	f->node = n;
	if (name)
		strcpy(f->name, name); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): length checked above
	else
		strcpy(f->path, n->path); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): names are checked
	return f;
}

bool fileop_to(struct fileop *f, struct node *to, const char *name)
{
	int err = name_problem(name);

	if (err == 0)
		err = node_join(to, name, f->other);
	if (err) {
		fileop_fail(f, err);
		return false;
	}
	strcpy(f->newname, name); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): length checked above
	f->to = to;
	return true;
}

void fileop_free(struct fileop *f)
{
	free(f->target);
	free(f);
}

void fileop_fail(struct fileop *f, int err)
{
	reply_err(f->req, err);
	fileop_free(f);
}

void fileop_entry(struct fileop *f, struct node *n, const struct lk_file_stat *fs)
{
	struct stat st;

	if (!n) {
		fileop_fail(f, -ENOMEM);
		return;
	}
	attr_file(n, fs, &st);
	reply_entry(f->req, n, &st);
	fileop_free(f);
}

void fileop_done(void *arg, int err)
{
	fileop_fail(arg, err);
}

void fileop_allowed(void *arg, int err)
{
	struct fileop *f = arg;

	if (err == 0)
		err = f->call(f);
	if (err < 0)
		fileop_fail(f, err);
}

void fileop_start(struct fileop *f, int want)
{
	char ns[LK_NAME_MAX + 1];

	perm_parent_of(f->path, ns);
	perm_namespace(server_of(f->req), f->req, ns, want, fileop_allowed, f);
}

void fileop_start_to(struct fileop *f, int want)
{
	perm_namespace(server_of(f->req), f->req, f->to->path, want, fileop_allowed, f);
}

static void have_group(void *arg, int err, gid_t gid, bool from_folder)
{
	struct fileop *f = arg;

	(void)from_folder;
	f->gid = gid;
	fileop_allowed(f, err);
}

int fileop_group(struct fileop *f, const char *path, int (*call)(struct fileop *f))
{
	f->call = call;
	folder_group(server_of(f->req), f->req, path, have_group, f);
	return 0;
}

bool files_is(const struct node *n, const struct lk_file_stat *fs)
{
	if (n->kind != N_FILE)
		return S_ISDIR(fs->mode);
	return n->ino == fs->ino && !S_ISDIR(fs->mode) && (!n->seen || !((n->seen->mode ^ fs->mode) & S_IFMT));
}

struct node *files_node(struct server *s, struct node *parent, const char *name, const char *path,
			const struct lk_file_stat *fs)
{
	enum node_kind kind = S_ISDIR(fs->mode) ? N_FILES : N_FILE;
	struct node *n = node_find(&s->nodes, parent, name);

	/* Replaced by another mount: what is open of the old file goes on under the old node. */
	if (n && n->kind == N_FILE && n->ino && !files_is(n, fs))
		node_unname(&s->nodes, n);
	n = node_child(&s->nodes, parent, name, kind, path);
	if (!n || kind != N_FILE)
		return n;
	n->ino = fs->ino;
	if (!n->seen)
		n->seen = malloc(sizeof(*n->seen));
	if (n->seen)
		*n->seen = *fs;
	return n;
}
