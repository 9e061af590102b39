#include "backend/file/inode.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

/* Far more than any program uses, far less than would slow down the others. */
#define RANGES_OF_A_FILE 10000

static void run_lost(struct pl_task *task)
{
	struct lk_file *f = (struct lk_file *)((char *)task - offsetof(struct lk_file, lost_task));

	if (f->on_lost)
		f->on_lost(f->arg);
}

static struct finode *inode_get(struct file_backend *b, const struct stat *st)
{
	struct finode key, *i;

	memset(&key, 0, sizeof(key));
	key.id.dev = st->st_dev;
	key.id.ino = st->st_ino;
	HASH_FIND(hh, b->inodes, &key.id, sizeof(key.id), i);
	if (i)
		return i;
	i = calloc(1, sizeof(*i));
	if (!i)
		return NULL;
	i->id = key.id;
	i->b = b;
	i->ranges.graph = &b->range_graph;
	i->ranges.limit = RANGES_OF_A_FILE;
	HASH_ADD(hh, b->inodes, id, sizeof(i->id), i);
	return i;
}

struct lk_file *inode_open(struct file_backend *b, int fd, const struct stat *st)
{
	struct lk_file *f = calloc(1, sizeof(*f));
	struct finode *i = f ? inode_get(b, st) : NULL;

	if (!i) {
		free(f);
		return NULL;
	}
	f->fd = fd;
	f->b = b;
	f->inode = i;
	f->lost_task.run = run_lost;
	f->lost_task.owner = b;
	i->refs++;
	DL_APPEND(i->files, f);
	return f;
}

void inode_close(struct lk_file *f)
{
	pl_undefer(f->b->base.loop, &f->lost_task);
	DL_DELETE(f->inode->files, f);
	close(f->fd);
	inode_unref(f->inode);
	free(f);
}

void inode_unref(struct finode *i)
{
	if (--i->refs)
		return;
	/* A blocked flock that was given up may keep the entry for a moment. */
	if (i->orphan)
		i->orphan->inode = NULL;
	HASH_DEL(i->b->inodes, i);
	ranges_forget(i);
	free(i);
}

void inodes_free(struct file_backend *b)
{
	struct lk_file *f, *ftmp;
	struct finode *i, *tmp;

	HASH_ITER(hh, b->inodes, i, tmp) {
		HASH_DEL(b->inodes, i);
		ranges_forget(i);
		DL_FOREACH_SAFE(i->files, f, ftmp) {
			close(f->fd);
			free(f);
		}
		free(i);
	}
}

static int open_once(const char *path, int flags)
{
	int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fd;
}

int inode_reopen(const struct finode *i, int flags)
{
	char path[40];
	int fd;

	if (!i->files)
		return -ESTALE;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", i->files->fd);
	fd = open_once(path, flags);
	if (fb_too_many(i->b, fd))
		fd = open_once(path, flags);
	if (fd == -EACCES || fd == -EROFS || fd == -ETXTBSY)
		fd = open_once(path, O_RDONLY);
	if (fd >= i->b->fd_max) {
		close(fd);
		fd = -EMFILE;
	}
	return fd == -EMFILE || fd == -ENFILE ? -ENOLCK : fd;
}
