/* Lines of JSON from other mounts: whatever comes in, what is taken of it is
 * valid, and says the same when it is written and read again. */
#include "tests/fuzz/fuzz.h"

#include "backend/file/peerwire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static void request(const char *text, size_t len)
{
	struct peer_request r;
	int err = peerwire_read_request(text, len, &r);

	MUST(err == 0 || err == -EBADMSG);
	if (err)
		return;
	MUST(r.op == PEER_VIEW || r.op == PEER_BREAK || r.op == PEER_END_WAIT);
	MUST(r.kind == LK_LOCK || r.kind == LK_SEM);
	MUST(r.op != PEER_VIEW || r.all || lk_name_check(r.name) == 0);
}

static void check_party(const struct lk_party *p, enum lk_kind kind)
{
	MUST(lk_name_check(p->name) == 0 && p->kind == kind && !p->here);
	MUST(p->mode == LK_SHARED || p->mode == LK_EXCLUSIVE);
	MUST(p->owner.pid >= 0 && p->owner.tid >= 0 && memchr(p->owner.comm, '\0', LK_COMM_MAX));
	MUST(strlen(p->host) < LK_HOST_MAX);
	MUST(p->slot <= LK_SLOTS_MAX && p->slot_lo <= LK_SLOTS_MAX && p->slot_hi <= LK_SLOTS_MAX);
}

static void same(const struct lk_party *a, const struct lk_party *b, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		MUST(strcmp(a[i].id, b[i].id) == 0 && strcmp(a[i].host, b[i].host) == 0);
		MUST(strcmp(a[i].name, b[i].name) == 0 && strcmp(a[i].owner.comm, b[i].owner.comm) == 0);
		MUST(a[i].owner.pid == b[i].owner.pid && a[i].owner.tid == b[i].owner.tid);
		MUST(a[i].owner.uid == b[i].owner.uid && a[i].owner.gid == b[i].owner.gid);
		MUST(a[i].owner.start == b[i].owner.start && a[i].mode == b[i].mode && a[i].slot == b[i].slot);
		MUST(a[i].slot_lo == b[i].slot_lo && a[i].slot_hi == b[i].slot_hi);
		MUST(a[i].token == b[i].token && a[i].since == b[i].since);
	}
}

static void view(const char *text, size_t len, enum lk_kind kind)
{
	struct gather *g = gather_new(NULL, kind, NULL), *again = gather_new(NULL, kind, NULL);
	size_t i, at = 0;
	char *line;

	MUST(g && again);
	if (peerwire_read_view(text, len, g) >= 0) {
		for (i = 0; i < g->n_holders; i++)
			check_party(&g->holders[i], kind);
		for (i = 0; i < g->n_waiters; i++)
			check_party(&g->waiters[i], kind);
		do {
			line = peerwire_write_view(g, &at);
			MUST(line && strlen(line) && !memchr(line, '\n', strlen(line) - 1));
			MUST(peerwire_read_view(line, strlen(line), again) == (at != 0));
			free(line);
		} while (at);
		MUST(again->n_holders == g->n_holders && again->n_waiters == g->n_waiters);
		same(g->holders, again->holders, g->n_holders);
		same(g->waiters, again->waiters, g->n_waiters);
	} else {
		MUST(!g->n_holders && !g->n_waiters);
	}
	gather_free(g);
	gather_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;
	int err;

	if (size == 0)
		return 0;
	text = malloc(size); /* no NUL behind it */
	MUST(text);
	memcpy(text, data + 1, size - 1);
	request(text, size - 1);
	view(text, size - 1, data[0] & 1 ? LK_SEM : LK_LOCK);
	err = peerwire_read_err(text, size - 1);
	MUST(err <= 0 && err > -512);
	free(text);
	return 0;
}
