/* SOURCE, taken apart. */
#include "backend/redis/address.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REDIS_PORT 6379
#define SENTINEL_PORT 26379

static bool number(const char *text, size_t len, long max, int *out)
{
	char buf[12], *end;
	long v;

	if (len == 0 || len >= sizeof(buf) || text[0] < '0' || text[0] > '9')
		return false;
	memcpy(buf, text, len);
	buf[len] = '\0';
	v = strtol(buf, &end, 10);
	if (*end || v > max)
		return false;
	*out = (int)v;
	return true;
}

bool address_host_port(const char *text, size_t len, int default_port, struct host_port *out)
{
	const char *host = text, *colon, *end = text + len;
	size_t n;

	out->port = default_port;
	if (len && *text == '[') {
		const char *close = memchr(text, ']', len);

		if (!close)
			return false;
		host = text + 1;
		n = (size_t)(close - host);
		colon = close + 1 < end ? close + 1 : NULL;
		if (colon && *colon != ':')
			return false;
	} else {
		colon = memchr(text, ':', len);
		n = colon ? (size_t)(colon - text) : len;
	}
	if (n == 0 || n >= sizeof(out->host))
		return false;
	if (colon && (!number(colon + 1, (size_t)(end - colon - 1), 65535, &out->port) || out->port == 0))
		return false;
	memcpy(out->host, host, n);
	out->host[n] = '\0';
	return true;
}

static int bad(char *why, size_t size, const char *what, const char *source)
{
	snprintf(why, size, "%s in source '%.200s'", what, source);
	return -EINVAL;
}

static int parse_unix(const char *source, const char *rest, struct address *a, char *why, size_t size)
{
	size_t len = strcspn(rest, "?");

	if (len == 0 || rest[0] != '/')
		return bad(why, size, "no absolute path", source);
	if (len >= sizeof(a->path))
		return bad(why, size, "too long a path of a socket", source);
	memcpy(a->path, rest, len);
	if (rest[len] &&
	    (strncmp(rest + len, "?db=", 4) != 0 || !number(rest + len + 4, strlen(rest + len + 4), 1000000, &a->db)))
		return bad(why, size, "only ?db=N is understood", source);
	return 0;
}

static int parse_sentinel(const char *source, const char *rest, struct address *a, char *why, size_t size)
{
	const char *slash = strrchr(rest, '/');
	size_t len;

	if (!slash || !slash[1] || strlen(slash + 1) >= sizeof(a->name))
		return bad(why, size, "no name of a master (redis+sentinel://HOST[:PORT],.../NAME)", source);
	strcpy(a->name, slash + 1); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): length checked above
	while (rest < slash) {
		len = strcspn(rest, ",/");
		if (a->n_sentinels == ADDRESS_HOSTS ||
		    !address_host_port(rest, len, SENTINEL_PORT, &a->sentinels[a->n_sentinels++]))
			return bad(why, size, "a Sentinel that cannot be understood", source);
		rest += len + (rest[len] == ',');
	}
	return a->n_sentinels ? 0 : bad(why, size, "no Sentinel", source);
}

int address_parse(const char *source, struct address *a, char *why, size_t size)
{
	const char *rest = strstr(source, "://"), *at;
	size_t scheme = rest ? (size_t)(rest - source) : 0, len;
	bool sentinel;

	memset(a, 0, sizeof(*a));
	if (!rest)
		return bad(why, size, "no scheme", source);
	rest += 3;
	if (scheme == 4 && strncmp(source, "unix", 4) == 0)
		return parse_unix(source, rest, a, why, size);
	sentinel = scheme == 14 && strncmp(source, "redis+sentinel", 14) == 0;
	a->tls = scheme == 6 && strncmp(source, "rediss", 6) == 0;
	if (!sentinel && !a->tls && (scheme != 5 || strncmp(source, "redis", 5) != 0))
		return bad(why, size, "unknown scheme", source);
	at = strchr(rest, '@');
	if (at) {
		len = (size_t)(at - rest);
		if (len >= sizeof(a->user))
			return bad(why, size, "too long a user", source);
		memcpy(a->user, rest, len);
		rest = at + 1;
	}
	if (sentinel)
		return parse_sentinel(source, rest, a, why, size);
	len = strcspn(rest, "/");
	if (!address_host_port(rest, len, REDIS_PORT, &a->at))
		return bad(why, size, "no host, or a bad port", source);
	if (rest[len] && rest[len + 1] && !number(rest + len + 1, strlen(rest + len + 1), 1000000, &a->db))
		return bad(why, size, "a bad number of a database", source);
	return 0;
}

void address_show(const struct address *a, char *out, size_t size)
{
	bool v6 = strchr(a->at.host, ':') != NULL;

	if (*a->path)
		snprintf(out, size, "unix://%s?db=%d", a->path, a->db);
	else if (a->n_sentinels && !*a->at.host)
		snprintf(out, size, "redis+sentinel://%s:%d/%s", a->sentinels[0].host, a->sentinels[0].port, a->name);
	else
		snprintf(out, size, "redis%s://%s%s%s:%d/%d", a->tls ? "s" : "", v6 ? "[" : "", a->at.host,
			 v6 ? "]" : "", a->at.port, a->db);
}
