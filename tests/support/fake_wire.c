/* The connections of backend/redis/wire.h, in place of the real ones; and a loop and a log in place of those. */
#include "tests/support/fake_replies.h"
#include "tests/support/fake_wire.h"

#include "backend/redis/wire.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#define TEXT_MAX 2048

static const uint8_t *input, *input_end;

unsigned take(void)
{
	return input < input_end ? *input++ : 0;
}

/* --- a loop whose clock is set by steps --- */

struct pl_timer {
	uint64_t due;
	pl_timer_fn fn;
	void *arg;
	struct pl_timer *prev, *next;
};

static struct pl_timer *timers;
static uint64_t clock_ns;
static bool stopped;

static uint64_t fake_now(struct pl_loop *l)
{
	(void)l;
	return ++clock_ns;
}

static struct pl_timer *fake_timer(struct pl_loop *l, uint64_t delay, pl_timer_fn fn, void *arg)
{
	struct pl_timer *t = calloc(1, sizeof(*t));

	(void)l;
	MUST(t);
	t->due = delay > UINT64_MAX - clock_ns ? UINT64_MAX : clock_ns + delay;
	t->fn = fn;
	t->arg = arg;
	DL_APPEND(timers, t);
	return t;
}

static void fake_timer_stop(struct pl_loop *l, struct pl_timer *t)
{
	(void)l;
	DL_DELETE(timers, t);
	free(t);
}

static void fake_wake(struct pl_loop *l)
{
	(void)l;
}

static const struct pl_loop_ops loop_ops = {
	.now = fake_now, .wall = fake_now, .timer_start = fake_timer, .timer_stop = fake_timer_stop, .wake = fake_wake
};
struct pl_loop fake_wire_loop = { .ops = &loop_ops };

void pass(uint64_t ns)
{
	struct pl_timer *t, *first;
	uint64_t end = clock_ns + ns;

	for (;;) {
		first = NULL;
		DL_FOREACH(timers, t) {
			if (t->due <= end && (!first || t->due < first->due))
				first = t;
		}
		if (!first)
			break;
		if (first->due > clock_ns)
			clock_ns = first->due;
		DL_DELETE(timers, first);
		first->fn(first->arg);
		free(first);
		pl_run_tasks(&fake_wire_loop);
	}
	if (end > clock_ns)
		clock_ns = end;
}

/* --- connections that are none --- */

struct call {
	wire_cb cb;
	void *arg;
	bool script;
	char op[16];
	struct call *prev, *next;
};

struct wire {
	struct wire_config config;
	struct call *calls;
	bool up, failing;
	char said[64];
};

static struct wire *conn;

int wire_new(const struct wire_config *config, struct wire **out, const char **why)
{
	(void)why;
	conn = calloc(1, sizeof(*conn));
	MUST(conn);
	conn->config = *config;
	*out = conn;
	return 0;
}

static void drop_calls(struct wire *c)
{
	struct call *call;

	while ((call = c->calls)) {
		DL_DELETE(c->calls, call);
		call->cb(call->arg, -EHOSTDOWN, NULL);
		free(call);
	}
}

void wire_free(struct wire *c)
{
	c->up = false;
	drop_calls(c);
	free(c);
	conn = NULL;
}

bool wire_is_up(const struct wire *c)
{
	return c->up;
}

static int add_call(struct wire *c, bool script, const char *op, size_t len, wire_cb cb, void *arg)
{
	struct call *call;

	if (!c->up)
		return -EHOSTDOWN;
	call = calloc(1, sizeof(*call));
	MUST(call);
	call->cb = cb;
	call->arg = arg;
	call->script = script;
	snprintf(call->op, sizeof(call->op), "%.*s", (int)len, op);
	DL_APPEND(c->calls, call);
	return 0;
}

int wire_script(struct wire *c, enum wire_lane lane, unsigned script, int argc, const char *const *argv,
		const size_t *argvlen, wire_cb cb, void *arg)
{
	(void)lane;
	(void)script;
	MUST(argc >= 7);
	return add_call(c, true, argv[0], argvlen[0], cb, arg);
}

int wire_command(struct wire *c, enum wire_lane lane, int argc, const char *const *argv, const size_t *argvlen,
		 wire_cb cb, void *arg)
{
	(void)lane;
	(void)argvlen;
	MUST(argc >= 1);
	return add_call(c, false, argv[0], strlen(argv[0]), cb, arg);
}

void wire_finish(struct wire *c, const bool *done, uint64_t time_ns)
{
	(void)c;
	(void)done;
	(void)time_ns;
}

void wire_reset(struct wire *c, const char *why)
{
	(void)why;
	c->failing = true;
	c->up = false;
}

void wire_settled(struct wire *c)
{
	(void)c;
}

uint64_t wire_owed_since(const struct wire *c, enum wire_lane lane)
{
	return c->calls && lane == LANE_COMMANDS ? 1 : 0;
}

const char *wire_said(const struct wire *c)
{
	return c->said;
}

const char *wire_where(const struct wire *c)
{
	(void)c;
	return "redis://nowhere";
}

static void go_down(void)
{
	conn->up = conn->failing = false;
	drop_calls(conn);
	conn->config.down(conn->config.ctx, "connection closed", false);
}

static void go_up(void)
{
	conn->up = true;
	conn->config.up(conn->config.ctx, "run");
}

/* A turn of the loop. */
void turn(void)
{
	if (conn && conn->failing)
		go_down();
	pl_run_tasks(&fake_wire_loop);
}

/* --- answers --- */

void answer(void)
{
	static const int errors[] = { -EACCES, -ENOSPC, -EIO, -EHOSTDOWN };
	struct call *call = conn->calls;
	unsigned how = take();
	redisReply *r = NULL;
	int err = 0;

	if (!call)
		return;
	DL_DELETE(conn->calls, call);
	conn->said[0] = '\0';
	if (how < 20) {
		err = errors[how % 4];
		snprintf(conn->said, sizeof(conn->said), "BUSY or so");
	} else if (how < 90) {
		r = any_reply(0);
	} else if (call->script) {
		r = right_reply(call->op);
		if (how < 150)
			spoil(r);
	} else if (strcmp(call->op, "WAIT") == 0) {
		r = reply_new(REDIS_REPLY_INTEGER);
		r->integer = 1;
	} else {
		r = text_reply("maxmemory_policy:noeviction\r\n", 29);
	}
	/* As wire.c has it. */
	if (r && call->script && (r->type != REDIS_REPLY_ARRAY || !r->elements))
		err = -EIO;
	call->cb(call->arg, err, err ? NULL : r);
	free(call);
	if (r)
		freeReplyObject(r);
	turn();
}

void message(void)
{
	static const char *const forms[] = { "g %s %u 1 x 0 5 7 host 1 2 3 4 5 sh",
					     "l %s %u",
					     "e %s %u",
					     "w Ljob",
					     "u Ljob",
					     "b %s %u",
					     "g %s %u",
					     "g",
					     "w",
					     "",
					     " ",
					     "g %s %u 0 ",
					     "l  " };
	static char sid[64];
	char text[TEXT_MAX];
	redisReply *r;
	unsigned n = take();

	if (n < 128) {
		/* The channel is {p}:c:MOUNT, the first session MOUNT.1. */
		snprintf(sid, sizeof(sid), "%s.%u", strrchr(conn->config.channels[0], ':') + 1, 1 + n % 2);
		snprintf(text, sizeof(text), forms[n % (sizeof(forms) / sizeof(forms[0]))], sid, take() % 16);
		conn->config.message(conn->config.ctx, conn->config.channels[0], text, strlen(text));
	} else {
		r = any_text();
		conn->config.message(conn->config.ctx, n & 1 ? conn->config.channels[0] : conn->config.channels[1],
				     r->str, r->len);
		freeReplyObject(r);
	}
	turn();
}

/* --- in place of the real log and loop --- */

void pl_log(enum pl_level level, const char *fmt, ...)
{
	(void)level;
	(void)fmt;
}

void pl_log_limited(struct pl_log_limit *limit, enum pl_level level, const char *fmt, ...)
{
	(void)limit;
	(void)level;
	(void)fmt;
}

void pl_loop_stop(struct pl_loop *l)
{
	(void)l;
	stopped = true;
}

void pl_loop_run(struct pl_loop *l)
{
	unsigned n;

	(void)l;
	stopped = false;
	go_up();
	for (n = 0; n < 20 && !stopped; n++) {
		answer();
		if (!conn->up && !stopped)
			go_up();
	}
}

void flip(void)
{
	if (conn->up)
		go_down();
	else
		go_up();
	turn();
}

void fake_wire_begin(const uint8_t *data, size_t size)
{
	input = data;
	input_end = data + size;
	clock_ns = 1000 * PL_SEC;
}

bool taken_all(void)
{
	return input >= input_end;
}

bool fake_wire_timers(void)
{
	return timers != NULL;
}
