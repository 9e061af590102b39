/* OPEN, flock(2) and poll(2) on locks/NAME and sems/NAME/N/any|K.
 *
 * An open becomes a request in the backend's queue; its reply is the grant. A
 * handle whose hold was lost says ESTALE until it is closed; one whose hold
 * was given back by LOCK_UN may take it again by flock(2).
 */
#include "fs/acquire.h"
#include "fs/ops.h"
#include "fs/perm.h"

#include "base/zalloc.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <utlist.h>

struct opening {
	struct server *server;
	fuse_req_t req;
	struct node *node;
	struct fuse_file_info fi;
	struct acquire_spec spec;
	struct lk_hold *hold;
};

static void opening_fail(struct opening *o, int err)
{
	if (o->hold)
		lk_release(o->server->backend, o->hold);
	reply_err(o->req, err);
	free(o);
}

static void opening_reply(struct opening *o)
{
	const struct acquire_opts *opts = &o->node->view->acquire;
	struct handle *h = handle_new(o->server, o->node, o->spec.kind == LK_LOCK ? H_LOCK : H_SEM);

	if (!h) {
		opening_fail(o, -ENOMEM);
		return;
	}
	h->readonly = o->spec.mode == LK_SHARED;
	h->lost_signal = opts->lost_set ? opts->lost_signal : o->server->opt->lost_signal;
	handle_take_hold(h, o->hold);
	o->fi.direct_io = 1;
	handle_reply_open(o->req, h, &o->fi);
	free(o);
}

static void opened_truncated(void *arg, int err)
{
	struct opening *o = arg;

	if (err)
		opening_fail(o, err);
	else
		opening_reply(o);
}

static void opening_granted(void *arg, int err, struct lk_hold *hold)
{
	struct opening *o = arg;

	o->hold = hold;
	/* Lost before it could be told: the kernel asks once more on ESTALE. */
	if (err == 0 && hold->lost)
		err = -ESTALE;
	if (err == 0 && (o->fi.flags & O_TRUNC) && o->spec.kind == LK_LOCK) {
		err = lk_truncate(o->server->backend, hold, 0, opened_truncated, o);
		if (err == 0)
			return;
	}
	if (err)
		opening_fail(o, err);
	else
		opening_reply(o);
}

static void opening_allowed(void *arg, int err)
{
	struct opening *o = arg;

	if (err == 0)
		err = acquire_start(o->server, o->req, &o->spec);
	if (err)
		opening_fail(o, err);
}

void lock_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi)
{
	bool shared = n->view->acquire.shared && n->kind == N_LOCK;
	char ns[LK_NAME_MAX + 1];
	struct opening *o;

	/* Shared holders read only (A4). */
	if (shared && ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC))) {
		reply_err(req, -EACCES);
		return;
	}
	o = pl_zalloc(sizeof(*o));
	if (!o) {
		reply_err(req, -ENOMEM);
		return;
	}
	o->server = server_of(req);
	o->req = req;
	o->node = n;
	o->fi = *fi;
	o->spec.kind = n->kind == N_LOCK ? LK_LOCK : LK_SEM;
	o->spec.name = n->path;
	o->spec.slot_lo = n->slot < 0 ? 0 : (unsigned)n->slot;
	o->spec.slot_hi = o->spec.slot_lo + 1;
	if (n->kind == N_SEM_SLOT && n->slot < 0)
		o->spec.slot_hi = n->bound;
	o->spec.done = opening_granted;
	o->spec.arg = o;
	acquire_spec_view(&o->spec, o->server, n, fi->flags & O_NONBLOCK);
	if (n->kind == N_LOCK)
		perm_parent_of(n->path, ns);
	else
		ns[0] = '\0';
	perm_namespace(o->server, req, ns, shared ? PERM_READ : PERM_WRITE, opening_allowed, o);
}

/* --- flock(2) on an open handle --- */

/* Several may be under way on one handle, by threads or by processes that share
 * it: the lock is the open file's, so they do not exclude each other, and it
 * has one hold at most. The first that is granted has the others asked anew. */
struct flocking {
	fuse_req_t req;
	struct handle *h;
	int op;
	bool waits; /* for a hold of its own, not to convert the handle's */
	bool again;
	struct acquire_spec spec;
	struct flocking *prev, *next;
};

static void flock_gave_up(void *arg)
{
	struct flocking *f = arg;

	f->waits = true;
	handle_forget_hold(f->h);
}

static void flock_granted(struct handle *h, struct lk_hold *hold)
{
	struct flocking *f;

	if (h->hold != hold)
		handle_give_back(h);
	handle_take_hold(h, hold);
	DL_FOREACH(h->flocks, f) {
		if (!f->waits || f->again)
			continue;
		f->again = true;
		acquire_cancel(h->server, f->req, -ECANCELED);
	}
}

/* A conversion removes the old lock first, flock(2): a file's holder who was refused holds nothing, else two who
 * share it and ask again and again would keep each other out for ever. */
static void flock_refused(const struct flocking *f, int err)
{
	if (!f->waits && f->h->kind == H_FILE && (err == -EAGAIN || err == -ETIMEDOUT || err == -ENOLCK))
		handle_give_back(f->h);
}

static void flock_done(void *arg, int err, struct lk_hold *hold)
{
	struct flocking *f = arg;
	struct handle *h = f->h;

	DL_DELETE(h->flocks, f);
	if (err == 0)
		flock_granted(h, hold);
	else
		flock_refused(f, err);
	if (err == 0 && h->lost) {
		handle_give_back(h);
		err = -ESTALE;
	}
	if (err && f->again)
		lock_flock(f->req, h, f->op);
	else
		reply_err(f->req, err);
	free(f);
}

void lock_flock(fuse_req_t req, struct handle *h, int op)
{
	enum lk_mode mode = (op & LOCK_SH) ? LK_SHARED : LK_EXCLUSIVE;
	struct flocking *f;
	int err;

	if (h->lost) {
		reply_err(req, -ESTALE);
		return;
	}
	if (op & LOCK_UN) {
		handle_give_back(h);
		reply_err(req, 0);
		return;
	}
	/* A slot is exclusive by its nature; so is nothing to convert. */
	if (h->hold && (h->kind == H_SEM || h->hold->mode == mode)) {
		reply_err(req, 0);
		return;
	}
	f = pl_zalloc(sizeof(*f));
	if (!f) {
		reply_err(req, -ENOMEM);
		return;
	}
	f->req = req;
	f->h = h;
	f->op = op;
	f->waits = !h->hold;
	f->spec.kind = h->kind == H_SEM ? LK_SEM : LK_LOCK;
	f->spec.name = h->hold ? h->hold->name : h->node->path;
	f->spec.file = h->file;
	/* A file without a name has a lock that is not of any name. */
	f->spec.unseen = h->kind == H_FILE && !h->hold && !h->node->hashed;
	f->spec.slot_lo = h->kind == H_SEM && h->node->slot >= 0 ? (unsigned)h->node->slot : 0;
	f->spec.slot_hi = h->kind == H_SEM && h->node->slot < 0 ? h->node->bound : f->spec.slot_lo + 1;
	f->spec.done = flock_done;
	f->spec.gave_up = flock_gave_up;
	f->spec.arg = f;
	f->spec.convert = h->hold;
	acquire_spec_view(&f->spec, h->server, h->node, op & LOCK_NB);
	f->spec.mode = h->kind == H_SEM ? LK_EXCLUSIVE : mode;
	DL_APPEND(h->flocks, f);
	err = acquire_start(h->server, req, &f->spec);
	if (err) {
		DL_DELETE(h->flocks, f);
		flock_refused(f, err);
		reply_err(req, err);
		free(f);
	}
}

void lock_poll(fuse_req_t req, struct handle *h, struct fuse_pollhandle *ph)
{
	unsigned events = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

	if (ph) {
		if (h->poll)
			fuse_pollhandle_destroy(h->poll);
		h->poll = ph;
	}
	if (h->lost)
		events |= POLLERR | POLLHUP;
	else if (h->hold && h->hold->contended)
		events |= POLLPRI;
	fuse_reply_poll(req, events);
}
