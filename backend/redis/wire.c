/* The connections: one attempt after the other, and the calls over them.
 *
 * An attempt: Sentinel (if any) names the master, its name is resolved, three
 * connections are made, each says AUTH and SELECT, the first asks INFO and
 * loads the script, the third subscribes; then `up`. Whatever goes wrong on
 * the way or later ends in `fail`, which is the only way down. hiredis calls
 * every callback exactly once, with no reply when the connection goes.
 */
#include "backend/redis/wire.h"

#include "backend/redis/address.h"
#include "base/log.h"
#include "base/loop.h"

#include <errno.h>
#include <hiredis/adapters/libuv.h>
#include <hiredis/async.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>
#include <uv.h>

#define RETRY_FIRST (50 * PL_MS)
#define RETRY_LAST PL_SEC
#define LANES 3
#define LANE_CHANNELS 2

enum stage { STAGE_IDLE, STAGE_RESOLVE, STAGE_SENTINEL, STAGE_CONNECT, STAGE_UP };

/* One connection of one attempt: outlives the attempt until hiredis lets go. */
struct lane {
	struct wire *c; /* NULL: of an attempt that is over */
	redisAsyncContext *ac;
	unsigned n;
};

struct call {
	struct wire *c;
	wire_cb cb;
	void *arg;
	bool script;
	struct call *prev, *next;
};

struct resolving {
	uv_getaddrinfo_t req;
	struct wire *c; /* NULL: nobody wants it any more */
};

struct wire {
	struct wire_config config;
	struct address address;
	char where[512], ip[64], sha[48], run_id[64], why[320];
	char *password;
	enum stage stage;
	struct lane *lanes[LANES]; /* [0] is Sentinel's while asking that */
	unsigned sentinel, steps;
	struct resolving *resolving;
	struct pl_timer *timer; /* of the attempt, or until the next */
	struct pl_task failed;	/* `down` comes from a turn of its own */
	bool fatal, freeing;
	uint64_t backoff;
	struct call *calls;
	struct pl_log_limit log;
};

static void attempt(struct wire *c);
static void resolve(struct wire *c, const struct host_port *at);

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
	attempt(c);
}

static void run_failed(struct pl_task *task)
{
	struct wire *c = (struct wire *)((char *)task - offsetof(struct wire, failed));

	drop_lanes(c);
	c->config.down(c->config.ctx, c->why, c->fatal);
	pl_timer_stop(c->config.loop, c->timer);
	c->timer = pl_timer_start(c->config.loop, c->backoff, on_retry, c);
	c->backoff = c->backoff * 2 > RETRY_LAST ? RETRY_LAST : c->backoff * 2;
}

/* Everything that goes wrong. The connections are dropped from a turn of their
 * own: this may be inside one of their callbacks. */
static void fail(struct wire *c, bool fatal, const char *why)
{
	if (c->freeing || c->failed.queued || c->stage == STAGE_IDLE)
		return;
	snprintf(c->why, sizeof(c->why), "%s", why);
	c->fatal = fatal;
	c->stage = STAGE_IDLE;
	if (c->resolving)
		c->resolving->c = NULL;
	c->resolving = NULL;
	pl_timer_stop(c->config.loop, c->timer);
	c->timer = NULL;
	c->failed.run = run_failed;
	pl_defer(c->config.loop, &c->failed);
}

static void on_slow(void *arg)
{
	struct wire *c = arg;

	c->timer = NULL;
	fail(c, false, "no answer");
}

/* Follows MOVED: the cluster says where our slot is. */
static void moved(struct wire *c, const char *text)
{
	const char *at = strrchr(text, ' ');
	struct host_port to;

	if (at && address_host_port(at + 1, strlen(at + 1), 6379, &to) && !*c->address.path) {
		c->address.at = to;
		c->address.n_sentinels = 0;
	}
	fail(c, false, text);
}

/* What an error reply means, and whether the connection is of no use any more. */
static int error_of(struct wire *c, const char *text)
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
		{ "UNKILLABLE", -EHOSTDOWN, false, false },
	};
	size_t i, len;

	if (strncmp(text, "MOVED ", 6) == 0) {
		moved(c, text);
		return -EHOSTDOWN;
	}
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		len = strlen(all[i].word);
		if (strncmp(text, all[i].word, len) != 0 || (text[len] && text[len] != ' '))
			continue;
		if (c->stage == STAGE_UP)
			pl_log_limited(&c->log, PL_WARN, "%s: %.200s", c->where, text);
		if (all[i].down || (all[i].fatal && c->stage != STAGE_UP))
			fail(c, all[i].fatal, text);
		return all[i].err;
	}
	if (c->stage == STAGE_UP)
		pl_log_limited(&c->log, PL_ERROR, "%s: %.200s", c->where, text);
	return -EIO;
}

/* --- connecting --- */

static void on_gone(const redisAsyncContext *ac, int status)
{
	struct lane *l = ac->data;

	l->ac = NULL;
	if (l->c) {
		l->c->lanes[l->n] = NULL;
		fail(l->c, false, status == REDIS_OK ? "connection closed" : ac->errstr);
	}
	free(l);
}

static void on_connected(const redisAsyncContext *ac, int status)
{
	struct lane *l = ac->data;

	if (status == REDIS_OK)
		return;
	/* hiredis frees the context after this. */
	l->ac = NULL;
	if (l->c) {
		l->c->lanes[l->n] = NULL;
		fail(l->c, false, ac->errstr);
	}
	free(l);
}

static bool open_lane(struct wire *c, unsigned n, const char *ip, int port)
{
	redisAsyncContext *ac = *c->address.path && ip == NULL ? redisAsyncConnectUnix(c->address.path)
							       : redisAsyncConnect(ip, port);
	struct lane *l = calloc(1, sizeof(*l));
	int one = 1;

	if (!ac || ac->err || !l) {
		fail(c, false, ac && ac->err ? ac->errstr : "out of memory");
		if (ac)
			redisAsyncFree(ac);
		free(l);
		return false;
	}
	l->c = c;
	l->ac = ac;
	l->n = n;
	ac->data = l;
	c->lanes[n] = l;
	if (ip) {
		setsockopt(ac->c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(ac->c.fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	if (redisLibuvAttach(ac, pl_loop_uv(c->config.loop)) != REDIS_OK) {
		fail(c, false, "out of memory");
		return false;
	}
	redisAsyncSetConnectCallback(ac, on_connected);
	redisAsyncSetDisconnectCallback(ac, on_gone);
	return true;
}

/* NULL when the attempt is over. */
static struct wire *of_step(const redisAsyncContext *ac)
{
	struct lane *l = ac->data;

	return l->c && !l->c->failed.queued && l->c->stage != STAGE_IDLE ? l->c : NULL;
}

static void step_done(struct wire *c)
{
	if (--c->steps)
		return;
	c->stage = STAGE_UP;
	c->backoff = RETRY_FIRST;
	pl_timer_stop(c->config.loop, c->timer);
	c->timer = NULL;
	c->config.up(c->config.ctx, c->run_id);
}

/* False after `fail`. */
static bool step_ok(struct wire *c, const redisReply *r, int type)
{
	if (!r)
		return false; /* on_gone follows */
	if (r->type == REDIS_REPLY_ERROR) {
		if (error_of(c, r->str) == -EIO || c->stage != STAGE_IDLE)
			fail(c, true, r->str);
		return false;
	}
	if (r->type == type)
		return true;
	fail(c, true, "it does not speak as a Redis server does");
	return false;
}

static void on_plain(redisAsyncContext *ac, void *reply, void *arg)
{
	struct wire *c = of_step(ac);

	(void)arg;
	if (c && step_ok(c, reply, REDIS_REPLY_STATUS))
		step_done(c);
}

static void on_script(redisAsyncContext *ac, void *reply, void *arg)
{
	struct wire *c = of_step(ac);
	redisReply *r = reply;

	(void)arg;
	if (!c || !step_ok(c, r, REDIS_REPLY_STRING))
		return;
	snprintf(c->sha, sizeof(c->sha), "%s", r->str);
	step_done(c);
}

static bool info_field(const char *text, const char *name, char *out, size_t size)
{
	const char *p = strstr(text, name);
	size_t len;

	if (!p)
		return false;
	p += strlen(name);
	len = strcspn(p, "\r\n");
	snprintf(out, size, "%.*s", (int)(len < size ? len : size - 1), p);
	return true;
}

static void on_info(redisAsyncContext *ac, void *reply, void *arg)
{
	struct wire *c = of_step(ac);
	redisReply *r = reply;
	char version[32] = "0", role[16] = "", why[128];

	(void)arg;
	if (!c || !step_ok(c, r, REDIS_REPLY_STRING))
		return;
	if (!info_field(r->str, "redis_version:", version, sizeof(version)) ||
	    !info_field(r->str, "run_id:", c->run_id, sizeof(c->run_id)) || strtol(version, NULL, 10) < 7) {
		snprintf(why, sizeof(why), "Redis %s is too old: 7.0 or newer is needed", version);
		fail(c, true, why);
		return;
	}
	if (info_field(r->str, "\nrole:", role, sizeof(role)) && strcmp(role, "master") != 0) {
		fail(c, !c->address.n_sentinels, "it is a replica");
		return;
	}
	step_done(c);
}

static void on_channel(redisAsyncContext *ac, void *reply, void *arg)
{
	struct lane *l = ac->data;
	struct wire *c = l->c;
	redisReply *r = reply;

	(void)arg;
	if (!c || !r || c->failed.queued)
		return;
	if (r->type == REDIS_REPLY_ERROR) {
		(void)step_ok(c, r, REDIS_REPLY_ARRAY);
		return;
	}
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 3 || r->element[0]->type != REDIS_REPLY_STRING)
		return;
	if (strcmp(r->element[0]->str, "subscribe") == 0 && c->stage == STAGE_CONNECT)
		step_done(c);
	else if (strcmp(r->element[0]->str, "message") == 0 && c->stage == STAGE_UP &&
		 r->element[1]->type == REDIS_REPLY_STRING && r->element[2]->type == REDIS_REPLY_STRING)
		c->config.message(c->config.ctx, r->element[1]->str, r->element[2]->str, r->element[2]->len);
}

/* One step of the start: it is over when each was answered. */
static void step(struct wire *c, unsigned lane, redisCallbackFn *fn, int argc, const char **argv)
{
	c->steps++;
	if (redisAsyncCommandArgv(c->lanes[lane]->ac, fn, NULL, argc, argv, NULL) != REDIS_OK)
		fail(c, false, "connection closed");
}

static void greet(struct wire *c, unsigned lane)
{
	const char *auth[] = { "AUTH", c->address.user, c->password };
	char db[16];
	const char *select[] = { "SELECT", db };

	if (c->password && *c->address.user)
		step(c, lane, on_plain, 3, auth);
	else if (c->password) {
		auth[1] = c->password;
		step(c, lane, on_plain, 2, auth);
	}
	snprintf(db, sizeof(db), "%d", c->address.db);
	if (c->address.db)
		step(c, lane, on_plain, 2, select);
}

static void connect_all(struct wire *c, const char *ip)
{
	const char *info[] = { "INFO" }, *load[] = { "SCRIPT", "LOAD", c->config.script };
	unsigned i;

	c->stage = STAGE_CONNECT;
	address_show(&c->address, c->where, sizeof(c->where));
	for (i = 0; i < LANES; i++) {
		if (!open_lane(c, i, ip, c->address.at.port))
			return;
	}
	c->steps = 1; /* so that it does not end before all are sent */
	for (i = 0; i < LANES; i++)
		greet(c, i);
	step(c, LANE_COMMANDS, on_info, 1, info);
	step(c, LANE_COMMANDS, on_script, 3, load);
	for (i = 0; c->config.channels[i]; i++) {
		const char *subscribe[] = { "SUBSCRIBE", c->config.channels[i] };

		step(c, LANE_CHANNELS, on_channel, 2, subscribe);
	}
	if (c->stage == STAGE_CONNECT)
		step_done(c);
}

/* --- Sentinel --- */

static void ask_sentinel(struct wire *c);

static void on_master(redisAsyncContext *ac, void *reply, void *arg)
{
	struct wire *c = of_step(ac);
	redisReply *r = reply;
	struct lane *l = ac->data;

	(void)arg;
	if (!c || c->stage != STAGE_SENTINEL || !r)
		return;
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || r->element[0]->type != REDIS_REPLY_STRING ||
	    r->element[1]->type != REDIS_REPLY_STRING || r->element[0]->len >= sizeof(c->address.at.host)) {
		fail(c, false, "Sentinel knows no such master");
		return;
	}
	memcpy(c->address.at.host, r->element[0]->str, r->element[0]->len + 1);
	c->address.at.port = (int)strtol(r->element[1]->str, NULL, 10);
	/* Not needed any more; nor does its end count as a failure. */
	c->lanes[0] = NULL;
	l->c = NULL;
	redisAsyncDisconnect(ac);
	resolve(c, &c->address.at);
}

static void ask_sentinel(struct wire *c)
{
	const char *argv[] = { "SENTINEL", "get-master-addr-by-name", c->address.name };

	if (!open_lane(c, 0, c->ip, c->address.sentinels[c->sentinel % c->address.n_sentinels].port))
		return;
	if (redisAsyncCommandArgv(c->lanes[0]->ac, on_master, NULL, 3, argv, NULL) != REDIS_OK)
		fail(c, false, "connection closed");
}

/* --- resolving --- */

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct resolving *r = (struct resolving *)req;
	struct wire *c = r->c;
	char why[300];
	int err = status;

	if (c) {
		c->resolving = NULL;
		if (err == 0 && res->ai_family == AF_INET6)
			err = uv_ip6_name((struct sockaddr_in6 *)res->ai_addr, c->ip, sizeof(c->ip));
		else if (err == 0)
			err = uv_ip4_name((struct sockaddr_in *)res->ai_addr, c->ip, sizeof(c->ip));
		if (err) {
			snprintf(why, sizeof(why), "its name cannot be resolved: %s", uv_strerror(err));
			fail(c, false, why);
		} else if (c->stage == STAGE_SENTINEL) {
			ask_sentinel(c);
		} else {
			connect_all(c, c->ip);
		}
	}
	uv_freeaddrinfo(res);
	free(r);
}

static void resolve(struct wire *c, const struct host_port *at)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct resolving *r = calloc(1, sizeof(*r));

	if (at == &c->address.at)
		c->stage = STAGE_RESOLVE;
	if (!r || uv_getaddrinfo(pl_loop_uv(c->config.loop), &r->req, on_resolved, at->host, NULL, &hints) != 0) {
		free(r);
		fail(c, false, "out of memory");
		return;
	}
	r->c = c;
	c->resolving = r;
}

static void attempt(struct wire *c)
{
	c->timer = pl_timer_start(c->config.loop, c->config.attempt_ns, on_slow, c);
	c->stage = STAGE_RESOLVE;
	if (*c->address.path) {
		connect_all(c, NULL);
	} else if (c->address.n_sentinels) {
		/* The next one each time: the last may be the one that is down. */
		c->stage = STAGE_SENTINEL;
		c->address.at.host[0] = '\0';
		address_show(&c->address, c->where, sizeof(c->where));
		c->sentinel++;
		resolve(c, &c->address.sentinels[c->sentinel % c->address.n_sentinels]);
	} else {
		resolve(c, &c->address.at);
	}
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
	if (!r)
		err = -EHOSTDOWN;
	else if (r->type == REDIS_REPLY_ERROR)
		err = error_of(c, r->str);
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
	if (redisAsyncCommandArgv(c->lanes[lane]->ac, on_reply, call, argc, argv, argvlen) != REDIS_OK) {
		free(call);
		return -EHOSTDOWN;
	}
	DL_APPEND(c->calls, call);
	return 0;
}

#define ARGS_MAX 32

int wire_script(struct wire *c, enum wire_lane lane, int argc, const char *const *argv, const size_t *argvlen,
		wire_cb cb, void *arg)
{
	const char *all[ARGS_MAX + 4] = { "EVALSHA", c->sha, "1", c->config.key };
	size_t len[ARGS_MAX + 4] = { 7, strlen(c->sha), 1, strlen(c->config.key) };
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

int wire_new(const struct wire_config *config, struct wire **out, const char **why)
{
	static char reason[320];
	struct wire *c = calloc(1, sizeof(*c));
	int err = c ? address_parse(config->source, &c->address, reason, sizeof(reason)) : -ENOMEM;

	*why = c ? reason : "out of memory";
	if (err == 0 && config->password) {
		c->password = strdup(config->password);
		err = c->password ? 0 : -ENOMEM;
	}
	if (err) {
		free(c);
		return err;
	}
	c->config = *config;
	c->backoff = RETRY_FIRST;
	address_show(&c->address, c->where, sizeof(c->where));
	c->timer = pl_timer_start(config->loop, 0, on_retry, c);
	if (!c->timer) {
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
	if (c->password)
		explicit_bzero(c->password, strlen(c->password));
	free(c->password);
	free(c);
}

bool wire_is_up(const struct wire *c)
{
	return c->stage == STAGE_UP;
}

void wire_reset(struct wire *c, const char *why)
{
	fail(c, false, why);
}

const char *wire_where(const struct wire *c)
{
	return c->where;
}
