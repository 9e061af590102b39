/* A connection between two mounts of one DIR: bytes in and out, and a peer that is
 * silent. What they mean is for peer_ask.c and peer_answer.c.
 */
#include "backend/file/peer_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define ANSWER_TIME (300 * PL_MS)

static void link_closed(uv_handle_t *handle)
{
	struct link *l = (struct link *)handle;

	if (l->view)
		gather_free(l->view);
	free(l->buf);
	free(l->out);
	free(l);
}

void link_end(struct link *l, bool ok)
{
	struct peers *p = l->p;

	if (l->closing)
		return;
	l->closing = true;
	pl_timer_stop(p->b->base.loop, l->timer);
	l->timer = NULL;
	DL_DELETE(p->links, l);
	if (l->ask)
		ask_end(l, ok);
	uv_close((uv_handle_t *)&l->pipe, link_closed);
}

static void on_silence(void *arg)
{
	struct link *l = arg;

	l->timer = NULL;
	if (l->ask)
		ask_silent(l);
	link_end(l, false);
}

void link_lives(struct link *l)
{
	pl_timer_stop(l->p->b->base.loop, l->timer);
	l->timer = pl_timer_start(l->p->b->base.loop, ANSWER_TIME, on_silence, l);
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
	struct link *l = (struct link *)handle;
	size_t cap = l->cap ? l->cap * 2 : 4096;
	char *more;

	(void)hint;
	if (l->cap - l->len < 2048 && l->cap < l->max) {
		more = realloc(l->buf, cap);
		if (more) {
			l->buf = more;
			l->cap = cap;
		}
	}
	buf->base = l->buf ? l->buf + l->len : NULL;
	buf->len = l->cap - l->len;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct link *l = (struct link *)stream;

	(void)buf;
	if (n < 0) {
		link_end(l, n == UV_EOF && l->len > 0 && l->ask);
		return;
	}
	l->len += (size_t)n;
	if (l->ask)
		ask_read(l);
	else
		answer_read(l);
}

int link_read(struct link *l)
{
	return uv_read_start((uv_stream_t *)&l->pipe, on_alloc, on_read);
}

static void on_written(uv_write_t *write, int status)
{
	struct link *l = write->data;

	if (l->closing || (status == 0 && l->ask))
		return;
	if (status < 0)
		link_end(l, false);
	else
		answer_more(l);
}

int link_send(struct link *l, char *text)
{
	uv_buf_t buf;
	int err;

	free(l->out);
	l->out = text;
	if (!text)
		return -ENOMEM;
	buf = uv_buf_init(text, (unsigned)strlen(text));
	l->write.data = l;
	err = uv_write(&l->write, (uv_stream_t *)&l->pipe, &buf, 1, on_written);
	return err;
}

struct link *link_new(struct peers *p, size_t max)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->p = p;
	l->max = max;
	if (uv_pipe_init(pl_loop_uv(p->b->base.loop), &l->pipe, 0) != 0) {
		free(l);
		return NULL;
	}
	DL_APPEND(p->links, l);
	l->timer = pl_timer_start(p->b->base.loop, ANSWER_TIME, on_silence, l);
	return l;
}
