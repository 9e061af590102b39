/* A process that does one file operation at a time, as told on stdin.
 *
 * One command a line, words separated by blanks, byte strings in hex ("-" is the
 * empty one). One answer a line: "ok VALUE [HEX]" or "err ERRNO". It has one
 * thread, unless `spawn` or `thread` were used. The Python side: lockclient.py.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define WORDS_MAX 8

struct command {
	char *word[WORDS_MAX];
	int n;
};

struct answer {
	long value; /* negative: an errno */
	unsigned char *data;
	size_t len;
};

static volatile sig_atomic_t signals_seen[65];

static void count_signal(int sig)
{
	signals_seen[sig]++;
}

static long outcome(long r)
{
	return r < 0 ? -errno : r;
}

static long number(const struct command *c, int i)
{
	return i < c->n ? strtol(c->word[i], NULL, 0) : 0;
}

static int hex_digit(char ch)
{
	return ch <= '9' ? ch - '0' : ch - 'a' + 10;
}

/* Decodes in place; the text is NUL-terminated behind it. Returns the length. */
static size_t unhex(char *s)
{
	size_t i, n = strlen(s) / 2;

	if (s[0] == '-')
		n = 0;
	for (i = 0; i < n; i++)
		s[i] = (char)(hex_digit(s[2 * i]) << 4 | hex_digit(s[2 * i + 1]));
	s[n] = '\0';
	return n;
}

static char *path(struct command *c, int i)
{
	unhex(c->word[i]);
	return c->word[i];
}

static void use_read(struct command *c, struct answer *a)
{
	size_t size = (size_t)number(c, 2);

	a->data = malloc(size ? size : 1);
	if (!a->data) {
		a->value = -ENOMEM;
		return;
	}
	if (c->n > 3)
		a->value = outcome(pread((int)number(c, 1), a->data, size, number(c, 3)));
	else
		a->value = outcome(read((int)number(c, 1), a->data, size));
	a->len = a->value > 0 ? (size_t)a->value : 0;
}

static void use_write(struct command *c, struct answer *a)
{
	size_t len = unhex(c->word[2]);

	if (c->n > 3)
		a->value = outcome(pwrite((int)number(c, 1), c->word[2], len, number(c, 3)));
	else
		a->value = outcome(write((int)number(c, 1), c->word[2], len));
}

/* fcntl FD COMMAND TYPE START LEN; F_GETLK and F_OFD_GETLK say "TYPE START LEN PID". */
static void use_fcntl(struct command *c, struct answer *a)
{
	struct flock lock = {
		.l_type = (short)number(c, 3), .l_whence = SEEK_SET, .l_start = number(c, 4), .l_len = number(c, 5)
	};
	int cmd = (int)number(c, 2);
	char text[96];

	a->value = outcome(fcntl((int)number(c, 1), cmd, &lock));
	if (a->value < 0 || (cmd != F_GETLK && cmd != F_OFD_GETLK))
		return;
	snprintf(text, sizeof(text), "%d %lld %lld %d", lock.l_type, (long long)lock.l_start, (long long)lock.l_len,
		 (int)lock.l_pid);
	a->data = (unsigned char *)strdup(text);
	a->len = a->data ? strlen(text) : 0;
}

static void use_fstat(struct command *c, struct answer *a)
{
	struct stat st;
	char text[96];

	a->value = outcome(fstat((int)number(c, 1), &st));
	if (a->value < 0)
		return;
	snprintf(text, sizeof(text), "%llu %llu %lld", (unsigned long long)st.st_ino, (unsigned long long)st.st_nlink,
		 (long long)st.st_size);
	a->data = (unsigned char *)strdup(text);
	a->len = a->data ? strlen(text) : 0;
}

static void use_poll(struct command *c, struct answer *a)
{
	struct pollfd p = { .fd = (int)number(c, 1), .events = (short)number(c, 2) };

	a->value = outcome(poll(&p, 1, (int)number(c, 3)));
	if (a->value >= 0)
		a->value = p.revents;
}

/* The child keeps every descriptor and does nothing, until a signal ends it. */
static void use_fork(struct answer *a)
{
	pid_t pid = fork();

	if (pid == 0) {
		close(0);
		close(1);
		for (;;)
			pause();
	}
	a->value = outcome(pid);
}

static void use_signal(struct command *c, struct answer *a)
{
	struct sigaction sa = { .sa_handler = count_signal };

	a->value = outcome(sigaction((int)number(c, 1), &sa, NULL));
}

static void use_xattr(struct command *c, struct answer *a, bool by_fd)
{
	a->data = malloc(256);
	if (!a->data) {
		a->value = -ENOMEM;
		return;
	}
	if (by_fd)
		a->value = outcome(fgetxattr((int)number(c, 1), c->word[2], a->data, 256));
	else
		a->value = outcome(getxattr(path(c, 1), c->word[2], a->data, 256));
	a->len = a->value > 0 ? (size_t)a->value : 0;
}

/* open and close, n times. Says how often it went well before the first error. */
static void use_spin(struct command *c, struct answer *a)
{
	const char *p = path(c, 1);
	long i, n = number(c, 3);
	int fd;

	for (i = 0; i < n; i++) {
		fd = open(p, (int)number(c, 2) | O_CLOEXEC);
		if (fd < 0 || close(fd) < 0) {
			a->value = -errno;
			return;
		}
	}
	a->value = n;
}

/* n times: open, check in shared memory who else is inside, close. The file
 * holds ints: 0 inside now, 1 most ever inside, 2 violations, 3.. by slot. */
static void use_contend(struct command *c, struct answer *a)
{
	const char *p = path(c, 1);
	int shared = open(path(c, 4), O_RDWR | O_CLOEXEC);
	long i, n = number(c, 3), most = number(c, 5);
	atomic_int *in = MAP_FAILED;

	if (shared >= 0)
		in = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
	if (in == MAP_FAILED) {
		a->value = -errno;
		return;
	}
	for (i = 0; i < n; i++) {
		char text[16] = "";
		int fd = open(p, (int)number(c, 2) | O_CLOEXEC), now, seen, slot;

		if (fd < 0 || (most > 1 && read(fd, text, sizeof(text) - 1) < 1)) {
			a->value = -errno;
			return;
		}
		slot = atoi(text);
		now = atomic_fetch_add(&in[0], 1) + 1;
		seen = atomic_load(&in[1]);
		while (seen < now && !atomic_compare_exchange_weak(&in[1], &seen, now))
			;
		if (now > most || atomic_fetch_add(&in[3 + slot], 1) != 0)
			atomic_fetch_add(&in[2], 1);
		if (i % 4 == 0)
			usleep(200);
		atomic_fetch_sub(&in[3 + slot], 1);
		atomic_fetch_sub(&in[0], 1);
		if (close(fd) < 0) {
			a->value = -errno;
			return;
		}
	}
	a->value = n;
}

static void *idle(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void run(struct command *c, struct answer *a);

static struct {
	struct command command;
	struct answer answer;
	pthread_t thread;
} spawned;

static void *run_spawned(void *arg)
{
	run(&spawned.command, &spawned.answer);
	return arg;
}

static void use_spawn(struct command *c, struct answer *a)
{
	int i;

	for (i = 1; i < c->n; i++)
		spawned.command.word[i - 1] = strdup(c->word[i]);
	spawned.command.n = c->n - 1;
	a->value = -pthread_create(&spawned.thread, NULL, run_spawned, NULL);
}

static void use_join(struct answer *a)
{
	pthread_join(spawned.thread, NULL);
	*a = spawned.answer;
}

static void use_names(struct command *c, struct answer *a)
{
	const char *w = c->word[0];

	if (strcmp(w, "unlink") == 0)
		a->value = outcome(unlink(path(c, 1)));
	else if (strcmp(w, "mkdir") == 0)
		a->value = outcome(mkdir(path(c, 1), (mode_t)number(c, 2)));
	else if (strcmp(w, "rmdir") == 0)
		a->value = outcome(rmdir(path(c, 1)));
	else if (strcmp(w, "rename") == 0)
		a->value = outcome(rename(path(c, 1), path(c, 2)));
	else if (strcmp(w, "truncate") == 0)
		a->value = outcome(truncate(path(c, 1), number(c, 2)));
	else if (strcmp(w, "access") == 0)
		a->value = outcome(access(path(c, 1), (int)number(c, 2)));
	else
		a->value = -ENOSYS;
}

static void run(struct command *c, struct answer *a)
{
	const char *w = c->word[0];
	int fd = (int)number(c, 1);
	pthread_t t;

	if (strcmp(w, "open") == 0)
		a->value = outcome(open(path(c, 1), (int)number(c, 2) | O_CLOEXEC, (mode_t)number(c, 3)));
	else if (strcmp(w, "close") == 0)
		a->value = outcome(close(fd));
	else if (strcmp(w, "read") == 0)
		use_read(c, a);
	else if (strcmp(w, "write") == 0)
		use_write(c, a);
	else if (strcmp(w, "fsync") == 0)
		a->value = outcome(fsync(fd));
	else if (strcmp(w, "ftruncate") == 0)
		a->value = outcome(ftruncate(fd, number(c, 2)));
	else if (strcmp(w, "flock") == 0)
		a->value = outcome(flock(fd, (int)number(c, 2)));
	else if (strcmp(w, "fcntl") == 0)
		use_fcntl(c, a);
	else if (strcmp(w, "fstat") == 0)
		use_fstat(c, a);
	else if (strcmp(w, "poll") == 0)
		use_poll(c, a);
	else if (strcmp(w, "dup") == 0)
		a->value = outcome(fcntl(fd, F_DUPFD_CLOEXEC, 0));
	else if (strcmp(w, "fork") == 0)
		use_fork(a);
	else if (strcmp(w, "signal") == 0)
		use_signal(c, a);
	else if (strcmp(w, "signals") == 0)
		a->value = signals_seen[fd];
	else if (strcmp(w, "getxattr") == 0)
		use_xattr(c, a, false);
	else if (strcmp(w, "fgetxattr") == 0)
		use_xattr(c, a, true);
	else if (strcmp(w, "spin") == 0)
		use_spin(c, a);
	else if (strcmp(w, "contend") == 0)
		use_contend(c, a);
	else if (strcmp(w, "thread") == 0)
		a->value = -pthread_create(&t, NULL, idle, NULL);
	else if (strcmp(w, "spawn") == 0)
		use_spawn(c, a);
	else if (strcmp(w, "join") == 0)
		use_join(a);
	else
		use_names(c, a);
}

static void say(const struct answer *a)
{
	size_t i;

	if (a->value < 0) {
		printf("err %ld\n", -a->value);
	} else {
		printf("ok %ld ", a->value);
		for (i = 0; i < a->len; i++)
			printf("%02x", a->data[i]);
		putchar('\n');
	}
	fflush(stdout);
}

int main(void)
{
	char *line = NULL, *save;
	size_t size = 0;

	for (;;) {
		struct command c = { .n = 0 };
		struct answer a = { 0 };
		char *w;

		if (getline(&line, &size, stdin) <= 0) {
			if (!ferror(stdin) || errno != EINTR)
				break;
			clearerr(stdin);
			continue;
		}
		line[strcspn(line, "\n")] = '\0';
		for (w = strtok_r(line, " ", &save); w && c.n < WORDS_MAX; w = strtok_r(NULL, " ", &save))
			c.word[c.n++] = w;
		if (c.n == 0)
			continue;
		run(&c, &a);
		say(&a);
		free(a.data);
	}
	free(line);
	return 0;
}
