/* Before the mount: its folders, what is left of a dead one, the background. */
#include "fs/mount.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_MS 2000
#define MAX_STACKED 64

static int ready_fd = -1;

void mount_fill_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* --- the source directory --- */

/* With exactly that mode; 0 when something is there already. */
static int make_dir(const char *path, mode_t mode)
{
	mode_t old = umask(0);
	int err = mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;

	umask(old);
	return err;
}

static int make_parents(const char *dir, mode_t mode)
{
	char *path = strdup(dir), *p;
	int err = 0;

	if (!path)
		return -ENOMEM;
	for (p = path + 1; err == 0 && (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		err = make_dir(path, mode);
		*p = '/';
	}
	free(path);
	return err;
}

int mount_prepare_dir(const struct options *o)
{
	bool root = geteuid() == 0;
	struct stat st;
	int err = 0;

	if (stat(o->dir, &st) < 0 && errno == ENOENT) {
		if (o->source_is_default)
			err = make_parents(o->dir, root ? 0755 : 0700);
		if (err == 0)
			err = make_dir(o->dir, root ? 0711 : 0700);
		if (err == -ENOENT) {
			pl_log(PL_ERROR, "cannot make %s for locks: the folder it would be in does not exist", o->dir);
			return -1;
		}
	}
	if (err == 0 && stat(o->dir, &st) < 0)
		err = -errno;
	if (err == 0 && !S_ISDIR(st.st_mode))
		err = -ENOTDIR;
	if (err) {
		pl_log(PL_ERROR, "cannot use %s for locks: %s", o->dir, strerror(-err));
		return -1;
	}
	return 0;
}

/* --- the mount point --- */

/* Undoes the \040 of /proc. */
static void unescape(char *p)
{
	char *out = p;

	for (; *p; p++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' &&
		    p[3] <= '7') {
			*out++ = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
			p += 3;
		} else {
			*out++ = *p;
		}
	}
	*out = '\0';
}

/* What one line of mountinfo says lies on path: its type, or NULL for another path. */
static char *type_in_line(char *line, const char *path)
{
	char *rest = line, *word = NULL, *type;
	int i;

	for (i = 0; i < 5; i++)
		word = strsep(&rest, " ");
	type = rest ? strstr(rest, " - ") : NULL;
	if (!word || !type)
		return NULL;
	unescape(word);
	if (strcmp(word, path) != 0)
		return NULL;
	type += 3;
	type[strcspn(type, " \n")] = '\0';
	return type;
}

/* The type of the topmost mount on path, without touching it: a hung one would
 * hang us too. "" when there is none. */
static int type_on(const char *path, char *type, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, *found;
	size_t room = 0;

	type[0] = '\0';
	if (!f)
		return -errno;
	while (getline(&line, &room, f) > 0) {
		found = type_in_line(line, path);
		if (found)
			snprintf(type, size, "%s", found);
	}
	free(line);
	fclose(f);
	return 0;
}

static _Noreturn void probe(int fd, const char *path)
{
	struct stat st;
	int err = stat(path, &st) < 0 ? errno : 0;

	if (err == 0 && !S_ISDIR(st.st_mode))
		err = ENOTDIR;
	_exit(write(fd, &err, sizeof(err)) == sizeof(err) ? 0 : 1);
}

/* What stat(2) says there: 0, an errno, ENOTDIR for another thing, or ETIMEDOUT. By
 * a child, because a call to a hung mount cannot be ended from outside. */
static int ask(const char *path)
{
	struct pollfd p = { .events = POLLIN };
	int fds[2], err = EIO;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return errno;
	pid = fork();
	if (pid == 0)
		probe(fds[1], path);
	close(fds[1]);
	p.fd = fds[0];
	if (pid < 0)
		err = EAGAIN;
	else if (poll(&p, 1, PROBE_MS) == 0)
		err = ETIMEDOUT;
	else if (read(fds[0], &err, sizeof(err)) != sizeof(err))
		err = EIO;
	close(fds[0]);
	if (pid > 0 && err == ETIMEDOUT)
		kill(pid, SIGKILL); /* it may not die before the mount answers: nobody waits for it */
	else if (pid > 0)
		waitpid(pid, NULL, 0);
	return err;
}

static int detach(const char *path)
{
	pid_t pid;
	int status;

	if (geteuid() == 0)
		return umount2(path, MNT_DETACH) < 0 ? -errno : 0;
	pid = fork();
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-z", "--", path, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/* 0: free to mount on. 1: a dead mount was taken away, look again. -1: not, and said why. */
static int clear_one(const char *mountpoint)
{
	char type[64];
	int err = type_on(mountpoint, type, sizeof(type));
	bool ours = strcmp(type, "fuse.plockfs") == 0;

	if (err == 0)
		err = -ask(mountpoint);
	if (ours && (err == 0 || err == -ETIMEDOUT)) {
		pl_log(PL_ERROR, "%s is already mounted: a plockfs%s is there (umount it first)", mountpoint,
		       err ? " that does not answer" : "");
		return -1;
	}
	if (err == -ENOTDIR) {
		pl_log(PL_ERROR, "the mount point %s is not a folder", mountpoint);
		return -1;
	}
	if (err == -ENOENT) {
		pl_log(PL_ERROR, "the mount point %s does not exist", mountpoint);
		return -1;
	}
	if (err && !(ours && err == -ENOTCONN)) {
		pl_log(PL_ERROR, "cannot mount on %s: %s", mountpoint, strerror(-err));
		return -1;
	}
	if (err == 0)
		return 0;
	err = detach(mountpoint);
	if (err) {
		pl_log(PL_ERROR, "cannot clear the dead mount on %s: %s", mountpoint, strerror(-err));
		return -1;
	}
	pl_log(PL_INFO, "cleared a dead mount on %s", mountpoint);
	return 1;
}

int mount_clear_dead(const char *mountpoint)
{
	int i, again = 1;

	/* Several may lie on top of each other. */
	for (i = 0; again == 1 && i < MAX_STACKED; i++)
		again = clear_one(mountpoint);
	return again == 0 ? 0 : -1;
}

/* --- the background --- */

static _Noreturn void wait_for_child(int fd)
{
	unsigned char code = 1;
	ssize_t n;

	do
		n = read(fd, &code, 1);
	while (n < 0 && errno == EINTR);
	_exit(n == 1 ? code : 1);
}

int mount_daemonize_begin(void)
{
	int fds[2];
	pid_t pid;

	/* A socket: a write to a parent that was killed must not signal us. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		pl_log(PL_ERROR, "cannot go to the background: %s", strerror(errno));
		return -1;
	}
	pid = fork();
	if (pid < 0) {
		pl_log(PL_ERROR, "cannot go to the background: %s", strerror(errno));
		close(fds[0]);
		close(fds[1]);
		return -1;
	}
	if (pid > 0) {
		close(fds[1]);
		wait_for_child(fds[0]);
	}
	close(fds[0]);
	ready_fd = fds[1];
	return 0;
}

static void let_go_of_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Until now Ctrl-C in the terminal ended us as it does the parent. */
	setsid();
	if (chdir("/") < 0)
		pl_log(PL_WARN, "chdir /: %s", strerror(errno));
	if (null < 0) {
		pl_log(PL_WARN, "/dev/null: %s", strerror(errno));
		return;
	}
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
}

void mount_daemonize_ready(int code)
{
	unsigned char byte = (unsigned char)code;

	if (ready_fd < 0)
		return;
	if (code == 0)
		let_go_of_terminal();
	/* A parent that is gone needs no answer. */
	(void)send(ready_fd, &byte, 1, MSG_NOSIGNAL);
	close(ready_fd);
	ready_fd = -1;
}

/* --- limits --- */

static rlim_t most_descriptors(void)
{
	FILE *f = fopen("/proc/sys/fs/nr_open", "re");
	char line[32];
	rlim_t n = 0;

	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f))
		n = strtoull(line, NULL, 10);
	fclose(f);
	return n;
}

void mount_raise_limits(void)
{
	struct rlimit r, more;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	more.rlim_max = most_descriptors();
	if (more.rlim_max < r.rlim_max)
		more.rlim_max = r.rlim_max;
	more.rlim_cur = more.rlim_max;
	/* Past the hard limit only with the right to; else up to it. */
	if (setrlimit(RLIMIT_NOFILE, &more) == 0)
		return;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}
