/* status and status.json: who holds what and who waits, sorted by name.
 *
 * Made for 100,000 holders: one sort, then one pass that streams; the JSON of
 * each party is built and freed alone, so that memory stays that of the text.
 */
#include "base/loop.h"
#include "fs/render.h"
#include "fs/render_text.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_COLUMN_MAX 48 /* a longer name pushes its own line only */

struct row {
	const struct lk_party *p;
	size_t index; /* in its view: the queue's order */
};

struct rows {
	struct row *row;
	size_t n;
};

/* --- collecting --- */

static int by_name(const struct lk_party *a, const struct lk_party *b)
{
	return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcmp(a->name, b->name);
}

static int by_index(const struct row *a, const struct row *b)
{
	return (a->index > b->index) - (a->index < b->index);
}

static int compare_waiters(const void *va, const void *vb)
{
	const struct row *a = va, *b = vb;
	int c = by_name(a->p, b->p);

	return c ? c : by_index(a, b);
}

static int compare_holders(const void *va, const void *vb)
{
	const struct row *a = va, *b = vb;
	int c = by_name(a->p, b->p);

	if (c)
		return c;
	if (a->p->slot != b->p->slot)
		return a->p->slot < b->p->slot ? -1 : 1;
	if (a->p->since != b->p->since)
		return a->p->since < b->p->since ? -1 : 1;
	return by_index(a, b);
}

static void add(struct rows *rows, const struct lk_party *parties, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		rows->row[rows->n++] = (struct row){ .p = &parties[i], .index = i };
}

static const struct lk_view no_view;

/* Both kinds of holders or waiters, sorted. False when out of memory. */
static bool collect(struct rows *rows, const struct lk_view *locks, const struct lk_view *sems, bool waiters)
{
	size_t n = waiters ? locks->n_waiters + sems->n_waiters : locks->n_holders + sems->n_holders;

	rows->n = 0;
	rows->row = calloc(n + 1, sizeof(*rows->row));
	if (!rows->row)
		return false;
	if (waiters) {
		add(rows, locks->waiters, locks->n_waiters);
		add(rows, sems->waiters, sems->n_waiters);
	} else {
		add(rows, locks->holders, locks->n_holders);
		add(rows, sems->holders, sems->n_holders);
	}
	qsort(rows->row, rows->n, sizeof(*rows->row), waiters ? compare_waiters : compare_holders);
	return true;
}

/* How many wait for the name of p. Asked in the order of holders: *from goes along. */
static size_t waiters_of(const struct rows *waiters, size_t *from, const struct lk_party *p)
{
	size_t i;

	while (*from < waiters->n && by_name(waiters->row[*from].p, p) < 0)
		(*from)++;
	for (i = *from; i < waiters->n && by_name(waiters->row[i].p, p) == 0; i++)
		;
	return i - *from;
}

/* --- the table --- */

static int columns(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void cell(FILE *f, const char *text, int width)
{
	(void)fprintf(f, "%s%*s", text, columns(text) < width ? width - columns(text) + 2 : 2, "");
}

static void label_of(const struct lk_party *p, bool waiter, char out[TEXT_ESCAPED_MAX])
{
	size_t n = (size_t)snprintf(out, TEXT_ESCAPED_MAX, "%s/", p->kind == LK_SEM ? "sems" : "locks");

	n += text_escape(p->name, TEXT_LINE, out + n, TEXT_ESCAPED_MAX - n - 40);
	if (p->kind != LK_SEM)
		return;
	if (!waiter)
		(void)snprintf(out + n, TEXT_ESCAPED_MAX - n, " slot %u", p->slot);
	else if (p->slot_hi <= p->slot_lo + 1)
		(void)snprintf(out + n, TEXT_ESCAPED_MAX - n, " slot %u", p->slot_lo);
	else
		(void)snprintf(out + n, TEXT_ESCAPED_MAX - n, " slots %u-%u", p->slot_lo, p->slot_hi - 1);
}

static void process_of(const struct lk_party *p, char *out, size_t size)
{
	size_t n = text_escape(p->host, TEXT_LINE, out, size - 16);

	(void)snprintf(out + n, size - n, ":%d", (int)p->owner.pid);
}

struct widths {
	int label, process;
};

static struct widths measure(const struct rows *rows, bool waiters, int label, int process)
{
	struct widths w = { .label = label, .process = process };
	char text[TEXT_ESCAPED_MAX];
	size_t i;
	int n;

	for (i = 0; i < rows->n; i++) {
		label_of(rows->row[i].p, waiters, text);
		n = columns(text);
		if (n > w.label)
			w.label = n < LABEL_COLUMN_MAX ? n : LABEL_COLUMN_MAX;
		process_of(rows->row[i].p, text, sizeof(text));
		n = columns(text);
		if (n > w.process)
			w.process = n < LABEL_COLUMN_MAX ? n : LABEL_COLUMN_MAX;
	}
	return w;
}

static void print_common(FILE *f, const struct lk_party *p, bool waiter, const struct widths *w)
{
	char text[TEXT_ESCAPED_MAX];

	label_of(p, waiter, text);
	cell(f, text, w->label);
	cell(f, text_mode(p->mode), 9);
	process_of(p, text, sizeof(text));
	cell(f, text, w->process);
	(void)fprintf(f, "%-7u", (unsigned)p->owner.uid);
	(void)text_escape(p->owner.comm, TEXT_LINE, text, sizeof(text));
	cell(f, *text ? text : "-", 15);
	text_time(p->since, text);
	cell(f, text, 25);
}

static void print_holders(FILE *f, const struct rows *holders, const struct rows *waiters, uint64_t now)
{
	struct widths w = measure(holders, false, 4, 6);
	char span[TEXT_SPAN_MAX];
	size_t i, from = 0;

	(void)fprintf(f, "\n%-*s  %-9s  %-*s  %-7s%-15s  %-25s  %-8s  %-16s  %s\n", w.label, "NAME", "MODE", w.process,
		      "HOLDER", "UID", "COMMAND", "SINCE", "HELD-FOR", "TOKEN", "WAITERS");
	for (i = 0; i < holders->n; i++) {
		const struct lk_party *p = holders->row[i].p;

		print_common(f, p, false, &w);
		text_span(p->since, now, span);
		(void)fprintf(f, "%-8s  %-16llu  %zu\n", span, (unsigned long long)p->token,
			      waiters_of(waiters, &from, p));
	}
}

static void print_waiters(FILE *f, const struct rows *waiters, uint64_t now)
{
	struct widths w = measure(waiters, true, 4, 6);
	char span[TEXT_SPAN_MAX];
	size_t i, position = 0;

	(void)fprintf(f, "\n%-*s  %-9s  %-*s  %-7s%-15s  %-25s  %-11s  %s\n", w.label, "NAME", "MODE", w.process,
		      "WAITER", "UID", "COMMAND", "SINCE", "WAITING-FOR", "POSITION");
	for (i = 0; i < waiters->n; i++) {
		const struct lk_party *p = waiters->row[i].p;

		position = i > 0 && by_name(waiters->row[i - 1].p, p) == 0 ? position + 1 : 1;
		print_common(f, p, true, &w);
		text_span(p->since, now, span);
		(void)fprintf(f, "%-11s  %zu\n", span, position);
	}
}

/* When the oldest part of what is shown was seen. */
static uint64_t as_of(const struct render_info *i, const struct lk_view *locks, const struct lk_view *sems)
{
	uint64_t t = i->now;

	if (locks->as_of && locks->as_of < t)
		t = locks->as_of;
	if (sems->as_of && sems->as_of < t)
		t = sems->as_of;
	return t;
}

static void print_head(FILE *f, const struct render_info *i, const struct lk_view *locks, const struct lk_view *sems,
		       const struct lk_counters *c)
{
	char text[TEXT_ESCAPED_MAX], span[TEXT_SPAN_MAX];

	(void)text_escape(i->mountpoint, TEXT_LINE, text, sizeof(text));
	(void)fprintf(f, "plockfs %s on %s%s\n", i->version, text, i->read_only ? " (read only)" : "");
	(void)text_escape(i->source, TEXT_LINE, text, sizeof(text));
	(void)fprintf(f, "source   %s\n", text);
	(void)text_escape(i->host, TEXT_LINE, text, sizeof(text));
	(void)fprintf(f, "host     %s\n", text);
	text_time(i->mounted, text);
	text_span(i->mounted, i->now, span);
	(void)fprintf(f, "up       %s, since %s\n", span, text);
	(void)fprintf(f, "held     %zu (%llu by this mount)\n", locks->n_holders + sems->n_holders,
		      (unsigned long long)c->held);
	(void)fprintf(f, "waiting  %zu (%llu on this mount)\n", locks->n_waiters + sems->n_waiters,
		      (unsigned long long)c->waiting);
	if (locks->partial || sems->partial) {
		text_time(as_of(i, locks, sems), text);
		(void)fprintf(f, "note     some mount or server did not answer: known as of %s\n", text);
	}
}

char *render_status(const struct render_info *i, const struct lk_view *locks, const struct lk_view *sems,
		    const struct lk_counters *c, size_t *len)
{
	struct rows holders = { 0 }, waiters = { 0 };
	char *buf = NULL;
	FILE *f;

	locks = locks ? locks : &no_view;
	sems = sems ? sems : &no_view;
	f = open_memstream(&buf, len);
	if (!f)
		return NULL;
	if (collect(&holders, locks, sems, false) && collect(&waiters, locks, sems, true)) {
		print_head(f, i, locks, sems, c);
		if (holders.n)
			print_holders(f, &holders, &waiters, i->now);
		if (waiters.n)
			print_waiters(f, &waiters, i->now);
		buf = text_finish(f, &buf);
	} else {
		(void)fclose(f);
		free(buf);
		buf = NULL;
	}
	free(holders.row);
	free(waiters.row);
	return buf;
}

/* --- JSON --- */

static bool put(struct json_object *o, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(o, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool put_text(struct json_object *o, const char *key, const char *s)
{
	char text[TEXT_ESCAPED_MAX];
	size_t n = text_escape(s, TEXT_JSON, text, sizeof(text));

	return put(o, key, json_object_new_string_len(text, (int)n));
}

static bool put_number(struct json_object *o, const char *key, uint64_t n)
{
	return put(o, key, json_object_new_uint64(n));
}

static bool put_bool(struct json_object *o, const char *key, bool b)
{
	return put(o, key, json_object_new_boolean(b));
}

/* RFC 3339, or null when unknown. */
static bool put_time(struct json_object *o, const char *key, uint64_t wall_ns)
{
	char text[TEXT_TIME_MAX];

	if (wall_ns == 0)
		return json_object_object_add(o, key, NULL) == 0;
	text_time(wall_ns, text);
	return put(o, key, json_object_new_string(text));
}

/* Seconds with milliseconds, exact in the text. */
static bool put_span(struct json_object *o, const char *key, uint64_t since, uint64_t now)
{
	uint64_t ms = now > since ? (now - since) / PL_MS : 0;
	char text[32];

	if (since == 0)
		return json_object_object_add(o, key, NULL) == 0;
	(void)snprintf(text, sizeof(text), "%llu.%03llu", (unsigned long long)(ms / 1000),
		       (unsigned long long)(ms % 1000));
	return put(o, key, json_object_new_double_s((double)ms / 1e3, text));
}

static struct json_object *party_json(const struct lk_party *p, uint64_t now, bool waiter, size_t position)
{
	struct json_object *o = json_object_new_object();
	bool ok = o && put_text(o, "kind", p->kind == LK_SEM ? "sem" : "lock") && put_text(o, "name", p->name) &&
		  put_text(o, "mode", text_mode(p->mode)) && put_text(o, "host", p->host) &&
		  put(o, "pid", json_object_new_int(p->owner.pid)) && put_number(o, "uid", p->owner.uid) &&
		  put_number(o, "gid", p->owner.gid) && put_text(o, "comm", p->owner.comm) &&
		  put_time(o, "since", p->since) &&
		  put_span(o, waiter ? "waiting_seconds" : "held_seconds", p->since, now) &&
		  put_bool(o, "here", p->here);

	if (ok && waiter)
		ok = put_number(o, "position", position);
	else if (ok)
		ok = put_number(o, "token", p->token);
	if (ok && p->kind == LK_SEM && !waiter)
		ok = put_number(o, "slot", p->slot);
	else if (ok && p->kind == LK_SEM)
		ok = put_number(o, "slot_first", p->slot_lo) &&
		     put_number(o, "slot_last", p->slot_hi > p->slot_lo ? p->slot_hi - 1 : p->slot_lo);
	if (ok)
		return o;
	json_object_put(o);
	return NULL;
}

static bool write_json(FILE *f, struct json_object *o, bool open_end)
{
	size_t n;
	const char *text =
		json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);

	return text && n > 0 && fwrite(text, 1, open_end ? n - 1 : n, f) == n - open_end;
}

static bool write_rows(FILE *f, const char *key, const struct rows *rows, uint64_t now, bool waiters)
{
	size_t i, position = 0;
	bool ok = true;

	(void)fprintf(f, ",\n\"%s\":[", key);
	for (i = 0; ok && i < rows->n; i++) {
		struct json_object *o;

		position = i > 0 && by_name(rows->row[i - 1].p, rows->row[i].p) == 0 ? position + 1 : 1;
		o = party_json(rows->row[i].p, now, waiters, position);
		(void)fputs(i ? ",\n" : "\n", f);
		ok = o && write_json(f, o, false);
		json_object_put(o);
	}
	(void)fputs("]", f);
	return ok;
}

static struct json_object *head_json(const struct render_info *i, const struct lk_view *locks,
				     const struct lk_view *sems, const struct lk_counters *c)
{
	struct json_object *o = json_object_new_object();

	if (o && put_text(o, "version", i->version) && put_text(o, "source", i->source) &&
	    put_text(o, "mountpoint", i->mountpoint) && put_text(o, "host", i->host) &&
	    put_bool(o, "read_only", i->read_only) && put_time(o, "now", i->now) &&
	    put_time(o, "up_since", i->mounted) && put_span(o, "up_seconds", i->mounted, i->now) &&
	    put_number(o, "held", locks->n_holders + sems->n_holders) &&
	    put_number(o, "waiting", locks->n_waiters + sems->n_waiters) && put_number(o, "held_here", c->held) &&
	    put_number(o, "waiting_here", c->waiting) && put_number(o, "requests", i->requests) &&
	    put_number(o, "open_handles", i->open_handles) && put_number(o, "nodes", i->nodes) &&
	    put_bool(o, "partial", locks->partial || sems->partial) && put_time(o, "as_of", as_of(i, locks, sems)))
		return o;
	json_object_put(o);
	return NULL;
}

char *render_status_json(const struct render_info *i, const struct lk_view *locks, const struct lk_view *sems,
			 const struct lk_counters *c, size_t *len)
{
	struct rows holders = { 0 }, waiters = { 0 };
	struct json_object *head;
	char *buf = NULL;
	bool ok;
	FILE *f;

	locks = locks ? locks : &no_view;
	sems = sems ? sems : &no_view;
	f = open_memstream(&buf, len);
	if (!f)
		return NULL;
	head = head_json(i, locks, sems, c);
	/* The head's closing brace comes after the two arrays. */
	ok = head && collect(&holders, locks, sems, false) && collect(&waiters, locks, sems, true) &&
	     write_json(f, head, true) && write_rows(f, "holders", &holders, i->now, false) &&
	     write_rows(f, "waiters", &waiters, i->now, true) && fputs("}\n", f) >= 0;
	buf = text_finish(f, &buf);
	if (!ok) {
		free(buf);
		buf = NULL;
	}
	json_object_put(head);
	free(holders.row);
	free(waiters.row);
	return buf;
}
