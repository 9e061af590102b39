/* What stands after -o: our own options, those for libfuse, and words of mount(8). */
#include "fs/option_list.h"

#include "base/duration.h"
#include "fs/source.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PREFIX_MAX 64
#define MAX_VALUE_LIMIT (UINT64_C(1) << 30)

/* Words that go on to libfuse as they are; with '=' at the end: with any value. */
static const char *const fuse_words[] = {
	"rw",	   "ro",      "allow_other", "allow_root", "auto_unmount", "dev",	   "nodev",
	"suid",	   "nosuid",  "exec",	     "noexec",	   "sync",	   "async",	   "dirsync",
	"noatime", "fsname=", "context=",    "fscontext=", "defcontext=",  "rootcontext=",
};
/* Words that mount(8) and fstab use for themselves, or that change nothing here. */
static const char *const ignored_words[] = {
	"defaults", "auto",	  "noauto",   "user",	    "nouser",	"users",      "user=",	     "owner",
	"group",    "uhelper=",	  "_netdev",  "atime",	    "relatime", "norelatime", "strictatime", "nostrictatime",
	"diratime", "nodiratime", "lazytime", "nolazytime", "comment=", "x-",	      "X-",
};

int option_error(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	char *p;

	va_start(ap, fmt);
	if (vsnprintf(line, sizeof(line), fmt, ap) < 0)
		line[0] = '\0';
	va_end(ap);
	for (p = line; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	fprintf(stderr, "plockfs: %s\n", line);
	return 2;
}

static int no_memory(void)
{
	return option_error("out of memory");
}

static bool set(char **where, const char *value)
{
	free(*where);
	*where = strdup(value);
	return *where != NULL;
}

static bool parse_unsigned(const char *word, int base, uint64_t max, uint64_t *out)
{
	char *end;

	if (word[0] < '0' || word[0] > '9')
		return false;
	errno = 0;
	*out = strtoull(word, &end, base);
	return *end == '\0' && errno == 0 && *out <= max;
}

static int add_fuse_opt(struct options *o, const char *word)
{
	size_t a = strlen(o->fuse_opts), b = strlen(word);
	char *more = realloc(o->fuse_opts, a + b + 2);

	if (!more)
		return -ENOMEM;
	o->fuse_opts = more;
	if (a)
		more[a++] = ',';
	memcpy(more + a, word, b + 1);
	return 0;
}

/* --- our own options: 0, -EINVAL for a bad value, -ENOMEM --- */

static int take_timeout(struct options *o, const char *v)
{
	o->timeout_set = true;
	return pl_parse_duration(v, &o->timeout_ns);
}

static int take_ttl(struct options *o, const char *v)
{
	return pl_parse_duration(v, &o->ttl_ns) == 0 && o->ttl_ns > 0 ? 0 : -EINVAL;
}

static int take_unavailable(struct options *o, const char *v)
{
	return pl_parse_duration(v, &o->unavailable_ns);
}

static int take_prefix(struct options *o, const char *v)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-:";

	if (!*v || strlen(v) > PREFIX_MAX || strspn(v, allowed) != strlen(v))
		return -EINVAL;
	return set(&o->prefix, v) ? 0 : -ENOMEM;
}

static int take_path(char **where, const char *v)
{
	if (!*v)
		return -EINVAL;
	free(*where);
	*where = source_absolute(v);
	return *where ? 0 : -ENOMEM;
}

static int take_password_file(struct options *o, const char *v)
{
	return take_path(&o->password_file, v);
}

static int take_tls_ca(struct options *o, const char *v)
{
	return take_path(&o->tls_ca, v);
}

static int take_tls_cert(struct options *o, const char *v)
{
	return take_path(&o->tls_cert, v);
}

static int take_tls_key(struct options *o, const char *v)
{
	return take_path(&o->tls_key, v);
}

static int take_lost(struct options *o, const char *v)
{
	int sig = signal_number(v);

	if (sig >= 0)
		o->lost_signal = sig;
	return sig < 0 ? sig : 0;
}

static int take_max_waiters(struct options *o, const char *v)
{
	uint64_t n;

	if (!parse_unsigned(v, 10, UINT_MAX, &n))
		return -EINVAL;
	o->max_waiters = (unsigned)n;
	return 0;
}

static int take_replicas(struct options *o, const char *v)
{
	uint64_t n;

	if (!parse_unsigned(v, 10, 16, &n))
		return -EINVAL;
	o->replicas = (unsigned)n;
	o->replicas_set = true;
	return 0;
}

static int take_max_value(struct options *o, const char *v)
{
	return pl_parse_size(v, &o->max_value) == 0 && o->max_value <= MAX_VALUE_LIMIT ? 0 : -EINVAL;
}

static int take_umask(struct options *o, const char *v)
{
	uint64_t n;

	if (!parse_unsigned(v, 8, 0777, &n))
		return -EINVAL;
	o->umask = (mode_t)n;
	return 0;
}

static int take_uid(struct options *o, const char *v)
{
	uint64_t n;

	if (!parse_unsigned(v, 10, UINT_MAX - 1, &n))
		return -EINVAL;
	o->uid = (uid_t)n;
	return 0;
}

static int take_gid(struct options *o, const char *v)
{
	uint64_t n;

	if (!parse_unsigned(v, 10, UINT_MAX - 1, &n))
		return -EINVAL;
	o->gid = (gid_t)n;
	return 0;
}

static int take_max_read(struct options *o, const char *v)
{
	char word[48];
	uint64_t n;

	if (!parse_unsigned(v, 10, UINT_MAX, &n))
		return -EINVAL;
	snprintf(word, sizeof(word), "max_read=%u", (unsigned)n);
	return add_fuse_opt(o, word);
}

/* /proc/mounts must go on to say fuse.plockfs: a dead mount is known by it. */
static int take_subtype(struct options *o, const char *v)
{
	(void)o;
	return strcmp(v, "plockfs") == 0 ? 0 : -EINVAL;
}

static const struct own_option {
	const char *key;
	int (*take)(struct options *o, const char *value);
} own_options[] = {
	{ "timeout", take_timeout },
	{ "ttl", take_ttl },
	{ "unavailable", take_unavailable },
	{ "prefix", take_prefix },
	{ "password_file", take_password_file },
	{ "tls_ca", take_tls_ca },
	{ "tls_cert", take_tls_cert },
	{ "tls_key", take_tls_key },
	{ "lost", take_lost },
	{ "max_waiters", take_max_waiters },
	{ "max_value", take_max_value },
	{ "replicas", take_replicas },
	{ "umask", take_umask },
	{ "uid", take_uid },
	{ "gid", take_gid },
	{ "subtype", take_subtype },
	{ "max_read", take_max_read },
};

/* --- lists after -o --- */

static bool in_words(const char *const *words, size_t n, const char *word)
{
	size_t i, len;

	for (i = 0; i < n; i++) {
		len = strlen(words[i]);
		if (strchr("=-", words[i][len - 1]) ? strncmp(words[i], word, len) == 0 : strcmp(words[i], word) == 0)
			return true;
	}
	return false;
}

static bool one_edit_apart(const char *a, const char *b)
{
	size_t i = 0, m = strlen(a), n = strlen(b);

	while (a[i] && a[i] == b[i])
		i++;
	if (m == n)
		return strcmp(a + i + (i < m), b + i + (i < n)) == 0 ||
		       (i + 1 < m && a[i] == b[i + 1] && a[i + 1] == b[i] && strcmp(a + i + 2, b + i + 2) == 0);
	return m == n + 1 ? strcmp(a + i + 1, b + i) == 0 : n == m + 1 && strcmp(a + i, b + i + 1) == 0;
}

/* Without the value, which may be a password. */
static int unknown_option(const char *word, size_t len)
{
	char key[64];
	size_t i;

	snprintf(key, sizeof(key), "%.*s", (int)(len < sizeof(key) ? len : sizeof(key) - 1), word);
	for (i = 0; i < COUNT(own_options); i++) {
		if (strcmp(key, own_options[i].key) == 0)
			return option_error("option '%s' needs a value: %s=...", key, key);
	}
	for (i = 0; i < COUNT(own_options); i++) {
		if (one_edit_apart(key, own_options[i].key))
			return option_error("unknown option '%s' (did you mean %s=...?)", key, own_options[i].key);
	}
	return option_error("unknown option '%s' (see --help)", key);
}

/* The value as it was before commas in it were escaped. */
static void unescape(char *p)
{
	char *out = p;

	for (; *p; p++) {
		if (*p == '\\' && p[1])
			p++;
		*out++ = *p;
	}
	*out = '\0';
}

static int own_option(struct options *o, const struct own_option *own, char *word, char *value)
{
	int err;

	unescape(value);
	err = own->take(o, value);
	if (err == -ENOMEM)
		return no_memory();
	return err ? option_error("bad value in option '%.200s'", word) : 0;
}

static int one_option(struct options *o, char *word)
{
	size_t i, len = strcspn(word, "=");

	for (i = 0; word[len] == '=' && i < COUNT(own_options); i++) {
		if (strlen(own_options[i].key) == len && strncmp(own_options[i].key, word, len) == 0)
			return own_option(o, &own_options[i], word, word + len + 1);
	}
	if (strcmp(word, "nofail") == 0) {
		o->nofail = true;
		return 0;
	}
	if (strcmp(word, "debug") == 0) {
		o->debug = o->foreground = true;
		return 0;
	}
	if (strcmp(word, "default_permissions") == 0)
		return option_error("option '%s' cannot be used: plockfs checks permissions itself", word);
	if (strcmp(word, "ro") == 0 || strcmp(word, "rw") == 0)
		o->read_only = word[1] == 'o';
	if (strcmp(word, "allow_other") == 0)
		o->allow_other = true;
	if (in_words(fuse_words, COUNT(fuse_words), word))
		return add_fuse_opt(o, word) ? no_memory() : 0;
	if (in_words(ignored_words, COUNT(ignored_words), word))
		return 0;
	return unknown_option(word, len);
}

/* Cuts the next word off *rest: up to a comma that no backslash escapes. */
static char *next_word(char **rest)
{
	char *word = *rest, *p = word;

	if (!word)
		return NULL;
	while (*p && *p != ',')
		p += p[0] == '\\' && p[1] ? 2 : 1;
	*rest = *p ? p + 1 : NULL;
	*p = '\0';
	return word;
}

int option_list(struct options *o, const char *list)
{
	char *copy = strdup(list), *rest = copy, *word;
	int code = 0;

	if (!copy)
		return no_memory();
	while (code == 0 && (word = next_word(&rest)) != NULL) {
		if (*word)
			code = one_option(o, word);
	}
	free(copy);
	return code;
}
