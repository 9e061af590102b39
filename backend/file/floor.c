/* The token counter. Every field of the page is written by several mounts at
 * once, so each change is one atomic operation. */
#include "backend/file/floor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x31726f6f6c666b70) /* "pkfloor1" */
#define NAME "floor"
#define TEMP "floor.new"

struct floor_page {
	uint64_t magic;
	_Atomic uint64_t last;
	_Atomic uint64_t ceiling;
	char boot[40];
};

static void boot_id(char out[40])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	memset(out, 0, 40);
	if (fd < 0)
		return;
	n = read(fd, out, 36);
	if (n != 36)
		memset(out, 0, 40);
	close(fd);
}

static void raise_to(_Atomic uint64_t *v, uint64_t to)
{
	uint64_t now = atomic_load(v);

	while (now < to && !atomic_compare_exchange_weak(v, &now, to))
		;
}

/* A new file, complete before it has its name. */
static int make(int dir, uint64_t last)
{
	struct floor_page page;
	int fd, err = 0;

	memset(&page, 0, sizeof(page));
	page.magic = MAGIC;
	atomic_init(&page.last, last);
	atomic_init(&page.ceiling, last);
	boot_id(page.boot);
	fd = openat(dir, TEMP, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (pwrite(fd, &page, sizeof(page), 0) != (ssize_t)sizeof(page) || fsync(fd) < 0)
		err = errno ? -errno : -EIO;
	close(fd);
	if (err == 0 && renameat(dir, TEMP, dir, NAME) < 0)
		err = -errno;
	if (err == 0 && fsync(dir) < 0)
		err = -errno;
	return err;
}

static int map(struct floor *f)
{
	struct stat st;
	void *p;

	f->fd = openat(f->dir, NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (f->fd < 0)
		return -errno;
	if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct floor_page)) {
		close(f->fd);
		f->fd = -1;
		return -EBADMSG;
	}
	p = mmap(NULL, sizeof(struct floor_page), PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (p == MAP_FAILED) {
		int err = -errno;

		close(f->fd);
		f->fd = -1;
		return err;
	}
	f->page = p;
	if (f->page->magic == MAGIC)
		return 0;
	floor_close(f);
	return -EBADMSG;
}

/* After a reboot what was written after the last fsync may be lost: the
 * ceiling was durable, so nothing above it was ever given. */
static void after_boot(struct floor *f)
{
	uint64_t durable;
	char boot[40];

	boot_id(boot);
	if (!f->page || memcmp(boot, f->page->boot, sizeof(boot)) == 0)
		return;
	if (pread(f->fd, &durable, sizeof(durable), (off_t)sizeof(*f->page)) == (ssize_t)sizeof(durable))
		raise_to(&f->page->last, durable);
	raise_to(&f->page->last, atomic_load(&f->page->ceiling));
	memcpy(f->page->boot, boot, sizeof(boot));
}

/* With .plockfs flock'ed, so that two mounts do not both make the file. */
static int open_locked(struct floor *f, uint64_t at_least, uint64_t wall_us)
{
	int err = map(f);

	if (err == -ENOENT || err == -EBADMSG) {
		/* The old one is lost. Whatever it had given lies at most a window
		 * above the clock: go on from two above. */
		uint64_t from = wall_us + 2 * FLOOR_WINDOW_US;

		err = make(f->dir, at_least > from ? at_least : from);
		if (err == 0)
			err = map(f);
	}
	if (err)
		return err;
	after_boot(f);
	raise_to(&f->page->last, at_least);
	err = floor_raise(f->fd, wall_us);
	if (err)
		floor_close(f);
	return err;
}

static int open_at_least(struct floor *f, uint64_t at_least, uint64_t wall_us)
{
	int lock = openat(f->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (lock < 0)
		return -errno;
	/* Held by others only while they do these few lines. */
	err = flock(lock, LOCK_EX) < 0 ? -errno : open_locked(f, at_least, wall_us);
	close(lock);
	return err;
}

int floor_open(struct floor *f, int dir, uint64_t wall_us)
{
	f->dir = dir;
	f->fd = -1;
	f->page = NULL;
	f->had = 0;
	/* A new DIR has given no token yet and starts two windows ahead: harmless. */
	return open_at_least(f, 0, wall_us);
}

void floor_close(struct floor *f)
{
	if (f->page)
		munmap(f->page, sizeof(*f->page));
	if (f->fd >= 0)
		close(f->fd);
	f->page = NULL;
	f->fd = -1;
}

/* Touching a page past the end of a file that was cut would be SIGBUS. */
static bool whole(int fd, struct stat *st)
{
	return fstat(fd, st) == 0 && st->st_size >= (off_t)sizeof(struct floor_page);
}

int floor_raise(int fd, uint64_t wall_us)
{
	struct floor_page *p;
	uint64_t last, want;
	struct stat st;
	int err = 0;

	if (!whole(fd, &st))
		return -ESTALE; /* floor_next makes a new one */
	p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	last = atomic_load(&p->last);
	want = (last > wall_us ? last : wall_us) + FLOOR_WINDOW_US;
	/* Durable first, in a place of its own behind the page: another mount may
	 * give tokens up to the shared ceiling as soon as it reads it. */
	if (pwrite(fd, &want, sizeof(want), (off_t)sizeof(*p)) != (ssize_t)sizeof(want) || fdatasync(fd) < 0)
		err = errno ? -errno : -EIO;
	if (err == 0)
		raise_to(&p->ceiling, want);
	munmap(p, sizeof(*p));
	return err;
}

uint64_t floor_last(const struct floor *f)
{
	struct stat st;

	return f->page && whole(f->fd, &st) ? atomic_load(&f->page->last) : f->had;
}

int floor_next(struct floor *f, uint64_t wall_us, uint64_t *token)
{
	struct stat st;
	uint64_t last, next;
	int err;

	/* Removed or cut under us: other mounts may be counting in a new file. */
	if (!f->page || !whole(f->fd, &st) || st.st_nlink == 0) {
		uint64_t had = floor_last(f);

		if (had > f->had)
			f->had = had;
		floor_close(f);
		err = open_at_least(f, f->had, wall_us);
		if (err)
			return err;
	}
	last = atomic_load(&f->page->last);
	f->others |= last != f->had;
	do {
		next = last + 1 > wall_us ? last + 1 : wall_us;
		if (next > atomic_load(&f->page->ceiling)) {
			err = floor_raise(f->fd, wall_us);
			if (err)
				return err;
		}
	} while (!atomic_compare_exchange_weak(&f->page->last, &last, next));
	*token = f->had = next;
	f->low = next + FLOOR_WINDOW_US / 2 > atomic_load(&f->page->ceiling);
	return 0;
}
