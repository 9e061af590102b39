/* Byte ranges: how they are written, who has some through which open file; asking
 * for what is in the way, and dropping all that an owner has. */
#include "backend/redis/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* --- who has ranges here --- */

void range_forget(struct redis_backend *b, const char *ln, uint64_t owner)
{
	struct lk_file *file;
	struct rowner *o, *tmp;

	DL_FOREACH(b->files, file) {
		if (!file->owners || strcmp(file->ln, ln) != 0)
			continue;
		DL_FOREACH_SAFE(file->owners, o, tmp) {
			if (o->owner != owner)
				continue;
			DL_DELETE(file->owners, o);
			free(o);
		}
	}
}

bool range_note(struct lk_file *file, uint64_t owner, struct rowner *slot)
{
	struct rowner *o;

	DL_FOREACH(file->owners, o) {
		if (o->owner == owner)
			return false;
	}
	slot->owner = owner;
	DL_APPEND(file->owners, slot);
	return true;
}

/* --- as text --- */

/* The host as a word that nobody can mistake for anything else. */
static uint64_t host_word(const struct redis_backend *b)
{
	uint64_t h = UINT64_C(14695981039346656037);
	const char *p;

	for (p = b->base.host; *p; p++)
		h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
	return h;
}

/* As extents.lua has it. What comes before 0 and behind the last byte are these themselves. */
void range_write(const struct redis_backend *b, const struct ranges_lock *want, char out[RANGE_TEXT])
{
	int64_t before = want->start > 0 ? want->start - 1 : 0;
	int64_t behind = want->end < INT64_MAX ? want->end + 1 : INT64_MAX;
	char mode = want->mode == RANGES_NONE ? 'n' : want->mode == RANGES_SHARED ? 's' : 'x';

	snprintf(out, RANGE_TEXT,
		 "%c %019" PRId64 " %019" PRId64 " %019" PRId64 " %019" PRId64 " %d %" PRIu64 " %016" PRIx64, mode,
		 want->start, want->end, before, behind, want->pid > 0 ? (int)want->pid : 0, want->who.owner,
		 host_word(b));
}

/* --- test, drop --- */

static void on_test(struct fcall *f, int err, const redisReply *reply)
{
	struct ranges_lock c = { 0 };
	const char *member = reply_str(reply, 5), *slash = strrchr(member, '/');

	if (err || !slash) {
		f->cb.test(f->arg, err, NULL);
		return;
	}
	c.mode = *reply_str(reply, 1) == 'x' ? RANGES_EXCLUSIVE : RANGES_SHARED;
	c.start = (int64_t)reply_num(reply, 2);
	c.end = (int64_t)reply_num(reply, 3);
	c.pid = (pid_t)reply_num(reply, 4);
	c.who.owner = strtoull(slash + 1, NULL, 10);
	c.who.session = strncmp(member, f->b->sid, strlen(f->b->sid)) != 0;
	f->cb.test(f->arg, 0, &c);
}

int rf_range_test(struct lk_backend *base, struct lk_file *file, const struct ranges_lock *want, lk_range_test_cb cb,
		  void *arg)
{
	struct redis_backend *b = rb_of(base);
	char text[RANGE_TEXT];
	struct fcall *f;

	if (!session_check(b) || file->lost)
		return -ESTALE;
	f = fcall_new(b, file, "rtest", RANGE_TEXT, on_test, arg);
	if (!f)
		return -ENOLCK;
	range_write(b, want, text);
	f->cb.test = cb;
	fcall_str(f, text);
	return fcall_go(f);
}

int rf_range_drop(struct lk_backend *base, struct lk_file *file, uint64_t owner, lk_done_cb cb, void *arg)
{
	struct redis_backend *b = rb_of(base);
	char text[24];
	struct fcall *f;

	if (!session_check(b) || file->lost)
		return -ESTALE;
	f = fcall_new(b, file, "rdrop", sizeof(text), fcall_done, arg);
	if (!f)
		return -ENOLCK;
	snprintf(text, sizeof(text), "%" PRIu64, owner);
	f->cb.done = cb;
	f->lasting = true;
	fcall_str(f, text);
	range_forget(b, file->ln, owner);
	return fcall_go(f);
}
