/* Deferred tasks: the part of pl_loop that the real and the fake loop share. */
#include "base/loop.h"

#include <stddef.h>
#include <utlist.h>

void pl_defer(struct pl_loop *loop, struct pl_task *task)
{
	if (task->queued)
		return;
	task->queued = true;
	DL_APPEND(loop->tasks, task);
	loop->ops->wake(loop);
}

void pl_undefer(struct pl_loop *loop, struct pl_task *task)
{
	if (!task->queued)
		return;
	task->queued = false;
	DL_DELETE(loop->tasks, task);
}

void pl_run_tasks(struct pl_loop *loop)
{
	struct pl_task *task;

	while ((task = loop->tasks) != NULL) {
		/* Out of the list before it runs: run() may free it or queue it anew. */
		DL_DELETE(loop->tasks, task);
		task->queued = false;
		task->run(task);
	}
}

void pl_drop_tasks(struct pl_loop *loop, const void *owner)
{
	struct pl_task *task, *tmp;

	DL_FOREACH_SAFE(loop->tasks, task, tmp) {
		if (task->owner != owner)
			continue;
		pl_undefer(loop, task);
		if (task->drop)
			task->drop(task);
	}
}
