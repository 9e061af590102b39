/* Programs outside that have a flock in DIR, as /proc/locks tells.
 *
 * For each page of it the kernel walks its list of locks from the start, so its
 * cost grows with the square of their number, ours included. When it is long a
 * worker reads it: once for all who ask meanwhile, and for a time that is in
 * proportion to what it took. An inode that a list names may have gone since,
 * and its number be another file's: who asked after the list was begun takes
 * nothing from it about files that are newer.
 */
#include "backend/file/gather.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utlist.h>

#define LONG 2000 /* more locks than this are a worker's */
#define REUSE 4	  /* times what it took */
#define DEPTH_MAX 16
#define FILE_TICK (10 * PL_MS) /* the times of files lag behind by as much */

struct flocked {
	pid_t pid;
	enum lk_mode mode;
	unsigned long inode;
	unsigned major, minor;
	bool waits;
};

struct table {
	uint64_t begun; /* pl_wall() */
	struct flocked *list;
	size_t n, lines; /* lines: of the whole file */
};

struct asker {
	struct gather *g;
	void (*done)(void *arg);
	void (*drop)(void *arg);
	void *arg;
	bool late; /* the reading had begun */
	struct asker *next;
};

struct reading {
	uv_work_t work;
	struct outsiders *o; /* NULL once that is gone */
	dev_t dev;
	struct table table;
};

struct outsiders {
	struct file_backend *b;
	struct table table;
	uint64_t read_at, cost; /* of the last read, pl_now() ns */
	struct reading *reading;
	struct asker *askers; /* utlist LL: those who wait for it */
};

/* --- reading --- */

/* "1: FLOCK  ADVISORY  WRITE 123 08:01:456 0 EOF", "1: -> FLOCK ..." for one that waits. */
static bool parse_line(const char *line, struct flocked *f)
{
	char type[16], how[16], mode[16];
	const char *p = strchr(line, ':');
	int pid;

	if (!p)
		return false;
	p++;
	while (*p == ' ')
		p++;
	f->waits = strncmp(p, "->", 2) == 0;
	if (f->waits)
		p += 2;
	if (sscanf(p, " %15s %15s %15s %d %x:%x:%lu", type, how, mode, &pid, &f->major, &f->minor, &f->inode) != 7 ||
	    strcmp(type, "FLOCK") != 0)
		return false;
	f->pid = pid;
	f->mode = strcmp(mode, "READ") == 0 ? LK_SHARED : LK_EXCLUSIVE;
	return true;
}

/* The flocks on that file system, but for our own, into an empty table. */
static void read_locks(dev_t dev, struct table *t)
{
	FILE *file = fopen("/proc/locks", "re");
	struct flocked *more, f;
	char line[256], *buf;
	size_t cap = 0;
	pid_t us = getpid();

	if (!file)
		return;
	/* As much by one read(2) as the kernel gives: stdio would take a fourth of it. */
	buf = malloc(65536);
	if (buf)
		setvbuf(file, buf, _IOFBF, 65536);
	for (; fgets(line, sizeof(line), file); t->lines++) {
		if (!parse_line(line, &f) || f.major != major(dev) || f.minor != minor(dev) || f.pid == us)
			continue;
		if (t->n == cap) {
			cap = cap ? cap * 2 : 16;
			more = reallocarray(t->list, cap, sizeof(*more));
			if (!more)
				break;
			t->list = more;
		}
		t->list[t->n++] = f;
	}
	fclose(file);
	free(buf);
}

/* --- what is of this DIR --- */

static bool is_mount(const struct gather *g, pid_t pid)
{
	size_t i;

	for (i = 0; i < g->n_peers; i++) {
		if (g->peers[i] == pid)
			return true;
	}
	return false;
}

static void describe_process(struct lk_owner *o, pid_t pid)
{
	char path[64];
	struct stat st;
	ssize_t n;
	int fd;

	memset(o, 0, sizeof(*o));
	o->pid = o->tid = pid > 0 ? pid : 0;
	if (pid <= 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &st) == 0) {
		o->uid = st.st_uid;
		o->gid = st.st_gid;
	}
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, o->comm, sizeof(o->comm) - 1);
	if (n > 0 && o->comm[n - 1] == '\n')
		o->comm[n - 1] = '\0';
	close(fd);
}

static void add_party(struct gather *g, const struct flocked *f, const char *name, unsigned slot)
{
	struct lk_party p;

	memset(&p, 0, sizeof(p));
	p.id = "";
	p.host = g->b->base.host;
	describe_process(&p.owner, f->pid);
	p.kind = g->kind;
	p.name = gather_string(g, name);
	p.mode = f->mode;
	p.slot = slot;
	p.slot_lo = slot;
	p.slot_hi = slot + 1;
	if (f->waits)
		gather_waiter(g, &p);
	else
		gather_holder(g, &p);
}

/* The file of one semaphore's slot: NAME.KK.lock. */
static bool slot_of(const char *file, char *name, unsigned *slot)
{
	size_t len = strlen(file), dot;

	if (len < 9 || len > 255 || strcmp(file + len - 5, ".lock") != 0)
		return false;
	dot = len - 5;
	while (dot > 0 && file[dot - 1] >= '0' && file[dot - 1] <= '9')
		dot--;
	if (dot < 2 || file[dot - 1] != '.' || len - 5 - dot < 2 || len - 5 - dot > 5)
		return false;
	*slot = (unsigned)strtoul(file + dot, NULL, 10);
	memcpy(name, file, dot - 1);
	name[dot - 1] = '\0';
	return lk_component_valid(name);
}

/* A flock'ed file, and its name once it is found. */
struct wanted {
	unsigned long inode;
	unsigned slot;
	char *name;
	char *path; /* of the file, where it is not the name */
	UT_hash_handle hh;
};

static struct wanted *find_wanted(struct wanted *all, unsigned long inode)
{
	struct wanted *w;

	HASH_FIND(hh, all, &inode, sizeof(inode), w);
	return w;
}

static void want(struct wanted **all, unsigned long inode)
{
	struct wanted *w = find_wanted(*all, inode);

	if (w)
		return;
	w = calloc(1, sizeof(*w));
	if (!w)
		return;
	w->inode = inode;
	HASH_ADD(hh, *all, inode, sizeof(w->inode), w);
}

static void walk(const struct gather *g, struct wanted *all, const char *ns, unsigned depth);

static void consider(const struct gather *g, struct wanted *all, const char *ns, const struct dirent *e, unsigned depth)
{
	bool folder = g->kind == LK_LOCK && e->d_type == DT_DIR;
	char full[LK_NAME_MAX + 1], sem[256];
	struct wanted *w = folder ? NULL : find_wanted(all, e->d_ino);
	unsigned slot = 0;

	if ((!w || w->name) && !folder)
		return;
	if ((size_t)snprintf(full, sizeof(full), "%s%s%s", ns, *ns ? "/" : "", e->d_name) >= sizeof(full))
		return;
	if (g->kind == LK_SEM) {
		if (!slot_of(e->d_name, sem, &slot) || (g->name && strcmp(g->name, sem) != 0))
			return;
		w->slot = slot;
		w->name = strdup(sem);
		w->path = strdup(e->d_name);
	} else if (!lk_component_valid(e->d_name)) {
		return;
	} else if (!folder) {
		w->name = strdup(full);
	} else if (depth < DEPTH_MAX) {
		walk(g, all, full, depth + 1);
	}
}

static int folder_of(const struct gather *g)
{
	return g->kind == LK_LOCK ? g->b->store.locks : g->b->store.sems;
}

static void walk(const struct gather *g, struct wanted *all, const char *ns, unsigned depth)
{
	DIR *d = store_opendir(folder_of(g), *ns ? ns : ".");
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			consider(g, all, ns, e, depth);
	}
	closedir(d);
}

static bool one_name(const struct gather *g)
{
	return g->kind == LK_LOCK && g->name;
}

/* The file of w is another than the one that had the inode's number when the list was begun. */
static bool is_newer(const struct gather *g, const struct wanted *w, uint64_t begun)
{
	struct statx st;

	return statx(folder_of(g), w->path ? w->path : w->name, AT_SYMLINK_NOFOLLOW, STATX_BTIME, &st) == 0 &&
	       (st.stx_mask & STATX_BTIME) &&
	       (uint64_t)st.stx_btime.tv_sec * PL_SEC + st.stx_btime.tv_nsec + FILE_TICK >= begun;
}

/* A flock that cannot stand beside what is held here, of a list that may be older: it was given up since. */
static bool is_past(const struct gather *g, const struct flocked *f)
{
	size_t i;

	for (i = 0; one_name(g) && !f->waits && i < g->n_holders; i++) {
		if (g->holders[i].here && (f->mode == LK_EXCLUSIVE || g->holders[i].mode == LK_EXCLUSIVE))
			return true;
	}
	return false;
}

/* late: who asks did so after the list was begun. */
static void match(const struct table *t, struct gather *g, bool late)
{
	struct wanted *all = NULL, *w, *tmp;
	struct stat st;
	size_t i;

	/* When nobody has any there is no need to look at every file. */
	for (i = 0; i < t->n; i++) {
		if (!is_mount(g, t->list[i].pid))
			want(&all, t->list[i].inode);
	}
	if (all && one_name(g)) {
		w = store_stat(g->b->store.locks, g->name, &st) == 0 ? find_wanted(all, st.st_ino) : NULL;
		if (w)
			w->name = strdup(g->name);
	} else if (all) {
		walk(g, all, "", 0);
	}
	for (i = 0; all && i < t->n; i++) {
		w = is_mount(g, t->list[i].pid) ? NULL : find_wanted(all, t->list[i].inode);
		if (w && w->name && !(late && (is_newer(g, w, t->begun) || is_past(g, &t->list[i]))))
			add_party(g, &t->list[i], w->name, w->slot);
	}
	HASH_ITER(hh, all, w, tmp) {
		HASH_DEL(all, w);
		free(w->name);
		free(w->path);
		free(w);
	}
}

/* --- asking --- */

static void keep(struct outsiders *o, const struct table *t, uint64_t begun)
{
	free(o->table.list);
	o->table = *t;
	o->read_at = pl_now(o->b->base.loop);
	o->cost = o->read_at - begun;
}

static void read_work(uv_work_t *work)
{
	struct reading *r = work->data;

	read_locks(r->dev, &r->table);
}

static void read_after(uv_work_t *work, int status)
{
	struct reading *r = work->data;
	struct outsiders *o = r->o;
	struct asker *a, *next;

	(void)status;
	if (!o) {
		free(r->table.list);
		free(r);
		return;
	}
	o->reading = NULL;
	keep(o, &r->table, o->read_at);
	free(r);
	a = o->askers;
	o->askers = NULL;
	for (; a; a = next) {
		next = a->next;
		match(&o->table, a->g, a->late);
		a->done(a->arg);
		free(a);
	}
}

static bool start_reading(struct outsiders *o)
{
	struct reading *r = calloc(1, sizeof(*r));

	if (!r)
		return false;
	r->o = o;
	r->dev = o->b->store.locks_id.st_dev;
	r->table.begun = pl_wall(o->b->base.loop);
	r->work.data = r;
	if (uv_queue_work(pl_loop_uv(o->b->base.loop), &r->work, read_work, read_after) != 0) {
		free(r);
		return false;
	}
	o->read_at = pl_now(o->b->base.loop);
	o->reading = r;
	return true;
}

/* False: not by a worker, then. */
static bool ask_worker(struct outsiders *o, struct gather *g, void (*done)(void *arg), void (*drop)(void *arg),
		       void *arg)
{
	struct asker *a = calloc(1, sizeof(*a));

	if (a)
		a->late = o->reading != NULL;
	if (!a || (!o->reading && !start_reading(o))) {
		free(a);
		return false;
	}
	a->g = g;
	a->done = done;
	a->drop = drop;
	a->arg = arg;
	LL_APPEND(o->askers, a);
	return true;
}

void gather_outside(struct gather *g, void (*done)(void *arg), void (*drop)(void *arg), void *arg)
{
	struct outsiders *o = g->b->outsiders;
	uint64_t now = pl_now(g->b->base.loop);
	bool late = true;
	struct table t = { .begun = pl_wall(g->b->base.loop) };
	struct stat st;

	if (one_name(g) && store_stat(g->b->store.locks, g->name, &st) < 0) {
		done(arg); /* a file that is not there has no flock */
		return;
	}
	if (o->table.lines <= LONG || o->reading || now - o->read_at > REUSE * o->cost) {
		if (o->table.lines > LONG && ask_worker(o, g, done, drop, arg))
			return;
		read_locks(g->b->store.locks_id.st_dev, &t);
		keep(o, &t, now);
		late = false;
	}
	match(&o->table, g, late);
	done(arg);
}

struct outsiders *outsiders_new(struct file_backend *b)
{
	struct outsiders *o = calloc(1, sizeof(*o));

	if (o)
		o->b = b;
	return o;
}

bool outsiders_busy(const struct outsiders *o)
{
	return o->askers != NULL;
}

void outsiders_free(struct outsiders *o)
{
	struct asker *a, *next;

	if (!o)
		return;
	for (a = o->askers; a; a = next) {
		next = a->next;
		a->drop(a->arg);
		free(a);
	}
	if (o->reading)
		o->reading->o = NULL;
	free(o->table.list);
	free(o);
}
