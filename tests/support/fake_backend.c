/* The fake backend as a whole: worlds, opening and closing. */
#include "tests/support/fake_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* --- by party id, of any mount --- */

/* 0, which is nobody's, for what is no id. */
static uint64_t serial_of(const char *id)
{
	char *end;
	uint64_t serial = strtoull(id, &end, 10);

	return *end ? 0 : serial;
}

static int fake_break(struct lk_backend *base, const char *id, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base), *m;
	uint64_t serial = serial_of(id);
	struct fake_hold *h;

	DL_FOREACH(b->world->mounts, m) {
		DL_FOREACH(m->holds, h) {
			if (h->serial != serial || h->pub.lost)
				continue;
			m->base.counters.broken++;
			fake_lose(&m->base, &h->pub);
			return fake_done_later(b, cb, arg, 0);
		}
	}
	return fake_done_later(b, cb, arg, -ENOENT);
}

static int fake_end_wait(struct lk_backend *base, const char *id, lk_done_cb cb, void *arg)
{
	struct fake_backend *b = fake_of(base), *m;
	uint64_t serial = serial_of(id);
	struct fake_wait *w;

	DL_FOREACH(b->world->mounts, m) {
		DL_FOREACH(m->waits, w) {
			if (w->serial != serial || w->finished)
				continue;
			fake_wait_fail(w, -ECANCELED);
			return fake_done_later(b, cb, arg, 0);
		}
	}
	return fake_done_later(b, cb, arg, -ENOENT);
}

/* --- the whole --- */

static void pump_all(struct fake_world *w)
{
	struct fake_name *n, *tmp;

	DL_FOREACH_SAFE(w->names, n, tmp) {
		arb_pump(&n->arb);
		fake_put(n);
	}
}

static void fake_destroy(struct lk_backend *base)
{
	struct fake_backend *b = fake_of(base);
	struct fake_world *world = b->world;
	struct fake_later *l, *ltmp;
	struct fake_hold *h, *htmp;
	struct fake_wait *w, *wtmp;

	DL_FOREACH_SAFE(b->waits, w, wtmp) {
		if (!w->finished)
			arb_unwait(&w->name->arb, &w->arb);
		pl_undefer(base->loop, &w->finish);
		free(w);
	}
	DL_FOREACH_SAFE(b->holds, h, htmp) {
		if (h->name) {
			h->name->abandoned = h->name->abandoned || h->pub.mode == LK_EXCLUSIVE;
			arb_unhold(&h->name->arb, &h->arb);
		}
		pl_undefer(base->loop, &h->lost);
		free(h);
	}
	fake_ranges_end(b);
	fake_files_end(b);
	DL_FOREACH_SAFE(b->laters, l, ltmp) {
		pl_undefer(base->loop, &l->task);
		free(l);
	}
	DL_DELETE(world->mounts, b);
	free(b);
	pump_all(world);
}

void fake_lapse(struct lk_backend *base)
{
	struct fake_backend *b = fake_of(base);
	struct fake_hold *h, *tmp;
	struct lk_file *file;

	DL_FOREACH_SAFE(b->holds, h, tmp)
		fake_lose(base, &h->pub);
	DL_FOREACH(b->files, file) {
		if (file->ranged && fake_range_held(file->name, b->session))
			fake_file_lost(file);
	}
	fake_ranges_lose(b);
}

void fake_hold_back(struct fake_world *w, bool yes)
{
	w->held_back = yes;
	if (!yes)
		pump_all(w);
}

static const struct lk_impl fake_impl = {
	.name = "fake",
	.acquire = fake_acquire,
	.cancel = fake_cancel,
	.release = fake_release,
	.read = fake_read,
	.write = fake_write,
	.truncate = fake_truncate,
	.sync = fake_sync,
	.stat = fake_stat,
	.list = fake_list,
	.view = fake_view,
	.break_hold = fake_break,
	.end_wait = fake_end_wait,
	.remove = fake_remove,
	.rename = fake_rename,
	.ns_make = fake_ns_make,
	.ns_remove = fake_ns_remove,
	.ns_rename = fake_ns_rename,
	.ns_chmod = fake_ns_chmod,
	.ns_sync = fake_ns_sync,
	.files = &fake_files_impl,
	.destroy = fake_destroy,
};

struct fake_world *fake_world_new(void)
{
	return calloc(1, sizeof(struct fake_world));
}

void fake_world_free(struct fake_world *w)
{
	struct fake_entry *e, *etmp;
	struct fake_space *s, *stmp;

	if (!w)
		return;
	HASH_ITER(hh, w->entries, e, etmp) {
		struct fake_name *n = e->name;

		fake_entry_drop(w, e);
		fake_put(n);
	}
	HASH_ITER(hh, w->spaces, s, stmp) {
		HASH_DEL(w->spaces, s);
		free(s->path);
		free(s);
	}
	free(w);
}

struct lk_backend *fake_backend_open(struct fake_world *w, const struct lk_config *config)
{
	struct fake_backend *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->base.impl = &fake_impl;
	b->base.loop = config->loop;
	b->config = *config;
	b->world = w;
	b->session = ++w->serial;
	snprintf(b->base.host, sizeof(b->base.host), "fakehost");
	snprintf(b->base.describe, sizeof(b->base.describe), "fake:");
	DL_APPEND(w->mounts, b);
	return &b->base;
}
