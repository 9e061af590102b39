/* The suite, run on the Redis backend: a real redis-server on a unix socket, a
 * prefix of its own for every test. */
#include "tests/contract/suite.h"

#include "backend/redis/redis.h"
#include "base/log.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Long: nothing here is about leases, and under valgrind everything takes its time. */
#define TTL_MS 60000

static char folder[64], path[96], prefix[32];
static redisContext *server;
static pid_t pid;

static void start_server(void)
{
	int tries;

	snprintf(folder, sizeof(folder), "/tmp/plockfs-contract-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/socket", folder);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir",
		       folder, "--logfile", "log", (char *)NULL);
		_exit(127);
	}
	assert_true(pid > 0);
	/* It tells nobody when it is ready: ask until it answers. */
	for (tries = 0; tries < 1500; tries++) {
		server = redisConnectUnix(path);
		if (server && !server->err)
			return;
		if (server)
			redisFree(server);
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		usleep(10000);
	}
	fail_msg("redis-server does not answer on %s", path);
}

static void end_server(void)
{
	char log[96];

	redisFree(server);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(log, sizeof(log), "%s/log", folder);
	unlink(log);
	unlink(path);
	rmdir(folder);
}

static void command(const char *format, ...)
{
	redisReply *reply;
	va_list ap;

	va_start(ap, format);
	reply = redisvCommand(server, format, ap);
	va_end(ap);
	assert_non_null(reply);
	assert_int_not_equal(reply->type, REDIS_REPLY_ERROR);
	freeReplyObject(reply);
}

/* A server that has long served this prefix: no grace as after a loss of memory. */
static void make(void)
{
	static unsigned n;
	redisReply *info = redisCommand(server, "INFO server");
	const char *id;
	char inc[48];

	assert_non_null(info);
	id = strstr(info->str, "run_id:");
	assert_non_null(id);
	snprintf(prefix, sizeof(prefix), "t%u", ++n);
	snprintf(inc, sizeof(inc), "%.40s:1", id + 7);
	command("HSET {%s}:g inc %s e 1 gr 0 f 0 ttl %d", prefix, inc, TTL_MS);
	freeReplyObject(info);
}

static void drop(void)
{
	command("FLUSHALL");
}

static struct lk_backend *open_redis(const struct lk_config *config)
{
	char source[128], why[256];
	const struct lk_redis_config redis = { .common = *config,
					       .source = source,
					       .prefix = prefix,
					       .ttl_ns = TTL_MS * PL_MS,
					       .unavailable_ns = 30 * PL_SEC };
	struct lk_backend *b = NULL;

	snprintf(source, sizeof(source), "unix://%s", path);
	if (lk_redis_backend_open(&redis, &b, why, sizeof(why)) < 0)
		fail_msg("%s", why);
	return b;
}

static const struct contract_world redis_world = {
	.name = "redis",
	.two = true,
	.make = make,
	.drop = drop,
	.open = open_redis,
};

int main(void)
{
	int code;

	signal(SIGPIPE, SIG_IGN);
	pl_log_level(PL_ERROR);
	start_server();
	code = contract_run(&redis_world);
	end_server();
	return code;
}
