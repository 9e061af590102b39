/* The file backend as a whole: opening, closing, the table of calls. */
#include "backend/file/gather.h"

#include "backend/file/inode.h"
#include "backend/file/kept.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#define RESERVED 64

/* One that an fsync still looks at is freed when that ends. */
static void forget_hold(struct fhold *h)
{
	h->released = true;
	h->ops++;
	fhold_unref(h);
}

static void free_names(struct file_backend *b)
{
	struct fname *n, *ntmp;
	struct fslot *s, *stmp;
	struct fhold *h, *htmp;
	struct fwait *w, *wtmp;

	HASH_ITER(hh, b->waits, w, wtmp) {
		HASH_DEL(b->waits, w);
		free(w);
	}
	HASH_ITER(hh, b->holds, h, htmp) {
		HASH_DEL(b->holds, h);
		forget_hold(h);
	}
	DL_FOREACH_SAFE(b->lost, h, htmp) {
		DL_DELETE(b->lost, h);
		forget_hold(h);
	}
	HASH_ITER(hh, b->names, n, ntmp) {
		HASH_DEL(b->names, n);
		HASH_ITER(hh, n->slots, s, stmp) {
			HASH_DEL(n->slots, s);
			if (s->fd >= 0)
				close(s->fd);
			free(s);
		}
		free(n);
	}
}

static void fb_destroy(struct lk_backend *base)
{
	struct file_backend *b = fb_of(base);

	if (b->blockers)
		blockers_free(b->blockers);
	if (b->peers)
		peers_free(b->peers);
	outsiders_free(b->outsiders);
	watch_free(b->watch);
	pl_drop_tasks(b->base.loop, b);
	fb_forget_syncs(b);
	fb_forget_raising(b);
	free_names(b);
	inodes_free(b);
	kept_free(b->kept);
	held_free(b->held);
	floor_close(&b->floor);
	store_close(&b->store);
	free(b);
}

/* All else is answered in the next turn. */
static bool fb_busy(struct lk_backend *base)
{
	const struct file_backend *b = fb_of(base);

	return b->syncs || peers_busy(b->peers) || outsiders_busy(b->outsiders);
}

static const struct lk_impl file_impl = {
	.name = "file",
	.acquire = fb_acquire,
	.cancel = fb_cancel,
	.release = fb_release,
	.read = fb_read,
	.write = fb_write,
	.truncate = fb_truncate,
	.sync = fb_sync,
	.stat = fb_stat,
	.list = fb_list,
	.view = fb_view,
	.break_hold = fb_break,
	.end_wait = fb_end_wait,
	.remove = fb_remove,
	.rename = fb_rename,
	.ns_make = fb_ns_make,
	.ns_remove = fb_ns_remove,
	.ns_rename = fb_ns_rename,
	.ns_chmod = fb_ns_chmod,
	.ns_sync = fb_ns_sync,
	.files = &fb_files,
	.busy = fb_busy,
	.destroy = fb_destroy,
};

bool fb_too_many(struct file_backend *b, int fd)
{
	if (fd < b->fd_max && fd != -EMFILE && fd != -ENFILE)
		return false;
	if (!kept_clear(b->kept))
		return false;
	if (fd >= 0)
		close(fd);
	return true;
}

/* Listing, values and other mounts must go on when no more locks can be held. */
static int lock_descriptors(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur > INT_MAX)
		return INT_MAX;
	return (int)lim.rlim_cur - (lim.rlim_cur > 4 * RESERVED ? RESERVED : 0);
}

static int make_id(struct file_backend *b)
{
	uint64_t r;

	if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return -EIO;
	snprintf(b->id, sizeof(b->id), "%d-%016llx", (int)getpid(), (unsigned long long)r);
	return 0;
}

int lk_file_backend_open(const struct lk_config *config, const char *dir, struct lk_backend **out, const char **why)
{
	struct file_backend *b = calloc(1, sizeof(*b));
	int err;

	*why = dir;
	if (!b)
		return -ENOMEM;
	b->base.impl = &file_impl;
	b->base.loop = config->loop;
	b->config = *config;
	b->floor.fd = -1;
	b->fd_max = lock_descriptors();
	snprintf(b->base.describe, sizeof(b->base.describe), "file:%s", dir);
	if (gethostname(b->base.host, sizeof(b->base.host) - 1) < 0 || !*b->base.host)
		snprintf(b->base.host, sizeof(b->base.host), "localhost");
	err = store_open(&b->store, dir, config->read_only, why);
	if (err) {
		free(b);
		return err;
	}
	err = make_id(b);
	if (err == 0 && !b->store.read_only) {
		*why = ".plockfs/floor";
		err = floor_open(&b->floor, b->store.priv, pl_wall(config->loop) / 1000);
	}
	if (err == 0) {
		*why = dir;
		b->blockers = blockers_new(config->loop);
		b->watch = watch_new(b);
		b->peers = peers_new(b);
		b->outsiders = outsiders_new(b);
		b->kept = kept_new();
		b->held = held_new(b->store.read_only ? -1 : b->store.mounts, b->id);
		if (!b->kept || !b->held || !b->blockers || !b->watch || !b->peers || !b->outsiders)
			err = -ENOMEM;
	}
	if (err) {
		fb_destroy(&b->base);
		return err;
	}
	*out = &b->base;
	return 0;
}
