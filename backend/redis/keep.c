/* Holds that are kept: what was given back here stays this mount's at the
 * server, idle, and goes to its own next opener without a round trip.
 *
 * Only names that were given back here a moment ago and that nobody else asked
 * for are kept, and for a second at most, for as long as that others would wait
 * for the lease of a mount that died. Whoever is in the way of an idle hold has
 * the server ask us (`W`, `y`): it is released at once, and one in use becomes an
 * ordinary hold, so that nobody is told EAGAIN by a lock that nobody has.
 * The server hears of each change within TELL_TIME, and before it is asked for
 * anything that shows holders here. Each grant has a token of its own, out of those
 * that came with the hold. docs/protocol.md has the argument.
 */
#include "backend/redis/files.h"
#include "backend/tally.h"
#include "base/zalloc.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* Few at first, more for one that uses them: they must not rise faster than the server's clock does, by which they go
 * on after a loss of its memory. */
#define TOKENS_FIRST 16u
#define TOKENS_MAX 1024u
#define IDLE_MAX 256u
#define IDLE_TIME PL_SEC
#define TELL_TIME (20 * PL_MS)
#define WARM_MAX 256u
/* So long a name is not kept after others asked for it. */
#define WANTED_TIME PL_SEC

/* --- which names --- */

/* Given back here lately; uthash keeps the order in which they came. */
struct rwarm {
	uint64_t wanted; /* pl_now() when others last asked for it; 0: never */
	unsigned tokens; /* to ask for next time */
	UT_hash_handle hh;
	char kn[];
};

static struct rwarm *warm_find(const struct redis_backend *b, const char *kn)
{
	struct rwarm *w;

	HASH_FIND_STR(b->warm, kn, w);
	return w;
}

static struct rwarm *warm_get(struct redis_backend *b, const char *kn)
{
	struct rwarm *w = warm_find(b, kn);
	size_t len = strlen(kn);

	if (w)
		return w;
	if (HASH_COUNT(b->warm) >= WARM_MAX) {
		w = b->warm;
		HASH_DEL(b->warm, w);
		free(w);
	}
	w = pl_zalloc(sizeof(*w) + len + 1);
	if (!w)
		return NULL;
	w->tokens = TOKENS_FIRST;
	memcpy(w->kn, kn, len + 1);
	HASH_ADD_STR(b->warm, kn, w);
	return w;
}

void keep_wanted(struct redis_backend *b, const char *kn)
{
	struct rwarm *w = *kn == 'L' ? warm_get(b, kn) : NULL;

	if (w)
		w->wanted = pl_now(b->base.loop);
}

static bool is_wanted(const struct redis_backend *b, const struct rwarm *w)
{
	return w->wanted && pl_now(b->base.loop) - w->wanted <= WANTED_TIME;
}

bool keep_is_wanted(const struct redis_backend *b, const char *kn)
{
	const struct rwarm *w = warm_find(b, kn);

	return w && is_wanted(b, w);
}

unsigned keep_wish(struct redis_backend *b, const char *kn)
{
	const struct rwarm *w = *kn == 'L' ? warm_find(b, kn) : NULL;

	return w && !is_wanted(b, w) ? w->tokens : 0;
}

/* --- telling the server --- */

struct noting {
	struct redis_backend *b;
	uint64_t handle;
	unsigned want, generation;
};

struct rhold *keep_find(struct redis_backend *b, uint64_t handle)
{
	struct rhold *h = rhold_find(b, handle);

	if (!h)
		HASH_FIND(hh, b->idle, &handle, sizeof(handle), h);
	return h;
}

static void changed(struct rhold *h);

static void on_noted(void *arg, int err, const redisReply *reply)
{
	struct noting *t = arg;
	struct redis_backend *b = t->b;
	/* May end the session, and the hold with it. */
	const char *word = err || b->stopping ? "" : script_word(b, reply);
	struct rhold *h = keep_find(b, t->handle);

	if (h && t->want)
		h->asking = false;
	if (h && !b->stopping && t->generation == b->generation) {
		/* Also what is lost on the way; keep_doubt makes that good after the reconnect. */
		if (err == -EHOSTDOWN && h->wished)
			changed(h);
		if (strcmp(word, "OK") == 0 && t->want && reply_num(reply, 1) && h->kept) {
			h->tokens = reply_num(reply, 1);
			h->n_tokens = h->block = t->want;
		}
		/* In case that the message was lost. */
		if (strcmp(word, "OK") == 0 && reply_num(reply, 2) && h->name && !h->pub.contended)
			lock_contended(b, h->name->kn, true, true);
	}
	free(t);
}

static unsigned more_than(unsigned block)
{
	return block * 4 < TOKENS_MAX ? block * 4 : TOKENS_MAX;
}

/* Are more tokens to be asked for? */
static bool is_short(const struct rhold *h)
{
	return !h->asking && h->n_tokens < h->block / 2;
}

static void note(struct rhold *h, const char *state)
{
	struct redis_backend *b = h->b;
	struct noting *t = pl_zalloc(sizeof(*t));
	struct script_call c;
	char who[256];

	if (!t)
		return; /* told with the next change */
	t->b = b;
	t->handle = h->handle;
	if (*state != 'f' && is_short(h))
		t->want = more_than(h->block);
	t->generation = b->generation;
	record_who(b, &h->pub.owner, who);
	script_begin(b, &c, "note");
	script_handle(&c, h->handle, h->name->kn);
	script_kn(&c, h->name->kn);
	script_str(&c, state);
	script_num(&c, t->want);
	script_num(&c, (int64_t)h->pub.token);
	script_num(&c, (int64_t)(h->pub.since / PL_MS));
	script_str(&c, who);
	if (script_send(b, LANE_COMMANDS, &c, on_noted, t) < 0)
		free(t);
	else if (t->want)
		h->asking = true;
}

void keep_tell(struct redis_backend *b)
{
	struct rhold *h;

	if (b->state != SESSION_UP)
		return;
	while ((h = b->stale) != NULL) {
		keep_forget(h);
		note(h, h->idle_since ? "i" : h->kept ? "u" : "f");
	}
}

static void on_tell(void *arg)
{
	struct redis_backend *b = arg;

	b->stale_timer = NULL;
	keep_tell(b);
}

static void changed(struct rhold *h)
{
	struct redis_backend *b = h->b;

	if (!h->stale)
		DL_APPEND2(b->stale, h, stale_prev, stale_next);
	h->stale = true;
	if (!b->stale_timer && !b->stopping)
		b->stale_timer = pl_timer_start(b->base.loop, TELL_TIME, on_tell, b);
}

void keep_forget(struct rhold *h)
{
	if (h->stale)
		DL_DELETE2(h->b->stale, h, stale_prev, stale_next);
	h->stale = false;
}

/* --- idle --- */

static void on_idle(void *arg);

static void arm_idle(struct redis_backend *b)
{
	uint64_t now = pl_now(b->base.loop), due = b->idle ? b->idle->idle_since + IDLE_TIME : 0;

	if (b->idle && !b->idle_timer && !b->stopping)
		b->idle_timer = pl_timer_start(b->base.loop, due > now ? due - now : 0, on_idle, b);
}

static void on_idle(void *arg)
{
	struct redis_backend *b = arg;
	uint64_t now = pl_now(b->base.loop);

	b->idle_timer = NULL;
	while (b->idle && now - b->idle->idle_since >= IDLE_TIME)
		keep_release(b, b->idle->name);
	arm_idle(b);
}

static struct rhold *take_out(struct rname *n)
{
	struct rhold *h = n->idle;

	HASH_DEL(h->b->idle, h);
	h->idle_since = 0;
	n->idle = NULL;
	return h;
}

void keep_release(struct redis_backend *b, struct rname *n)
{
	struct rhold *h;

	if (!n->idle)
		return;
	h = take_out(n);
	keep_forget(h);
	release_handle(b, h->handle, n->kn, RELEASE_KEPT);
	rname_settle(b, n);
	free(h);
}

void keep_release_all(struct redis_backend *b)
{
	while (b->idle)
		keep_release(b, b->idle->name);
}

void keep_missing(struct redis_backend *b, uint64_t seq)
{
	const struct rhold *h;

	for (h = b->idle; h; h = h->hh.next) {
		if (h->handle <= seq && h->synced != b->syncs) {
			keep_release_all(b);
			return;
		}
	}
}

void keep_lost(struct redis_backend *b)
{
	struct rhold *h, *tmp;
	struct rname *n;

	while (b->idle) {
		n = b->idle->name;
		h = take_out(n);
		keep_forget(h);
		rname_settle(b, n);
		free(h);
	}
	HASH_ITER(hh, b->holds, h, tmp) {
		keep_forget(h);
		h->kept = h->wished = false;
	}
}

/* Does this mount still believe in what it holds? */
static bool believes(const struct redis_backend *b)
{
	return b->state == SESSION_UP && !b->claims && !b->stopping && b->deadline &&
	       pl_now(b->base.loop) < b->deadline;
}

void keep_begin(struct rhold *h, bool kept, unsigned tokens)
{
	h->wished = tokens > 0;
	h->kept = kept && tokens > 0;
	h->tokens = h->pub.token + 1;
	h->n_tokens = h->block = h->kept ? tokens : 0;
}

/* Is it ours to give to the next one? With an operation under way its answer may come when somebody else has it. */
static bool is_ours(const struct rhold *h)
{
	return h->kept && h->n_tokens && !h->ops && !h->pub.contended && !h->name->idle && believes(h->b);
}

static void give_to(struct rhold *h, const struct lk_request *req)
{
	struct redis_backend *b = h->b;

	h->pub.token = h->tokens++;
	h->n_tokens--;
	if (h->pub.token > b->floor)
		b->floor = h->pub.token;
	h->pub.since = pl_wall(b->base.loop);
	h->pub.owner = req->owner;
	h->pub.contended = false;
	h->pub.on_lost = h->pub.on_contended = NULL;
	changed(h);
	if (is_short(h))
		keep_tell(b);
	tally_grant(&b->base.counters, &h->pub, h->pub.since > req->asked ? h->pub.since - req->asked : 0);
}

bool keep_pass(struct rhold *h, const struct lk_request *next)
{
	if (!is_ours(h))
		return false;
	h->b->base.counters.held--;
	give_to(h, next);
	return true;
}

bool keep_put(struct rhold *h)
{
	struct redis_backend *b = h->b;
	struct rname *n = h->name;
	struct rwarm *w;

	if (h->pub.mode == LK_EXCLUSIVE && n->kn[0] == 'L') {
		w = warm_get(b, n->kn);
		if (w && h->kept)
			w->tokens = h->n_tokens ? TOKENS_FIRST : more_than(h->block);
		if (h->pub.contended && rname_at_server(n) == 0) /* not by ours */
			keep_wanted(b, n->kn);
	}
	if (!is_ours(h) || n->n_waits || HASH_COUNT(b->idle) >= IDLE_MAX)
		return false;
	HASH_DEL(b->holds, h);
	DL_DELETE(n->holds, h);
	b->base.counters.held--;
	n->idle = h;
	h->idle_since = pl_now(b->base.loop);
	HASH_ADD(hh, b->idle, handle, sizeof(h->handle), h);
	changed(h);
	arm_idle(b);
	return true;
}

struct rhold *keep_take(struct redis_backend *b, struct rname *n, const struct lk_request *req)
{
	struct rhold *h = n->idle;

	if (!h)
		return NULL;
	if (req->mode != LK_EXCLUSIVE || req->file || !believes(b)) {
		keep_release(b, n);
		return NULL;
	}
	take_out(n);
	DL_APPEND(n->holds, h);
	HASH_ADD(hh, b->holds, handle, sizeof(h->handle), h);
	give_to(h, req);
	return h;
}

void keep_end(struct rhold *h)
{
	if (!h->wished)
		return;
	keep_forget(h);
	if (h->b->state == SESSION_UP)
		note(h, "f");
	h->kept = false;
	if (h->name)
		turns_enter(h->name);
}

void keep_doubt(struct redis_backend *b)
{
	struct rhold *h, *tmp;

	keep_release_all(b);
	HASH_ITER(hh, b->holds, h, tmp)
		keep_end(h);
}

/* --- others ask for it --- */

static void on_nudged(void *arg, int err, const redisReply *reply)
{
	if (err == 0)
		(void)script_word(arg, reply);
}

void keep_recall(struct redis_backend *b, const char *text)
{
	const char *kn = strchr(text, ' ');
	struct script_call c;
	struct rhold *h;
	struct rname *n;
	char sid[SID_MAX];

	if (!kn || (size_t)(kn - text) >= sizeof(sid))
		return;
	memcpy(sid, text, (size_t)(kn - text));
	sid[kn - text] = '\0';
	kn++;
	b->wanted_seen++;
	keep_wanted(b, kn);
	HASH_FIND(hh, b->names, kn, strlen(kn), n); /* it may be longer than any name */
	if (n && n->idle) {
		keep_release(b, n);
	} else if (n) {
		DL_FOREACH(n->holds, h)
			keep_end(h);
	}
	script_begin(b, &c, "nudge");
	script_str(&c, sid);
	script_str(&c, kn);
	(void)script_send(b, LANE_COMMANDS, &c, on_nudged, b);
}

void keep_free(struct redis_backend *b)
{
	struct rwarm *w, *tmp;

	keep_lost(b);
	HASH_ITER(hh, b->warm, w, tmp) {
		HASH_DEL(b->warm, w);
		free(w);
	}
}
