/* Calls about files/: sent, sent again after whatever broke, answered once.
 *
 * A call about an open file ends with its session, -ESTALE. One by name goes
 * on under the next session. `unavailable` answers the caller of either; what
 * must be given back is then still asked for until the server has confirmed it.
 */
#include "backend/redis/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static void drop(struct fcall *f)
{
	DL_DELETE(f->b->calls, f);
	pl_timer_stop(f->b->base.loop, f->unavailable);
	pl_undefer(f->b->base.loop, &f->later);
	again_drop(&f->parked);
	if (f->opening)
		free(f->opening);
	free(f);
}

/* Not asked any more, by anybody. */
static bool is_over(const struct fcall *f)
{
	return f->ended && !f->sent && !f->again && (!f->lasting || f->lost);
}

static void end(struct fcall *f, int err, const redisReply *reply)
{
	f->ended = true;
	f->file = NULL;
	pl_timer_stop(f->b->base.loop, f->unavailable);
	f->unavailable = NULL;
	if (f->answer)
		f->answer(f, err, reply);
}

static void run_later(struct pl_task *task)
{
	struct fcall *f = (struct fcall *)((char *)task - offsetof(struct fcall, later));

	end(f, f->err, NULL);
	if (is_over(f))
		drop(f);
}

static void end_later(struct fcall *f, int err)
{
	if (f->ended || f->later.queued || f->b->stopping)
		return;
	f->err = err;
	f->later.run = run_later;
	pl_defer(f->b->base.loop, &f->later);
}

static void on_unavailable(void *arg)
{
	struct fcall *f = arg;

	f->unavailable = NULL;
	end_later(f, -EHOSTDOWN);
}

static void send_it(struct fcall *f);

static void on_replicated(void *arg, int err, const redisReply *reply)
{
	struct fcall *f = arg;

	f->sent = false;
	if (f->b->stopping)
		return; /* calls_free */
	if (f->later.queued)
		return;
	if (f->ended) {
		drop(f);
		return;
	}
	if (err == 0 && (reply->type != REDIS_REPLY_INTEGER || reply->integer < (long long)f->b->replicas))
		err = -EIO;
	end(f, err, NULL);
	drop(f);
}

/* On the beats' lane: a WAIT blocks those behind it, and a beat may wait as long. */
static void replicate(struct fcall *f)
{
	char n[16], ms[24];
	const char *argv[] = { "WAIT", n, ms };

	snprintf(n, sizeof(n), "%u", f->b->replicas);
	snprintf(ms, sizeof(ms), "%" PRIu64, f->b->ttl_ns / 4 / PL_MS);
	f->sent = wire_command(f->b->conn, LANE_BEATS, 3, argv, NULL, on_replicated, f) == 0;
	if (!f->sent)
		end_later(f, -EHOSTDOWN);
}

/* An answer that nobody waits for. */
static void late_answer(struct fcall *f, bool unknown)
{
	if (f->again || (f->lasting && !f->lost && unknown)) {
		if (f->again && f->b->state == SESSION_UP)
			send_it(f);
		else
			retry_soon(f->b);
	} else {
		f->lasting = false;
		drop(f);
	}
}

static void on_answer(void *arg, int err, const redisReply *reply)
{
	struct fcall *f = arg;
	struct redis_backend *b = f->b;
	const char *word = err || b->stopping ? "" : script_word(b, reply);
	bool unknown = err == -EHOSTDOWN || script_again(word) || strcmp(word, "AGAIN") == 0;

	if (b->stopping)
		return; /* calls_free */
	/* The lease may have ended while the answer was on its way. That drops what nobody waits for, but not what is
	 * `sent`. */
	session_check(b);
	f->sent = false;
	if (f->later.queued)
		return; /* just decided */
	if (f->ended) {
		late_answer(f, unknown);
		return;
	}
	if (unknown || f->sent_gen != b->generation) {
		if (strcmp(word, "AGAIN") == 0)
			again_later(&f->parked);
		else
			retry_soon(b);
		return;
	}
	if (err == 0)
		err = script_errno(word);
	if (f->file && strcmp(word, "LOST") == 0)
		file_lose(f->file);
	if (err == 0 && f->replicate && b->replicas) {
		replicate(f);
		return;
	}
	f->lasting = false;
	end(f, err, err ? NULL : reply);
	if (is_over(f))
		drop(f);
}

static void send_it(struct fcall *f)
{
	struct redis_backend *b = f->b;
	struct script_call c;
	size_t at = 0;
	unsigned i;

	f->again = false;
	f->sent_gen = b->generation;
	script_begin(b, &c, f->op);
	script_num(&c, (int64_t)session_limit(b));
	script_num(&c, (int64_t)f->number);
	/* Longer than it may be asked again. */
	script_num(&c, (int64_t)((b->unavailable_ns + 2 * b->ttl_ns) / PL_MS) + 10000);
	for (i = 0; i < f->n; i++) {
		script_bytes(&c, f->text + at, f->len[i]);
		at += f->len[i];
	}
	/* What WAIT is to cover must go over the connection that waits. */
	f->sent = script_send(b, f->replicate && b->replicas ? LANE_BEATS : LANE_COMMANDS, &c, on_answer, f) == 0;
}

static void run_again(struct ragain *again)
{
	struct fcall *f = (struct fcall *)((char *)again - offsetof(struct fcall, parked));

	if (!f->sent && !f->ended && !f->later.queued && f->b->state == SESSION_UP)
		send_it(f);
}

struct fcall *fcall_new(struct redis_backend *b, struct lk_file *file, const char *op, size_t room, fcall_fn answer,
			void *arg)
{
	/* A number has 20 digits at most. */
	struct fcall *f = calloc(1, sizeof(*f) + room + FCALL_ARGS * 24);

	if (!f)
		return NULL;
	f->b = b;
	f->file = file;
	f->of_file = file != NULL;
	f->op = op;
	f->answer = answer;
	f->arg = arg;
	f->number = ++b->seq;
	f->parked.b = b;
	f->parked.run = run_again;
	if (file)
		fcall_num(f, (int64_t)file->handle);
	return f;
}

void fcall_bytes(struct fcall *f, const void *data, size_t len)
{
	if (len)
		memcpy(f->text + f->used, data, len);
	f->len[f->n++] = len;
	f->used += len;
}

void fcall_str(struct fcall *f, const char *s)
{
	fcall_bytes(f, s, strlen(s));
}

void fcall_num(struct fcall *f, int64_t n)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%" PRId64, n);

	fcall_bytes(f, text, (size_t)len);
}

int fcall_go(struct fcall *f)
{
	struct redis_backend *b = f->b;

	DL_APPEND(b->calls, f);
	if (f->answer) {
		f->unavailable = pl_timer_start(b->base.loop, b->unavailable_ns, on_unavailable, f);
		if (!f->unavailable)
			end_later(f, -ENOMEM);
	} else {
		f->ended = true;
	}
	if (!f->later.queued && b->state == SESSION_UP)
		send_it(f);
	return 0;
}

void fcall_done(struct fcall *f, int err, const redisReply *reply)
{
	(void)reply;
	f->cb.done(f->arg, err);
}

void fcall_close(struct fcall *f)
{
	f->op = "fclose"; /* its first argument is the same */
	f->of_file = f->lasting = true;
	f->again = true;
	if (!f->sent && f->b->state == SESSION_UP)
		send_it(f);
}

void calls_resend(struct redis_backend *b)
{
	struct fcall *f, *tmp;

	DL_FOREACH_SAFE(b->calls, f, tmp) {
		if (!f->sent && !f->later.queued)
			send_it(f);
	}
}

void calls_lost(struct redis_backend *b)
{
	struct fcall *f, *tmp;

	DL_FOREACH_SAFE(b->calls, f, tmp) {
		if (!f->of_file)
			continue;
		f->lost = true;
		f->again = false;
		end_later(f, -ESTALE);
		if (is_over(f))
			drop(f);
	}
}

void calls_forget(struct redis_backend *b, const struct lk_file *file)
{
	struct fcall *f;

	DL_FOREACH(b->calls, f) {
		if (f->file == file)
			f->file = NULL;
	}
}

void calls_stop(struct redis_backend *b)
{
	struct fcall *f;

	DL_FOREACH(b->calls, f) {
		pl_undefer(b->base.loop, &f->later);
		pl_timer_stop(b->base.loop, f->unavailable);
		f->unavailable = NULL;
	}
}

void calls_free(struct redis_backend *b)
{
	struct fcall *f, *tmp;

	DL_FOREACH_SAFE(b->calls, f, tmp)
		drop(f);
}
