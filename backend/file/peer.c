/* The other mounts of the same DIR: they are asked, nothing is written down.
 *
 * Each mount listens on DIR/.plockfs/mounts/ID.sock and holds a flock on
 * ID.lock while it lives; whoever finds a lock free removes what a dead mount
 * left. One connection, one question; a long answer is made and read line by
 * line, so that others get their turns in between. A mount that does not answer
 * (stopped, say) makes the view partial and is left alone a while.
 */
#include "backend/file/gather.h"

#include "backend/file/peerwire.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <utlist.h>

#define ANSWER_TIME (300 * PL_MS)
#define SHUN_TIME (2 * PL_SEC)
#define REQUEST_MAX 8192
#define ANSWER_MAX ((size_t)64 << 20)

struct silent {
	uint64_t until;
	UT_hash_handle hh;
	char id[48];
};

struct peers {
	struct file_backend *b;
	int lock_fd;
	uv_pipe_t *server;
	struct silent *silent;
	struct link *links; /* utlist DL: every connection, of both directions */
};

/* A connection: to a peer (ask set) or from one. */
struct link {
	uv_pipe_t pipe; /* first: freed by its close callback */
	uv_connect_t connect;
	uv_write_t write;
	struct peers *p;
	struct asking *ask;
	struct pl_timer *timer;
	char *buf;
	size_t len, cap, max;
	char *out;
	struct gather *view; /* that is being sent, from `at` on */
	size_t at;
	char id[48];
	bool complete; /* the last line of a view was read */
	bool closing;
	struct link *prev, *next;
};

struct asking {
	struct gather *g; /* of a view */
	peers_done done;
	void (*drop)(void *arg);
	lk_done_cb told; /* of a break */
	const struct peer_range *range;
	peers_told_pid told_pid; /* of a range */
	pid_t pid;
	void *arg;
	unsigned open; /* links that have not answered */
};

static void link_closed(uv_handle_t *handle)
{
	struct link *l = (struct link *)handle;

	if (l->view)
		gather_free(l->view);
	free(l->buf);
	free(l->out);
	free(l);
}

static void ask_finish(struct peers *p, struct asking *a, int err);

/* Ends a link; for one that asked, with the answer that came in (ok) or without. */
static void link_end(struct link *l, bool ok)
{
	struct peers *p = l->p;
	struct asking *a = l->ask;
	int err = -EHOSTDOWN;

	if (l->closing)
		return;
	l->closing = true;
	pl_timer_stop(p->b->base.loop, l->timer);
	l->timer = NULL;
	DL_DELETE(p->links, l);
	if (a) {
		l->ask = NULL;
		if (a->g && !(ok && l->complete))
			a->g->partial = true;
		else if (ok && a->told_pid)
			a->pid = a->pid ? a->pid : peerwire_read_pid(l->buf, l->len);
		else if (ok && !a->g)
			err = peerwire_read_err(l->buf, l->len);
		a->open--;
		ask_finish(p, a, err);
	}
	uv_close((uv_handle_t *)&l->pipe, link_closed);
}

static void ask_finish(struct peers *p, struct asking *a, int err)
{
	(void)p;
	if (a->open)
		return;
	if (a->g)
		a->done(a->arg, a->g);
	else if (a->told_pid)
		a->told_pid(a->arg, a->pid);
	else if (a->told)
		a->told(a->arg, err);
	free(a);
}

static void shun(struct peers *p, const char *id)
{
	struct silent *s;

	HASH_FIND_STR(p->silent, id, s);
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return;
		snprintf(s->id, sizeof(s->id), "%s", id);
		HASH_ADD_STR(p->silent, id, s);
	}
	s->until = pl_now(p->b->base.loop) + SHUN_TIME;
}

static bool shunned(struct peers *p, const char *id)
{
	struct silent *s;

	HASH_FIND_STR(p->silent, id, s);
	if (!s)
		return false;
	if (pl_now(p->b->base.loop) < s->until)
		return true;
	HASH_DEL(p->silent, s);
	free(s);
	return false;
}

static void on_silence(void *arg)
{
	struct link *l = arg;

	l->timer = NULL;
	if (l->ask)
		shun(l->p, l->id);
	link_end(l, false);
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

static int link_send(struct link *l, char *text);

/* It does read or speak: a long answer may take longer. */
static void link_lives(struct link *l)
{
	pl_timer_stop(l->p->b->base.loop, l->timer);
	l->timer = pl_timer_start(l->p->b->base.loop, ANSWER_TIME, on_silence, l);
}

static void on_written(uv_write_t *write, int status)
{
	struct link *l = write->data;

	if (l->closing || (status == 0 && l->ask))
		return;
	/* A peer that asked has its answer: the end of the stream ends it. */
	if (status < 0 || !l->at || link_send(l, peerwire_write_view(l->view, &l->at)) < 0)
		link_end(l, false);
	else
		link_lives(l);
}

static int link_send(struct link *l, char *text)
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

/* The lines of a view that are there by now. False: one is no such line. */
static bool read_lines(struct link *l)
{
	size_t from = 0;
	char *end;
	int more = 1;

	while (more > 0 && (end = memchr(l->buf + from, '\n', l->len - from)) != NULL) {
		more = peerwire_read_view(l->buf + from, (size_t)(end - l->buf) - from, l->ask->g);
		from = (size_t)(end - l->buf) + 1;
	}
	l->complete = more == 0;
	l->len -= from;
	memmove(l->buf, l->buf + from, l->len);
	return more >= 0;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct link *l = (struct link *)stream;
	char *end;

	(void)buf;
	if (n < 0) {
		link_end(l, n == UV_EOF && l->len > 0 && l->ask);
		return;
	}
	l->len += (size_t)n;
	if (l->ask && l->ask->g && !read_lines(l)) {
		link_end(l, false);
		return;
	}
	if (l->complete || l->len >= l->max) {
		link_end(l, l->complete);
		return;
	}
	if (l->ask) {
		link_lives(l);
		return;
	}
	end = memchr(l->buf, '\n', l->len);
	if (!end)
		return;
	uv_read_stop(stream);
	if (link_send(l, answer_request(l, l->buf, (size_t)(end - l->buf))) < 0)
		link_end(l, false);
}

static struct link *link_new(struct peers *p, size_t max)
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

static void on_connection(uv_stream_t *server, int status)
{
	struct peers *p = server->data;
	struct link *l = status < 0 ? NULL : link_new(p, REQUEST_MAX);

	if (!l)
		return;
	if (uv_accept(server, (uv_stream_t *)&l->pipe) != 0 ||
	    uv_read_start((uv_stream_t *)&l->pipe, on_alloc, on_read) != 0)
		link_end(l, false);
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct link *l = connect->data;
	char *text;

	if (l->closing)
		return;
	text = l->out;
	l->out = NULL;
	if (status < 0 || link_send(l, text) < 0 || uv_read_start((uv_stream_t *)&l->pipe, on_alloc, on_read) != 0) {
		if (status < 0)
			free(text);
		link_end(l, false);
	}
}

/* text is the link's from now on. */
static void ask_one(struct peers *p, struct asking *a, const char *id, char *text)
{
	struct link *l = text ? link_new(p, ANSWER_MAX) : NULL;
	char path[128];

	if (!l) {
		free(text);
		if (a->g)
			a->g->partial = true;
		return;
	}
	snprintf(l->id, sizeof(l->id), "%s", id);
	l->ask = a;
	a->open++;
	l->out = text;
	l->connect.data = l;
	/* Through the descriptor: DIR may be longer than a socket's address. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s.sock", p->b->store.mounts, id);
	uv_pipe_connect(&l->connect, &l->pipe, path, on_connected);
}

/* A mount's lock file that nobody holds: it died. */
static bool alive(struct peers *p, const char *lock_name)
{
	int fd = openat(p->b->store.mounts, lock_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char sock[64];

	if (fd < 0)
		return false;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return errno == EWOULDBLOCK;
	}
	snprintf(sock, sizeof(sock), "%.*s.sock", (int)(strlen(lock_name) - 5), lock_name);
	unlinkat(p->b->store.mounts, sock, 0);
	unlinkat(p->b->store.mounts, lock_name, 0);
	close(fd);
	return false;
}

/* Calls fn for each other living mount. */
static void each_peer(struct peers *p, void (*fn)(struct peers *p, const char *id, void *arg), void *arg)
{
	int fd = p->b->store.mounts < 0 ? -1 : store_openat(p->b->store.mounts, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	char id[48];
	size_t len;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		len = strlen(e->d_name);
		if (len < 6 || len - 5 >= sizeof(id) || strcmp(e->d_name + len - 5, ".lock") != 0)
			continue;
		memcpy(id, e->d_name, len - 5);
		id[len - 5] = '\0';
		if (strcmp(id, p->b->id) != 0 && alive(p, e->d_name))
			fn(p, id, arg);
	}
	closedir(d);
}

static void ask_view(struct peers *p, const char *id, void *arg)
{
	struct asking *a = arg;

	if (shunned(p, id))
		a->g->partial = true;
	else
		ask_one(p, a, id, peerwire_write_ask(a->g->kind, a->g->name));
}

void peers_gather(struct peers *p, struct gather *g, peers_done done, void (*drop)(void *arg), void *arg)
{
	struct asking *a = calloc(1, sizeof(*a));

	if (!a) {
		g->partial = true;
		done(arg, g);
		return;
	}
	a->g = g;
	a->done = done;
	a->drop = drop;
	a->arg = arg;
	each_peer(p, ask_view, a);
	ask_finish(p, a, 0);
}

static void ask_range(struct peers *p, const char *id, void *arg)
{
	struct asking *a = arg;

	if (!shunned(p, id))
		ask_one(p, a, id, peerwire_write_range(a->range));
}

void peers_range(struct peers *p, const struct peer_range *range, peers_told_pid done, void (*drop)(void *arg),
		 void *arg)
{
	struct asking *a = calloc(1, sizeof(*a));

	if (!a) {
		done(arg, 0);
		return;
	}
	a->range = range;
	a->told_pid = done;
	a->drop = drop;
	a->arg = arg;
	each_peer(p, ask_range, a);
	a->range = NULL;
	ask_finish(p, a, 0);
}

int peers_tell(struct peers *p, const char *op, const char *id, lk_done_cb cb, void *arg)
{
	const char *slash = strchr(id, '/');
	char mount[48], lock[56], *end;
	struct asking *a;
	uint64_t serial;

	if (!slash || (size_t)(slash - id) >= sizeof(mount) || slash == id || id[0] == '.')
		return -ENOENT;
	memcpy(mount, id, (size_t)(slash - id));
	mount[slash - id] = '\0';
	serial = strtoull(slash + 1, &end, 10);
	snprintf(lock, sizeof(lock), "%s.lock", mount);
	if (*end || !alive(p, lock))
		return -ENOENT;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->told = cb;
	a->arg = arg;
	ask_one(p, a, mount, peerwire_write_tell(op, serial));
	if (a->open)
		return 0;
	free(a);
	return -ENOMEM;
}

/* --- being one --- */

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
	return err ? err : uv_listen((uv_stream_t *)p->server, 64, on_connection);
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

void peers_free(struct peers *p)
{
	struct silent *s, *tmp;

	while (p->links) {
		struct link *l = p->links;

		/* No callback any more: whoever asked is going too. */
		if (l->ask && --l->ask->open == 0) {
			if (l->ask->drop)
				l->ask->drop(l->ask->arg);
			free(l->ask);
		}
		l->ask = NULL;
		link_end(l, false);
	}
	HASH_ITER(hh, p->silent, s, tmp) {
		HASH_DEL(p->silent, s);
		free(s);
	}
	leave(p);
	free(p);
}
