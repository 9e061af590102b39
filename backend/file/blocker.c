/* Threads that block in flock(2) or fcntl(2).
 *
 * The cancel race: neither has no timeout, and a signal that arrives between a
 * thread's look at `cancel` and its system call is lost. So the loop sends the
 * signal again every 5 ms until the thread has answered. The handler does
 * nothing; without SA_RESTART the call returns EINTR.
 */
#include "backend/file/blocker.h"

#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <utlist.h>
#include <uv.h>

#define RESEND (5 * PL_MS)
#define IDLE_KEPT 4
#define STACK_BYTES (64 * 1024)

struct blocker {
	struct blockers *all;
	int fd, err;
	int operation;	    /* of flock; 0: fcntl */
	struct flock range; /* of fcntl */
	blocker_fn fn;
	void *arg;
	atomic_bool cancel;
	bool signalled; /* has a thread that may be in flock; guarded by the mutex */
	pthread_t thread;
	struct blocker *prev, *next;
	struct blocker *live_prev, *live_next;
};

struct blockers {
	struct pl_loop *loop;
	pthread_mutex_t mutex;
	pthread_cond_t work, quiet;
	struct blocker *todo, *done; /* guarded */
	unsigned threads, idle;	     /* guarded */
	bool stop;		     /* guarded */
	uv_async_t *async;
	struct blocker *live; /* loop only: started, callback not yet run */
	unsigned n_live, n_cancelled;
	struct pl_timer *resend;
};

static int wake_signal(void)
{
	return SIGRTMIN;
}

static void nothing(int sig)
{
	(void)sig;
}

static void wait_for_lock(struct blocker *b)
{
	for (;;) {
		if (atomic_load(&b->cancel)) {
			b->err = -ECANCELED;
			return;
		}
		if ((b->operation ? flock(b->fd, b->operation) : fcntl(b->fd, F_OFD_SETLKW, &b->range)) == 0) {
			b->err = 0;
			return;
		}
		if (errno != EINTR) {
			b->err = -errno;
			return;
		}
	}
}

static void *run_thread(void *arg)
{
	struct blockers *bs = arg;
	struct blocker *b;
	sigset_t wake;

	sigemptyset(&wake);
	sigaddset(&wake, wake_signal());
	pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
	pthread_mutex_lock(&bs->mutex);
	for (;;) {
		while (!bs->todo && !bs->stop && bs->idle < IDLE_KEPT) {
			bs->idle++;
			pthread_cond_wait(&bs->work, &bs->mutex);
			bs->idle--;
		}
		b = bs->todo;
		if (!b) /* stop, or enough others are idle */
			break;
		DL_DELETE(bs->todo, b);
		b->thread = pthread_self();
		b->signalled = true;
		pthread_mutex_unlock(&bs->mutex);
		wait_for_lock(b);
		pthread_mutex_lock(&bs->mutex);
		b->signalled = false;
		DL_APPEND(bs->done, b);
		uv_async_send(bs->async);
	}
	bs->threads--;
	pthread_cond_signal(&bs->quiet);
	pthread_mutex_unlock(&bs->mutex);
	return NULL;
}

static void on_async(uv_async_t *async)
{
	struct blockers *bs = async->data;
	struct blocker *b;

	for (;;) {
		pthread_mutex_lock(&bs->mutex);
		b = bs->done;
		if (b)
			DL_DELETE(bs->done, b);
		pthread_mutex_unlock(&bs->mutex);
		if (!b)
			return;
		DL_DELETE2(bs->live, b, live_prev, live_next);
		bs->n_live--;
		bs->n_cancelled -= atomic_load(&b->cancel);
		b->fn(b->arg, b->fd, b->err);
		free(b);
	}
}

struct blockers *blockers_new(struct pl_loop *loop)
{
	struct sigaction sa = { .sa_handler = nothing };
	struct blockers *bs = calloc(1, sizeof(*bs));

	if (!bs)
		return NULL;
	bs->async = calloc(1, sizeof(*bs->async));
	if (!bs->async || uv_async_init(pl_loop_uv(loop), bs->async, on_async) != 0) {
		free(bs->async);
		free(bs);
		return NULL;
	}
	uv_unref((uv_handle_t *)bs->async);
	bs->async->data = bs;
	bs->loop = loop;
	pthread_mutex_init(&bs->mutex, NULL);
	pthread_cond_init(&bs->work, NULL);
	pthread_cond_init(&bs->quiet, NULL);
	sigemptyset(&sa.sa_mask);
	sigaction(wake_signal(), &sa, NULL);
	return bs;
}

static int start_thread(struct blockers *bs)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, &attr, run_thread, bs);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return err;
}

static struct blocker *start(struct blockers *bs, int fd, int operation, const struct flock *range, blocker_fn fn,
			     void *arg)
{
	struct blocker *b;

	if (bs->n_live >= BLOCKERS_MAX)
		return NULL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->all = bs;
	b->fd = fd;
	b->operation = operation;
	if (range)
		b->range = *range;
	b->fn = fn;
	b->arg = arg;
	pthread_mutex_lock(&bs->mutex);
	/* A thread for each that waits: none may queue behind a flock without end. */
	if (bs->threads < bs->n_live + 1) {
		if (start_thread(bs) != 0) {
			pthread_mutex_unlock(&bs->mutex);
			free(b);
			return NULL;
		}
		bs->threads++;
	}
	DL_APPEND(bs->todo, b);
	pthread_cond_signal(&bs->work);
	pthread_mutex_unlock(&bs->mutex);
	DL_APPEND2(bs->live, b, live_prev, live_next);
	bs->n_live++;
	return b;
}

struct blocker *blocker_start(struct blockers *bs, int fd, int operation, blocker_fn fn, void *arg)
{
	return start(bs, fd, operation, NULL, fn, arg);
}

struct blocker *blocker_start_range(struct blockers *bs, int fd, const struct flock *range, blocker_fn fn, void *arg)
{
	return start(bs, fd, 0, range, fn, arg);
}

static void send_signal(struct blocker *b)
{
	/* Under the mutex `thread` cannot end or take other work. */
	pthread_mutex_lock(&b->all->mutex);
	if (b->signalled)
		pthread_kill(b->thread, wake_signal());
	pthread_mutex_unlock(&b->all->mutex);
}

static void on_resend(void *arg)
{
	struct blockers *bs = arg;
	struct blocker *b;

	bs->resend = NULL;
	DL_FOREACH2(bs->live, b, live_next) {
		if (atomic_load(&b->cancel))
			send_signal(b);
	}
	if (bs->n_cancelled)
		bs->resend = pl_timer_start(bs->loop, RESEND, on_resend, bs);
}

void blocker_cancel(struct blocker *b)
{
	struct blockers *bs = b->all;

	if (atomic_exchange(&b->cancel, true))
		return;
	bs->n_cancelled++;
	send_signal(b);
	if (!bs->resend)
		bs->resend = pl_timer_start(bs->loop, RESEND, on_resend, bs);
}

static void async_closed(uv_handle_t *handle)
{
	free(handle);
}

void blockers_free(struct blockers *bs)
{
	struct blocker *b, *tmp;
	struct timespec until;

	pl_timer_stop(bs->loop, bs->resend);
	pthread_mutex_lock(&bs->mutex);
	bs->stop = true;
	DL_FOREACH2(bs->live, b, live_next)
		atomic_store(&b->cancel, true);
	pthread_cond_broadcast(&bs->work);
	while (bs->threads) {
		DL_FOREACH2(bs->live, b, live_next) {
			if (b->signalled)
				pthread_kill(b->thread, wake_signal());
		}
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += (long)RESEND;
		if (until.tv_nsec >= (long)PL_SEC) {
			until.tv_nsec -= (long)PL_SEC;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&bs->quiet, &bs->mutex, &until);
	}
	pthread_mutex_unlock(&bs->mutex);
	DL_FOREACH_SAFE2(bs->live, b, tmp, live_next) {
		DL_DELETE2(bs->live, b, live_prev, live_next);
		close(b->fd);
		free(b);
	}
	uv_close((uv_handle_t *)bs->async, async_closed);
	pthread_mutex_destroy(&bs->mutex);
	pthread_cond_destroy(&bs->work);
	pthread_cond_destroy(&bs->quiet);
	free(bs);
}
