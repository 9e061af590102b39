/* The value of a lock through its handle, and the short holds that truncate(2),
 * rm and mv by path need. */
#include "fs/acquire.h"
#include "fs/ops.h"
#include "fs/perm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct io {
	fuse_req_t req;
	struct handle *h;
	lk_done_cb done;
	void *arg;
	struct lk_hold *taken;
};

static struct io *io_new(fuse_req_t req, struct handle *h)
{
	struct io *io = calloc(1, sizeof(*io));

	if (!io)
		reply_err(req, -ENOMEM);
	else {
		io->req = req;
		io->h = h;
	}
	return io;
}

/* What a handle that holds nothing says (A6; after LOCK_UN: EBADF). */
static int not_holding(const struct handle *h)
{
	return h->lost ? -ESTALE : -EBADF;
}

static void read_done(void *arg, ssize_t n, const void *data)
{
	struct io *io = arg;

	if (n < 0)
		reply_err(io->req, (int)n);
	else if (io->h->lost)
		reply_err(io->req, -ESTALE);
	else
		fuse_reply_buf(io->req, data, (size_t)n);
	free(io);
}

void value_read(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	struct io *io;
	char text[16];
	int n, err;

	if (h->lost || !h->hold) {
		reply_err(req, not_holding(h));
		return;
	}
	if (h->kind == H_SEM) {
		n = snprintf(text, sizeof(text), "%u\n", h->hold->slot);
		if (off < 0 || off >= n)
			fuse_reply_buf(req, NULL, 0);
		else
			fuse_reply_buf(req, text + off, (size_t)(n - off) < size ? (size_t)(n - off) : size);
		return;
	}
	io = io_new(req, h);
	if (!io)
		return;
	err = lk_read(h->server->backend, h->hold, size, off, read_done, io);
	if (err < 0)
		read_done(io, err, NULL);
}

static void write_done(void *arg, ssize_t n, const void *data)
{
	struct io *io = arg;

	(void)data;
	if (n < 0)
		reply_err(io->req, (int)n);
	else
		fuse_reply_write(io->req, (size_t)n);
	free(io);
}

/* A write by a handle that gave its hold back: EBUSY while another holds the
 * name, else EBADF. */
static void idle_write_stat(void *arg, int err, const struct lk_stat *st)
{
	if (err == 0)
		err = st->holders ? -EBUSY : -EBADF;
	write_done(arg, err, NULL);
}

void value_write(fuse_req_t req, struct handle *h, const char *buf, size_t size, off_t off, bool append)
{
	struct io *io;
	int err;

	if (h->lost) {
		reply_err(req, -ESTALE);
		return;
	}
	/* Slots have no value. */
	if (h->kind == H_SEM) {
		reply_err(req, -EINVAL);
		return;
	}
	io = io_new(req, h);
	if (!io)
		return;
	if (!h->hold)
		err = lk_stat(h->server->backend, LK_LOCK, h->node->path, LK_STAT_FULL, idle_write_stat, io);
	else
		err = lk_write(h->server->backend, h->hold, buf, size, append ? -1 : off, write_done, io);
	if (err < 0)
		write_done(io, err, NULL);
}

/* A page may have been written by whoever mapped the value, also by one who lost the lock, and comes through any
 * handle that has a map. An error here would be told to the next holder too, by its first read. */
void value_write_map(fuse_req_t req, struct handle *h, size_t size)
{
	h->unwritten = true;
	fuse_reply_write(req, size);
}

static void sync_done(void *arg, int err)
{
	struct io *io = arg;

	reply_err(io->req, io->h->lost ? -ESTALE : err);
	free(io);
}

void value_fsync(fuse_req_t req, struct handle *h)
{
	struct io *io;
	int err;

	if (h->lost || !h->hold) {
		reply_err(req, not_holding(h));
		return;
	}
	if (h->kind == H_SEM || h->unwritten) {
		reply_err(req, h->unwritten ? -EIO : 0);
		return;
	}
	io = io_new(req, h);
	if (!io)
		return;
	err = lk_sync(h->server->backend, h->hold, sync_done, io);
	if (err < 0)
		sync_done(io, err);
}

void value_truncate(fuse_req_t req, struct handle *h, uint64_t size, lk_done_cb done, void *arg)
{
	int err = 0;

	(void)req;
	if (h->lost || !h->hold)
		err = not_holding(h);
	else if (h->kind == H_SEM) {
		done(arg, 0);
		return;
	}
	if (err == 0)
		err = lk_truncate(h->server->backend, h->hold, size, done, arg);
	if (err < 0)
		done(arg, err);
}

/* --- a hold for a moment --- */

void momentary_end(struct momentary *m, int err)
{
	if (m->taken)
		lk_release(m->server->backend, m->taken);
	if (m->first && !m->own_first)
		lk_release(m->server->backend, m->first);
	m->answer(m, err);
	free(m);
}

static void momentary_taken(void *arg, int err, struct lk_hold *hold)
{
	struct momentary *m = arg;

	if (err) {
		momentary_end(m, err == -EAGAIN ? -EBUSY : err);
		return;
	}
	m->taken = hold;
	m->act(m, hold);
}

static void momentary_allowed(void *arg, int err)
{
	struct momentary *m = arg;
	struct acquire_spec spec = { .kind = LK_LOCK,
				     .mode = LK_EXCLUSIVE,
				     .name = m->path,
				     .slot_hi = 1,
				     .try_only = true,
				     .done = momentary_taken,
				     .arg = m };
	struct lk_owner owner;
	struct handle *own;

	if (err == 0) {
		owner_of(m->req, &owner);
		own = waitgraph_held_by(m->server->graph, LK_LOCK, m->path, &owner);
		if (own && own->hold && !own->lost) {
			m->act(m, own->hold);
			return;
		}
		err = acquire_start(m->server, m->req, &spec);
	}
	if (err < 0)
		momentary_end(m, err);
}

void momentary_start(struct momentary *m)
{
	char ns[LK_NAME_MAX + 1];

	perm_parent_of(m->path, ns);
	perm_namespace(m->server, m->req, ns, PERM_WRITE, momentary_allowed, m);
}
