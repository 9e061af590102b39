/* Who is in the way of a byte range (F_GETLK): of this mount, of another one, which is asked
 * for the process, or a program in DIR.
 */
#include "backend/file/gather.h"
#include "backend/file/range_internal.h"

#include <stdlib.h>
#include <string.h>

struct tested {
	struct pl_task task;
	struct file_backend *b;
	lk_range_test_cb cb;
	void *arg;
	bool found;
	struct ranges_lock conflict;
};

static void run_tested(struct pl_task *task)
{
	struct tested *t = (struct tested *)task;

	t->cb(t->arg, 0, t->found ? &t->conflict : NULL);
	free(t);
}

static void drop_tested(struct pl_task *task)
{
	free(task);
}

static void have_pid(void *arg, pid_t pid)
{
	struct tested *t = arg;

	t->conflict.pid = pid;
	pl_defer(t->b->base.loop, &t->task);
}

static int answer_test(struct finode *i, const struct ranges_lock *conflict, lk_range_test_cb cb, void *arg)
{
	struct tested *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->task.run = run_tested;
	t->task.drop = drop_tested;
	t->task.owner = i->b;
	t->b = i->b;
	t->cb = cb;
	t->arg = arg;
	t->found = conflict != NULL;
	if (conflict)
		t->conflict = *conflict;
	/* The kernel has no pid for what is locked by a description, as other mounts do: they know. */
	if (conflict && conflict->pid == 0) {
		const struct peer_range range = {
			.dev = i->id.dev, .ino = i->id.ino, .start = conflict->start, .end = conflict->end
		};

		peers_range(i->b->peers, &range, have_pid, free, t);
	} else {
		pl_defer(i->b->base.loop, &t->task);
	}
	return 0;
}

pid_t range_pid_here(struct file_backend *b, const struct peer_range *range)
{
	const struct ranges_lock want = {
		.who.session = 1, .start = range->start, .end = range->end, .mode = RANGES_EXCLUSIVE
	};
	struct ranges_lock conflict;
	struct finode key, *i;

	memset(&key, 0, sizeof(key));
	key.id.dev = range->dev;
	key.id.ino = range->ino;
	HASH_FIND(hh, b->inodes, &key.id, sizeof(key.id), i);
	return i && ranges_test(&i->ranges, &want, &conflict) == -EAGAIN ? conflict.pid : 0;
}

int fb_range_test(struct lk_backend *base, struct lk_file *file, const struct ranges_lock *want, lk_range_test_cb cb,
		  void *arg)
{
	struct finode *i = file->inode;
	const struct fowner *o = range_owner(i, want->who.owner);
	struct ranges_lock conflict, mine = *want;
	struct flock lock = range_kernel(want);
	bool found;

	(void)base;
	if (file->lost)
		return -ESTALE;
	mine.who.session = 0;
	found = ranges_test(&i->ranges, &mine, &conflict) == -EAGAIN;
	if (!found) {
		if (fcntl(o ? o->fd : file->fd, F_OFD_GETLK, &lock) < 0)
			return -errno;
		found = lock.l_type != F_UNLCK;
		conflict = (struct ranges_lock){
			.start = lock.l_start,
			.end = lock.l_len ? lock.l_start + lock.l_len - 1 : INT64_MAX,
			.pid = lock.l_pid > 0 ? lock.l_pid : 0,
			.mode = lock.l_type == F_RDLCK ? RANGES_SHARED : RANGES_EXCLUSIVE,
		};
	}
	return answer_test(i, found ? &conflict : NULL, cb, arg);
}
