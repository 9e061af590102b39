/* What is asked again once a mount has answered what it keeps (keep.c): whoever waits for that has
 * a ragain, and calls of which nothing else is to be remembered are kept here. */
#include "backend/redis/internal.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

void again_later(struct ragain *again)
{
	if (!again->queued)
		DL_APPEND(again->b->again, again);
	again->queued = true;
	retry_soon(again->b); /* in case that the answer is lost */
}

void again_drop(struct ragain *again)
{
	if (again->queued)
		DL_DELETE(again->b->again, again);
	again->queued = false;
}

void again_run(struct redis_backend *b)
{
	struct ragain *all = b->again, *a;

	b->again = NULL;
	DL_FOREACH(all, a)
		a->queued = false;
	while ((a = all) != NULL) {
		DL_DELETE(all, a);
		a->run(a);
	}
}

void again_free(struct redis_backend *b)
{
	struct ragain *a;

	while ((a = b->again) != NULL) {
		again_drop(a);
		if (a->drop)
			a->drop(a);
	}
}

/* --- calls --- */

struct asked {
	struct redis_backend *b;
	struct ragain again;
	uint64_t until; /* pl_now(): no more asking after it */
	again_sent sent;
	lk_done_cb cb;
	void *arg;
	const char *op;
	unsigned n;
	char text[]; /* the arguments, each with its NUL */
};

static int ask(struct asked *a);

static void on_answer(void *arg, int err, const redisReply *reply)
{
	struct asked *a = arg;
	struct redis_backend *b = a->b;
	const char *word = err ? "" : script_word(b, reply);

	if (strcmp(word, "AGAIN") == 0 && !b->stopping && pl_now(b->base.loop) < a->until) {
		again_later(&a->again);
		return;
	}
	if (err == 0)
		err = strcmp(word, "AGAIN") == 0 ? -EHOSTDOWN : script_errno(word);
	if (!b->stopping)
		a->cb(a->arg, err);
	free(a);
}

static int ask(struct asked *a)
{
	const char *at = a->text;
	struct script_call c;
	unsigned i;
	int err;

	script_begin(a->b, &c, a->op);
	for (i = 0; i < a->n; i++) {
		script_str(&c, at);
		at += strlen(at) + 1;
	}
	err = script_send(a->b, LANE_COMMANDS, &c, on_answer, a);
	if (err == 0 && a->sent)
		a->sent(a->b);
	return err;
}

static struct asked *of_again(struct ragain *again)
{
	return (struct asked *)((char *)again - offsetof(struct asked, again));
}

static void run_again(struct ragain *again)
{
	struct asked *a = of_again(again);
	int err = ask(a);

	if (err)
		on_answer(a, err, NULL);
}

static void drop_asked(struct ragain *again)
{
	free(of_again(again));
}

int again_ask(struct redis_backend *b, const char *op, unsigned n, const char *const *argv, again_sent sent,
	      lk_done_cb cb, void *arg)
{
	struct asked *a;
	size_t size = 0;
	unsigned i;
	char *end;
	int err;

	if (b->state != SESSION_UP)
		return -EHOSTDOWN;
	for (i = 0; i < n; i++)
		size += strlen(argv[i]) + 1;
	a = calloc(1, sizeof(*a) + size);
	if (!a)
		return -ENOMEM;
	for (i = 0, end = a->text; i < n; i++)
		end = stpcpy(end, argv[i]) + 1;
	a->b = b;
	a->again.b = b;
	a->again.run = run_again;
	a->again.drop = drop_asked;
	a->until = pl_now(b->base.loop) + b->conn_config.attempt_ns;
	a->sent = sent;
	a->cb = cb;
	a->arg = arg;
	a->op = op;
	a->n = n;
	err = ask(a);
	if (err)
		free(a);
	return err;
}
