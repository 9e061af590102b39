/* Words that come from users: names, durations, sizes, the words of with/, the
 * lists of -o, signals. What is taken must be what it says. */
#include "tests/fuzz/fuzz.h"

#include "backend/backend.h"
#include "base/duration.h"
#include "fs/option_list.h"
#include "fs/options.h"

#include <errno.h>
#include <signal.h>
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

#define TEN_YEARS (UINT64_C(10) * 366 * 86400 * 1000000000)

/* A valid name stays below its folder, whatever it is joined to. */
static void names(const char *text)
{
	char part[256];
	const char *at = text;
	size_t len;
	int err = lk_name_check(text);

	MUST(err == 0 || err == -ENOENT || err == -ENAMETOOLONG);
	if (err)
		return;
	MUST(strlen(text) <= LK_NAME_MAX && *text != '/');
	for (;;) {
		len = strcspn(at, "/");
		MUST(len > 0 && len <= 255 && *at != '.');
		memcpy(part, at, len);
		part[len] = '\0';
		MUST(lk_component_valid(part));
		if (!at[len])
			return;
		at += len + 1;
	}
}

static void words(const char *text)
{
	struct acquire_opts o = { 0 }, before = o;
	uint64_t n = 77;
	int err = pl_parse_duration(text, &n);

	MUST(err ? n == 77 : n <= TEN_YEARS);
	n = 77;
	err = pl_parse_size(text, &n);
	MUST(err ? n == 77 : n <= UINT64_C(1) << 62);
	err = signal_number(text);
	MUST(err == -EINVAL || (err >= 0 && err <= SIGRTMAX));
	err = acquire_opts_parse(&o, text);
	MUST(err == 0 || err == -EINVAL);
	if (err)
		MUST(memcmp(&o, &before, sizeof(o)) == 0);
	else
		MUST(!(o.try_only && o.timeout_set) && o.lost_signal >= 0 && o.timeout_ns <= TEN_YEARS);
}

static void lists(const char *text)
{
	char program[] = "plockfs", flag[] = "-o", source[] = "/tmp", target[] = "/mnt";
	char *list = strdup(text);
	char *argv[] = { program, flag, list, source, target, NULL };
	static FILE *nowhere;
	FILE *said = stderr;
	struct options o;
	int code;

	if (!nowhere)
		nowhere = fopen("/dev/null", "we");
	MUST(list && nowhere);
	stderr = nowhere; /* a line for every list that is refused */
	code = options_parse(&o, 5, argv);
	stderr = said;
	MUST(code == 0 || code == 2);
	if (code == 0) {
		MUST(o.help || o.version || o.mountpoint);
		options_free(&o);
	}
	free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	MUST(text);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	names(text);
	words(text);
	lists(text);
	free(text);
	return 0;
}
