/* From lk_X to the backend's own X. Unless NDEBUG is set, what backend.h says
 * of requests and holds is asserted on the way: a request under way is not
 * asked for twice, its callback comes once and never inside a call, on_lost
 * once and not after the release, which comes once; none of it after
 * lk_destroy. For that, `done` and `gave_up` of a request are ours while it is
 * under way, and so is a hold's on_lost once its done has set it.
 */
#include "backend/interface.h"

#include <assert.h>
#include <errno.h>

#ifndef NDEBUG

#include <stdlib.h>
#include <uthash.h>

/* A request under way, then the hold that it became. */
struct record {
	const void *key; /* the request; the hold */
	struct lk_backend *b;
	void (*done)(struct lk_request *req, int err, struct lk_hold *hold);
	void (*gave_up)(struct lk_request *req);
	struct lk_hold *convert;
	void (*on_lost)(struct lk_hold *hold);
	bool told;
	UT_hash_handle hh;
};

static struct record *asked, *held;
static unsigned inside; /* calls into a backend */

static struct record *record_of(struct record *table, const void *key)
{
	struct record *r;

	HASH_FIND_PTR(table, &key, r);
	return r;
}

static void record_put(struct record **table, struct record *r, const void *key)
{
	r->key = key;
	HASH_ADD_PTR(*table, key, r);
}

/* The caller's fields are its own again. */
static void give_back(struct record *r, struct lk_request *req)
{
	HASH_DEL(asked, r);
	req->done = r->done;
	req->gave_up = r->gave_up;
}

static void checked_lost(struct lk_hold *hold)
{
	struct record *r = record_of(held, hold);

	assert(r && !r->told && hold->lost);
	r->told = true;
	if (r->on_lost)
		r->on_lost(hold);
}

static void checked_gave_up(struct lk_request *req)
{
	struct record *r = record_of(asked, req), *h;

	assert(r && r->convert && !req->convert);
	h = record_of(held, r->convert);
	assert(h);
	r->convert = NULL;
	if (r->gave_up)
		r->gave_up(req);
	HASH_DEL(held, h);
	free(h);
}

static void checked_done(struct lk_request *req, int err, struct lk_hold *hold)
{
	struct record *r = record_of(asked, req);

	assert(r && !inside);
	assert(err < 0 ? !hold : err == 0 && hold);
	assert(!hold || !r->convert || hold == r->convert);
	give_back(r, req);
	if (hold && !r->convert) {
		assert(!record_of(held, hold));
		record_put(&held, r, hold);
	} else {
		free(r);
	}
	req->done(req, err, hold);
	/* Released in there, perhaps. */
	r = hold ? record_of(held, hold) : NULL;
	if (r && hold->on_lost != checked_lost) {
		r->on_lost = hold->on_lost;
		hold->on_lost = checked_lost;
	}
}

static int check_begin(struct lk_backend *b, struct lk_request *req)
{
	struct record *r;

	assert(req->done && req->name && !record_of(asked, req));
	assert(!req->convert || record_of(held, req->convert));
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOLCK;
	r->b = b;
	r->done = req->done;
	r->gave_up = req->gave_up;
	r->convert = req->convert;
	req->done = checked_done;
	if (req->convert)
		req->gave_up = checked_gave_up;
	record_put(&asked, r, req);
	inside++;
	return 0;
}

static void check_end(struct lk_request *req, int err)
{
	struct record *r;

	inside--;
	assert(err <= 0);
	if (err == 0)
		return;
	r = record_of(asked, req);
	assert(r && r->convert == req->convert);
	give_back(r, req);
	free(r);
}

static void check_release(struct lk_hold *hold)
{
	struct record *r = record_of(held, hold);

	assert(r);
	HASH_DEL(held, r);
	free(r);
}

static void check_destroy(const struct lk_backend *b)
{
	struct record **tables[] = { &asked, &held }, *r, *tmp;
	unsigned i;

	for (i = 0; i < 2; i++) {
		HASH_ITER(hh, *tables[i], r, tmp) {
			if (r->b != b)
				continue;
			HASH_DEL(*tables[i], r);
			free(r);
		}
	}
}

#define CHECK(statement) statement
#else
#define CHECK(statement) ((void)0)
#endif

int lk_acquire(struct lk_backend *b, struct lk_request *req)
{
	int err;

	if (req->slot_lo >= req->slot_hi || req->slot_hi > LK_SLOTS_MAX || (req->kind == LK_LOCK && req->slot_hi != 1))
		return -EINVAL;
	err = req->file || req->convert ? 0 : lk_name_check(req->name);
	if (err)
		return err;
	CHECK(err = check_begin(b, req));
	if (err)
		return err;
	req->priv = NULL;
	req->waiting = false;
	err = b->impl->acquire(b, req);
	CHECK(check_end(req, err));
	return err;
}

void lk_cancel(struct lk_backend *b, struct lk_request *req, int err)
{
	assert(err < 0);
	CHECK(inside++);
	b->impl->cancel(b, req, err);
	CHECK(inside--);
}

void lk_release(struct lk_backend *b, struct lk_hold *hold)
{
	CHECK(check_release(hold));
	CHECK(inside++);
	b->impl->release(b, hold);
	CHECK(inside--);
}

int lk_read(struct lk_backend *b, struct lk_hold *hold, size_t size, off_t off, lk_io_cb cb, void *arg)
{
	return hold->lost ? -ESTALE : b->impl->read(b, hold, size, off, cb, arg);
}

int lk_write(struct lk_backend *b, struct lk_hold *hold, const void *data, size_t size, off_t off, lk_io_cb cb,
	     void *arg)
{
	if (hold->lost)
		return -ESTALE;
	return hold->mode == LK_SHARED ? -EACCES : b->impl->write(b, hold, data, size, off, cb, arg);
}

int lk_truncate(struct lk_backend *b, struct lk_hold *hold, uint64_t size, lk_done_cb cb, void *arg)
{
	if (hold->lost)
		return -ESTALE;
	return hold->mode == LK_SHARED ? -EACCES : b->impl->truncate(b, hold, size, cb, arg);
}

int lk_sync(struct lk_backend *b, struct lk_hold *hold, lk_done_cb cb, void *arg)
{
	return hold->lost ? -ESTALE : b->impl->sync(b, hold, cb, arg);
}

int lk_stat(struct lk_backend *b, enum lk_kind kind, const char *name, enum lk_depth depth, lk_stat_cb cb, void *arg)
{
	int err = *name ? lk_name_check(name) : 0;

	return err ? err : b->impl->stat(b, kind, name, depth, cb, arg);
}

int lk_list(struct lk_backend *b, enum lk_kind kind, const char *ns, lk_list_cb cb, void *arg)
{
	int err = *ns ? lk_name_check(ns) : 0;

	return err ? err : b->impl->list(b, kind, ns, cb, arg);
}

int lk_view(struct lk_backend *b, enum lk_kind kind, const char *name, lk_view_cb cb, void *arg)
{
	int err = name ? lk_name_check(name) : 0;

	return err ? err : b->impl->view(b, kind, name, cb, arg);
}

int lk_break(struct lk_backend *b, const char *id, lk_done_cb cb, void *arg)
{
	return b->impl->break_hold(b, id, cb, arg);
}

int lk_end_wait(struct lk_backend *b, const char *id, lk_done_cb cb, void *arg)
{
	return b->impl->end_wait(b, id, cb, arg);
}

int lk_remove(struct lk_backend *b, struct lk_hold *hold, lk_done_cb cb, void *arg)
{
	return hold->lost ? -ESTALE : b->impl->remove(b, hold, cb, arg);
}

int lk_rename(struct lk_backend *b, struct lk_hold *from, struct lk_hold *to, lk_done_cb cb, void *arg)
{
	assert(from != to);
	return from->lost || to->lost ? -ESTALE : b->impl->rename(b, from, to, cb, arg);
}

int lk_ns_make(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	int err = lk_name_check(ns);

	return err ? err : b->impl->ns_make(b, ns, perm, uid, gid, cb, arg);
}

int lk_ns_remove(struct lk_backend *b, const char *ns, lk_done_cb cb, void *arg)
{
	int err = lk_name_check(ns);

	return err ? err : b->impl->ns_remove(b, ns, cb, arg);
}

int lk_ns_rename(struct lk_backend *b, const char *from, const char *to, lk_done_cb cb, void *arg)
{
	int err = lk_name_check(from);

	if (err == 0)
		err = lk_name_check(to);
	return err ? err : b->impl->ns_rename(b, from, to, cb, arg);
}

int lk_ns_chmod(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg)
{
	int err = lk_name_check(ns);

	return err ? err : b->impl->ns_chmod(b, ns, perm, uid, gid, cb, arg);
}

int lk_ns_sync(struct lk_backend *b, const char *ns, lk_done_cb cb, void *arg)
{
	int err = *ns ? lk_name_check(ns) : 0;

	if (err == 0 && !b->impl->ns_sync)
		err = -ENOSYS;
	return err ? err : b->impl->ns_sync(b, ns, cb, arg);
}

void lk_tick(struct lk_backend *b)
{
	if (b->impl->tick)
		b->impl->tick(b);
}

const char *lk_describe(struct lk_backend *b)
{
	return b->describe;
}

const char *lk_host(struct lk_backend *b)
{
	return b->host;
}

const struct lk_counters *lk_counters(struct lk_backend *b)
{
	return &b->counters;
}

void lk_count_refused(struct lk_backend *b, enum lk_refusal why)
{
	b->counters.refused[why]++;
}

bool lk_busy(struct lk_backend *b)
{
	return b->impl->busy && b->impl->busy(b);
}

void lk_destroy(struct lk_backend *b)
{
	CHECK(check_destroy(b));
	b->impl->destroy(b);
}
