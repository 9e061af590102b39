/* Times, spans and foreign bytes as the computed files show them. */
#ifndef FS_RENDER_TEXT_H
#define FS_RENDER_TEXT_H

#include "backend/backend.h"

#include <stdio.h>

#define TEXT_TIME_MAX 40
#define TEXT_SPAN_MAX 24
/* Holds any name, escaped, with "locks/" or " slots N-M" around it. */
#define TEXT_ESCAPED_MAX (4 * (LK_NAME_MAX + 1) + 64)

enum text_style {
	TEXT_LINE, /* control bytes, backslash and what is no UTF-8 become \xNN */
	TEXT_JSON, /* only what is no UTF-8 */
};

/* RFC 3339, local time with zone; "-" for 0 (unknown). */
void text_time(uint64_t wall_ns, char out[TEXT_TIME_MAX]);
/* "3.2s", "2m05s", "1h02m", "3d04h" from since to now; "-" when since is 0. */
void text_span(uint64_t since, uint64_t now, char out[TEXT_SPAN_MAX]);
/* Returns the length; what does not fit in `size` is cut off, never within a character. */
size_t text_escape(const char *s, enum text_style style, char *out, size_t size);
const char *text_mode(enum lk_mode mode);

/* Ends a stream of open_memstream. Frees and returns NULL if any write to it failed. */
char *text_finish(FILE *f, char **buf);

#endif
