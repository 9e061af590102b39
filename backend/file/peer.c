/* Being one of the mounts of DIR, and who the others are: nothing about them is written down.
 *
 * Each mount listens on DIR/.plockfs/mounts/ID.sock and holds a flock on
 * ID.lock while it lives; whoever finds a lock free removes what a dead mount
 * left.
 */
#include "backend/file/peer_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <utlist.h>

bool peer_alive(struct peers *p, const char *id)
{
	char lock[64], sock[64];
	int fd;

	snprintf(lock, sizeof(lock), "%s.lock", id);
	fd = openat(p->b->store.mounts, lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return errno == EWOULDBLOCK;
	}
	snprintf(sock, sizeof(sock), "%s.sock", id);
	unlinkat(p->b->store.mounts, sock, 0);
	unlinkat(p->b->store.mounts, lock, 0);
	close(fd);
	return false;
}

struct each {
	struct peers *p;
	void (*fn)(struct peers *p, const char *id, void *arg);
	void *arg;
};

static void each_mount(void *arg, const char *id)
{
	const struct each *e = arg;

	if (strcmp(id, e->p->b->id) != 0 && peer_alive(e->p, id))
		e->fn(e->p, id, e->arg);
}

void peer_each(struct peers *p, void (*fn)(struct peers *p, const char *id, void *arg), void *arg)
{
	struct each e = { p, fn, arg };

	store_each_mount(p->b->store.mounts, ".lock", each_mount, &e);
}

static void server_closed(uv_handle_t *handle)
{
	free(handle);
}

static int listen_on(struct peers *p)
{
	char path[128], lock[64], fresh[64];
	int err;

	/* Locked before it has its name: an unlocked one is a dead mount's, and removed. */
	snprintf(lock, sizeof(lock), "%s.lock", p->b->id);
	snprintf(fresh, sizeof(fresh), "%s.new", p->b->id);
	p->lock_fd = openat(p->b->store.mounts, fresh, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->lock_fd < 0 || flock(p->lock_fd, LOCK_EX | LOCK_NB) < 0 ||
	    renameat(p->b->store.mounts, fresh, p->b->store.mounts, lock) < 0)
		return -errno;
	p->server = calloc(1, sizeof(*p->server));
	if (!p->server)
		return -ENOMEM;
	err = uv_pipe_init(pl_loop_uv(p->b->base.loop), p->server, 0);
	if (err) {
		free(p->server);
		p->server = NULL;
		return err;
	}
	p->server->data = p;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s.sock", p->b->store.mounts, p->b->id);
	err = uv_pipe_bind(p->server, path);
	return err ? err : uv_listen((uv_stream_t *)p->server, 64, answer_connection);
}

static void leave(struct peers *p)
{
	char name[64];

	if (p->server) {
		/* libuv removes the socket by the path it was bound to. */
		uv_close((uv_handle_t *)p->server, server_closed);
		snprintf(name, sizeof(name), "%s.sock", p->b->id);
		unlinkat(p->b->store.mounts, name, 0);
	}
	if (p->lock_fd >= 0) {
		snprintf(name, sizeof(name), "%s.lock", p->b->id);
		unlinkat(p->b->store.mounts, name, 0);
		close(p->lock_fd);
	}
	p->server = NULL;
	p->lock_fd = -1;
}

static void join(struct peers *p)
{
	int err = listen_on(p);

	if (err)
		pl_log(PL_WARN, "other mounts of %s will not see this one's holders: %s", p->b->store.path,
		       strerror(-err));
}

void peers_again(struct peers *p)
{
	leave(p);
	join(p);
}

struct peers *peers_new(struct file_backend *b)
{
	struct peers *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->b = b;
	p->lock_fd = -1;
	if (b->store.mounts < 0 || b->store.read_only)
		return p;
	join(p);
	return p;
}

bool peers_busy(const struct peers *p)
{
	const struct link *l;

	DL_FOREACH(p->links, l)
		if (l->ask)
			return true;
	return false;
}

void peers_free(struct peers *p)
{
	while (p->links) {
		struct link *l = p->links;

		/* No callback any more: whoever asked is going too. */
		if (l->ask)
			ask_drop(l);
		link_end(l, false);
	}
	ask_free(p);
	leave(p);
	free(p);
}
