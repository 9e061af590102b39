/* JSON between mounts, with json-c. */
#include "backend/file/peerwire.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Takes `o` and gives its line. */
static char *to_line(struct json_object *o)
{
	const char *text = o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN) : NULL;
	size_t len = text ? strlen(text) : 0;
	char *line = text ? malloc(len + 2) : NULL;

	if (line) {
		memcpy(line, text, len);
		memcpy(line + len, "\n", 2);
	}
	json_object_put(o);
	return line;
}

static void add_int(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void add_string(struct json_object *o, const char *key, const char *v)
{
	json_object_object_add(o, key, json_object_new_string(v));
}

char *peerwire_write_ask(enum lk_kind kind, const char *name)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	add_string(o, "op", "view");
	add_int(o, "kind", kind);
	if (name)
		add_string(o, "name", name);
	return to_line(o);
}

char *peerwire_write_tell(const char *op, uint64_t serial)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	add_string(o, "op", op);
	add_int(o, "serial", serial);
	return to_line(o);
}

char *peerwire_write_range(const struct peer_range *range)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	add_string(o, "op", "range");
	add_int(o, "dev", range->dev);
	add_int(o, "ino", range->ino);
	add_int(o, "start", (uint64_t)range->start);
	add_int(o, "end", (uint64_t)range->end);
	return to_line(o);
}

char *peerwire_write_pid(pid_t pid)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	add_int(o, "pid", (uint64_t)pid);
	return to_line(o);
}

char *peerwire_write_err(int err)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	json_object_object_add(o, "err", json_object_new_int(err));
	return to_line(o);
}

static struct json_object *party(const struct lk_party *p)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	add_string(o, "id", p->id);
	add_string(o, "host", p->host);
	add_string(o, "name", p->name);
	add_string(o, "comm", p->owner.comm);
	add_int(o, "pid", (uint64_t)p->owner.pid);
	add_int(o, "tid", (uint64_t)p->owner.tid);
	add_int(o, "uid", p->owner.uid);
	add_int(o, "gid", p->owner.gid);
	add_int(o, "start", p->owner.start);
	add_int(o, "mode", p->mode);
	add_int(o, "slot", p->slot);
	add_int(o, "lo", p->slot_lo);
	add_int(o, "hi", p->slot_hi);
	add_int(o, "token", p->token);
	add_int(o, "since", p->since);
	return o;
}

static struct json_object *parties(const struct lk_party *p, size_t from, size_t to)
{
	struct json_object *a = json_object_new_array();

	for (; a && from < to; from++)
		json_object_array_add(a, party(&p[from]));
	return a;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

char *peerwire_write_view(const struct gather *g, size_t *at)
{
	struct json_object *o = json_object_new_object();
	size_t from = *at, end = from + PEERWIRE_PARTIES, h = g->n_holders, all = h + g->n_waiters;

	if (!o)
		return NULL;
	if (from == 0)
		add_int(o, "pid", (uint64_t)getpid());
	if (from < h)
		json_object_object_add(o, "holders", parties(g->holders, from, least(end, h)));
	if (end > h)
		json_object_object_add(o, "waiters", parties(g->waiters, from > h ? from - h : 0, least(end, all) - h));
	*at = end < all ? end : 0;
	json_object_object_add(o, "more", json_object_new_boolean(*at != 0));
	return to_line(o);
}

/* --- reading --- */

static struct json_object *parse(const char *text, size_t len)
{
	struct json_tokener *t = json_tokener_new_ex(8);
	struct json_object *o;

	if (!t)
		return NULL;
	o = len > INT32_MAX ? NULL : json_tokener_parse_ex(t, text, (int)len);
	json_tokener_free(t);
	if (o && !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		o = NULL;
	}
	return o;
}

/* "" when it is missing or too long for size. */
static const char *get_string(struct json_object *o, const char *key, size_t size)
{
	struct json_object *v;
	const char *s;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
		return "";
	s = json_object_get_string(v);
	return strlen(s) < size ? s : "";
}

static uint64_t get_int(struct json_object *o, const char *key, uint64_t max)
{
	struct json_object *v;
	uint64_t n;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int))
		return 0;
	n = json_object_get_uint64(v);
	return n <= max ? n : 0;
}

int peerwire_read_request(const char *text, size_t len, struct peer_request *r)
{
	struct json_object *o = parse(text, len), *v;
	const char *op, *name;
	int err = 0;

	if (!o)
		return -EBADMSG;
	memset(r, 0, sizeof(*r));
	op = get_string(o, "op", 16);
	r->kind = get_int(o, "kind", LK_SEM) == LK_SEM ? LK_SEM : LK_LOCK;
	r->serial = get_int(o, "serial", UINT64_MAX);
	name = get_string(o, "name", sizeof(r->name));
	r->all = !json_object_object_get_ex(o, "name", &v);
	strcpy(r->name, name); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): length checked in get_string
	if (strcmp(op, "view") == 0)
		r->op = PEER_VIEW;
	else if (strcmp(op, "break") == 0)
		r->op = PEER_BREAK;
	else if (strcmp(op, "end_wait") == 0)
		r->op = PEER_END_WAIT;
	else if (strcmp(op, "range") == 0)
		r->op = PEER_RANGE;
	else
		err = -EBADMSG;
	r->range.dev = get_int(o, "dev", UINT64_MAX);
	r->range.ino = get_int(o, "ino", UINT64_MAX);
	r->range.start = (int64_t)get_int(o, "start", INT64_MAX);
	r->range.end = (int64_t)get_int(o, "end", INT64_MAX);
	if (r->range.end < r->range.start)
		err = -EBADMSG;
	if (err == 0 && r->op == PEER_VIEW && !r->all && lk_name_check(r->name) < 0)
		err = -EBADMSG;
	json_object_put(o);
	return err;
}

static void read_party(struct gather *g, struct json_object *o, bool waiter)
{
	const char *name = get_string(o, "name", LK_NAME_MAX + 1);
	struct lk_party p;

	memset(&p, 0, sizeof(p));
	if (lk_name_check(name) < 0)
		return;
	p.id = gather_string(g, get_string(o, "id", 80));
	p.host = gather_string(g, get_string(o, "host", LK_HOST_MAX));
	p.name = gather_string(g, name);
	strcpy(p.owner.comm, get_string(o, "comm", LK_COMM_MAX)); // NOLINT: length checked in get_string
	p.owner.pid = (pid_t)get_int(o, "pid", INT32_MAX);
	p.owner.tid = (pid_t)get_int(o, "tid", INT32_MAX);
	p.owner.uid = (uid_t)get_int(o, "uid", UINT32_MAX);
	p.owner.gid = (gid_t)get_int(o, "gid", UINT32_MAX);
	p.owner.start = get_int(o, "start", UINT64_MAX);
	p.kind = g->kind;
	p.mode = get_int(o, "mode", LK_EXCLUSIVE) == LK_EXCLUSIVE ? LK_EXCLUSIVE : LK_SHARED;
	p.slot = (unsigned)get_int(o, "slot", LK_SLOTS_MAX);
	p.slot_lo = (unsigned)get_int(o, "lo", LK_SLOTS_MAX);
	p.slot_hi = (unsigned)get_int(o, "hi", LK_SLOTS_MAX);
	p.token = get_int(o, "token", UINT64_MAX);
	p.since = get_int(o, "since", UINT64_MAX);
	if (waiter)
		gather_waiter(g, &p);
	else
		gather_holder(g, &p);
}

static void read_parties(struct gather *g, struct json_object *o, const char *key, bool waiter)
{
	struct json_object *a, *e;
	size_t i, n;

	if (!json_object_object_get_ex(o, key, &a) || !json_object_is_type(a, json_type_array))
		return;
	n = json_object_array_length(a);
	for (i = 0; i < n; i++) {
		e = json_object_array_get_idx(a, i);
		if (json_object_is_type(e, json_type_object))
			read_party(g, e, waiter);
	}
}

int peerwire_read_view(const char *text, size_t len, struct gather *g)
{
	struct json_object *o = parse(text, len), *v;
	pid_t pid, *peers;
	bool more;

	if (!o)
		return -EBADMSG;
	pid = (pid_t)get_int(o, "pid", INT32_MAX);
	peers = pid ? reallocarray(g->peers, g->n_peers + 1, sizeof(*peers)) : NULL;
	if (peers) {
		g->peers = peers;
		g->peers[g->n_peers++] = pid;
	}
	read_parties(g, o, "holders", false);
	read_parties(g, o, "waiters", true);
	more = json_object_object_get_ex(o, "more", &v) && json_object_get_boolean(v);
	json_object_put(o);
	return more;
}

pid_t peerwire_read_pid(const char *text, size_t len)
{
	struct json_object *o = parse(text, len);
	pid_t pid = o ? (pid_t)get_int(o, "pid", INT32_MAX) : 0;

	json_object_put(o);
	return pid;
}

int peerwire_read_err(const char *text, size_t len)
{
	struct json_object *o = parse(text, len), *v;
	int err = -EHOSTDOWN;

	if (o && json_object_object_get_ex(o, "err", &v) && json_object_is_type(v, json_type_int))
		err = json_object_get_int(v);
	json_object_put(o);
	return err <= 0 && err > -512 ? err : -EIO;
}
