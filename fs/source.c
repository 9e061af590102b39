/* SOURCE: a directory, or the URL of a Redis server. */
#include "fs/source.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct scheme {
	const char *prefix;
	enum source_kind kind;
} schemes[] = {
	{ "redis://", SOURCE_REDIS },
	{ "rediss://", SOURCE_REDIS },
	{ "unix://", SOURCE_UNIX },
	{ "redis+sentinel://", SOURCE_SENTINEL },
};

static int no_memory(char *why, size_t size)
{
	snprintf(why, size, "out of memory");
	return -ENOMEM;
}

static char *join(const char *dir, const char *name)
{
	char *out;

	return asprintf(&out, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name) < 0 ? NULL : out;
}

/* With a slash or a dot at its end, resolving a path would ask what is mounted on it. */
static void strip_end(char *path)
{
	size_t len = strlen(path);

	while (len > 1 && (path[len - 1] == '/' || (path[len - 1] == '.' && path[len - 2] == '/')))
		path[--len] = '\0';
}

static char *resolve_parent(char *path)
{
	char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dir, *out = NULL;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return NULL;
	if (!slash) {
		dir = realpath(".", NULL);
	} else if (slash == path) {
		dir = strdup("/");
	} else {
		*slash = '\0';
		dir = realpath(path, NULL);
		*slash = '/';
	}
	if (dir)
		out = join(dir, name);
	free(dir);
	return out;
}

char *source_absolute(const char *path)
{
	char *copy = strdup(path), *out, *cwd;

	if (!copy)
		return NULL;
	strip_end(copy);
	out = realpath(copy, NULL);
	if (!out)
		out = resolve_parent(copy);
	if (!out && *copy == '/')
		return copy;
	if (!out) {
		cwd = getcwd(NULL, 0);
		out = join(cwd ? cwd : "/", copy);
		free(cwd);
	}
	free(copy);
	return out;
}

static int default_dir(char **dir, char *why, size_t size)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0) {
		*dir = strdup("/var/lib/plockfs");
	} else if (state && *state == '/') {
		*dir = join(state, "plockfs");
	} else if (home && *home == '/') {
		*dir = join(home, ".local/state/plockfs");
	} else {
		snprintf(why, size, "neither XDG_STATE_HOME nor HOME is set: name a directory");
		return -EINVAL;
	}
	return *dir ? 0 : no_memory(why, size);
}

/* Length of the scheme and "://", 0 when the word has none: a path may have that in it. */
static size_t scheme_length(const char *word)
{
	size_t n = 0;

	while (isalnum((unsigned char)word[n]) || (n > 0 && word[n] && strchr("+.-", word[n])))
		n++;
	return n > 0 && strncmp(word + n, "://", 3) == 0 ? n + 3 : 0;
}

/* Anything that may be a password, so that an odd one with a slash in it is not
 * taken for a path and shown. */
static bool has_password(const char *rest, enum source_kind kind)
{
	const char *at = kind == SOURCE_UNIX ? memchr(rest, '@', strcspn(rest, "/")) : strrchr(rest, '@');

	return strstr(rest, "password=") || (at && memchr(rest, ':', (size_t)(at - rest)));
}

static int parse_url(struct options *o, const char *word, size_t scheme, char *why, size_t size)
{
	size_t i, n = sizeof(schemes) / sizeof(schemes[0]);

	for (i = 0; i < n; i++) {
		if (strlen(schemes[i].prefix) == scheme && strncmp(word, schemes[i].prefix, scheme) == 0)
			break;
	}
	if (i == n) {
		snprintf(why, size, "unknown kind of source '%.*s'", (int)(scheme > 64 ? 64 : scheme), word);
		return -EINVAL;
	}
	if (has_password(word + scheme, schemes[i].kind)) {
		snprintf(why, size, "no password in a source, where everybody sees it: use -o password_file=PATH");
		return -EINVAL;
	}
	if (!word[scheme]) {
		snprintf(why, size, "no host or path in source '%s'", word);
		return -EINVAL;
	}
	o->source_kind = schemes[i].kind;
	o->source = strdup(word);
	return o->source ? 0 : no_memory(why, size);
}

int source_parse(struct options *o, const char *word, char *why, size_t size)
{
	size_t scheme = word ? scheme_length(word) : 0;
	int err = 0;

	if (scheme)
		return parse_url(o, word, scheme, why, size);
	o->source_kind = SOURCE_FILE;
	o->source_is_default = !word || strcmp(word, "plockfs") == 0;
	if (o->source_is_default) {
		err = default_dir(&o->dir, why, size);
	} else {
		if (strncmp(word, "file:", 5) == 0)
			word += 5;
		if (!*word) {
			snprintf(why, size, "the source is empty");
			return -EINVAL;
		}
		o->dir = source_absolute(word);
		if (!o->dir)
			err = no_memory(why, size);
	}
	if (err)
		return err;
	if (asprintf(&o->source, "file:%s", o->dir) < 0) {
		o->source = NULL;
		return no_memory(why, size);
	}
	return 0;
}
