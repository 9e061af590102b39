/* The channel: one poll handle on /dev/fuse, drained until EAGAIN.
 *
 * After each request the loop's tasks run, so an answer that is ready goes out
 * before the next request is read: a close's release is done when the next
 * open is looked at, and a caller does not wait for a read that finds nothing.
 */
#include "fs/channel.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* Requests per event: timers and workers must get their turn too. */
#define BATCH 64

struct channel {
	struct server *server;
	uv_poll_t poll;
	struct fuse_buf buf;
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct channel *c = poll->data;
	struct server *s = c->server;
	int i, n;

	(void)events;
	for (i = 0; i < BATCH; i++) {
		n = fuse_session_receive_buf(s->se, &c->buf);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN)
			break;
		if (n <= 0 || status < 0) {
			if (n < 0)
				pl_log(PL_ERROR, "reading from /dev/fuse: %s", strerror(-n));
			pl_loop_stop(s->loop);
			return;
		}
		s->requests++;
		/* What it finds lost must be known before this request looks. */
		lk_tick(s->backend);
		pl_run_tasks(s->loop);
		fuse_session_process_buf(s->se, &c->buf);
		pl_run_tasks(s->loop);
		if (fuse_session_exited(s->se)) {
			pl_loop_stop(s->loop);
			return;
		}
	}
}

int channel_open(struct server *s, struct channel **out)
{
	struct channel *c = calloc(1, sizeof(*c));
	int fd = fuse_session_fd(s->se), err;

	if (!c)
		return -ENOMEM;
	c->server = s;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
		err = -errno;
		free(c);
		return err;
	}
	err = uv_poll_init(pl_loop_uv(s->loop), &c->poll, fd);
	if (err == 0) {
		c->poll.data = c;
		err = uv_poll_start(&c->poll, UV_READABLE, on_readable);
	}
	if (err) {
		free(c);
		return err;
	}
	*out = c;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct channel *c = handle->data;

	free(c->buf.mem);
	free(c);
}

void channel_close(struct channel *c)
{
	uv_close((uv_handle_t *)&c->poll, on_closed);
}
