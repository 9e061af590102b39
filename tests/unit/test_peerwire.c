/* What mounts say to each other: it comes back as it was, and garbage is harmless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/file/peerwire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* As it comes from a socket: not terminated, and not one byte more than there is. */
static char *exactly(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	return copy;
}

static int request(const char *text, size_t len, struct peer_request *r)
{
	char *copy = exactly(text, len);
	int err = peerwire_read_request(copy, len, r);

	free(copy);
	return err;
}

static int view(const char *text, size_t len, struct gather *g)
{
	char *copy = exactly(text, len);
	int err = peerwire_read_view(copy, len, g);

	free(copy);
	return err;
}

static int said_err(const char *text, size_t len)
{
	char *copy = exactly(text, len);
	int err = peerwire_read_err(copy, len);

	free(copy);
	return err;
}

static struct gather *gathering(enum lk_kind kind)
{
	struct gather *g = gather_new(NULL, kind, NULL);

	assert_non_null(g);
	return g;
}

static void is_a_line(const char *text)
{
	assert_non_null(text);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

/* --- there and back --- */

static void asking(void **state)
{
	static const char *const names[] = { NULL, "job", "a/b/c", "\xff\xfe\"\\", "\xc3\xa4 {}[]", "a\\u0000" };
	struct peer_request r;
	enum lk_kind kind;
	char *text;
	size_t i;

	(void)state;
	for (kind = LK_LOCK; kind <= LK_SEM; kind++) {
		for (i = 0; i < COUNT(names); i++) {
			text = peerwire_write_ask(kind, names[i]);
			is_a_line(text);
			assert_int_equal(request(text, strlen(text) - 1, &r), 0);
			assert_int_equal(r.op, PEER_VIEW);
			assert_int_equal(r.kind, kind);
			assert_int_equal(r.all, names[i] == NULL);
			assert_string_equal(r.name, names[i] ? names[i] : "");
			free(text);
		}
	}
}

static void longest_name(void **state)
{
	char name[LK_NAME_MAX + 2], *text;
	struct peer_request r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(name); i++)
		name[i] = i % 200 == 199 ? '/' : 'x';
	name[LK_NAME_MAX] = '\0';
	text = peerwire_write_ask(LK_LOCK, name);
	assert_int_equal(request(text, strlen(text), &r), 0);
	assert_string_equal(r.name, name);
	free(text);
	name[LK_NAME_MAX] = 'x';
	name[LK_NAME_MAX + 1] = '\0';
	text = peerwire_write_ask(LK_LOCK, name);
	assert_int_equal(request(text, strlen(text), &r), -EBADMSG);
	free(text);
}

static void telling(void **state)
{
	struct peer_request r;
	char *text = peerwire_write_tell("break", UINT64_MAX);

	(void)state;
	is_a_line(text);
	assert_int_equal(request(text, strlen(text) - 1, &r), 0);
	assert_int_equal(r.op, PEER_BREAK);
	assert_true(r.serial == UINT64_MAX);
	free(text);
	text = peerwire_write_tell("end_wait", 7);
	assert_int_equal(request(text, strlen(text), &r), 0);
	assert_int_equal(r.op, PEER_END_WAIT);
	assert_int_equal(r.serial, 7);
	free(text);
}

static void ranges(void **state)
{
	const struct peer_range asked = { .dev = UINT64_MAX, .ino = 7, .start = 10, .end = INT64_MAX };
	const char backwards[] = "{\"op\":\"range\",\"dev\":1,\"ino\":2,\"start\":3,\"end\":2}\n";
	struct peer_request r;
	char *text = peerwire_write_range(&asked);

	(void)state;
	is_a_line(text);
	assert_int_equal(request(text, strlen(text), &r), 0);
	assert_int_equal(r.op, PEER_RANGE);
	assert_memory_equal(&r.range, &asked, sizeof(asked));
	free(text);
	assert_int_equal(request(backwards, sizeof(backwards) - 1, &r), -EBADMSG);
	text = peerwire_write_pid(4711);
	is_a_line(text);
	assert_int_equal(peerwire_read_pid(text, strlen(text)), 4711);
	assert_int_equal(peerwire_read_pid(text, strlen(text) / 2), 0);
	free(text);
}

static void errors(void **state)
{
	static const int errs[] = { 0, -ENOENT, -EINVAL, -511 };
	char *text;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(errs); i++) {
		text = peerwire_write_err(errs[i]);
		is_a_line(text);
		assert_int_equal(said_err(text, strlen(text)), errs[i]);
		free(text);
	}
}

static const struct lk_party full = {
	.id = "12-abc/7",
	.host = "elsewhere",
	.owner = { .pid = INT32_MAX,
		   .tid = 2,
		   .uid = UINT32_MAX,
		   .gid = 4,
		   .start = UINT64_MAX,
		   .comm = "fifteen \xff here" },
	.name = "ns/\xff\"job\"",
	.mode = LK_EXCLUSIVE,
	.slot = 3,
	.slot_lo = 1,
	.slot_hi = LK_SLOTS_MAX,
	.token = UINT64_MAX - 1,
	.since = UINT64_C(1) << 63,
};

static void same_party(const struct lk_party *a, const struct lk_party *b, enum lk_kind kind)
{
	assert_string_equal(a->id, b->id);
	assert_string_equal(a->host, b->host);
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->owner.comm, b->owner.comm);
	assert_int_equal(a->owner.pid, b->owner.pid);
	assert_int_equal(a->owner.tid, b->owner.tid);
	assert_int_equal(a->owner.uid, b->owner.uid);
	assert_int_equal(a->owner.gid, b->owner.gid);
	assert_true(a->owner.start == b->owner.start);
	assert_int_equal(a->kind, kind);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->slot, b->slot);
	assert_int_equal(a->slot_lo, b->slot_lo);
	assert_int_equal(a->slot_hi, b->slot_hi);
	assert_true(a->token == b->token);
	assert_true(a->since == b->since);
	assert_false(a->here);
}

static char *full_view(void)
{
	struct gather *g = gathering(LK_SEM);
	struct lk_party reader = full;
	size_t at = 0;
	char *text;

	reader.mode = LK_SHARED;
	gather_holder(g, &full);
	gather_holder(g, &reader);
	gather_waiter(g, &full);
	text = peerwire_write_view(g, &at);
	assert_int_equal(at, 0);
	gather_free(g);
	return text;
}

static void views(void **state)
{
	struct gather *g = gathering(LK_SEM);
	struct lk_party reader = full;
	char *text = full_view();

	(void)state;
	reader.mode = LK_SHARED;
	is_a_line(text);
	assert_int_equal(view(text, strlen(text) - 1, g), 0);
	assert_int_equal(view(text, strlen(text) - 1, g), 0); /* of another mount: added */
	assert_int_equal(g->n_holders, 4);
	assert_int_equal(g->n_waiters, 2);
	assert_int_equal(g->n_peers, 2);
	assert_int_equal(g->peers[0], getpid());
	same_party(&g->holders[0], &full, LK_SEM);
	same_party(&g->holders[3], &reader, LK_SEM);
	same_party(&g->waiters[1], &full, LK_SEM);
	assert_int_equal(g->err, 0);
	free(text);
	gather_free(g);
}

/* Sends all of it, line by line; the number of lines. */
static size_t pass_on(const struct gather *from, struct gather *to)
{
	size_t at = 0, lines = 0;
	char *text;

	do {
		text = peerwire_write_view(from, &at);
		is_a_line(text);
		assert_int_equal(view(text, strlen(text) - 1, to), at != 0);
		free(text);
		lines++;
	} while (at);
	return lines;
}

static void long_views(void **state)
{
	static const size_t sizes[][3] = { /* holders, waiters, lines */
					   { 0, 0, 1 },
					   { PEERWIRE_PARTIES, 0, 1 },
					   { 0, PEERWIRE_PARTIES, 1 },
					   { PEERWIRE_PARTIES, 1, 2 },
					   { PEERWIRE_PARTIES + 1, PEERWIRE_PARTIES - 1, 2 },
					   { 3 * PEERWIRE_PARTIES, 2 * PEERWIRE_PARTIES + 7, 6 }
	};
	struct lk_party p = full;
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(sizes); i++) {
		struct gather *g = gathering(LK_SEM), *again = gathering(LK_SEM);

		for (k = 0; k < sizes[i][0] + sizes[i][1]; k++) {
			p.token = k + 1;
			(k < sizes[i][0] ? gather_holder : gather_waiter)(g, &p);
		}
		assert_int_equal(pass_on(g, again), sizes[i][2]);
		assert_int_equal(again->n_holders, sizes[i][0]);
		assert_int_equal(again->n_waiters, sizes[i][1]);
		for (k = 0; k < sizes[i][0] + sizes[i][1]; k++)
			assert_int_equal((k < sizes[i][0] ? again->holders[k] : again->waiters[k - sizes[i][0]]).token,
					 k + 1);
		assert_int_equal(again->n_peers, 1);
		gather_free(g);
		gather_free(again);
	}
}

/* --- garbage --- */

static const char *const no_json[] = {
	"",
	" ",
	"\n",
	"{",
	"}",
	"[]",
	"null",
	"true",
	"1",
	"\"view\"",
	"{\"op\"",
	"{\"op\":",
	"{\"op\":\"view\"",
	"{op:view}",
	"\xff\xff",
	"\x01",
	"GET / HTTP/1.1",
	"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}}}",
};

static void no_request(void **state)
{
	static const char *const wrong[] = {
		"{}",
		"{\"op\":1}",
		"{\"op\":null}",
		"{\"op\":[\"view\"]}",
		"{\"op\":\"\"}",
		"{\"op\":\"View\"}",
		"{\"op\":\"view \"}",
		"{\"op\":\"viewviewviewviewview\"}",
		"{\"op\":\"view\",\"name\":1}",
		"{\"op\":\"view\",\"name\":null}",
		"{\"op\":\"view\",\"name\":\"\"}",
		"{\"op\":\"view\",\"name\":\"..\"}",
		"{\"op\":\"view\",\"name\":\"/etc/passwd\"}",
		"{\"op\":\"view\",\"name\":\"a//b\"}",
		"{\"op\":\"view\",\"name\":\"a\\nb\"}",
		"{\"op\":\"view\",\"name\":\"../../etc\"}",
	};
	struct peer_request r;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(no_json); i++)
		assert_int_equal(request(no_json[i], strlen(no_json[i]), &r), -EBADMSG);
	for (i = 0; i < COUNT(wrong); i++) {
		if (request(wrong[i], strlen(wrong[i]), &r) != -EBADMSG)
			fail_msg("taken: %s", wrong[i]);
	}
}

static void odd_numbers_count_as_none(void **state)
{
	static const char *const odd[] = { "-1", "\"7\"", "null", "1e300", "1.5", "[7]", "{}", "true" };
	char text[80];
	struct peer_request r;
	size_t i;
	int len;

	(void)state;
	for (i = 0; i < COUNT(odd); i++) {
		len = snprintf(text, sizeof(text), "{\"op\":\"break\",\"serial\":%s,\"kind\":%s}", odd[i], odd[i]);
		assert_int_equal(request(text, (size_t)len, &r), 0);
		assert_true(r.serial == 0);
		assert_int_equal(r.kind, LK_LOCK);
	}
	len = snprintf(text, sizeof(text), "{\"op\":\"view\",\"kind\":4294967297}");
	assert_int_equal(request(text, (size_t)len, &r), 0);
	assert_int_equal(r.kind, LK_LOCK);
}

static void no_view(void **state)
{
	static const char *const empty[] = {
		"{}",
		"{\"err\":-22}",
		"{\"holders\":1,\"waiters\":null}",
		"{\"holders\":{\"0\":{\"name\":\"job\"}}}",
		"{\"holders\":[1,null,\"job\",[],{}],\"waiters\":[[[]]]}",
		"{\"holders\":[{\"name\":\"\"},{\"name\":\"..\"},{\"name\":\"a/\"},{\"name\":1},{\"id\":\"1/1\"}]}",
		"{\"waiters\":[{\"name\":\"a\\nb\"},{\"name\":\"\\u0007\"},{\"name\":\"/a\"}]}",
	};
	struct gather *g = gathering(LK_LOCK);
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(no_json); i++)
		assert_int_equal(view(no_json[i], strlen(no_json[i]), g), -EBADMSG);
	assert_int_equal(g->n_peers, 0);
	for (i = 0; i < COUNT(empty); i++)
		assert_int_equal(view(empty[i], strlen(empty[i]), g), 0);
	assert_int_equal(g->n_holders, 0);
	assert_int_equal(g->n_waiters, 0);
	gather_free(g);
}

static void odd_parties(void **state)
{
	static const char text[] =
		"{\"pid\":99999999999,\"holders\":[{\"name\":\"job\",\"id\":5,\"host\":"
		"\"0123456789012345678901234567890123456789012345678901234567890123456789\",\"comm\":"
		"\"0123456789abcdef\",\"pid\":-5,\"tid\":4294967296,\"uid\":-1,\"gid\":\"0\",\"mode\":7,\"slot\":65537,"
		"\"lo\":-1,\"hi\":1e9,\"token\":-1,\"since\":[]}]}";
	static const struct lk_party none = { .id = "", .host = "", .name = "job", .mode = LK_SHARED };
	struct gather *g = gathering(LK_LOCK);

	(void)state;
	assert_int_equal(view(text, strlen(text), g), 0);
	assert_int_equal(g->n_peers, 0);
	assert_int_equal(g->n_holders, 1);
	same_party(&g->holders[0], &none, LK_LOCK);
	gather_free(g);
}

static void no_errno(void **state)
{
	static const char *const odd[] = { "{\"err\":5}", "{\"err\":-512}", "{\"err\":-2147483648}",
					   "{\"err\":99999999999}", "{\"err\":-99999999999}" };
	static const char *const none[] = { "{}", "{\"err\":\"-5\"}", "{\"err\":null}", "{\"err\":-5.5}",
					    "{\"err\":[]}" };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(no_json); i++)
		assert_int_equal(said_err(no_json[i], strlen(no_json[i])), -EHOSTDOWN);
	for (i = 0; i < COUNT(none); i++)
		assert_int_equal(said_err(none[i], strlen(none[i])), -EHOSTDOWN);
	for (i = 0; i < COUNT(odd); i++)
		assert_int_equal(said_err(odd[i], strlen(odd[i])), -EIO);
}

/* --- lines that were damaged on the way --- */

static size_t damage(char *text, size_t len)
{
	static const char marks[] = "{}[]\",:\\u0-9e. \n";
	unsigned n = 1 + (unsigned)rand() % 4;

	while (n--) {
		size_t at = (size_t)rand() % len;

		if (rand() % 3 == 0)
			text[at] = (char)rand();
		else if (rand() % 3 == 0)
			memmove(text + at, text, len - at);
		else
			text[at] = marks[(size_t)rand() % (sizeof(marks) - 1)];
	}
	return rand() % 4 ? len : (size_t)rand() % len;
}

static void damaged_once(const char *line)
{
	size_t len = strlen(line), i;
	struct gather *g = gathering(LK_LOCK);
	char *text = strdup(line);
	struct peer_request r;

	assert_non_null(text);
	len = damage(text, len);
	if (request(text, len, &r) == 0 && r.op == PEER_VIEW && !r.all)
		assert_int_equal(lk_name_check(r.name), 0);
	assert_in_range(-said_err(text, len), 0, 511);
	view(text, len, g);
	for (i = 0; i < g->n_holders; i++) {
		assert_int_equal(lk_name_check(g->holders[i].name), 0);
		assert_true(g->holders[i].owner.pid >= 0);
		assert_true(g->holders[i].slot <= LK_SLOTS_MAX);
		assert_true(strlen(g->holders[i].owner.comm) < LK_COMM_MAX);
		assert_true(strlen(g->holders[i].host) < LK_HOST_MAX);
	}
	free(text);
	gather_free(g);
}

static void damaged_lines(void **state)
{
	char *lines[] = { full_view(), peerwire_write_ask(LK_SEM, "ns/job"), peerwire_write_tell("break", 123456),
			  peerwire_write_err(-EBUSY), peerwire_write_range(&(struct peer_range){ .end = 5 }) };
	size_t i, k;

	(void)state;
	srand(1);
	for (i = 0; i < COUNT(lines); i++) {
		for (k = 0; k < 2000; k++)
			damaged_once(lines[i]);
		free(lines[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asking),
		cmocka_unit_test(longest_name),
		cmocka_unit_test(telling),
		cmocka_unit_test(ranges),
		cmocka_unit_test(errors),
		cmocka_unit_test(views),
		cmocka_unit_test(long_views),
		cmocka_unit_test(no_request),
		cmocka_unit_test(odd_numbers_count_as_none),
		cmocka_unit_test(no_view),
		cmocka_unit_test(odd_parties),
		cmocka_unit_test(no_errno),
		cmocka_unit_test(damaged_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
