/* flock(2) on files/: the lock is the inode's, the names of locks/ are names'.
 *
 * While a name leads to the file, both are one entry. When the file loses the
 * name (unlinked, renamed, replaced, by whoever), those who came by file move
 * into an entry that belongs to the inode, an orphan: its key begins with a
 * byte that no name has. The kernel's flock on the inode excludes across
 * entries. That a grant is for the right inode is checked when it is made, as
 * the name may have been given to another file while the request waited.
 */
#include "backend/file/inode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

static struct fname *orphan_get(struct finode *i)
{
	char name[64];

	if (i->orphan)
		return i->orphan;
	snprintf(name, sizeof(name), "\001%" PRIx64 ".%" PRIx64, (uint64_t)i->id.dev, (uint64_t)i->id.ino);
	i->orphan = fname_get(i->b, LK_LOCK, name);
	if (i->orphan)
		i->orphan->inode = i;
	return i->orphan;
}

static bool leads_to(struct file_backend *b, const char *name, const struct finode *i)
{
	struct stat st;

	return store_stat(b->store.locks, name, &st) == 0 && inode_is(i, &st);
}

bool fname_has(struct fname *n, const struct lk_file *file)
{
	const struct fslot *s = fslot_find(n, 0);

	return s && s->fd >= 0 && s->ino == file->inode->id.ino && s->dev == file->inode->id.dev;
}

struct fname *fname_of_file(struct file_backend *b, struct lk_file *file, const char *name)
{
	struct fname *n = name ? fname_find(b, LK_LOCK, name) : NULL;
	struct fslot *s;

	if (!name || lk_name_check(name) < 0 || !leads_to(b, name, file->inode))
		return orphan_get(file->inode);
	/* Its holders may have another inode, and we not know yet. */
	s = n ? fslot_find(n, 0) : NULL;
	if (s && s->fd >= 0 && !fname_has(n, file))
		fname_split(n);
	/* Those that it had before it was renamed to this name. */
	if (file->inode->orphan && !fname_find(b, LK_LOCK, name))
		return file->inode->orphan;
	return fname_get(b, LK_LOCK, name);
}

/* The flock goes with the holders who have it. */
static int move_slot(struct fslot *s, struct fname *to)
{
	struct fslot *t = fslot_get(to, s->idx);

	if (!t)
		return -ENOMEM;
	/* Shared, under both entries: one descriptor is enough. */
	if (t->fd >= 0) {
		close(s->fd);
	} else {
		t->fd = s->fd;
		t->phys = s->phys;
		t->ino = s->ino;
		t->dev = s->dev;
		t->since = s->since;
		t->handoffs = s->handoffs;
	}
	s->fd = -1;
	return 0;
}

static void move_hold(struct fhold *h, struct fname *to)
{
	arb_unhold(&h->name->arb, &h->arb);
	h->slot->users--;
	if (h->entry)
		held_clear(h->b->held, h->entry, held_key(h->pub.name));
	h->name = to;
	h->slot = fslot_find(to, 0);
	h->slot->users++;
	h->pub.name = fname_str(to);
	if (h->pub.mode == LK_EXCLUSIVE)
		h->entry = held_add(h->b->held, held_key(h->pub.name));
	if (h->pub.token > to->token)
		to->token = h->pub.token;
	arb_hold(&to->arb, &h->arb, h->pub.mode, 0);
}

static void move_wait(struct fwait *w, struct fname *to)
{
	arb_unwait(&w->name->arb, &w->arb);
	w->name = to;
	arb_wait(&to->arb, &w->arb);
}

static struct fhold *hold_of(struct arb_holder *ah)
{
	return (struct fhold *)((char *)ah - offsetof(struct fhold, arb));
}

/* Holders whose file is not the one at the name. */
static void split_holders(struct fname *n, struct fslot *s)
{
	struct fname *to = NULL;
	struct arb_holder *ah, *tmp;
	bool lost = false;

	DL_FOREACH(n->arb.holders, ah) {
		if (hold_of(ah)->inode)
			to = orphan_get(hold_of(ah)->inode);
		else
			lost = true;
	}
	if (lost)
		pl_log_limited(&n->b->log_io, PL_ERROR, "lock '%s' lost: its file was removed or replaced",
			       fname_str(n));
	if (to && move_slot(s, to) < 0)
		to = NULL;
	DL_FOREACH_SAFE(n->arb.holders, ah, tmp) {
		struct fhold *h = hold_of(ah);

		if (to && h->inode)
			move_hold(h, to);
		else
			fhold_lose(h);
	}
	if (to) {
		arb_pump(&to->arb);
		fname_settle(to);
	}
}

void fname_split(struct fname *n)
{
	struct fslot *s = fslot_find(n, 0);
	struct arb_waiter *aw, *tmp;
	bool was = n->arb.pumping;

	if (fname_hidden(n)) { /* of no name: nothing parts it from its file */
		fname_settle(n);
		return;
	}
	n->pins++;
	n->arb.pumping = true;
	if (s && s->users && s->fd >= 0 && !fslot_in_place(s))
		split_holders(n, s);
	DL_FOREACH_SAFE(n->arb.waiters, aw, tmp) {
		struct fwait *w = (struct fwait *)aw;
		struct fname *to;

		if (!w->req->file || leads_to(n->b, fname_str(n), w->req->file->inode))
			continue;
		to = orphan_get(w->req->file->inode);
		if (!to)
			continue; /* served in its turn here, then: the grant is checked */
		move_wait(w, to);
		arb_pump(&to->arb);
		fname_settle(to);
	}
	n->arb.pumping = was;
	n->pins--;
	s = fslot_find(n, 0);
	if (s) {
		fslot_unblock(s);
		fslot_idle(s);
	}
	arb_pump(&n->arb);
	fname_settle(n);
}
