/* Durations and sizes in words. Only integers are used: no rounding surprises,
 * no locale. */
#include "base/duration.h"

#include "base/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define MAX_DURATION (UINT64_C(10) * 365 * 24 * 3600 * PL_SEC)
#define MAX_SIZE (UINT64_C(1) << 62)

struct unit {
	const char *word;
	uint64_t factor;
};

static const struct unit duration_units[] = {
	{ "", PL_SEC }, { "ms", PL_MS }, { "s", PL_SEC }, { "m", 60 * PL_SEC }, { "h", 3600 * PL_SEC }, { NULL, 0 },
};

static const struct unit size_units[] = {
	{ "", 1 }, { "K", UINT64_C(1) << 10 }, { "M", UINT64_C(1) << 20 }, { "G", UINT64_C(1) << 30 }, { NULL, 0 },
};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* digits[.digits]unit into *out, what is below 1 cut off. */
static int parse(const char *word, const struct unit *units, uint64_t max, bool fraction, uint64_t *out)
{
	uint64_t whole = 0, part = 0, total, scale;
	const char *p = word, *frac = NULL;
	const struct unit *u;
	bool huge = false;

	if (!digit(*p))
		return -EINVAL;
	for (; digit(*p); p++)
		huge |= __builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, *p - '0', &whole);
	if (fraction && *p == '.') {
		frac = ++p;
		if (!digit(*p))
			return -EINVAL;
		while (digit(*p))
			p++;
	}
	u = units;
	while (u->word && strcmp(u->word, p) != 0)
		u++;
	if (!u->word)
		return -EINVAL;
	for (scale = u->factor; frac && digit(*frac); frac++) {
		part += scale * (uint64_t)(*frac - '0') / 10;
		if (scale % 10 != 0)
			break; /* the digits that follow are fractions of a nanosecond */
		scale /= 10;
	}
	if (huge || __builtin_mul_overflow(whole, u->factor, &total) || __builtin_add_overflow(total, part, &total) ||
	    total > max)
		return -ERANGE;
	*out = total;
	return 0;
}

int pl_parse_duration(const char *word, uint64_t *ns)
{
	return parse(word, duration_units, MAX_DURATION, true, ns);
}

int pl_parse_size(const char *word, uint64_t *bytes)
{
	return parse(word, size_units, MAX_SIZE, false, bytes);
}
