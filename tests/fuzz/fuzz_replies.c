/* What a Redis server may answer, and when: anything. The Redis backend on connections that are none: each byte or
 * two is a step, which calls it, answers the oldest call under way (rightly, wrongly, or with nonsense), sends a
 * message, breaks the connection, or lets time pass. Callbacks come once and never inside a call (backend/backend.c
 * asserts the rest), and nothing is read that was not sent: that is for the sanitizers.
 *
 * Built with seeded.c it runs without libFuzzer, on fixed seeds.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/support/fake_wire.h"

#include "backend/backend.h"
#include "backend/files.h"
#include "backend/redis/redis.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define ASKS 8
#define FILES 4

static unsigned inside;

/* --- those who call --- */

struct ask {
	struct lk_request req;
	bool used, asked;
	struct lk_hold *hold;
	struct ask *old; /* whose hold it converts */
	struct lk_file *file;
};

struct open_file {
	struct lk_file *file;
	unsigned users; /* calls and requests that need it */
	bool opening;
};

static struct lk_backend *b;
static struct ask asks[ASKS];
static struct open_file files[FILES];
static struct lk_range_request ranges[FILES];
static bool ranges_used[FILES];
static unsigned pending;

static void on_done(struct lk_request *req, int err, struct lk_hold *hold)
{
	struct ask *a = req->arg;

	MUST(!inside && a->asked);
	MUST(err ? !hold : hold != NULL);
	a->asked = false;
	if (a->old)
		a->old->used = err != 0;
	if (a->old && err)
		a->old->asked = false;
	a->old = NULL;
	a->hold = hold;
	a->used = hold != NULL;
}

static void on_gave_up(struct lk_request *req)
{
	struct ask *a = req->arg;

	MUST(a->old);
	a->old->used = false;
	a->old = NULL;
}

static void on_io(void *arg, ssize_t n, const void *data)
{
	static unsigned char sum;
	const unsigned char *p = data;
	ssize_t i;

	MUST(!inside);
	pending--;
	for (i = 0; p && i < n; i++)
		sum = (unsigned char)(sum + p[i]);
	if (arg)
		((struct open_file *)arg)->users--;
}

static void on_ok(void *arg, int err)
{
	(void)err;
	on_io(arg, 0, NULL);
}

static void on_stat(void *arg, int err, const struct lk_stat *st)
{
	MUST(err || st);
	on_io(arg, 0, NULL);
}

static void on_file_stat(void *arg, int err, const struct lk_file_stat *st)
{
	MUST(err || st);
	on_io(arg, 0, NULL);
}

static void on_list(void *arg, int err, const struct lk_list *list)
{
	size_t i;

	for (i = 0; !err && i < list->n; i++)
		MUST(lk_file_component_valid(list->entries[i].name));
	on_io(arg, 0, NULL);
}

static void on_view(void *arg, int err, const struct lk_view *view)
{
	size_t i, n = 0;

	for (i = 0; !err && i < view->n_holders; i++)
		n += strlen(view->holders[i].id) + strlen(view->holders[i].host) + strlen(view->holders[i].name);
	for (i = 0; !err && i < view->n_waiters; i++)
		n += strlen(view->waiters[i].id) + strlen(view->waiters[i].host) + strlen(view->waiters[i].name);
	MUST(n < SIZE_MAX);
	on_io(arg, 0, NULL);
}

static void on_file(void *arg, int err, struct lk_file *file)
{
	struct open_file *o = arg;

	MUST(!inside && o->opening && (err ? !file : file != NULL));
	o->opening = false;
	o->file = file;
	pending--;
}

static void on_range(struct lk_range_request *req, int err)
{
	struct open_file *o = req->arg;

	(void)err;
	MUST(!inside);
	ranges_used[o - files] = false;
	o->users--;
}

static void on_test(void *arg, int err, const struct ranges_lock *conflict)
{
	(void)err;
	(void)conflict;
	on_io(arg, 0, NULL);
}

/* Counts what will be called back. */
static void called(int err, struct open_file *o)
{
	MUST(err <= 0);
	if (err)
		return;
	pending++;
	if (o)
		o->users++;
}

static void ask(struct ask *a, unsigned bits)
{
	static const char *const names[] = { "job", "ns/x", "p", "q" };
	struct open_file *o = &files[bits >> 6 & 3];

	memset(a, 0, sizeof(*a));
	a->req.kind = bits & 1 ? LK_SEM : LK_LOCK;
	a->req.mode = bits & 3 ? LK_EXCLUSIVE : LK_SHARED;
	a->req.try_only = (bits & 4) != 0;
	a->req.name = names[bits >> 3 & 3];
	a->req.slot_hi = bits & 1 ? 1 + (bits >> 5) : 1;
	if (!(bits & 1) && bits & 32 && o->file) {
		a->req.file = a->file = o->file;
		o->users++;
	}
	a->req.done = on_done;
	a->req.gave_up = on_gave_up;
	a->req.arg = a;
	a->used = a->asked = true;
	if (lk_acquire(b, &a->req) != 0)
		a->used = a->asked = false;
}

static void convert(struct ask *old, struct ask *a, unsigned bits)
{
	if (a->used || old->req.kind != LK_LOCK || old->old)
		return;
	memset(a, 0, sizeof(*a));
	a->req = old->req;
	a->req.mode = bits & 1 ? LK_EXCLUSIVE : LK_SHARED;
	a->req.try_only = (bits & 2) != 0;
	a->req.done = on_done;
	a->req.gave_up = on_gave_up;
	a->req.arg = a;
	a->req.convert = old->hold;
	a->req.file = NULL;
	a->used = a->asked = true;
	a->old = old;
	old->asked = true; /* nothing else is done with it meanwhile */
	if (lk_acquire(b, &a->req) == 0)
		return;
	a->used = a->asked = old->asked = false;
	a->old = NULL;
}

static void use(struct lk_hold *h, unsigned bits)
{
	switch (bits % 6) {
	case 0:
		called(lk_read(b, h, 1 + bits, bits, on_io, NULL), NULL);
		break;
	case 1:
		called(lk_write(b, h, "data", 4, bits & 16 ? -1 : 0, on_io, NULL), NULL);
		break;
	case 2:
		called(lk_truncate(b, h, bits, on_ok, NULL), NULL);
		break;
	case 3:
		called(lk_sync(b, h, on_ok, NULL), NULL);
		break;
	case 4:
		called(lk_remove(b, h, on_ok, NULL), NULL);
		break;
	default:
		break;
	}
}

static void look(unsigned bits)
{
	enum lk_kind kind = bits & 1 ? LK_SEM : LK_LOCK;

	switch (bits >> 1 & 7) {
	case 0:
		called(lk_stat(b, kind, bits & 16 ? "ns/x" : "job", LK_STAT_FULL, on_stat, NULL), NULL);
		break;
	case 1:
		called(lk_list(b, kind, bits & 16 && !(bits & 1) ? "ns" : "", on_list, NULL), NULL);
		break;
	case 2:
		called(lk_view(b, kind, bits & 16 ? NULL : "job", on_view, NULL), NULL);
		break;
	case 3:
		called(lk_break(b, "other.1/3", on_ok, NULL), NULL);
		break;
	case 4:
		called(lk_end_wait(b, "other.1/3", on_ok, NULL), NULL);
		break;
	case 5:
		called(lk_ns_make(b, "ns", 0755, 0, 0, on_ok, NULL), NULL);
		break;
	case 6:
		called(lk_file_list(b, bits & 16 ? "ns" : "", on_list, NULL), NULL);
		break;
	default:
		called(lk_file_readlink(b, "job", on_io, NULL), NULL);
		break;
	}
}

static void file_step(struct open_file *o, unsigned bits)
{
	struct lk_range_request *r = &ranges[o - files];
	struct ranges_lock want = {
		.who.owner = 5, .start = bits, .end = bits + 9, .mode = RANGES_EXCLUSIVE, .pid = 7
	};

	if (o->opening)
		return;
	if (!o->file) {
		o->opening = true;
		o->users = 0;
		if (lk_file_open(b, "job", O_RDWR | O_CREAT, 0644, 0, 0, on_file, o) == 0)
			pending++;
		else
			o->opening = false;
		return;
	}
	switch (bits % 8) {
	case 0:
		called(lk_file_fstat(b, o->file, on_file_stat, o), o);
		break;
	case 1:
		called(lk_file_read(b, o->file, 1 + bits, bits, on_io, o), o);
		break;
	case 2:
		called(lk_file_write(b, o->file, "data", 4, bits & 16 ? -1 : 0, on_io, o), o);
		break;
	case 3:
		called(lk_file_sync(b, o->file, on_ok, o), o);
		break;
	case 4:
		called(lk_range_test(b, o->file, &want, on_test, o), o);
		break;
	case 5:
		called(lk_range_drop(b, o->file, 5, on_ok, o), o);
		break;
	case 6:
		if (ranges_used[o - files]) {
			lk_range_cancel(b, r, -EINTR);
			break;
		}
		*r = (struct lk_range_request){
			.file = o->file, .want = want, .wait = (bits & 16) != 0, .done = on_range, .arg = o
		};
		ranges_used[o - files] = true;
		o->users++;
		if (lk_range_set(b, r) != 0) {
			ranges_used[o - files] = false;
			o->users--;
		}
		break;
	default:
		if (o->users == 0) {
			lk_file_close(b, o->file);
			o->file = NULL;
		}
		break;
	}
}

static void lock_step(struct ask *a, unsigned bits)
{
	if (!a->used)
		ask(a, bits);
	else if (a->asked && !a->hold)
		lk_cancel(b, &a->req, bits & 1 ? -EINTR : -ETIMEDOUT);
	else if (a->asked)
		return; /* being converted */
	else if (bits < 120)
		use(a->hold, bits);
	else if (bits < 150)
		convert(a, &asks[bits % ASKS], bits);
	else {
		lk_release(b, a->hold);
		a->hold = NULL;
		a->used = false;
	}
}

static void step(unsigned what)
{
	unsigned n = what >> 4;

	switch (what & 15) {
	case 0:
		pass((uint64_t)take() * 20 * PL_MS);
		break;
	case 1:
		flip();
		break;
	case 2:
	case 3:
		message();
		break;
	case 4:
	case 5:
	case 6:
		inside++;
		lock_step(&asks[n % ASKS], take());
		inside--;
		turn();
		break;
	case 7:
		inside++;
		look(take());
		inside--;
		turn();
		break;
	case 8:
	case 9:
		inside++;
		file_step(&files[n % FILES], take());
		inside--;
		turn();
		break;
	case 10:
		lk_tick(b);
		turn();
		break;
	default:
		answer();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lk_redis_config config = { .common = { .loop = &fake_wire_loop, .max_value = 64, .max_waiters = 4 },
					  .source = "redis://nowhere",
					  .prefix = "p",
					  .ttl_ns = PL_SEC,
					  .unavailable_ns = PL_SEC,
					  .nofail = true };
	char why[320];

	fake_wire_begin(data, size);
	memset(asks, 0, sizeof(asks));
	memset(files, 0, sizeof(files));
	memset(ranges_used, 0, sizeof(ranges_used));
	pending = 0;
	config.replicas = take() & 1;
	MUST(lk_redis_backend_open(&config, &b, why, sizeof(why)) == 0);
	turn();
	while (!taken_all())
		step(take());
	lk_destroy(b);
	MUST(!fake_wire_loop.tasks && !fake_wire_timers());
	return 0;
}
