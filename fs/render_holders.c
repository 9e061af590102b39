/* The files in holders/ and waiters/: their names and what is in them. */
#define HASH_NONFATAL_OOM 1
#include "fs/render.h"
#include "fs/render_text.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

static void print_party(FILE *f, const struct lk_party *p)
{
	char text[TEXT_ESCAPED_MAX];

	(void)text_escape(p->host, TEXT_LINE, text, sizeof(text));
	(void)fprintf(f, "host: %s\npid: %d\nuid: %u\ngid: %u\n", text, (int)p->owner.pid, (unsigned)p->owner.uid,
		      (unsigned)p->owner.gid);
	(void)text_escape(p->owner.comm, TEXT_LINE, text, sizeof(text));
	(void)fprintf(f, "comm: %s\nmode: %s\n", text, text_mode(p->mode));
}

static void print_since(FILE *f, const struct lk_party *p, const char *span_key, uint64_t now)
{
	char since[TEXT_TIME_MAX], span[TEXT_SPAN_MAX];

	text_time(p->since, since);
	text_span(p->since, now, span);
	(void)fprintf(f, "since: %s\n%s: %s\n", since, span_key, span);
}

static void print_as_of(FILE *f, uint64_t as_of)
{
	char text[TEXT_TIME_MAX];

	if (!as_of)
		return;
	text_time(as_of, text);
	(void)fprintf(f, "as_of: %s\n", text);
}

char *render_holder(const struct lk_party *p, uint64_t now, uint64_t as_of, size_t *len)
{
	char *buf = NULL;
	FILE *f = open_memstream(&buf, len);

	if (!f)
		return NULL;
	print_party(f, p);
	print_since(f, p, "held_for", now);
	(void)fprintf(f, "token: %llu\n", (unsigned long long)p->token);
	if (p->kind == LK_SEM)
		(void)fprintf(f, "slot: %u\n", p->slot);
	print_as_of(f, as_of);
	return text_finish(f, &buf);
}

char *render_waiter(const struct lk_party *p, unsigned position, uint64_t now, uint64_t as_of, size_t *len)
{
	char *buf = NULL;
	FILE *f = open_memstream(&buf, len);

	if (!f)
		return NULL;
	print_party(f, p);
	print_since(f, p, "waiting_for", now);
	(void)fprintf(f, "position: %u\n", position);
	if (p->kind == LK_SEM && p->slot_hi == p->slot_lo + 1)
		(void)fprintf(f, "slot: %u\n", p->slot_lo);
	else if (p->kind == LK_SEM && p->slot_hi > p->slot_lo)
		(void)fprintf(f, "slots: %u-%u\n", p->slot_lo, p->slot_hi - 1);
	print_as_of(f, as_of);
	return text_finish(f, &buf);
}

/* --- file names --- */

#define BASE_MAX (LK_HOST_MAX + 16) /* HOST:PID */
#define EXTRA_MAX 24		    /* "0001:" or ":n" */

/* How often a HOST:PID was met so far. */
struct seen {
	UT_hash_handle hh;
	size_t times;
	char base[BASE_MAX];
};

/* A host's name comes from elsewhere: it must not get out of its place in the file's name. */
static void base_name(const struct lk_party *p, char out[BASE_MAX])
{
	size_t n = 0;
	const char *s;

	for (s = p->host; *s && n < LK_HOST_MAX - 1; s++) {
		unsigned char c = (unsigned char)*s;

		out[n] = (char)(c <= ' ' || c == 0x7f || c == '/' || c == ':' || (n == 0 && c == '.') ? '_' : c);
		n++;
	}
	(void)snprintf(out + n, BASE_MAX - n, "%s:%d", n ? "" : "_", (int)p->owner.pid);
}

/* Counts one more of base; 0 when out of memory. */
static size_t count(struct seen **table, const char *base)
{
	struct seen *e;

	HASH_FIND_STR(*table, base, e);
	if (e)
		return ++e->times;
	e = calloc(1, sizeof(*e));
	if (!e)
		return 0;
	memcpy(e->base, base, strlen(base) + 1);
	HASH_ADD_STR(*table, base, e);
	if (!e->hh.tbl) {
		free(e);
		return 0;
	}
	return e->times = 1;
}

static void free_table(struct seen *table)
{
	struct seen *e, *next;

	HASH_ITER(hh, table, e, next) {
		HASH_DEL(table, e);
		free(e);
	}
}

static size_t print_name(char *out, size_t size, const char *base, size_t nth, size_t position)
{
	int n;

	if (position)
		n = snprintf(out, size, "%04zu:%s", position, base);
	else if (nth > 1)
		n = snprintf(out, size, "%s:%zu", base, nth);
	else
		n = snprintf(out, size, "%s", base);
	return (size_t)n + 1;
}

char **render_party_names(const struct lk_party *parties, size_t n, bool waiters)
{
	size_t *nth = calloc(n + 1, sizeof(*nth));
	size_t i, size = n * sizeof(char *);
	char base[BASE_MAX], name[BASE_MAX + EXTRA_MAX];
	struct seen *table = NULL;
	char **names = NULL;
	char *p;

	if (!nth)
		return NULL;
	for (i = 0; i < n; i++) {
		base_name(&parties[i], base);
		nth[i] = waiters ? 1 : count(&table, base);
		if (!nth[i])
			goto out;
		size += print_name(name, sizeof(name), base, nth[i], waiters ? i + 1 : 0);
	}
	names = malloc(size + 1);
	if (!names)
		goto out;
	p = (char *)(names + n);
	for (i = 0; i < n; i++) {
		base_name(&parties[i], base);
		names[i] = p;
		p += print_name(p, sizeof(name), base, nth[i], waiters ? i + 1 : 0);
	}
out:
	free_table(table);
	free(nth);
	return names;
}
