/* Facts about processes, from /proc: each is one open, one read, one close.
 *
 * A pid alone proves nothing, since the kernel gives it to the next process:
 * whatever is asked about an owner compares the start time too, after the
 * fact was read, so that a reused pid is never taken for the owner.
 */
#define HASH_NONFATAL_OOM 1
#include "fs/who.h"

#include "base/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uthash.h>
#include <utlist.h>

#define CACHE_MAX 1024
#define RUNNING_TRIES 1000
#define CACHE_NS (50 * PL_MS)

struct who_entry {
	pid_t tid;
	uint64_t read_at; /* pl_now() */
	struct lk_owner owner;
	struct who_entry *prev, *next; /* oldest first */
	UT_hash_handle hh;
};

struct who_cache {
	struct pl_loop *loop;
	struct who_entry *by_tid, *by_age;
	unsigned n;
};

/* --- reading --- */

/* At most size - 1 bytes, terminated. The length or negative errno. */
static ssize_t read_at(int dirfd, const char *path, char *buf, size_t size)
{
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 0;
	int err = 0;

	if (fd < 0)
		return -errno;
	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		err = -errno;
	close(fd);
	buf[len] = '\0';
	return err ? err : (ssize_t)len;
}

static ssize_t read_proc(pid_t pid, const char *file, char *buf, size_t size)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return read_at(AT_FDCWD, path, buf, size);
}

/* The value of "key:\t..." in a text of lines, or NULL; key has the colon. */
static const char *line_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && strncmp(text, key, len) != 0) {
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return text ? text + len : NULL;
}

struct proc_stat {
	char comm[LK_COMM_MAX];
	char state;
	unsigned threads;
	uint64_t start;
};

/* /proc/PID/stat: "pid (comm) state ppid ..."; comm may hold blanks and ')'. */
static int read_stat(pid_t pid, struct proc_stat *st)
{
	char buf[1024];
	ssize_t n = read_proc(pid, "stat", buf, sizeof(buf));
	char *open, *close_, *p;
	size_t len;
	int field;

	if (n < 0)
		return (int)n;
	open = strchr(buf, '(');
	close_ = strrchr(buf, ')');
	if (!open || !close_ || close_ < open || close_[1] != ' ')
		return -EIO;
	len = (size_t)(close_ - open - 1);
	if (len > sizeof(st->comm) - 1)
		len = sizeof(st->comm) - 1;
	memcpy(st->comm, open + 1, len);
	st->comm[len] = '\0';
	p = close_ + 2;
	st->state = *p;
	for (field = 3; field < 20 && p; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EIO;
	st->threads = (unsigned)strtoul(p, &p, 10); /* up to the blank before field 21 */
	p = strchr(p + 1, ' ');
	if (!p)
		return -EIO;
	st->start = strtoull(p, NULL, 10);
	return 0;
}

static bool gone(const struct proc_stat *st)
{
	return st->state == 'Z' || st->state == 'X';
}

/* The stat of the owner's very process. */
static int stat_of(const struct lk_owner *o, struct proc_stat *st)
{
	int err;

	if (o->pid <= 0 || o->start == 0)
		return -ESRCH;
	err = read_stat(o->pid, st);
	if (err < 0)
		return err;
	return st->start == o->start ? 0 : -ESRCH;
}

/* --- the process of a thread --- */

static void look_up(pid_t tid, struct lk_owner *out)
{
	char buf[1024];
	struct proc_stat st;
	const char *tgid;
	long pid = tid;

	out->pid = tid;
	out->tid = tid;
	out->start = 0;
	out->comm[0] = '\0';
	if (tid <= 0)
		return;
	if (read_proc(tid, "status", buf, sizeof(buf)) < 0)
		return;
	tgid = line_of(buf, "Tgid:");
	if (tgid)
		pid = strtol(tgid, NULL, 10);
	/* The leader's start time is the process's, whichever thread asks. */
	if (pid <= 0 || read_stat((pid_t)pid, &st) < 0)
		return;
	out->pid = (pid_t)pid;
	out->start = st.start;
	memcpy(out->comm, st.comm, sizeof(out->comm));
}

struct who_cache *who_cache_new(struct pl_loop *loop)
{
	struct who_cache *c = calloc(1, sizeof(*c));

	if (c)
		c->loop = loop;
	return c;
}

static void drop(struct who_cache *c, struct who_entry *e)
{
	HASH_DEL(c->by_tid, e);
	DL_DELETE(c->by_age, e);
	c->n--;
	free(e);
}

void who_cache_free(struct who_cache *c)
{
	if (!c)
		return;
	while (c->by_age)
		drop(c, c->by_age);
	free(c);
}

static void remember(struct who_cache *c, const struct lk_owner *owner, uint64_t now)
{
	struct who_entry *e;

	if (c->n >= CACHE_MAX)
		drop(c, c->by_age);
	e = calloc(1, sizeof(*e));
	if (!e)
		return;
	e->tid = owner->tid;
	e->owner = *owner;
	e->read_at = now;
	HASH_ADD(hh, c->by_tid, tid, sizeof(e->tid), e);
	if (!e->hh.tbl) {
		free(e);
		return;
	}
	DL_APPEND(c->by_age, e);
	c->n++;
}

void who_resolve(struct who_cache *c, pid_t tid, uid_t uid, gid_t gid, struct lk_owner *out)
{
	uint64_t now = pl_now(c->loop);
	struct who_entry *e;

	HASH_FIND(hh, c->by_tid, &tid, sizeof(tid), e);
	if (e && now - e->read_at > CACHE_NS) {
		drop(c, e);
		e = NULL;
	}
	if (e) {
		*out = e->owner;
	} else {
		memset(out, 0, sizeof(*out));
		look_up(tid, out);
		if (out->start)
			remember(c, out, now);
	}
	out->uid = uid;
	out->gid = gid;
}

/* --- questions about an owner --- */

bool who_alive(const struct lk_owner *o)
{
	struct proc_stat st;

	return stat_of(o, &st) == 0 && !gone(&st);
}

unsigned who_threads(const struct lk_owner *o)
{
	struct proc_stat st;

	return stat_of(o, &st) == 0 && !gone(&st) ? st.threads : 0;
}

static bool fdinfo_is(int dirfd, const char *name, uint64_t ino)
{
	char buf[512];
	const char *value;

	if (read_at(dirfd, name, buf, sizeof(buf)) < 0)
		return false;
	value = line_of(buf, "ino:");
	return value && strtoull(value, NULL, 10) == ino;
}

int who_has_inode_open(const struct lk_owner *o, uint64_t ino)
{
	char path[64];
	struct proc_stat st;
	struct dirent *d;
	bool found = false;
	DIR *dir;
	int err;

	if (o->pid <= 0 || o->start == 0)
		return -ESRCH;
	(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)o->pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	errno = 0;
	while (!found && (d = readdir(dir)) != NULL) {
		if (d->d_name[0] != '.')
			found = fdinfo_is(dirfd(dir), d->d_name, ino);
		errno = 0;
	}
	err = -errno;
	closedir(dir);
	if (!found && err < 0)
		return err;
	err = stat_of(o, &st);
	return err < 0 ? err : found;
}

static bool name_making(long nr)
{
	static const long calls[] = {
		SYS_mkdirat,
		SYS_mknodat,
		SYS_symlinkat,
		SYS_linkat,
		SYS_renameat,
		SYS_renameat2,
#ifdef SYS_mkdir
		SYS_mkdir,
#endif
#ifdef SYS_mknod
		SYS_mknod,
#endif
#ifdef SYS_symlink
		SYS_symlink,
#endif
#ifdef SYS_rename
		SYS_rename,
#endif
#ifdef SYS_link
		SYS_link,
#endif
#if defined(__x86_64__) && !defined(__ILP32__)
		/* mkdir, mkdirat and the renames of 32-bit programs; as 64-bit numbers these
		 * are getpid, pwritev and the like, which look up no name. */
		39,
		296,
		38,
		302,
		353,
#endif
	};
	size_t i;

	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i] == nr)
			return true;
	}
	return false;
}

bool who_makes_name(pid_t tid)
{
	unsigned tries = RUNNING_TRIES;
	char buf[256];
	char *end;
	long nr;

	if (tid <= 0)
		return false;
	/* We may read the request before its thread, on another CPU, has gone to
	 * sleep for the answer: /proc then says "running". It soon does sleep. */
	do {
		if (read_proc(tid, "syscall", buf, sizeof(buf)) <= 0)
			return false;
		nr = strtol(buf, &end, 10);
		if (end != buf)
			return name_making(nr);
		sched_yield();
	} while (--tries > 0);
	return false;
}

static bool in_list(const char *p, gid_t gid)
{
	char *end;

	while (*p && *p != '\n') {
		unsigned long g = strtoul(p, &end, 10);

		if (end == p)
			return false;
		if (g == gid)
			return true;
		p = end + strspn(end, " \t");
	}
	return false;
}

bool who_in_group(pid_t tid, gid_t caller_gid, gid_t gid)
{
	size_t size = 4096;
	const char *groups;
	bool found = false;
	char *buf = NULL;
	ssize_t n;

	if (caller_gid == gid)
		return true;
	if (tid <= 0)
		return false;
	/* A process may be in 65,536 groups: read on until the line is whole. */
	for (;;) {
		char *more = realloc(buf, size);

		if (!more)
			break;
		buf = more;
		n = read_proc(tid, "status", buf, size);
		if (n < 0)
			break;
		groups = line_of(buf, "Groups:");
		if (groups && strchr(groups, '\n')) {
			groups += strspn(groups, " \t");
			found = in_list(groups, gid);
			break;
		}
		if ((size_t)n < size - 1 || size > (1u << 20))
			break;
		size *= 4;
	}
	free(buf);
	return found;
}

int who_signal(const struct lk_owner *o, int sig)
{
	struct proc_stat st;
	int fd, err;

	if (o->pid <= 0 || o->start == 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, o->pid, 0);
	if (fd < 0 && errno == ENOSYS) { /* before Linux 5.3: the pid may be reused in between */
		err = stat_of(o, &st);
		if (err == 0 && kill(o->pid, sig) < 0)
			err = -errno;
		return err == -ENOENT ? -ESRCH : err;
	}
	if (fd < 0)
		return -errno;
	/* Looked at after the pidfd stands for one process for good. */
	err = stat_of(o, &st);
	if (err == 0 && syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0)
		err = -errno;
	close(fd);
	return err == -ENOENT ? -ESRCH : err;
}
