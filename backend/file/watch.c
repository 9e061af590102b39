/* What happens to DIR behind our back, told by inotify: a lock file that is
 * removed or replaced while it is held here is a lost lock; a DIR that is moved
 * away loses all of them. Ordinary work below DIR raises no event. */
#include "backend/file/inode.h"
#include "backend/file/kept.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENTS (IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW)

struct folder {
	int wd;
	UT_hash_handle hh, hh_ns;
	char ns[]; /* "" for locks/ */
};

struct watch {
	struct file_backend *b;
	int fd, dir_wd;
	uv_poll_t *poll;
	struct folder *by_wd, *by_ns;
};

static struct folder *watch_ns(struct watch *w, const char *ns, size_t len)
{
	char path[64 + LK_NAME_MAX];
	struct folder *f;
	int wd;

	HASH_FIND(hh_ns, w->by_ns, ns, len, f);
	if (f)
		return f;
	/* By descriptor, so that nothing on the way can lead elsewhere. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%.*s", w->b->store.locks, (int)len, ns);
	wd = inotify_add_watch(w->fd, path, len ? EVENTS : EVENTS & ~IN_DONT_FOLLOW);
	if (wd < 0) {
		pl_log_limited(&w->b->log_io, PL_WARN, "cannot watch %s: removed lock files go unnoticed: %s", path,
			       strerror(errno));
		return NULL;
	}
	f = calloc(1, sizeof(*f) + len + 1);
	if (!f)
		return NULL;
	memcpy(f->ns, ns, len);
	f->wd = wd;
	HASH_ADD(hh, w->by_wd, wd, sizeof(f->wd), f);
	HASH_ADD(hh_ns, w->by_ns, ns, len, f);
	return f;
}

void watch_name(struct watch *w, const char *name)
{
	const char *slash = strrchr(name, '/');

	watch_ns(w, name, slash ? (size_t)(slash - name) : 0);
}

/* Slots whose file is not at its path any more. */
static void check_name(struct fname *n)
{
	struct fslot *s, *tmp;

	if (n->arb.kind == LK_LOCK) {
		fname_split(n);
		return;
	}
	n->pins++;
	HASH_ITER(hh, n->slots, s, tmp) {
		if (s->fd >= 0 && s->users && !fslot_in_place(s))
			fslot_lose(s, "its file was removed or replaced");
	}
	n->pins--;
	fname_settle(n);
}

/* fname_settle may free any name but the one at hand: collect keys first. */
static void check_all(struct file_backend *b)
{
	struct fname *n, *tmp;
	unsigned i, count = HASH_CNT(hh, b->names);
	struct fname **all = calloc(count ? count : 1, sizeof(struct fname *));

	if (!all)
		return;
	i = 0;
	HASH_ITER(hh, b->names, n, tmp) {
		n->pins++;
		all[i++] = n;
	}
	while (i-- > 0) {
		all[i]->pins--;
		check_name(all[i]);
	}
	free(all);
}

static void check_dir(struct file_backend *b)
{
	struct fname *n, *tmp;
	struct fslot *s, *stmp;
	int err = store_check(&b->store);

	if (err == 0)
		return;
	b->gone = true;
	kept_clear(b->kept);
	pl_log_limited(&b->log_gone, PL_ERROR, "%s is gone: its locks are lost", b->store.path);
	HASH_ITER(hh, b->names, n, tmp)
		n->pins++;
	HASH_ITER(hh, b->names, n, tmp) {
		HASH_ITER(hh, n->slots, s, stmp) {
			if (s->users)
				fslot_lose(s, "the directory is gone");
		}
	}
	HASH_ITER(hh, b->names, n, tmp) {
		n->pins--;
		fname_settle(n);
	}
	ranges_lose(b);
}

static void on_event(struct watch *w, const struct inotify_event *ev)
{
	struct file_backend *b = w->b;
	char name[LK_NAME_MAX + NAME_MAX + 2];
	struct folder *f;
	struct fname *n;

	if (ev->mask & IN_Q_OVERFLOW) {
		check_dir(b);
		check_all(b);
		return;
	}
	HASH_FIND(hh, w->by_wd, &ev->wd, sizeof(ev->wd), f);
	if (!f || (ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))) {
		check_dir(b);
		if (f)
			check_all(b);
	}
	if (f && (ev->mask & (IN_IGNORED | IN_MOVE_SELF)) && *f->ns) {
		if (ev->mask & IN_MOVE_SELF)
			inotify_rm_watch(w->fd, f->wd);
		HASH_DELETE(hh, w->by_wd, f);
		HASH_DELETE(hh_ns, w->by_ns, f);
		free(f);
		return;
	}
	if (!f || ev->len == 0)
		return;
	snprintf(name, sizeof(name), "%s%s%s", f->ns, *f->ns ? "/" : "", ev->name);
	if (strlen(name) > LK_NAME_MAX)
		return;
	if (ev->mask & IN_ISDIR)
		check_all(b);
	n = fname_find(b, LK_LOCK, name);
	if (n)
		check_name(n);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	_Alignas(struct inotify_event) char buf[8192];
	struct watch *w = poll->data;
	ssize_t n, at;

	(void)status;
	(void)events;
	while ((n = read(w->fd, buf, sizeof(buf))) > 0) {
		for (at = 0; at < n;) {
			const struct inotify_event *ev = (const struct inotify_event *)(buf + at);

			at += (ssize_t)(sizeof(*ev) + ev->len);
			on_event(w, ev);
		}
	}
}

struct watch *watch_new(struct file_backend *b)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->b = b;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	w->poll = calloc(1, sizeof(*w->poll));
	if (w->fd < 0 || !w->poll || uv_poll_init(pl_loop_uv(b->base.loop), w->poll, w->fd) != 0) {
		if (w->fd >= 0)
			close(w->fd);
		free(w->poll);
		free(w);
		return NULL;
	}
	w->poll->data = w;
	uv_poll_start(w->poll, UV_READABLE, on_readable);
	w->dir_wd = inotify_add_watch(w->fd, b->store.path, IN_DELETE_SELF | IN_MOVE_SELF | IN_MOVED_FROM | IN_DELETE);
	watch_ns(w, "", 0);
	return w;
}

static void poll_closed(uv_handle_t *handle)
{
	free(handle);
}

void watch_free(struct watch *w)
{
	struct folder *f, *tmp;

	if (!w)
		return;
	HASH_CLEAR(hh_ns, w->by_ns);
	HASH_ITER(hh, w->by_wd, f, tmp) {
		HASH_DELETE(hh, w->by_wd, f);
		free(f);
	}
	uv_close((uv_handle_t *)w->poll, poll_closed);
	close(w->fd);
	free(w);
}
