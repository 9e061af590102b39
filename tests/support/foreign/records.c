/* Byte ranges as a database of fixed records has them: records FILE ROUNDS.
 *
 * Adds 1 to each record of FILE, ROUNDS times, each time with an fcntl(2) lock of that record alone. Says "ready" and
 * begins at the end of its input.  records FILE holder START LENGTH: "free", or the pid that F_GETLK names. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORDS 4
#define SIZE 16

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void lock(int fd, int type, off_t start)
{
	struct flock l = { .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = SIZE };

	if (fcntl(fd, F_SETLKW, &l) < 0)
		die("F_SETLKW");
}

static void add_one(int fd, off_t at)
{
	char text[SIZE + 1] = "";
	unsigned int number;

	lock(fd, F_WRLCK, at);
	if (pread(fd, text, SIZE, at) < 0)
		die("pread");
	number = (unsigned int)strtoul(text, NULL, 10) + 1;
	snprintf(text, sizeof(text), "%-15u\n", number);
	if (pwrite(fd, text, SIZE, at) != SIZE)
		die("pwrite");
	lock(fd, F_UNLCK, at);
}

static int show_holder(int fd, char **argv)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = atol(argv[3]), .l_len = atol(argv[4]) };

	if (fcntl(fd, F_GETLK, &l) < 0)
		die("F_GETLK");
	if (l.l_type == F_UNLCK)
		puts("free");
	else
		printf("%d\n", (int)l.l_pid);
	return 0;
}

int main(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_RDWR) : -1;

	if (fd < 0)
		die("open");
	if (argc == 5 && strcmp(argv[2], "holder") == 0)
		return show_holder(fd, argv);
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	for (int i = 0; i < atoi(argv[2]); i++) {
		for (int r = 0; r < RECORDS; r++)
			add_one(fd, (off_t)((i + r) % RECORDS) * SIZE);
	}
	return 0;
}
