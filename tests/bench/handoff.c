/* Times hand-offs between two processes: handoff KIND ONE TWO N. The holder gives up; how long until the other, which
 * waits, has it? They change places, N times for each line on stdin; see samples.h for the answers. Kinds: open (ONE
 * and TWO are paths of one lock, perhaps on two mounts), flock (of one file), pipe (a byte: a wake-up alone), publish
 * (a message by way of the Redis server ONE). The holder knows that the other waits: by user.plockfs.waiters of its own
 * path, or because the other sleeps.
 */
#include "redis_socket.h"
#include "samples.h"
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define MOST 100000

struct shared {
	_Atomic uint64_t given;
	atomic_int begun;  /* pid is filled in, and 0 has the lock */
	atomic_int asking; /* the round that the waiter is about to wait in */
	atomic_int taken;  /* the last round whose lock was had */
	pid_t pid[2];
	uint64_t took[MOST];
};

static struct shared *shared;
static enum { OPEN, FLOCK, PIPE, PUBLISH } kind;
static const char *paths[2];
static int pipes[2][2], publisher[2], subscriber[2];
static char publish[2][64], message[2][64]; /* to the channel of 0 and of 1 */

static int sleeps(pid_t pid)
{
	char path[40], text[256] = "", *state;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		err(1, "%s", path);
	close(fd);
	state = strrchr(text, ')');
	return state && state[2] == 'S';
}

/* The other one waits by now. */
static int waits(int me, int round)
{
	char text[16] = "";

	if (atomic_load(&shared->asking) != round || !sleeps(shared->pid[!me]))
		return 0;
	if (kind != OPEN)
		return 1;
	return getxattr(paths[me], "user.plockfs.waiters", text, sizeof(text) - 1) > 0 && atoi(text) > 0;
}

static int take(int me)
{
	char c;
	int fd;

	if (kind == PIPE) {
		if (read(pipes[me][0], &c, 1) != 1)
			err(1, "pipe");
		return 0;
	}
	if (kind == PUBLISH) {
		redis_expect(subscriber[me], message[me]);
		return 0;
	}
	fd = open(paths[me], O_RDWR | O_CLOEXEC);
	if (fd < 0 || (kind == FLOCK && flock(fd, LOCK_EX) < 0))
		err(1, "%s", paths[me]);
	return fd;
}

static void give(int me, int fd)
{
	atomic_store(&shared->given, now_ns());
	if (kind == PIPE) {
		if (write(pipes[!me][1], "x", 1) != 1)
			err(1, "pipe");
	} else if (kind == PUBLISH) {
		redis_send(publisher[me], publish[!me]);
		redis_expect(publisher[me], ":1\r\n");
	} else if (close(fd) < 0) {
		err(1, "close");
	}
}

/* In odd rounds 0 holds and 1 waits. The one that waited in the last round holds. */
static void play(int me, int rounds)
{
	int fd = -1, round;

	if (me == 0) {
		if (kind == OPEN || kind == FLOCK)
			fd = take(0);
		atomic_store(&shared->begun, 1);
	}
	for (round = 1; round <= rounds; round++) {
		if ((round & 1) == (me == 0)) {
			while (!waits(me, round))
				usleep(20);
			give(me, fd);
			/* flock(2) goes to whoever asks first after it was given up, not to who waits. */
			while (atomic_load(&shared->taken) != round)
				usleep(20);
		} else {
			atomic_store(&shared->asking, round);
			fd = take(me);
			shared->took[round - 1] = now_ns() - atomic_load(&shared->given);
			atomic_store(&shared->taken, round);
		}
	}
	if ((rounds & 1) != (me == 0) && fd > 0)
		close(fd);
}

/* A new partner each time: one that has nothing to do would look for its turn and disturb others. */
static void play_both(int n)
{
	int status;
	pid_t other;

	shared->begun = shared->asking = shared->taken = 0;
	shared->pid[0] = getpid();
	other = fork();
	if (other < 0)
		err(1, "fork");
	if (other == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (!atomic_load(&shared->begun))
			usleep(20);
		play(1, n);
		_exit(0);
	}
	shared->pid[1] = other;
	play(0, n);
	if (waitpid(other, &status, 0) < 0 || status != 0)
		errx(1, "the other one failed");
}

static void subscribe(const char *address, const char *channel)
{
	size_t size = strlen(channel) + 1;
	char command[64], answer[64];
	int i;

	for (i = 0; i < 2; i++) {
		publisher[i] = redis_connect(address);
		subscriber[i] = redis_connect(address);
		snprintf(publish[i], sizeof(*publish), "PUBLISH %s%d x\r\n", channel, i);
		snprintf(message[i], sizeof(*message), "*3\r\n$7\r\nmessage\r\n$%zu\r\n%s%d\r\n$1\r\nx\r\n", size,
			 channel, i);
		snprintf(command, sizeof(command), "SUBSCRIBE %s%d\r\n", channel, i);
		snprintf(answer, sizeof(answer), "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s%d\r\n:1\r\n", size, channel, i);
		redis_send(subscriber[i], command);
		redis_expect(subscriber[i], answer);
	}
}

int main(int argc, char **argv)
{
	static const char *const kinds[] = { "open", "flock", "pipe", "publish" };
	struct timed times = { 0 };
	char line[16];
	size_t k;
	int n, i;

	n = argc == 5 ? atoi(argv[4]) : 0;
	if (n < 1 || n > MOST)
		errx(2, "usage: handoff KIND ONE TWO N");
	for (k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		if (strcmp(argv[1], kinds[k]) == 0)
			kind = k;
	}
	paths[0] = argv[2];
	paths[1] = argv[3];
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || pipe(pipes[0]) < 0 || pipe(pipes[1]) < 0)
		err(1, "setup");
	if (kind == PUBLISH)
		subscribe(argv[2], argv[3]);
	while (fgets(line, sizeof(line), stdin)) {
		round_begins(&times, (size_t)n);
		play_both(n);
		for (i = 0; i < n; i++)
			samples_add(&times.all, shared->took[i]);
		round_said(&times);
	}
	all_said(&times);
	return 0;
}
