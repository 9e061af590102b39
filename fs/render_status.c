/* status: who holds what and who waits, as a table. Made for 100,000 holders: one sort, then
 * one pass that streams.
 */
#include "base/loop.h"
#include "fs/render_text.h"
#include "fs/status_rows.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_COLUMN_MAX 48 /* a longer name pushes its own line only */

static const struct lk_view no_view;

/* How many wait for the name of p. Asked in the order of holders: *from goes along. */
static size_t waiters_of(const struct rows *waiters, size_t *from, const struct lk_party *p)
{
	size_t i;

	while (*from < waiters->n && status_by_name(waiters->row[*from].p, p) < 0)
		(*from)++;
	for (i = *from; i < waiters->n && status_by_name(waiters->row[i].p, p) == 0; i++)
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

		position = i > 0 && status_by_name(waiters->row[i - 1].p, p) == 0 ? position + 1 : 1;
		print_common(f, p, true, &w);
		text_span(p->since, now, span);
		(void)fprintf(f, "%-11s  %zu\n", span, position);
	}
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
		text_time(status_as_of(i, locks, sems), text);
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
	if (status_rows(&holders, locks, sems, false) && status_rows(&waiters, locks, sems, true)) {
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
