/* Fencing tokens: the next one, and a worker that makes the counter's ceiling durable before it is reached. */
#include "backend/file/internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct raising {
	uv_work_t work;
	struct file_backend *b;
	int fd, err;
	uint64_t wall_us;
};

static void raise_work(uv_work_t *work)
{
	struct raising *r = work->data;

	r->err = floor_raise(r->fd, r->wall_us);
}

static void raise_after(uv_work_t *work, int status)
{
	struct raising *r = work->data;

	(void)status;
	if (r->b) {
		r->b->raising = NULL;
		r->b->floor_raising = false;
		if (r->err)
			pl_log_limited(&r->b->log_io, PL_ERROR, "cannot make tokens durable in %s/.plockfs: %s",
				       r->b->store.path, strerror(-r->err));
	}
	close(r->fd);
	free(r);
}

static void raise_floor(struct file_backend *b, uint64_t wall_us)
{
	struct raising *r = calloc(1, sizeof(*r));

	if (!r)
		return; /* raised when it has run out, then */
	r->b = b;
	r->wall_us = wall_us;
	r->fd = dup(b->floor.fd);
	r->work.data = r;
	if (r->fd < 0 || uv_queue_work(pl_loop_uv(b->base.loop), &r->work, raise_work, raise_after) != 0) {
		if (r->fd >= 0)
			close(r->fd);
		free(r);
		return;
	}
	b->floor_raising = true;
	b->raising = r;
}

void fb_forget_raising(struct file_backend *b)
{
	if (b->raising)
		b->raising->b = NULL;
}

int fb_next_token(struct file_backend *b, struct fname *n, uint64_t *token)
{
	uint64_t us = pl_wall(b->base.loop) / 1000;
	int err;

	if (b->store.read_only)
		return -EROFS;
	err = floor_next(&b->floor, us, token);
	if (err == -ENOENT && store_private_again(&b->store) == 1) {
		pl_log(PL_WARN, "%s/.plockfs was removed: made anew", b->store.path);
		b->floor.dir = b->store.priv;
		peers_again(b->peers);
		held_again(b->held, b->store.mounts);
		err = floor_next(&b->floor, us, token);
	}
	if (err)
		return err;
	n->token = *token;
	if (!b->floor_raising && b->floor.low)
		raise_floor(b, us);
	return 0;
}
