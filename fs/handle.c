/* Handles and the holds they own: one grant is released exactly once, here. */
#include "fs/handle.h"

#include "fs/ops.h"

#include "base/log.h"
#include "base/zalloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

struct handle *handle_new(struct server *s, struct node *node, enum handle_kind kind)
{
	struct handle *h = pl_zalloc(sizeof(*h));

	if (!h)
		return NULL;
	h->kind = kind;
	h->server = s;
	h->node = node;
	s->open_handles++;
	DL_APPEND(s->handles, h);
	return h;
}

static void drop_poll(struct handle *h)
{
	if (!h->poll)
		return;
	fuse_pollhandle_destroy(h->poll);
	h->poll = NULL;
}

void handle_free(struct handle *h)
{
	size_t i;

	handle_give_back(h);
	drop_poll(h);
	if (h->file) {
		ranges_release(h);
		DL_DELETE2(h->node->opened, h, file_prev, file_next);
		lk_file_close(h->server->backend, h->file);
	}
	free(h->range_owners);
	for (i = 0; i < h->n_entries; i++)
		free(h->entries[i].name);
	free(h->entries);
	free(h->text);
	h->server->open_handles--;
	DL_DELETE(h->server->handles, h);
	free(h);
}

void handles_free_all(struct server *s)
{
	while (s->handles) {
		struct handle *h = s->handles;

		/* Their programs did not close them: that is no clean release, and
		 * lk_destroy gives back what is still held. */
		if (h->hold) {
			h->hold->on_lost = h->hold->on_contended = NULL;
			handle_forget_hold(h);
		}
		handle_free(h);
	}
}

void handle_reply_open(fuse_req_t req, struct handle *h, struct fuse_file_info *fi)
{
	fi->fh = (uintptr_t)h;
	/* The opener may have died after the grant: the reply then fails, no
	 * RELEASE will ever come, and the grant has to be undone here. */
	if (fuse_reply_open(req, fi) != 0)
		handle_free(h);
}

int handle_add_entry(struct handle *h, const char *name, mode_t type)
{
	if (h->n_entries == h->cap_entries) {
		size_t cap = h->cap_entries ? h->cap_entries * 2 : 16;
		struct dirent_entry *e = reallocarray(h->entries, cap, sizeof(*e));

		if (!e)
			return -ENOMEM;
		h->entries = e;
		h->cap_entries = cap;
	}
	h->entries[h->n_entries].name = strdup(name);
	h->entries[h->n_entries].type = type;
	if (!h->entries[h->n_entries].name)
		return -ENOMEM;
	h->n_entries++;
	return 0;
}

int handle_add_dots(struct handle *h)
{
	int err = handle_add_entry(h, ".", S_IFDIR);

	return err ? err : handle_add_entry(h, "..", S_IFDIR);
}

static void notify_poll(struct handle *h)
{
	if (!h->poll)
		return;
	fuse_lowlevel_notify_poll(h->poll);
	drop_poll(h);
}

void handle_lost(void *arg)
{
	struct handle *h = arg;
	const char *name = h->node->path;
	int err;

	if (h->lost)
		return;
	h->lost = true;
	waitgraph_remove(h->server->graph, &h->graph);
	notify_poll(h);
	if (!h->lost_signal)
		return;
	err = who_signal(&h->owner, h->lost_signal);
	if (err)
		pl_log(PL_WARN, "lock '%s' lost: cannot signal process %d: %s", name, (int)h->owner.pid,
		       strerror(-err));
}

static void on_lost(struct lk_hold *hold)
{
	handle_lost(hold->arg);
}

static void on_contended(struct lk_hold *hold)
{
	notify_poll(hold->arg);
}

void handle_take_hold(struct handle *h, struct lk_hold *hold)
{
	struct server *s = h->server;

	h->hold = hold;
	h->owner = hold->owner;
	hold->arg = h;
	hold->on_lost = on_lost;
	hold->on_contended = on_contended;
	waitgraph_remove(s->graph, &h->graph);
	/* Lost between the grant and this turn: nobody was told yet. */
	if (hold->lost && !h->lost)
		on_lost(hold);
	if (!h->lost && waitgraph_hold_add(s->graph, &h->graph, hold->kind, hold->name, &hold->owner, hold->mode,
					   hold->slot, h) < 0)
		pl_log(PL_WARN, "out of memory: no deadlock detection for '%s'", hold->name);
}

void handle_forget_hold(struct handle *h)
{
	waitgraph_remove(h->server->graph, &h->graph);
	h->hold = NULL;
}

void handle_give_back(struct handle *h)
{
	struct lk_hold *hold = h->hold;

	if (!hold)
		return;
	handle_forget_hold(h);
	lk_release(h->server->backend, hold);
}
