/* Holders and waiters as text. What is read came from a server that others can
 * write to: anything may be in it. */
#include "backend/redis/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Printable, without blanks. */
static void escape(const char *in, char *out, size_t size)
{
	size_t o = 0;

	for (; *in && o + 4 < size; in++) {
		unsigned char c = (unsigned char)*in;

		if (c > 0x20 && c != '%' && c != 0x7f)
			out[o++] = (char)c;
		else
			o += (size_t)snprintf(out + o, size - o, "%%%02x", c);
	}
	if (o == 0)
		out[o++] = '-';
	out[o] = '\0';
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void unescape(const char *in, size_t len, char *out, size_t size)
{
	size_t i, o = 0;

	for (i = 0; i < len && o + 1 < size; i++) {
		if (in[i] == '%' && i + 2 < len && hex(in[i + 1]) >= 0 && hex(in[i + 2]) >= 0) {
			out[o++] = (char)(hex(in[i + 1]) * 16 + hex(in[i + 2]));
			i += 2;
		} else {
			out[o++] = in[i];
		}
	}
	out[o] = '\0';
}

void record_who(const struct redis_backend *b, const struct lk_owner *o, char out[256])
{
	char host[3 * LK_HOST_MAX + 4], comm[3 * LK_COMM_MAX + 4];

	escape(b->base.host, host, sizeof(host) < 160 ? sizeof(host) : 160);
	escape(o->comm, comm, sizeof(comm));
	snprintf(out, 256, "%.120s %d %d %u %u %" PRIu64 " %s", host, (int)o->pid, (int)o->tid, (unsigned)o->uid,
		 (unsigned)o->gid, o->start, comm);
}

/* The next word of *p as a number. */
static bool next_num(const char **p, uint64_t *out)
{
	char *end;

	if (**p < '0' || **p > '9')
		return false;
	errno = 0;
	*out = strtoull(*p, &end, 10);
	if (errno || (*end && *end != ' '))
		return false;
	*p = *end ? end + 1 : end;
	return true;
}

bool record_read_who(const char *text, struct lk_owner *o, char *host)
{
	size_t len = strcspn(text, " ");
	uint64_t v[5];
	int i;

	memset(o, 0, sizeof(*o));
	host[0] = '\0';
	if (!text[len])
		return false;
	unescape(text, len, host, LK_HOST_MAX);
	text += len + 1;
	for (i = 0; i < 5; i++) {
		if (!next_num(&text, &v[i]))
			return false;
	}
	o->pid = (pid_t)v[0];
	o->tid = (pid_t)v[1];
	o->uid = (uid_t)v[2];
	o->gid = (gid_t)v[3];
	o->start = v[4];
	unescape(text, strlen(text), o->comm, sizeof(o->comm));
	return true;
}

static bool read_mode(const char **text, enum lk_mode *mode)
{
	if ((**text != 'x' && **text != 's') || (*text)[1] != ' ')
		return false;
	*mode = **text == 'x' ? LK_EXCLUSIVE : LK_SHARED;
	*text += 2;
	return true;
}

bool record_read_hold(const char *text, enum lk_mode *mode, unsigned *slot, uint64_t *token, uint64_t *since_ms,
		      const char **who)
{
	uint64_t s;

	if (!read_mode(&text, mode) || !next_num(&text, &s) || s >= LK_SLOTS_MAX || !next_num(&text, token) ||
	    !next_num(&text, since_ms))
		return false;
	*slot = (unsigned)s;
	*who = text;
	return true;
}

bool record_read_wait(const char *text, enum lk_mode *mode, unsigned *lo, unsigned *hi, uint64_t *asked_ms,
		      const char **who)
{
	uint64_t l, h;

	if (!read_mode(&text, mode) || !next_num(&text, &l) || !next_num(&text, &h) || h > LK_SLOTS_MAX || l >= h ||
	    !next_num(&text, asked_ms))
		return false;
	*lo = (unsigned)l;
	*hi = (unsigned)h;
	*who = text;
	return true;
}
