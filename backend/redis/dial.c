/* One attempt to connect, step by step.
 *
 * Sentinel (if any) names the master, its name is resolved, three connections
 * are made, each says AUTH and SELECT, the first asks INFO and loads the
 * script, the third subscribes; then `up`. An attempt that fails is dropped
 * as a whole; what it still gets called back for finds its lane without a wire.
 */
#include "backend/redis/wire_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char not_redis[] = "it does not speak as a Redis server does";

static void resolve(struct wire *c, const struct host_port *at);

static void on_slow(void *arg)
{
	struct wire *c = arg;
	const struct lane *l = c->lanes[LANE_COMMANDS];

	c->timer = NULL;
	/* Redis without TLS waits for the end of what it takes for a line. */
	if (l && l->ac && l->ac->c.flags & REDIS_CONNECTED && tls_unfinished(l))
		wire_fail(c, false, "no answer in the TLS handshake: it may not speak TLS");
	else
		wire_fail(c, false, "no answer");
}

/* --- connecting --- */

/* hiredis 1.x has some failures without an error. */
static const char *error_of(const redisAsyncContext *ac)
{
	return ac->errstr && *ac->errstr ? ac->errstr : "connection failed";
}

static void on_gone(const redisAsyncContext *ac, int status)
{
	struct lane *l = ac->data;

	l->ac = NULL;
	if (l->c) {
		l->c->lanes[l->n] = NULL;
		if (l->odd)
			wire_fail(l->c, l->c->stage != STAGE_UP, not_redis);
		else
			wire_fail(l->c, l->refused && l->c->stage != STAGE_UP,
				  status == REDIS_OK ? "connection closed" : error_of(ac));
	}
	free(l);
}

static void on_connected(const redisAsyncContext *ac, int status)
{
	struct lane *l = ac->data;

	if (status == REDIS_OK)
		return;
	/* hiredis calls back what is under way and frees the context after this: the lane
	 * must live until then. */
	l->ac = NULL;
	if (l->c)
		wire_fail(l->c, false, error_of(ac));
	else
		free(l);
}

static bool open_lane(struct wire *c, unsigned n, const char *ip, int port)
{
	redisAsyncContext *ac = *c->address.path && ip == NULL ? redisAsyncConnectUnix(c->address.path)
							       : redisAsyncConnect(ip, port);
	struct lane *l = calloc(1, sizeof(*l));
	int one = 1;

	if (!ac || ac->err || !l) {
		wire_fail(c, false, ac && ac->err ? error_of(ac) : "out of memory");
		if (ac)
			redisAsyncFree(ac);
		free(l);
		return false;
	}
	l->c = c;
	l->ac = ac;
	l->n = n;
	ac->data = l;
	if (c->address.tls && !tls_begin(c->tls, l, c->address.at.host)) {
		wire_fail(c, false, ac->c.err ? ac->c.errstr : "out of memory");
		redisAsyncFree(ac);
		free(l);
		return false;
	}
	c->lanes[n] = l;
	wire_guard(l);
	if (ip) {
		setsockopt(ac->c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(ac->c.fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	if (wire_attach(ac, c->config.loop) < 0) {
		wire_fail(c, false, "out of memory");
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
	c->was_up = true;
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
		if (wire_error(c, r->str) == -EIO || c->stage != STAGE_IDLE)
			wire_fail(c, true, r->str);
		return false;
	}
	if (r->type == type)
		return true;
	wire_fail(c, true, not_redis);
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

	if (!c || !step_ok(c, r, REDIS_REPLY_STRING))
		return;
	snprintf(arg, sizeof(c->sha[0]), "%s", r->str);
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
		wire_fail(c, true, why);
		return;
	}
	if (info_field(r->str, "\nrole:", role, sizeof(role)) && strcmp(role, "master") != 0) {
		wire_fail(c, !c->address.n_sentinels, "it is a replica");
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
static void step(struct wire *c, unsigned lane, redisCallbackFn *fn, void *arg, int argc, const char **argv)
{
	c->steps++;
	if (redisAsyncCommandArgv(c->lanes[lane]->ac, fn, arg, argc, argv, NULL) != REDIS_OK)
		wire_fail(c, false, "connection closed");
}

static void greet(struct wire *c, unsigned lane)
{
	const char *auth[] = { "AUTH", c->address.user, c->password };
	char db[16];
	const char *select[] = { "SELECT", db };

	if (c->password && *c->address.user)
		step(c, lane, on_plain, NULL, 3, auth);
	else if (c->password) {
		auth[1] = c->password;
		step(c, lane, on_plain, NULL, 2, auth);
	}
	snprintf(db, sizeof(db), "%d", c->address.db);
	/* With TLS always: the handshake begins with what is sent, and must be over on each connection. */
	if (c->address.db || c->address.tls)
		step(c, lane, on_plain, NULL, 2, select);
}

static void connect_all(struct wire *c, const char *ip)
{
	const char *info[] = { "INFO" };
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
	step(c, LANE_COMMANDS, on_info, NULL, 1, info);
	for (i = 0; c->config.scripts[i]; i++) {
		const char *load[] = { "SCRIPT", "LOAD", c->config.scripts[i] };

		step(c, LANE_COMMANDS, on_script, c->sha[i], 3, load);
	}
	for (i = 0; c->config.channels[i]; i++) {
		const char *subscribe[] = { "SUBSCRIBE", c->config.channels[i] };

		step(c, LANE_CHANNELS, on_channel, NULL, 2, subscribe);
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
		wire_fail(c, false, "Sentinel knows no such master");
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
		wire_fail(c, false, "connection closed");
}

/* --- resolving --- */

static void have_ip(struct wire *c)
{
	if (c->stage == STAGE_SENTINEL)
		ask_sentinel(c);
	else
		connect_all(c, c->ip);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct resolving *r = (struct resolving *)req;
	struct wire *c = r->c;
	char why[300];
	int err = status;

	if (c) {
		c->resolving = NULL;
		c->found[0] = '\0';
		if (err == 0 && res->ai_family == AF_INET6)
			err = uv_ip6_name((struct sockaddr_in6 *)res->ai_addr, c->ip, sizeof(c->ip));
		else if (err == 0)
			err = uv_ip4_name((struct sockaddr_in *)res->ai_addr, c->ip, sizeof(c->ip));
		if (c->stage != STAGE_RESOLVE && c->stage != STAGE_SENTINEL) {
			/* Between two attempts. */
			if (err == 0)
				memcpy(c->found, r->host, sizeof(c->found));
		} else if (err) {
			snprintf(why, sizeof(why), "its name cannot be resolved: %s", uv_strerror(err));
			wire_fail(c, false, why);
		} else {
			have_ip(c);
		}
	}
	uv_freeaddrinfo(res);
	free(r);
}

static void resolve(struct wire *c, const struct host_port *at)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct resolving *r;

	if (at == &c->address.at)
		c->stage = STAGE_RESOLVE;
	if (*c->found && strcmp(c->found, at->host) == 0) {
		c->found[0] = '\0'; /* once: it may have moved by the next time */
		have_ip(c);
		return;
	}
	if (c->resolving && strcmp(c->resolving->host, at->host) == 0)
		return;
	if (c->resolving)
		c->resolving->c = NULL;
	c->resolving = NULL;
	r = calloc(1, sizeof(*r));
	if (!r || uv_getaddrinfo(pl_loop_uv(c->config.loop), &r->req, on_resolved, at->host, NULL, &hints) != 0) {
		free(r);
		wire_fail(c, false, "out of memory");
		return;
	}
	r->c = c;
	memcpy(r->host, at->host, sizeof(r->host));
	c->resolving = r;
}

/* Certificates are renewed while the mount lives. */
static bool renew_tls(struct wire *c)
{
	char why[256];
	struct tls *t = tls_new(&c->config.tls, why, sizeof(why));

	if (!t) {
		wire_fail(c, false, why);
		return false;
	}
	tls_free(c->tls);
	c->tls = t;
	return true;
}

void dial(struct wire *c)
{
	c->timer = pl_timer_start(c->config.loop, c->config.attempt_ns, on_slow, c);
	c->stage = STAGE_RESOLVE;
	if (c->address.tls && !renew_tls(c))
		return;
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
