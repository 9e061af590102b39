/* One call of the protocol's script, and what its answers mean. */
#include "backend/redis/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void script_bytes(struct script_call *c, const void *data, size_t len)
{
	c->argv[c->argc] = data;
	c->len[c->argc++] = len;
}

void script_str(struct script_call *c, const char *s)
{
	script_bytes(c, s, strlen(s));
}

void script_num(struct script_call *c, int64_t n)
{
	int len = snprintf(c->numbers + c->used, sizeof(c->numbers) - c->used, "%" PRId64, n);

	script_bytes(c, c->numbers + c->used, (size_t)len);
	c->used += (size_t)len + 1;
}

void script_handle(struct script_call *c, uint64_t handle, const char *kn)
{
	const char *kind = *kn == 'F' ? "f" : *kn == 'R' ? "r" : "";
	char *text = c->numbers + c->used;
	int len = snprintf(text, sizeof(c->numbers) - c->used, "%" PRIu64 "%s", handle, kind);

	script_bytes(c, text, (size_t)len);
	c->used += (size_t)len + 1;
}

void script_kn(struct script_call *c, const char *kn)
{
	if (*kn != 'F') {
		script_str(c, kn);
		return;
	}
	snprintf(c->kn, sizeof(c->kn), "L%s", kn + 1);
	script_str(c, c->kn);
}

void script_begin(struct redis_backend *b, struct script_call *c, const char *op)
{
	c->argc = 0;
	c->used = 0;
	c->script = protocol_script(op);
	script_str(c, op);
	script_str(c, b->inc);
	script_str(c, b->sid);
	script_num(c, (int64_t)b->beat_at);
	script_num(c, (int64_t)((pl_now(b->base.loop) - b->beat_sent) / PL_MS));
	script_num(c, (int64_t)b->watch_since);
	script_num(c, (int64_t)b->hellos);
}

int script_send(struct redis_backend *b, enum wire_lane lane, struct script_call *c, wire_cb cb, void *arg)
{
	return wire_script(b->conn, lane, c->script, c->argc, c->argv, c->len, cb, arg);
}

const char *reply_str(const redisReply *reply, size_t i)
{
	if (!reply || reply->type != REDIS_REPLY_ARRAY || i >= reply->elements)
		return "";
	reply = reply->element[i];
	return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ? reply->str : "";
}

uint64_t reply_num(const redisReply *reply, size_t i)
{
	if (!reply || reply->type != REDIS_REPLY_ARRAY || i >= reply->elements)
		return 0;
	if (reply->element[i]->type == REDIS_REPLY_INTEGER)
		return (uint64_t)reply->element[i]->integer;
	return strtoull(reply_str(reply, i), NULL, 10);
}

ssize_t reply_bytes(const redisReply *reply, size_t i, size_t most, const char **data)
{
	if (reply->type != REDIS_REPLY_ARRAY || i >= reply->elements || reply->element[i]->type != REDIS_REPLY_STRING ||
	    reply->element[i]->len > most)
		return -EIO;
	*data = reply->element[i]->str;
	return (ssize_t)reply->element[i]->len;
}

const char *script_word(struct redis_backend *b, const redisReply *reply)
{
	const char *word = reply_str(reply, 0);

	b->contact = pl_wall(b->base.loop);
	/* While a hello is under way its answer says more than those to calls that were sent before it. */
	if (b->state != SESSION_UP)
		return word;
	if (strcmp(word, "INC") == 0) {
		session_again(b);
	} else if (strcmp(word, "GONE") == 0) {
		session_lose(b, "the server has given up this mount's session");
		session_again(b);
	}
	return word;
}

bool script_again(const char *word)
{
	return strcmp(word, "INC") == 0 || strcmp(word, "GONE") == 0 || strcmp(word, "OLD") == 0 ||
	       strcmp(word, "LATE") == 0;
}

int script_errno(const char *word)
{
	static const struct {
		const char *word;
		int err;
	} all[] = {
		{ "OK", 0 },	      { "BUSY", -EAGAIN },    { "GRACE", -EHOSTDOWN }, { "NONE", -ENOENT },
		{ "LOST", -ESTALE },  { "LATE", -ESTALE },    { "FBIG", -EFBIG },      { "EXIST", -EEXIST },
		{ "NOENT", -ENOENT }, { "NOTDIR", -ENOTDIR }, { "ISDIR", -EISDIR },    { "NOTEMPTY", -ENOTEMPTY },
		{ "INUSE", -EBUSY },  { "INC", -EHOSTDOWN },  { "GONE", -EHOSTDOWN },  { "LOOP", -ELOOP },
		{ "INVAL", -EINVAL }, { "PERM", -EPERM },     { "NOLCK", -ENOLCK },    { "DEADLK", -EDEADLK },
	};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(all[i].word, word) == 0)
			return all[i].err;
	}
	return -EIO;
}
