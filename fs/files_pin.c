/* files/: an open that raced with the end of the file's name.
 *
 * The kernel opens by LOOKUP, then OPEN; locally what the first found is opened
 * even if it was unlinked in between, and O_CREAT never says ENOENT. Here the
 * second would not find it. So OPEN says ESTALE, which makes the kernel look
 * once more, and that LOOKUP opens the file already: OPEN takes it over, with
 * or without a name. Both come from the thread that was told ESTALE: by that
 * they are told from those of others who race for the same name.
 */
#include "fs/fileop.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define PIN_TIME PL_SEC
#define PINS_MAX 256

/* A name whose file the thread's next LOOKUP opens, then that file. */
struct pin {
	struct pin *prev, *next;
	struct server *server;
	struct pl_timer *timer;
	pid_t tid;
	uint64_t parent, node;
	struct lk_file *file;
	char name[];
};

static void unpin(struct pin *p)
{
	struct server *s = p->server;

	DL_DELETE(s->pins, p);
	s->n_pins--;
	pl_timer_stop(s->loop, p->timer);
	if (p->file)
		lk_file_close(s->backend, p->file);
	free(p);
}

static void on_timer(void *arg)
{
	struct pin *p = arg;

	p->timer = NULL;
	unpin(p);
}

void pin_end(struct server *s)
{
	struct pin *p, *tmp;

	DL_FOREACH_SAFE(s->pins, p, tmp)
		unpin(p);
}

static struct pin *pin_find(fuse_req_t req, uint64_t parent, const char *name)
{
	pid_t tid = fuse_req_ctx(req)->pid;
	struct pin *p;

	DL_FOREACH(server_of(req)->pins, p) {
		if (p->tid == tid && p->parent == parent && strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

int pin_next(fuse_req_t req, const struct node *n)
{
	struct server *s = server_of(req);
	struct pin *p;

	if (!n->parent || pin_find(req, n->parent->id, node_name(n)))
		return -ESTALE;
	p = calloc(1, sizeof(*p) + strlen(node_name(n)) + 1);
	if (!p)
		return -ESTALE;
	p->timer = pl_timer_start(s->loop, PIN_TIME, on_timer, p);
	if (!p->timer) {
		free(p);
		return -ESTALE;
	}
	p->server = s;
	p->tid = fuse_req_ctx(req)->pid;
	p->parent = n->parent->id;
	strcpy(p->name, node_name(n)); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): made as long
	if (s->n_pins == PINS_MAX)
		unpin(s->pins);
	DL_APPEND(s->pins, p);
	s->n_pins++;
	return -ESTALE;
}

bool pin_wanted(fuse_req_t req, const struct node *parent, const char *name)
{
	return pin_find(req, parent->id, name) != NULL;
}

bool pin_keep(fuse_req_t req, const struct node *n, struct lk_file *file)
{
	struct pin *p = n->hashed ? pin_find(req, n->parent->id, node_name(n)) : NULL;

	if (!p)
		return false;
	/* The kernel looks twice when it finds another file than before: the last one is what it opens. */
	if (p->file)
		lk_file_close(p->server->backend, p->file);
	p->file = file;
	p->node = n->id;
	return true;
}

struct lk_file *pin_take(fuse_req_t req, const struct node *n)
{
	pid_t tid = fuse_req_ctx(req)->pid;
	struct lk_file *file;
	struct pin *p;

	DL_FOREACH(server_of(req)->pins, p) {
		if (p->tid == tid && p->file && p->node == n->id) {
			file = p->file;
			p->file = NULL;
			unpin(p);
			return file;
		}
	}
	return NULL;
}
