/* The program: options, mount, loop, clean end. The only place that names
 * concrete backends. */
#include "backend/file/file.h"
#include "backend/redis/redis.h"
#include "base/log.h"
#include "fs/channel.h"
#include "fs/handle.h"
#include "fs/init_flags.h"
#include "fs/mount.h"
#include "fs/ops.h"
#include "fs/server.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

/* How long the end waits for calls that are under way. */
#define FINISH_TIME PL_SEC

struct program {
	struct options opt;
	struct server server;
	struct channel *channel;
	uv_signal_t signals[3];
};

/* --- what libfuse says --- */

static char fuse_said[256];
static bool mounting; /* then it is part of our own line */

static void on_fuse_log(enum fuse_log_level level, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static void on_fuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	if (level == FUSE_LOG_DEBUG) { /* -d: whole dumps, in pieces */
		(void)vfprintf(stderr, fmt, ap);
		return;
	}
	(void)vsnprintf(fuse_said, sizeof(fuse_said), fmt, ap);
	fuse_said[strcspn(fuse_said, "\n")] = '\0';
	if (!mounting)
		pl_log(level <= FUSE_LOG_ERR ? PL_ERROR : PL_WARN, "%s", fuse_said);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct program *p = handle->data;

	pl_log(PL_INFO, "%s: unmounting %s", strsignal(signum), p->opt.mountpoint);
	pl_loop_stop(p->server.loop);
}

static int watch_signals(struct program *p)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
	size_t i;
	int err = 0;

	for (i = 0; err == 0 && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		err = uv_signal_init(pl_loop_uv(p->server.loop), &p->signals[i]);
		p->signals[i].data = p;
		if (err == 0)
			err = uv_signal_start(&p->signals[i], on_signal, numbers[i]);
	}
	return err;
}

static bool env_single_threaded(void *ctx, const struct lk_owner *owner)
{
	(void)ctx;
	return who_threads(owner) == 1;
}

static bool env_has_open(void *ctx, const struct lk_owner *owner, void *handle)
{
	const struct handle *h = handle;

	(void)ctx;
	return who_has_inode_open(owner, h->node->id) == 1;
}

static int open_redis(struct program *p, const struct lk_config *common)
{
	const struct lk_redis_config config = {
		.common = *common,
		.source = p->opt.source,
		.prefix = p->opt.prefix,
		.password_file = p->opt.password_file,
		.tls_ca = p->opt.tls_ca,
		.tls_cert = p->opt.tls_cert,
		.tls_key = p->opt.tls_key,
		.ttl_ns = p->opt.ttl_ns,
		.unavailable_ns = p->opt.unavailable_ns,
		/* A failover keeps only what a replica has heard of. */
		.replicas = p->opt.replicas_set			    ? p->opt.replicas
			    : p->opt.source_kind == SOURCE_SENTINEL ? 1
								    : 0,
		.nofail = p->opt.nofail,
	};
	char why[512];
	int err = lk_redis_backend_open(&config, &p->server.backend, why, sizeof(why));

	if (err)
		pl_log(PL_ERROR, "%s", why);
	return err;
}

static int open_backend(struct program *p)
{
	struct lk_config config = { .loop = p->server.loop,
				    .max_value = p->opt.max_value,
				    .max_waiters = p->opt.max_waiters,
				    .read_only = p->opt.read_only };
	const char *why = p->opt.dir;
	int err;

	if (p->opt.source_kind != SOURCE_FILE)
		return open_redis(p, &config);
	err = lk_file_backend_open(&config, p->opt.dir, &p->server.backend, &why);
	if (err)
		pl_log(PL_ERROR, "cannot use %s: %s", why, strerror(-err));
	return err;
}

static int open_session(struct program *p)
{
	char fsname[1024];
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	size_t i = 0, o = 0;

	/* fsname is what /proc/mounts shows: commas would end the option. */
	for (; p->opt.source[i] && o + 2 < sizeof(fsname); i++) {
		if (strchr(",\\", p->opt.source[i]))
			fsname[o++] = '\\';
		fsname[o++] = p->opt.source[i];
	}
	fsname[o] = '\0';
	if (fuse_opt_add_arg(&args, "plockfs") || fuse_opt_add_arg(&args, "-osubtype=plockfs"))
		return -ENOMEM;
	if (!strstr(p->opt.fuse_opts, "fsname=")) {
		char opt[sizeof(fsname) + 16];

		snprintf(opt, sizeof(opt), "-ofsname=%s", fsname);
		if (fuse_opt_add_arg(&args, opt))
			return -ENOMEM;
	}
	if (*p->opt.fuse_opts && (fuse_opt_add_arg(&args, "-o") || fuse_opt_add_arg(&args, p->opt.fuse_opts)))
		return -ENOMEM;
	if (p->opt.debug && fuse_opt_add_arg(&args, "-d"))
		return -ENOMEM;
	p->server.se = fuse_session_new(&args, &plockfs_ops, sizeof(plockfs_ops), &p->server);
	fuse_opt_free_args(&args);
	if (!p->server.se)
		return -EINVAL;
	if (fuse_session_mount(p->server.se, p->opt.mountpoint) != 0)
		return -EIO;
	return init_flags_install(p->server.se);
}

static int start(struct program *p)
{
	struct waitgraph_env env = { .single_threaded = env_single_threaded, .has_open = env_has_open };
	struct server *s = &p->server;
	int err;

	signal(SIGPIPE, SIG_IGN); /* of a server that hangs up, from the first connection on */
	s->opt = &p->opt;
	s->loop = pl_loop_new();
	if (!s->loop)
		return -ENOMEM;
	s->mounted = pl_wall(s->loop);
	s->who = who_cache_new(s->loop);
	s->graph = waitgraph_new(&env);
	if (!s->who || !s->graph || nodes_init(&s->nodes) < 0)
		return -ENOMEM;
	err = open_backend(p);
	if (err == 0)
		err = watch_signals(p);
	if (err)
		return err;
	mounting = true;
	err = open_session(p);
	mounting = false;
	if (err) {
		pl_log(PL_ERROR, "cannot mount on %s%s%s", p->opt.mountpoint, *fuse_said ? ": " : "", fuse_said);
		return err;
	}
	err = channel_open(s, &p->channel);
	if (err)
		pl_log(PL_ERROR, "cannot watch /dev/fuse: %s", strerror(-err));
	return err;
}

static void cancel_waits(struct server *s)
{
	acquire_cancel_all(s);
	ranges_cancel_all(s);
}

static void on_late(void *arg)
{
	*(bool *)arg = true;
}

/* Calls that are under way are answered while there is a mount to answer on. */
static void finish_calls(struct server *s)
{
	bool late = false;
	struct pl_timer *timer = pl_timer_start(s->loop, FINISH_TIME, on_late, &late);

	while (timer && !late && lk_busy(s->backend))
		pl_loop_turn(s->loop);
	if (!late)
		pl_timer_stop(s->loop, timer);
	pl_run_tasks(s->loop);
}

static void stop(struct program *p)
{
	struct server *s = &p->server;

	if (p->channel)
		channel_close(p->channel);
	if (s->backend && s->loop) {
		cancel_waits(s);
		finish_calls(s);
		cancel_waits(s); /* of calls that went on to wait */
		pin_end(s);
	}
	if (s->se) {
		fuse_session_unmount(s->se);
		fuse_session_destroy(s->se);
	}
	if (s->backend) {
		handles_free_all(s);
		pl_run_tasks(s->loop);
		lk_destroy(s->backend);
	}
	nodes_free(&s->nodes);
	if (s->graph)
		waitgraph_free(s->graph);
	if (s->who)
		who_cache_free(s->who);
	if (s->loop)
		pl_loop_free(s->loop);
}

int main(int argc, char **argv)
{
	static struct program p;
	int code;

	mount_fill_stdio();
	fuse_set_log_func(on_fuse_log);
	code = options_parse(&p.opt, argc, argv);

	if (code)
		return code;
	if (p.opt.help || p.opt.version) {
		if (p.opt.help)
			options_help();
		else
			printf("plockfs %s\nlibfuse %s\n%s\n", PLOCKFS_VERSION, fuse_pkgversion(), lk_redis_library());
		options_free(&p.opt);
		return 0;
	}
	if (p.opt.fake) {
		options_free(&p.opt);
		return 0;
	}
	mount_raise_limits();
	if ((p.opt.source_kind == SOURCE_FILE && mount_prepare_dir(&p.opt)) || mount_clear_dead(p.opt.mountpoint)) {
		options_free(&p.opt);
		return 1;
	}
	if (!p.opt.foreground && mount_daemonize_begin() < 0) {
		options_free(&p.opt);
		return 1;
	}
	code = start(&p) == 0 ? 0 : 1;
	if (!p.opt.foreground) {
		mount_daemonize_ready(code);
		if (code == 0)
			pl_log_to_syslog("plockfs");
	}
	if (code == 0)
		pl_loop_run(p.server.loop);
	stop(&p);
	options_free(&p.opt);
	return code;
}
