/* What other mounts of DIR ask of this one. One connection, one question; a long
 * answer is made and sent line by line, so that others get their turns in between.
 */
#include "backend/file/peer_internal.h"
#include "backend/file/peerwire.h"

#include <string.h>

#define REQUEST_MAX 8192

static char *answer_request(struct link *l, char *line, size_t len)
{
	struct file_backend *b = l->p->b;
	struct peer_request r;
	int err = peerwire_read_request(line, len, &r);

	if (err)
		return peerwire_write_err(-EINVAL);
	if (r.op == PEER_BREAK)
		return peerwire_write_err(fb_break_here(b, r.serial));
	if (r.op == PEER_RANGE)
		return peerwire_write_pid(range_pid_here(b, &r.range));
	if (r.op == PEER_END_WAIT)
		return peerwire_write_err(fb_end_wait_here(b, r.serial));
	l->view = gather_new(b, r.kind, r.all ? NULL : r.name);
	if (!l->view)
		return NULL;
	gather_here(l->view);
	return peerwire_write_view(l->view, &l->at);
}

void answer_read(struct link *l)
{
	char *end;

	if (l->len >= l->max) {
		link_end(l, false);
		return;
	}
	end = memchr(l->buf, '\n', l->len);
	if (!end)
		return;
	uv_read_stop((uv_stream_t *)&l->pipe);
	if (link_send(l, answer_request(l, l->buf, (size_t)(end - l->buf))) < 0)
		link_end(l, false);
}

void answer_more(struct link *l)
{
	/* A peer that asked has its answer: the end of the stream ends it. */
	if (!l->at || link_send(l, peerwire_write_view(l->view, &l->at)) < 0)
		link_end(l, false);
	else
		link_lives(l);
}

void answer_connection(uv_stream_t *server, int status)
{
	struct peers *p = server->data;
	struct link *l = status < 0 ? NULL : link_new(p, REQUEST_MAX);

	if (!l)
		return;
	if (uv_accept(server, (uv_stream_t *)&l->pipe) != 0 || link_read(l) != 0)
		link_end(l, false);
}
