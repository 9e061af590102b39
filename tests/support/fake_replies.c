#include "tests/support/fake_replies.h"

#include "tests/support/fake_wire.h"

#include <string.h>

#define TEXT_MAX 2048

redisReply *reply_new(int type)
{
	redisReply *r = calloc(1, sizeof(*r));

	MUST(r);
	r->type = type;
	return r;
}

redisReply *text_reply(const char *text, size_t len)
{
	redisReply *r = reply_new(REDIS_REPLY_STRING);

	r->str = malloc(len + 1);
	MUST(r->str);
	memcpy(r->str, text, len);
	r->str[len] = '\0';
	r->len = len;
	return r;
}

/* Words that mean something to somebody, or too much. */
redisReply *any_text(void)
{
	static const char *const words[] = {
		"",
		"OK",
		"WAIT",
		"BUSY",
		"INC",
		"GONE",
		"OLD",
		"LOST",
		"MORE",
		"HAD",
		"-1",
		"0",
		"1",
		"7f",
		"3r",
		"2",
		"h",
		"w",
		"d",
		"l",
		"Ljob",
		"La/b",
		"F",
		"R",
		"L",
		"Sp",
		"Fjob",
		"n",
		"99999999999999999999",
		"-9223372036854775808",
		"x 0 5 7 host 1 2 3 4 5 sh",
		"s 65535 18446744073709551615 1 h%0a%2f 1 1 1 1 1 %",
		"x 65536 1 1 a",
		"x 0 3 9 host 1 1 0 0 1 sh",
		"509 0 0 99999999999999",
		"run:1",
		"other:2",
		"TTL",
		"maxmemory_policy:allkeys-lru\r\n",
		"nolck",
	};
	unsigned n = take();
	char text[TEXT_MAX];

	if (n < sizeof(words) / sizeof(words[0]))
		return text_reply(words[n], strlen(words[n]));
	if (n < 200) {
		n = (unsigned)snprintf(text, sizeof(text), "%u", take());
		return text_reply(text, n);
	}
	memset(text, (int)take(), sizeof(text));
	return text_reply(text, n < 230 ? take() : sizeof(text) - take());
}

/* An array with room for so many, and none yet. */
static redisReply *array_reply(size_t room)
{
	redisReply *r = reply_new(REDIS_REPLY_ARRAY);

	r->element = calloc(room + 1, sizeof(r)); // NOLINT(bugprone-sizeof-expression): of pointers
	MUST(r->element);
	return r;
}

redisReply *any_reply(unsigned depth)
{
	redisReply *r;
	size_t n;

	switch (take() % (depth < 3 ? 8 : 6)) {
	case 0:
		return reply_new(REDIS_REPLY_NIL);
	case 1:
		r = reply_new(REDIS_REPLY_INTEGER);
		r->integer = (long long)(take() & 1 ? UINT64_MAX - take() : take());
		return r;
	case 2:
		r = any_text();
		r->type = REDIS_REPLY_STATUS;
		return r;
	case 6:
	case 7:
		n = take() % 9;
		r = array_reply(n);
		while (r->elements < n)
			r->element[r->elements++] = any_reply(depth + 1);
		return r;
	default:
		return any_text();
	}
}

static redisReply *list_reply(const char *words)
{
	redisReply *r = array_reply(32);

	for (;;) {
		size_t len = strcspn(words, "|");

		r->element[r->elements++] = text_reply(words, len);
		if (!words[len])
			return r;
		words += len + 1;
	}
}

/* As a server would, that has one lock and one file. */
redisReply *right_reply(const char *op)
{
	static const struct {
		const char *op, *words;
	} all[] = {
		{ "hello", "OK|run:1|1000|1|0|0|0" },
		{ "beat", "OK|1000|0|0|60000|0" },
		{ "acq", "OK|x 0 5 7 host 1 2 3 4 5 sh|0" },
		{ "conv", "OK|x 0 6 7 host 1 2 3 4 5 sh" },
		{ "sync", "OK" },
		{ "nsget", "OK|1|ns|509 0 0 5" },
		{ "rd", "OK|abc" },
		{ "fread", "OK|abc" },
		{ "freadlink", "OK|abc" },
		{ "fopen", "OK|job" },
		{ "rset", "OK|1" },
		{ "fstat", "OK|f|420|0|0|3|1|7|1|1" },
		{ "rtest", "OK|x|0000000000000000000|0000000000000000005|7|other.1/5" },
	};
	size_t i;

	if (strcmp(op, "acq") == 0 && take() & 1)
		return list_reply("WAIT|5");
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(op, all[i].op) == 0)
			return list_reply(all[i].words);
	}
	return list_reply("OK");
}

void spoil(redisReply *r)
{
	size_t i = take();

	if (i & 128 && r->elements > 1) {
		freeReplyObject(r->element[--r->elements]);
		r->element[r->elements] = NULL;
		return;
	}
	i %= r->elements;
	freeReplyObject(r->element[i]);
	r->element[i] = any_reply(1);
}
