/* Calls over the connections, and their way down.
 *
 * Whatever goes wrong ends in wire_fail. hiredis calls every callback exactly
 * once, with no reply when the connection goes; only then `down` is told, and
 * after a pause dial.c makes the next attempt.
 */
#include "backend/redis/wire_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* --- down --- */

static void drop_lanes(struct wire *c)
{
	bool connected;
	unsigned i;

	for (i = 0; i < LANES; i++) {
		struct lane *l = c->lanes[i];

		c->lanes[i] = NULL;
		if (!l)
			continue;
		l->c = NULL;
		if (!l->ac) {
			free(l);
			continue;
		}
		/* Calls back whatever is under way, and on_gone, which frees l: but the latter only when it was
		 * connected. */
		connected = l->ac->c.flags & REDIS_CONNECTED;
		redisAsyncFree(l->ac);
		if (!connected)
			free(l);
	}
}

static void on_retry(void *arg)
{
	struct wire *c = arg;

	c->timer = NULL;
	dial(c);
}

static void run_failed(struct pl_task *task)
{
	struct wire *c = (struct wire *)((char *)task - offsetof(struct wire, failed));

	drop_lanes(c);
	/* The node that MOVED named may be gone: then the first one is asked again. */
	if (!c->was_up)
		c->address = c->home;
	c->was_up = false;
	c->config.down(c->config.ctx, c->why, c->fatal);
	pl_timer_stop(c->config.loop, c->timer);
	c->timer = pl_timer_start(c->config.loop, c->backoff, on_retry, c);
	c->backoff = c->backoff * 2 > c->config.retry_ns ? c->config.retry_ns : c->backoff * 2;
}

/* Everything that goes wrong. The connections are dropped from a turn of their
 * own: this may be inside one of their callbacks. */
void wire_fail(struct wire *c, bool fatal, const char *why)
{
	if (c->freeing || c->failed.queued || c->stage == STAGE_IDLE)
		return;
	snprintf(c->why, sizeof(c->why), "%s", why);
	c->fatal = fatal;
	c->stage = STAGE_IDLE;
	pl_timer_stop(c->config.loop, c->timer);
	c->timer = NULL;
	c->failed.run = run_failed;
	pl_defer(c->config.loop, &c->failed);
}

/* Follows MOVED: the cluster says where our slot is. */
static void moved(struct wire *c, const char *text)
{
	const char *at = strrchr(text, ' '), *colon = strrchr(text, ':');
	size_t len = at && colon > at ? (size_t)(colon - at - 1) : 0;
	long port = colon ? strtol(colon + 1, NULL, 10) : 0;
	struct host_port *to = &c->address.at;

	if (at && colon > at && port > 0 && port <= 65535 && len < sizeof(to->host) && !*c->address.path) {
		/* Without a host, or with one that is not known: the host that answered. */
		if (len && at[1] != '?') {
			memcpy(to->host, at + 1, len);
			to->host[len] = '\0';
		}
		to->port = (int)port;
		c->address.n_sentinels = 0;
	}
	wire_fail(c, false, text);
}

/* What an error reply means, and whether the connection is of no use any more. */
int wire_error(struct wire *c, const char *text)
{
	static const struct {
		const char *word;
		int err;
		bool down, fatal;
	} all[] = {
		{ "NOSCRIPT", -EHOSTDOWN, true, false }, /* the next attempt loads it again */
		{ "LOADING", -EHOSTDOWN, true, false },	    { "MASTERDOWN", -EHOSTDOWN, true, false },
		{ "READONLY", -EHOSTDOWN, true, false },    { "CLUSTERDOWN", -EHOSTDOWN, true, false },
		{ "TRYAGAIN", -EHOSTDOWN, false, false },   { "ASK", -EHOSTDOWN, false, false },
		{ "BUSY", -EHOSTDOWN, false, false },	    { "NOAUTH", -EHOSTDOWN, true, true },
		{ "WRONGPASS", -EHOSTDOWN, true, true },    { "NOPERM", -EACCES, false, true },
		{ "OOM", -ENOSPC, false, false },	    { "MISCONF", -ENOSPC, false, false },
		{ "UNKILLABLE", -EHOSTDOWN, false, false }, { "NOREPLICAS", -EHOSTDOWN, false, false },
	};
	size_t i, len;

	snprintf(c->said, sizeof(c->said), "%s", text);
	if (strncmp(text, "MOVED ", 6) == 0) {
		moved(c, text);
		return -EHOSTDOWN;
	}
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		len = strlen(all[i].word);
		if (strncmp(text, all[i].word, len) != 0 || (text[len] && text[len] != ' '))
			continue;
		if (c->stage == STAGE_UP && !*c->config.quiet)
			pl_log_limited(&c->log, PL_WARN, "%s: %.200s", c->where, text);
		if (all[i].down || (all[i].fatal && c->stage != STAGE_UP))
			wire_fail(c, all[i].fatal, text);
		return all[i].err;
	}
	if (c->stage == STAGE_UP && !*c->config.quiet)
		pl_log_limited(&c->log, PL_ERROR, "%s: %.200s", c->where, text);
	return -EIO;
}

/* --- calls --- */

static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
	struct call *call = arg;
	struct wire *c = call->c;
	redisReply *r = reply;
	int err = 0;

	(void)ac;
	DL_DELETE(c->calls, call);
	c->owed[call->lane]--;
	c->owed_since[call->lane] = pl_now(c->config.loop);
	if (!r) {
		err = -EHOSTDOWN;
		c->said[0] = '\0';
	} else if (r->type == REDIS_REPLY_ERROR)
		err = wire_error(c, r->str);
	else if (call->script && (r->type != REDIS_REPLY_ARRAY || r->elements == 0))
		err = -EIO;
	call->cb(call->arg, err, err ? NULL : r);
	free(call);
}

static int send_call(struct wire *c, enum wire_lane lane, bool script, int argc, const char **argv,
		     const size_t *argvlen, wire_cb cb, void *arg)
{
	struct call *call;

	if (c->stage != STAGE_UP || !c->lanes[lane])
		return -EHOSTDOWN;
	call = calloc(1, sizeof(*call));
	if (!call)
		return -EHOSTDOWN;
	call->c = c;
	call->cb = cb;
	call->arg = arg;
	call->script = script;
	call->lane = lane;
	if (redisAsyncCommandArgv(c->lanes[lane]->ac, on_reply, call, argc, argv, argvlen) != REDIS_OK) {
		free(call);
		return -EHOSTDOWN;
	}
	DL_APPEND(c->calls, call);
	if (c->owed[lane]++ == 0)
		c->owed_since[lane] = pl_now(c->config.loop);
	return 0;
}

#define ARGS_MAX 32

int wire_script(struct wire *c, enum wire_lane lane, unsigned script, int argc, const char *const *argv,
		const size_t *argvlen, wire_cb cb, void *arg)
{
	const char *all[ARGS_MAX + 4] = { "EVALSHA", c->sha[script], "1", c->config.key };
	size_t len[ARGS_MAX + 4] = { 7, strlen(c->sha[script]), 1, strlen(c->config.key) };
	int i;

	if (argc > ARGS_MAX)
		return -EHOSTDOWN;
	for (i = 0; i < argc; i++) {
		all[i + 4] = argv[i];
		len[i + 4] = argvlen ? argvlen[i] : strlen(argv[i]);
	}
	return send_call(c, lane, true, argc + 4, all, len, cb, arg);
}

int wire_command(struct wire *c, enum wire_lane lane, int argc, const char *const *argv, const size_t *argvlen,
		 wire_cb cb, void *arg)
{
	const char *all[ARGS_MAX];
	int i;

	if (argc > ARGS_MAX)
		return -EHOSTDOWN;
	for (i = 0; i < argc; i++)
		all[i] = argv[i];
	return send_call(c, lane, false, argc, all, argvlen, cb, arg);
}

/* --- the whole --- */

static int make_tls(struct wire *c, char *why, size_t size)
{
	const struct tls_files *files = &c->config.tls;
	char what[256];

	if (!c->address.tls && !files->ca && !files->cert && !files->key)
		return 0;
	snprintf(what, sizeof(what), "tls_ca=, tls_cert= and tls_key= are for rediss:// only");
	if (c->address.tls)
		c->tls = tls_new(files, what, sizeof(what));
	if (c->tls)
		return 0;
	snprintf(why, size, "%.60s: %s", c->config.source, what);
	return -EINVAL;
}

int wire_new(const struct wire_config *config, struct wire **out, const char **why)
{
	static char reason[320];
	struct wire *c = calloc(1, sizeof(*c));
	int err = c ? address_parse(config->source, &c->address, reason, sizeof(reason)) : -ENOMEM;

	*why = c ? reason : "out of memory";
	if (err == 0) {
		c->config = *config;
		err = make_tls(c, reason, sizeof(reason));
	}
	if (err == 0 && config->password) {
		c->password = strdup(config->password);
		err = c->password ? 0 : -ENOMEM;
	}
	if (err) {
		if (c)
			tls_free(c->tls);
		free(c);
		return err;
	}
	c->home = c->address;
	c->backoff = RETRY_FIRST;
	address_show(&c->address, c->where, sizeof(c->where));
	c->timer = pl_timer_start(config->loop, 0, on_retry, c);
	if (!c->timer) {
		tls_free(c->tls);
		free(c->password);
		free(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void wire_free(struct wire *c)
{
	c->freeing = true;
	c->stage = STAGE_IDLE;
	pl_undefer(c->config.loop, &c->failed);
	pl_timer_stop(c->config.loop, c->timer);
	if (c->resolving)
		c->resolving->c = NULL;
	drop_lanes(c);
	tls_free(c->tls);
	if (c->password)
		explicit_bzero(c->password, strlen(c->password));
	free(c->password);
	free(c);
}

bool wire_is_up(const struct wire *c)
{
	return c->stage == STAGE_UP;
}

void wire_settled(struct wire *c)
{
	c->backoff = RETRY_FIRST;
}

uint64_t wire_owed_since(const struct wire *c, enum wire_lane lane)
{
	return c->owed[lane] ? c->owed_since[lane] : 0;
}

void wire_reset(struct wire *c, const char *why)
{
	wire_fail(c, false, why);
}

const char *wire_said(const struct wire *c)
{
	return c->said;
}

const char *wire_where(const struct wire *c)
{
	return c->where;
}

void wire_finish(struct wire *c, const bool *done, uint64_t time_ns)
{
	uint64_t end = pl_now(c->config.loop) + time_ns, now;

	while (!*done && c->stage == STAGE_UP && c->lanes[LANE_COMMANDS]) {
		now = pl_now(c->config.loop);
		if (now >= end || !wire_serve(c->lanes[LANE_COMMANDS]->ac, (int)((end - now) / PL_MS) + 1))
			return;
	}
}
