/* The words of with/OPTS/ and of signals. */
#include "fs/options.h"

#include "base/duration.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int signal_number(const char *word)
{
	const char *name = word;
	char *end;
	long n;
	int sig;

	if (strcmp(word, "none") == 0)
		return 0;
	if (*word >= '0' && *word <= '9') {
		n = strtol(word, &end, 10);
		if (*end || n < 1 || n > SIGRTMAX)
			return -EINVAL;
		return n > SIGSYS && n < SIGRTMIN ? -EINVAL : (int)n; /* those between are the C library's own */
	}
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	for (sig = 1; sig < NSIG; sig++) {
		const char *abbrev = sigabbrev_np(sig);

		if (abbrev && strcasecmp(abbrev, name) == 0)
			return sig;
	}
	return -EINVAL;
}

static int one_word(struct acquire_opts *o, const char *word)
{
	int sig;

	if (strcmp(word, "try") == 0) {
		if (o->timeout_set)
			return -EINVAL;
		o->try_only = true;
		return 0;
	}
	if (strcmp(word, "shared") == 0) {
		o->shared = true;
		return 0;
	}
	if (strncmp(word, "timeout=", 8) == 0) {
		if (o->try_only || pl_parse_duration(word + 8, &o->timeout_ns) < 0)
			return -EINVAL;
		o->timeout_set = true;
		return 0;
	}
	if (strncmp(word, "lost=", 5) == 0) {
		sig = signal_number(word + 5);
		if (sig < 0)
			return sig;
		o->lost_set = true;
		o->lost_signal = sig;
		return 0;
	}
	return -EINVAL;
}

int acquire_opts_parse(struct acquire_opts *o, const char *text)
{
	struct acquire_opts all = *o;
	char *copy = strdup(text), *rest = copy, *word;
	int err = 0;

	if (!copy)
		return -ENOMEM;
	while (err == 0 && (word = strsep(&rest, ",")) != NULL)
		err = one_word(&all, word);
	free(copy);
	if (err == 0)
		*o = all;
	return err;
}
