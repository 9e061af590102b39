/* Breaking a hold and ending a wait, by party id "MOUNT/SERIAL". */
#include "backend/file/gather.h"

#include <stdlib.h>
#include <string.h>

/* The serial when the id is one of this mount's. */
static bool id_here(const struct file_backend *b, const char *id, uint64_t *serial)
{
	size_t len = strlen(b->id);
	char *end;

	if (strncmp(id, b->id, len) != 0 || id[len] != '/')
		return false;
	*serial = strtoull(id + len + 1, &end, 10);
	return *end == '\0';
}

int fb_break_here(struct file_backend *b, uint64_t serial)
{
	struct fhold *h;

	HASH_FIND(hh, b->holds, &serial, sizeof(serial), h);
	if (!h)
		return -ENOENT;
	b->base.counters.broken++;
	pl_log(PL_WARN, "lock '%s' of process %d broken by rm", h->pub.name, (int)h->pub.owner.pid);
	fhold_lose(h);
	return 0;
}

int fb_end_wait_here(struct file_backend *b, uint64_t serial)
{
	struct fwait *w;

	HASH_FIND(hh, b->waits, &serial, sizeof(serial), w);
	if (!w)
		return -ENOENT;
	fwait_fail(w, -ECANCELED);
	return 0;
}

int fb_break(struct lk_backend *base, const char *id, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	uint64_t serial;

	if (!id_here(b, id, &serial))
		return peers_tell(b->peers, "break", id, cb, arg);
	return fb_later_done(b, cb, arg, fb_break_here(b, serial));
}

int fb_end_wait(struct lk_backend *base, const char *id, lk_done_cb cb, void *arg)
{
	struct file_backend *b = fb_of(base);
	uint64_t serial;

	if (!id_here(b, id, &serial))
		return peers_tell(b->peers, "end_wait", id, cb, arg);
	return fb_later_done(b, cb, arg, fb_end_wait_here(b, serial));
}
