/* What hiredis takes for granted of a server. It ends the program (an assert) when something comes that nobody asked
 * for, or what is no message on a subscribed connection: so that is found while it is read, and ends the connection. */
#include "backend/redis/wire_internal.h"

#include <string.h>

/* More than any answer has; an empty array of so many costs nothing but addresses. */
#define ELEMENTS_MAX (1 << 24)

#if HIREDIS_MAJOR >= 1
typedef size_t elements_t;
#else
typedef int elements_t;
#endif

/* The functions that every reader begins with. */
static redisReplyObjectFunctions plain;

static bool is_channel(const struct wire *c, const char *text, size_t len)
{
	const char *const *each;

	for (each = c ? c->config.channels : NULL; each && *each; each++) {
		if (strlen(*each) == len && memcmp(*each, text, len) == 0)
			return true;
	}
	return false;
}

/* A message is three things, and the first two are words: what it is, and the channel, which hiredis 1.x takes for
 * granted to be ours. Nobody unsubscribes. */
static bool is_message(const redisReadTask *task, int type, elements_t elements, const char *text, size_t len)
{
	if (!task->parent)
		return type == REDIS_REPLY_ERROR || (type == REDIS_REPLY_ARRAY && elements == 3);
	if (task->parent->parent || task->idx > 1)
		return true;
	if (type != REDIS_REPLY_STRING)
		return false;
	if (task->idx == 1)
		return is_channel(((struct lane *)task->privdata)->c, text, len);
	return (len == 9 && memcmp(text, "subscribe", 9) == 0) || (len == 7 && memcmp(text, "message", 7) == 0);
}

static bool expected(const redisReadTask *task, int type, elements_t elements, const char *text, size_t len)
{
	struct lane *l = task->privdata;
	/* Types that came with RESP3 must be asked for. */
	bool ok = type <= REDIS_REPLY_ERROR && elements <= ELEMENTS_MAX;

	/* Answers to calls come first, on the subscribed connection too. */
	if (ok && l->ac && !l->ac->replies.head)
		ok = l->ac->c.flags & REDIS_SUBSCRIBED ? is_message(task, type, elements, text, len)
						       : task->parent || type == REDIS_REPLY_ERROR;
	if (!ok)
		l->odd = true;
	return ok;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
	return expected(task, task->type, 0, text, len) ? plain.createString(task, text, len) : NULL;
}

static void *create_array(const redisReadTask *task, elements_t elements)
{
	return expected(task, task->type, elements, "", 0) ? plain.createArray(task, elements) : NULL;
}

static void *create_integer(const redisReadTask *task, long long value)
{
	return expected(task, REDIS_REPLY_INTEGER, 0, "", 0) ? plain.createInteger(task, value) : NULL;
}

static void *create_nil(const redisReadTask *task)
{
	return expected(task, REDIS_REPLY_NIL, 0, "", 0) ? plain.createNil(task) : NULL;
}

#if HIREDIS_MAJOR >= 1
static void *create_double(const redisReadTask *task, double value, char *text, size_t len)
{
	(void)value;
	(void)expected(task, REDIS_REPLY_DOUBLE, 0, text, len);
	return NULL;
}

static void *create_bool(const redisReadTask *task, int value)
{
	(void)value;
	(void)expected(task, REDIS_REPLY_BOOL, 0, "", 0);
	return NULL;
}
#endif

void wire_guard(struct lane *l)
{
	static redisReplyObjectFunctions guarded = {
		.createString = create_string,
		.createArray = create_array,
		.createInteger = create_integer,
#if HIREDIS_MAJOR >= 1
		.createDouble = create_double,
		.createBool = create_bool,
#endif
		.createNil = create_nil
	};
	redisReader *reader = l->ac->c.reader;

	if (reader->fn != &guarded)
		plain = *reader->fn;
	guarded.freeObject = plain.freeObject;
	reader->fn = &guarded;
	reader->privdata = l;
}
