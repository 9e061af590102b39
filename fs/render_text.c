/* How times, spans and foreign bytes look in the computed files. */
#include "fs/render_text.h"

#include "base/loop.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void text_time(uint64_t wall_ns, char out[TEXT_TIME_MAX])
{
	time_t t = (time_t)(wall_ns / PL_SEC);
	struct tm tm;
	size_t n = 0;

	if (wall_ns && localtime_r(&t, &tm))
		n = strftime(out, TEXT_TIME_MAX - 1, "%Y-%m-%dT%H:%M:%S%z", &tm);
	if (n < 5) {
		memcpy(out, "-", 2);
		return;
	}
	/* +0100 is not RFC 3339 yet */
	memmove(out + n - 1, out + n - 2, 3);
	out[n - 2] = ':';
}

void text_span(uint64_t since, uint64_t now, char out[TEXT_SPAN_MAX])
{
	uint64_t ns = now > since ? now - since : 0;
	unsigned long s = (unsigned long)(ns / PL_SEC);
	unsigned long tenths = (unsigned long)(ns % PL_SEC / (PL_SEC / 10));

	if (since == 0)
		memcpy(out, "-", 2);
	else if (s < 60)
		(void)snprintf(out, TEXT_SPAN_MAX, "%lu.%lus", s, tenths);
	else if (s < 3600)
		(void)snprintf(out, TEXT_SPAN_MAX, "%lum%02lus", s / 60, s % 60);
	else if (s < 86400)
		(void)snprintf(out, TEXT_SPAN_MAX, "%luh%02lum", s / 3600, s / 60 % 60);
	else
		(void)snprintf(out, TEXT_SPAN_MAX, "%lud%02luh", s / 86400, s / 3600 % 24);
}

/* Bytes of the well-formed UTF-8 character at s and its code point; 0: none there. */
static size_t utf8_at(const unsigned char *s, unsigned *code)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len, i;

	if (s[0] < 0x80) {
		*code = s[0];
		return 1;
	}
	if (s[0] >= 0xc2 && s[0] < 0xe0)
		len = 2;
	else if (s[0] >= 0xe0 && s[0] < 0xf0)
		len = 3;
	else if (s[0] >= 0xf0 && s[0] < 0xf5)
		len = 4;
	else
		return 0;
	*code = s[0] & (0x7fu >> len);
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0; /* the end of the string too */
		*code = *code << 6 | (s[i] & 0x3f);
	}
	if (*code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
		return 0;
	return len;
}

static bool needs_escape(unsigned code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == '\\';
}

size_t text_escape(const char *s, enum text_style style, char *out, size_t size)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned code = 0;
	size_t n = 0, len, i;

	while (*p) {
		len = utf8_at(p, &code);
		if (len && !(style == TEXT_LINE && needs_escape(code))) {
			if (n + len >= size)
				break;
			memcpy(out + n, p, len);
			n += len;
			p += len;
			continue;
		}
		if (!len)
			len = 1;
		if (n + 4 * len >= size)
			break;
		for (i = 0; i < len; i++, n += 4)
			(void)snprintf(out + n, 5, "\\x%02x", *p++);
	}
	out[n] = '\0';
	return n;
}

const char *text_mode(enum lk_mode mode)
{
	return mode == LK_SHARED ? "shared" : "exclusive";
}

char *text_finish(FILE *f, char **buf)
{
	bool failed = ferror(f) != 0;

	/* fclose sets *buf, also when it fails. */
	if (fclose(f) != 0 || failed) {
		free(*buf);
		*buf = NULL;
	}
	return *buf;
}
