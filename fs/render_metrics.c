/* metrics: the Prometheus text exposition format, version 0.0.4. No label per
 * lock name: their number has no bound. */
#include "base/loop.h"
#include "fs/render.h"
#include "fs/render_text.h"

static void family(FILE *f, const char *name, const char *type, const char *help)
{
	(void)fprintf(f, "# HELP plockfs_%s %s\n# TYPE plockfs_%s %s\n", name, help, name, type);
}

static void single(FILE *f, const char *name, const char *type, const char *help, uint64_t value)
{
	family(f, name, type, help);
	(void)fprintf(f, "plockfs_%s %llu\n", name, (unsigned long long)value);
}

static void labelled(FILE *f, const char *name, const char *label, const char *word, uint64_t value)
{
	(void)fprintf(f, "plockfs_%s{%s=\"%s\"} %llu\n", name, label, word, (unsigned long long)value);
}

static void acquisitions(FILE *f, const struct lk_counters *c)
{
	family(f, "acquisitions_total", "counter", "Grants, by what was granted.");
	labelled(f, "acquisitions_total", "mode", "exclusive", c->granted[LK_EXCLUSIVE]);
	labelled(f, "acquisitions_total", "mode", "shared", c->granted[LK_SHARED]);
	labelled(f, "acquisitions_total", "mode", "slot", c->granted_sem);
}

static void refusals(FILE *f, const struct lk_counters *c)
{
	static const char *const words[] = {
		[LK_R_BUSY] = "busy",	      [LK_R_TIMEOUT] = "timeout",   [LK_R_INTERRUPTED] = "interrupted",
		[LK_R_CANCELED] = "canceled", [LK_R_DEADLOCK] = "deadlock", [LK_R_UNAVAILABLE] = "unavailable",
		[LK_R_LIMIT] = "limit",	      [LK_R_OTHER] = "other",
	};
	size_t i;

	family(f, "refusals_total", "counter", "Acquisitions that got no grant, by reason.");
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		labelled(f, "refusals_total", "reason", words[i], c->refused[i]);
}

static void seconds(FILE *f, const char *name, uint64_t ns)
{
	(void)fprintf(f, "%s %llu.%09llu\n", name, (unsigned long long)(ns / PL_SEC),
		      (unsigned long long)(ns % PL_SEC));
}

static void wait_times(FILE *f, const struct lk_counters *c)
{
	uint64_t sum = 0;
	double bound = 1e-4;
	size_t i;

	family(f, "wait_seconds", "histogram", "Time from asking to the grant.");
	for (i = 0; i < LK_WAIT_BUCKETS; i++, bound *= 4) {
		sum += c->wait_bucket[i]; /* buckets of this format count all below their bound */
		if (i + 1 < LK_WAIT_BUCKETS)
			(void)fprintf(f, "plockfs_wait_seconds_bucket{le=\"%.10g\"} %llu\n", bound,
				      (unsigned long long)sum);
		else
			(void)fprintf(f, "plockfs_wait_seconds_bucket{le=\"+Inf\"} %llu\n", (unsigned long long)sum);
	}
	seconds(f, "plockfs_wait_seconds_sum", c->wait_ns);
	(void)fprintf(f, "plockfs_wait_seconds_count %llu\n", (unsigned long long)sum);
}

char *render_metrics(const struct render_info *i, const struct lk_counters *c, size_t *len)
{
	char *buf = NULL;
	FILE *f = open_memstream(&buf, len);

	if (!f)
		return NULL;
	acquisitions(f, c);
	refusals(f, c);
	single(f, "releases_total", "counter", "Holds given back.", c->released);
	single(f, "lost_total", "counter", "Holds lost before they were given back.", c->lost);
	single(f, "broken_total", "counter", "Holds broken by rm of the holder's file.", c->broken);
	single(f, "held", "gauge", "Holds of this mount now.", c->held);
	single(f, "waiting", "gauge", "Waiters of this mount now.", c->waiting);
	wait_times(f, c);
	single(f, "requests_total", "counter", "Requests read from the kernel.", i->requests);
	single(f, "open_handles", "gauge", "Open files and directories of the mount.", i->open_handles);
	single(f, "nodes", "gauge", "Nodes of the tree that the kernel knows.", i->nodes);
	family(f, "start_time_seconds", "gauge", "When it was mounted, since the epoch.");
	seconds(f, "plockfs_start_time_seconds", i->mounted);
	return text_finish(f, &buf);
}
