/* The floor: a libfuse server that does nothing, for comparison.
 *
 * Every name in the root resolves to a file; LOOKUP, GETATTR, OPEN, FLUSH and RELEASE are answered at once, one thread
 * reads and answers. What open and close cost here is what FUSE itself costs; a server above it pays the rest.
 * With -b all names are one lock: an OPEN is answered after the RELEASE of the one before, and so FUSE's share of a
 * hand-off is seen. Who waits must not be interrupted.
 * Usage: floor [-b] [-n] MOUNTPOINT    (-n: FOPEN_NOFLUSH, no FLUSH is sent)
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 128

static bool noflush, blocking, held;
static fuse_req_t queue[MOST];
static unsigned int head, waiting;

static void attr_of(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0777 : S_IFREG | 0666;
	st->st_nlink = 1;
}

/* An inode for each name, without a table: the kernel has to make one for each, as for a server's real names. */
static fuse_ino_t inode_of(const char *name)
{
	fuse_ino_t hash = 5381;

	while (*name)
		hash = hash * 33 + (unsigned char)*name++;
	return hash > FUSE_ROOT_ID ? hash : FUSE_ROOT_ID + 1;
}

static void floor_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;

	(void)parent;
	if (name[0] == '.') {
		fuse_reply_err(req, ENOENT);
		return;
	}
	memset(&e, 0, sizeof(e));
	e.ino = inode_of(name);
	e.entry_timeout = 1.0; /* as plockfs has it */
	attr_of(e.ino, &e.attr);
	fuse_reply_entry(req, &e);
}

static void floor_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	attr_of(ino, &st);
	fuse_reply_attr(req, &st, 0);
}

/* As a lock of plockfs tells it. */
static void floor_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char text[16];
	int n;

	(void)ino;
	if (strcmp(name, "user.plockfs.waiters") != 0) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	n = snprintf(text, sizeof(text), "%u", waiting);
	if (size == 0)
		fuse_reply_xattr(req, (size_t)n);
	else if (size < (size_t)n)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, text, (size_t)n);
}

static void grant(fuse_req_t req)
{
	struct fuse_file_info fi = { .direct_io = 1, .noflush = noflush };

	fuse_reply_open(req, &fi);
}

static void floor_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	if (!blocking || !held) {
		held = true;
		grant(req);
	} else if (waiting < MOST) {
		queue[(head + waiting++) % MOST] = req;
	} else {
		fuse_reply_err(req, ENOLCK);
	}
}

static void floor_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

static void floor_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	if (waiting) {
		grant(queue[head]);
		head = (head + 1) % MOST;
		waiting--;
	} else {
		held = false;
	}
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops floor_ops = {
	.lookup = floor_lookup,
	.getattr = floor_getattr,
	.getxattr = floor_getxattr,
	.open = floor_open,
	.flush = floor_flush,
	.release = floor_release,
};

int main(int argc, char **argv)
{
	char name[] = "floor", options[] = "-ofsname=floor,subtype=floor";
	char *fuse_argv[] = { name, options, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, fuse_argv);
	struct fuse_session *se;
	int c, err = 1;

	while ((c = getopt(argc, argv, "bn")) != -1) {
		if (c == 'b')
			blocking = true;
		if (c == 'n')
			noflush = true;
	}
	if (optind != argc - 1) {
		fuse_log(FUSE_LOG_ERR, "usage: floor [-b] [-n] MOUNTPOINT\n");
		return 2;
	}
	se = fuse_session_new(&args, &floor_ops, sizeof(floor_ops), NULL);
	if (!se)
		return 1;
	if (fuse_set_signal_handlers(se) == 0 && fuse_session_mount(se, argv[optind]) == 0) {
		err = fuse_session_loop(se) < 0;
		fuse_session_unmount(se);
	}
	fuse_remove_signal_handlers(se);
	fuse_session_destroy(se);
	return err;
}
