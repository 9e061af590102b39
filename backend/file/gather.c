/* Views: who holds and waits, here and outside. */
#include "backend/file/gather.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utlist.h>

struct gather *gather_new(struct file_backend *b, enum lk_kind kind, const char *name)
{
	struct gather *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->b = b;
	g->kind = kind;
	if (name && !(g->name = strdup(name))) {
		free(g);
		return NULL;
	}
	return g;
}

void gather_free(struct gather *g)
{
	while (g->n_strings)
		free(g->strings[--g->n_strings]);
	free(g->strings);
	free(g->holders);
	free(g->waiters);
	free(g->peers);
	free(g->name);
	free(g);
}

static bool grow(struct gather *g, void **items, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 16;
	void *more;

	if (n < *cap)
		return true;
	more = reallocarray(*items, want, size);
	if (!more) {
		g->err = -ENOMEM;
		return false;
	}
	*items = more;
	*cap = want;
	return true;
}

const char *gather_string(struct gather *g, const char *s)
{
	char *copy;

	if (!*s || !grow(g, (void **)&g->strings, g->n_strings, &g->cap_strings, sizeof(char *)))
		return "";
	copy = strdup(s);
	if (!copy) {
		g->err = -ENOMEM;
		return "";
	}
	g->strings[g->n_strings++] = copy;
	return copy;
}

void gather_holder(struct gather *g, const struct lk_party *p)
{
	if (grow(g, (void **)&g->holders, g->n_holders, &g->cap_holders, sizeof(*p)))
		g->holders[g->n_holders++] = *p;
}

void gather_waiter(struct gather *g, const struct lk_party *p)
{
	if (grow(g, (void **)&g->waiters, g->n_waiters, &g->cap_waiters, sizeof(*p)))
		g->waiters[g->n_waiters++] = *p;
}

/* The name may be freed before the other mounts have answered: it is copied. */
static void name_here(struct gather *g, const struct fname *n)
{
	const char *name = g->name ? g->name : gather_string(g, fname_str(n));
	struct lk_party p;
	struct arb_holder *ah;
	struct arb_waiter *aw;
	char id[80];

	DL_FOREACH(n->arb.holders, ah) {
		struct fhold *h = (struct fhold *)((char *)ah - offsetof(struct fhold, arb));

		memset(&p, 0, sizeof(p));
		snprintf(id, sizeof(id), "%s/%" PRIu64, g->b->id, h->serial);
		p.id = gather_string(g, id);
		p.host = g->b->base.host;
		p.owner = h->pub.owner;
		p.kind = n->arb.kind;
		p.name = name;
		p.mode = h->pub.mode;
		p.slot = h->pub.slot;
		p.token = h->pub.token;
		p.since = h->pub.since;
		p.here = true;
		gather_holder(g, &p);
	}
	DL_FOREACH(n->arb.waiters, aw) {
		struct fwait *w = (struct fwait *)aw;

		memset(&p, 0, sizeof(p));
		snprintf(id, sizeof(id), "%s/%" PRIu64, g->b->id, w->serial);
		p.id = gather_string(g, id);
		p.host = g->b->base.host;
		p.owner = w->req->owner;
		p.kind = n->arb.kind;
		p.name = name;
		p.mode = w->req->mode;
		p.slot_lo = w->req->slot_lo;
		p.slot_hi = w->req->slot_hi;
		p.since = w->req->asked;
		p.here = true;
		gather_waiter(g, &p);
	}
}

void gather_here(struct gather *g)
{
	struct fname *n, *tmp;

	if (g->name) {
		n = fname_find(g->b, g->kind, g->name);
		if (n)
			name_here(g, n);
		return;
	}
	HASH_ITER(hh, g->b->names, n, tmp) {
		if (n->arb.kind == g->kind && !fname_hidden(n))
			name_here(g, n);
	}
}

/* --- programs outside --- */

struct outside {
	pid_t pid;
	enum lk_mode mode;
	unsigned long inode;
	unsigned major, minor;
	bool waits;
};

/* "1: FLOCK  ADVISORY  WRITE 123 08:01:456 0 EOF", "1: -> FLOCK ..." for one that waits. */
static bool parse_line(const char *line, struct outside *o)
{
	char type[16], how[16], mode[16];
	const char *p = strchr(line, ':');
	int pid;

	if (!p)
		return false;
	p++;
	while (*p == ' ')
		p++;
	o->waits = strncmp(p, "->", 2) == 0;
	if (o->waits)
		p += 2;
	if (sscanf(p, " %15s %15s %15s %d %x:%x:%lu", type, how, mode, &pid, &o->major, &o->minor, &o->inode) != 7 ||
	    strcmp(type, "FLOCK") != 0)
		return false;
	o->pid = pid;
	o->mode = strcmp(mode, "READ") == 0 ? LK_SHARED : LK_EXCLUSIVE;
	return true;
}

static bool is_mount(const struct gather *g, pid_t pid)
{
	size_t i;

	if (pid == getpid())
		return true;
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

static void outside_party(struct gather *g, const struct outside *o, const char *name, unsigned slot)
{
	struct lk_party p;

	memset(&p, 0, sizeof(p));
	p.id = "";
	p.host = g->b->base.host;
	describe_process(&p.owner, o->pid);
	p.kind = g->kind;
	p.name = gather_string(g, name);
	p.mode = o->mode;
	p.slot = slot;
	p.slot_lo = slot;
	p.slot_hi = slot + 1;
	if (o->waits)
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

/* Files that a flock may be on: inode to name. */
struct candidate {
	unsigned long inode;
	unsigned slot;
	UT_hash_handle hh;
	char name[];
};

static void add_candidate(struct candidate **all, unsigned long inode, const char *name, unsigned slot)
{
	size_t len = strlen(name);
	struct candidate *c;

	HASH_FIND(hh, *all, &inode, sizeof(inode), c);
	if (c)
		return;
	c = calloc(1, sizeof(*c) + len + 1);
	if (!c)
		return;
	c->inode = inode;
	c->slot = slot;
	memcpy(c->name, name, len);
	HASH_ADD(hh, *all, inode, sizeof(c->inode), c);
}

static void walk(struct gather *g, struct candidate **all, const char *ns, unsigned depth);

static void consider(struct gather *g, struct candidate **all, const char *ns, const struct dirent *e, unsigned depth)
{
	char full[LK_NAME_MAX + 1], sem[256];
	unsigned slot = 0;

	if ((size_t)snprintf(full, sizeof(full), "%s%s%s", ns, *ns ? "/" : "", e->d_name) >= sizeof(full))
		return;
	if (g->kind == LK_SEM) {
		if (slot_of(e->d_name, sem, &slot) && (!g->name || strcmp(g->name, sem) == 0))
			add_candidate(all, e->d_ino, sem, slot);
	} else if (e->d_type == DT_DIR) {
		if (lk_component_valid(e->d_name) && depth < 16)
			walk(g, all, full, depth + 1);
	} else if (lk_component_valid(e->d_name)) {
		add_candidate(all, e->d_ino, full, 0);
	}
}

static void walk(struct gather *g, struct candidate **all, const char *ns, unsigned depth)
{
	int at = g->kind == LK_LOCK ? g->b->store.locks : g->b->store.sems;
	int fd = store_openat(at, *ns ? ns : ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			consider(g, all, ns, e, depth);
	}
	closedir(d);
}

/* The flocks on that file system that are no mount's of this DIR. */
static struct outside *read_locks(const struct gather *g, dev_t dev, size_t *n)
{
	FILE *f = fopen("/proc/locks", "re");
	struct outside *list = NULL, *more, o;
	char line[256];

	*n = 0;
	if (!f)
		return NULL;
	while (fgets(line, sizeof(line), f)) {
		if (!parse_line(line, &o) || o.major != major(dev) || o.minor != minor(dev) || is_mount(g, o.pid))
			continue;
		more = reallocarray(list, *n + 1, sizeof(*list));
		if (!more)
			break;
		list = more;
		list[(*n)++] = o;
	}
	fclose(f);
	return list;
}

void gather_outside(struct gather *g)
{
	struct candidate *all = NULL, *c, *tmp;
	struct outside *list;
	struct stat st;
	size_t n, i;

	list = read_locks(g, g->b->store.locks_id.st_dev, &n);
	if (n == 0)
		return; /* and no need to look at every file */
	if (g->kind != LK_LOCK || !g->name)
		walk(g, &all, "", 0);
	else if (store_stat(g->b->store.locks, g->name, &st) == 0)
		add_candidate(&all, st.st_ino, g->name, 0);
	for (i = 0; i < n; i++) {
		HASH_FIND(hh, all, &list[i].inode, sizeof(list[i].inode), c);
		if (c)
			outside_party(g, &list[i], c->name, c->slot);
	}
	HASH_ITER(hh, all, c, tmp) {
		HASH_DEL(all, c);
		free(c);
	}
	free(list);
}
