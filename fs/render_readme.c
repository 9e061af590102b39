/* README: how to use this tree, for whoever finds it with ls. Every @ in the
 * text stands for the mount point, so that examples work when pasted. */
#include "fs/render.h"
#include "fs/render_text.h"

#include <stdlib.h>
#include <string.h>

static const char head[] =
	"Locks as files. Open a file here to acquire a lock; close it to release the lock.\n"
	"\n"
	"TRY IT\n"
	"    flock @/job ./nightly.sh               run it, one at a time\n"
	"    ( ./step1; ./step2 ) 9>@/job           the same for a part of a script\n"
	"    ls @/holders/locks/job                 who has it\n"
	"    cat @/status                           everything at a glance\n"
	"    f = open('@/job', 'r+')                Python; f.close() releases\n"
	"\n"
	"A name need not exist before. However a process ends, SIGKILL included, its locks are released.\n"
	"dup(2) and fork(2) share a hold; the last close releases it. Give children that shall not share\n"
	"it no copy (9>&- in a shell, O_CLOEXEC elsewhere).\n"
	"\n";

static const char tree[] =
	"THE TREE\n"
	"    NAME                 short for locks/NAME, unless NAME is one of the words below\n"
	"    locks/NAME           open waits for the lock and takes it, whether for reading or for writing;\n"
	"                         read and write its value, a small file that outlives the hold\n"
	"    locks/DIR/NAME       mkdir makes DIR, a namespace: its owner and mode say who may lock in it\n"
	"    sems/NAME/N/any      a semaphore of N slots: open takes a free slot; read gives its number\n"
	"    sems/NAME/N/K        open takes slot K, 0 <= K < N; sems/NAME/N/ lists the slots taken\n"
	"    files/NAME           the same names as ordinary files: open takes nothing, flock(2) and fcntl(2)\n"
	"                         do; O_EXCL, link, symlink, mkdir and rename work as on any disk\n"
	"    with/OPTS/...        this tree again, with options, separated by commas:\n"
	"        try              do not wait: EAGAIN when it is not free\n"
	"        timeout=DUR      wait so long (250ms, 5s, 2m, 1h): then ETIMEDOUT\n"
	"        shared           share the lock with others who ask for that; read only\n"
	"        lost=SIGNAME     signal this process if its lock is lost\n"
	"    holders/locks/NAME/  one file per holder, waiters/locks/NAME/ one per waiter, in order; the same\n"
	"                         below holders/sems and waiters/sems. rm of a holder's file breaks that lock,\n"
	"                         rm of a waiter's file ends that wait; for root and the process's own user\n"
	"    status               who holds and who waits, as a table; status.json for programs;\n"
	"    metrics              counters for Prometheus\n"
	"\n";

static const char how[] =
	"HOW IT WORKS\n"
	"    First come, first served. Shared waiters next to each other in the queue enter together; later\n"
	"    ones do not overtake a waiter who wants the lock alone.\n"
	"    O_NONBLOCK is the same as with/try.\n"
	"    flock(2) on an open locks/NAME: LOCK_SH shares it, LOCK_UN gives it back early, LOCK_EX has it alone.\n"
	"    Each exclusive grant has a number greater than all before it of that name, for storage that can\n"
	"    refuse a holder who is late:  getfattr -n user.plockfs.token @/locks/job\n"
	"    poll(2) on a held lock says POLLPRI while somebody waits for it, POLLERR|POLLHUP once it is lost.\n"
	"    A lost lock (broken by rm, or the backend can no longer promise it) stays lost: every read, write,\n"
	"    fsync and close says ESTALE, and a write of its former holder changes nothing.\n"
	"    Opening a file here waits: keep indexers, backups and `grep -r` away from locks/ and sems/.\n"
	"\n"
	"    command exec 9<>@/with/try/job || echo 'somebody else has it'\n"
	"    exec 9<>@/with/timeout=5s/job          wait 5 seconds at most\n"
	"    exec 9<@/with/shared/job               together with other readers\n"
	"    exec 9<@/sems/pool/3/any; read slot <&9     one of three; its number in $slot\n"
	"\n";

static const char errors[] =
	"ERRORS\n"
	"    EAGAIN       try, and it is not free\n"
	"    ETIMEDOUT    the timeout passed\n"
	"    EINTR        a signal interrupted the wait\n"
	"    ECANCELED    somebody ended the wait by rm of the waiter's file\n"
	"    EDEADLK      the wait could never end: a circle of holders and waiters, or you have it already\n"
	"    ESTALE       this open file lost its lock\n"
	"    EHOSTDOWN    the backend did not answer in time\n"
	"    EBUSY        rm, truncate, rename or write of a name that another holds\n"
	"    ENOLCK       a limit on waiters, holders or names\n"
	"    EFBIG        the value would be greater than max_value\n"
	"    EACCES       not allowed in this namespace, or writing with a shared lock\n"
	"    EROFS        mounted read only\n"
	"    ENOENT       not a name: names have no leading dot and no control bytes\n"
	"    EINVAL       an option in with/ or a bound in sems/ that is none\n"
	"    Others are as POSIX has them. More: man 8 plockfs\n"
	"\n";

static void expand(FILE *f, const char *text, const char *mountpoint)
{
	for (; *text; text++) {
		if (*text == '@')
			(void)fputs(mountpoint, f);
		else
			(void)fputc(*text, f);
	}
}

/* The mount point as it can be pasted into a shell: bare if it is plain, else without
 * quotes too, each odd byte escaped, since it stands within words. */
static char *shell_word(const char *path)
{
	char *out = malloc(2 * strlen(path) + 1), *p = out;

	if (!out)
		return NULL;
	for (; *path; path++) {
		if (strchr(" \t!\"#$&'()*;<>?[\\]^`{|}~", *path))
			*p++ = '\\';
		*p++ = *path;
	}
	*p = '\0';
	return out;
}

char *render_readme(const struct render_info *i, size_t *len)
{
	char *word = shell_word(i->mountpoint);
	char source[TEXT_ESCAPED_MAX];
	char *buf = NULL;
	FILE *f = NULL;

	if (word)
		f = open_memstream(&buf, len);
	if (!f) {
		free(word);
		return NULL;
	}
	expand(f, head, word);
	expand(f, tree, word);
	expand(f, how, word);
	expand(f, errors, word);
	(void)text_escape(i->source, TEXT_LINE, source, sizeof(source));
	(void)fprintf(f, "This is plockfs %s on %s; the locks are in %s.%s\n", i->version, i->host, source,
		      i->read_only ? " Mounted read only." : "");
	free(word);
	return text_finish(f, &buf);
}
