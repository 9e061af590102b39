/* The handler finds the map by its address. It runs in the thread that touched the
 * page, which is the one that changes the list, and never inside such a change. */
#include "base/guard.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utlist.h>

static struct pl_guard *guards;
static long page_size;

/* A page of zeros, of this process alone. */
static bool put_page(char *at)
{
	int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
	void *page;

	at -= (uintptr_t)at % (uintptr_t)page_size;
	// cppcheck-suppress invalidFunctionArg ; mmap(2): without a file it is -1
	page = mmap(at, (size_t)page_size, prot, flags, -1, 0);
	// cppcheck-suppress memleak ; it stays, in the place of the one that was missing
	return page != MAP_FAILED;
}

static void on_sigbus(int signum, siginfo_t *info, void *context)
{
	char *at = info->si_addr;
	int saved = errno;
	struct pl_guard *g;

	(void)context;
	DL_FOREACH(guards, g) {
		if (info->si_code != BUS_ADRERR || at < g->start || at >= g->start + g->len || !put_page(at))
			continue;
		g->cut = 1;
		errno = saved;
		return;
	}
	signal(signum, SIG_DFL); /* and the same touch once more */
}

void pl_guard_add(struct pl_guard *g, void *start, size_t len)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	if (!guards) {
		page_size = sysconf(_SC_PAGESIZE);
		sigemptyset(&sa.sa_mask);
		sigaction(SIGBUS, &sa, NULL);
	}
	g->start = start;
	g->len = len;
	g->cut = 0;
	DL_APPEND(guards, g);
}

void pl_guard_remove(struct pl_guard *g)
{
	if (!g->start)
		return;
	DL_DELETE(guards, g);
	g->start = NULL;
}
