/* status.json: the same as status, for programs. The JSON of each party is built and freed
 * alone, so that memory stays that of the text.
 */
#include "base/loop.h"
#include "fs/render_text.h"
#include "fs/status_rows.h"

#include <json-c/json.h>
#include <stdlib.h>

static const struct lk_view no_view;

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

		position = i > 0 && status_by_name(rows->row[i - 1].p, rows->row[i].p) == 0 ? position + 1 : 1;
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
	    put_bool(o, "partial", locks->partial || sems->partial) &&
	    put_time(o, "as_of", status_as_of(i, locks, sems)))
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
	ok = head && status_rows(&holders, locks, sems, false) && status_rows(&waiters, locks, sems, true) &&
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
