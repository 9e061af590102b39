/* The Redis backend as a whole: opening, closing, the table of calls. */
#include "backend/redis/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <utlist.h>

#define ATTEMPT_TIME (2 * PL_SEC)
#define PASSWORD_MAX 4096
#define START_TIME PL_SEC

/* --- the end --- */

static void free_entries(struct redis_backend *b)
{
	struct rrelease *r, *rtmp;
	struct rhold *h, *htmp;
	struct rwait *w, *wtmp;
	struct rname *n, *ntmp;

	again_free(b);
	keep_free(b);
	DL_FOREACH_SAFE(b->releases, r, rtmp) {
		DL_DELETE(b->releases, r);
		free(r);
	}
	HASH_ITER(hh, b->waits, w, wtmp) {
		HASH_DEL(b->waits, w);
		pl_timer_stop(b->base.loop, w->unavailable);
		free(w);
	}
	DL_FOREACH_SAFE(b->finished, w, wtmp) {
		DL_DELETE(b->finished, w);
		free(w);
	}
	DL_FOREACH_SAFE(b->lost, h, htmp) {
		DL_DELETE(b->lost, h);
		free(h);
	}
	HASH_ITER(hh, b->holds, h, htmp) {
		HASH_DEL(b->holds, h);
		pl_undefer(b->base.loop, &h->lost);
		free(h);
	}
	HASH_ITER(hh, b->names, n, ntmp) {
		HASH_DEL(b->names, n);
		pl_timer_stop(b->base.loop, n->turn_timer);
		free(n);
	}
}

static void rb_destroy(struct lk_backend *base)
{
	struct redis_backend *b = rb_of(base);

	if (b->conn) {
		b->stopping = true;
		lock_stop(b);
		hold_stop(b);
		value_stop(b);
		calls_stop(b);
		files_stop(b);
		ranges_stop(b);
		look_stop(b);
		pl_drop_tasks(b->base.loop, b);
		session_stop(b);
		wire_free(b->conn);
	}
	value_free(b);
	calls_free(b);
	ranges_free(b);
	files_free(b);
	look_free(b);
	free_entries(b);
	ns_free(b);
	if (b->password)
		explicit_bzero(b->password, strlen(b->password));
	free(b->password);
	free(b);
}

static void rb_tick(struct lk_backend *base)
{
	(void)session_check(rb_of(base));
}

static bool rb_busy(struct lk_backend *base)
{
	const struct redis_backend *b = rb_of(base);

	return b->calls || b->vals || b->looks || b->again || wire_owed_since(b->conn, LANE_COMMANDS) != 0;
}

static const struct lk_impl redis_impl = {
	.name = "redis",
	.acquire = rb_acquire,
	.cancel = rb_cancel,
	.release = rb_release,
	.read = rb_read,
	.write = rb_write,
	.truncate = rb_truncate,
	.sync = rb_sync,
	.stat = rb_stat,
	.list = rb_list,
	.view = rb_view,
	.break_hold = rb_break,
	.end_wait = rb_end_wait,
	.remove = rb_remove,
	.rename = rb_rename,
	.ns_make = rb_ns_make,
	.ns_remove = rb_ns_remove,
	.ns_rename = rb_ns_rename,
	.ns_chmod = rb_ns_chmod,
	.files = &redis_files,
	.tick = rb_tick,
	.busy = rb_busy,
	.destroy = rb_destroy,
};

/* --- events of the connection --- */

static void on_up(void *ctx, const char *run_id)
{
	struct redis_backend *b = ctx;

	session_up(b, run_id);
}

static void on_down(void *ctx, const char *why, bool fatal)
{
	struct redis_backend *b = ctx;

	snprintf(b->why, sizeof(b->why), "%s", why);
	b->fatal = fatal;
	/* One line per outage and reason, not one per attempt; reasons may take turns. */
	if (!b->starting && strcmp(b->said_why[0], why) != 0 && strcmp(b->said_why[1], why) != 0) {
		pl_log(PL_ERROR, "%s: %s; trying again", wire_where(b->conn), why);
		memcpy(b->said_why[1], b->said_why[0], sizeof(b->said_why[1]));
		snprintf(b->said_why[0], sizeof(b->said_why[0]), "%s", why);
	}
	b->was_down = true;
	session_down(b);
	/* It may be loading, or have sent us to another node: a moment of patience. */
	if (b->stopping || (b->starting && (fatal || pl_now(b->base.loop) > b->give_up)))
		pl_loop_stop(b->base.loop);
}

static void on_message(void *ctx, const char *channel, const char *data, size_t len)
{
	struct redis_backend *b = ctx;

	(void)len;
	if (b->state == SESSION_DOWN || b->stopping)
		return;
	if (strcmp(channel, b->channel_all) == 0)
		ns_refresh(b);
	else
		lock_message(b, data);
}

/* --- opening --- */

static int read_password(struct redis_backend *b, const char *path, char *why, size_t size)
{
	const char *env = getenv("PLOCKFS_REDIS_PASSWORD");
	char text[PASSWORD_MAX + 1];
	ssize_t n;
	int fd;

	if (!path) {
		b->password = env && *env ? strdup(env) : NULL;
		return env && *env && !b->password ? -ENOMEM : 0;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, PASSWORD_MAX);
	if (n < 0) {
		int err = -errno;

		snprintf(why, size, "cannot read password_file=%s: %s", path, strerror(-err));
		if (fd >= 0)
			close(fd);
		return err;
	}
	close(fd);
	text[n] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	b->password = strdup(text);
	explicit_bzero(text, sizeof(text));
	return b->password ? 0 : -ENOMEM;
}

static int make_names(struct redis_backend *b, const char *prefix)
{
	unsigned char r[12];
	size_t i;

	if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return -EIO;
	for (i = 0; i < sizeof(r); i++)
		snprintf(b->mount + 2 * i, 3, "%02x", r[i]);
	snprintf(b->sid, sizeof(b->sid), "%s.%u", b->mount, ++b->generation);
	snprintf(b->key, sizeof(b->key), "{%s}:g", prefix);
	snprintf(b->channel_all, sizeof(b->channel_all), "{%s}:c", prefix);
	snprintf(b->channel_mount, sizeof(b->channel_mount), "{%s}:c:%s", prefix, b->mount);
	return 0;
}

static int connect_first(struct redis_backend *b, const struct lk_redis_config *config, char *why, size_t size)
{
	const char *reason = NULL;
	int err;

	b->conn_config = (struct wire_config){
		.loop = b->base.loop,
		.source = config->source,
		.password = b->password,
		.tls = { .ca = config->tls_ca, .cert = config->tls_cert, .key = config->tls_key },
		.key = b->key,
		.scripts = protocol_scripts(),
		.channels = { b->channel_mount, b->channel_all },
		.quiet = &b->starting,
		.attempt_ns = ATTEMPT_TIME,
		/* A lease must see several. */
		.retry_ns = b->ttl_ns / 10 < PL_SEC ? b->ttl_ns / 10 : PL_SEC,
		.up = on_up,
		.down = on_down,
		.message = on_message,
		.ctx = b,
	};
	err = !b->conn_config.scripts ? -ENOMEM : wire_new(&b->conn_config, &b->conn, &reason);
	if (err) {
		snprintf(why, size, "%s", reason ? reason : strerror(-err));
		return err;
	}
	b->starting = true;
	b->give_up = pl_now(b->base.loop) + START_TIME;
	pl_loop_run(b->base.loop);
	b->starting = false;
	if (b->state == SESSION_UP)
		return 0;
	snprintf(why, size, "%s: %s", wire_where(b->conn), b->why);
	if (!config->nofail)
		return -EHOSTDOWN;
	/* One that refused us is still connected. */
	wire_reset(b->conn, b->why);
	pl_log(PL_WARN, "%s; mounted all the same, trying again", why);
	return 0;
}

int lk_redis_backend_open(const struct lk_redis_config *config, struct lk_backend **out, char *why, size_t size)
{
	struct redis_backend *b = calloc(1, sizeof(*b));
	int err;

	snprintf(why, size, "out of memory");
	if (!b)
		return -ENOMEM;
	b->base.impl = &redis_impl;
	b->base.loop = config->common.loop;
	b->config = config->common;
	b->ttl_ns = config->ttl_ns;
	b->unavailable_ns = config->unavailable_ns;
	b->replicas = config->replicas;
	snprintf(b->base.describe, sizeof(b->base.describe), "%s", config->source);
	if (gethostname(b->base.host, sizeof(b->base.host) - 1) < 0 || !*b->base.host)
		snprintf(b->base.host, sizeof(b->base.host), "localhost");
	err = read_password(b, config->password_file, why, size);
	if (err == 0)
		err = make_names(b, config->prefix);
	if (err == 0)
		err = connect_first(b, config, why, size);
	if (err) {
		rb_destroy(&b->base);
		return err;
	}
	*out = &b->base;
	return 0;
}

const char *lk_redis_library(void)
{
	static char text[128];

	snprintf(text, sizeof(text), "hiredis %d.%d.%d %s", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH, tls_library());
	return text;
}
