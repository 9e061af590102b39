/* The floor: a libfuse server that does nothing, for comparison.
 *
 * Every name in the root resolves to a file; LOOKUP, GETATTR, OPEN, FLUSH and
 * RELEASE are answered at once, one thread reads and answers. What open and close
 * cost here is what FUSE itself costs; a server above it pays the rest.
 * Usage: floor [-n] MOUNTPOINT    (-n: FOPEN_NOFLUSH, no FLUSH is sent)
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

static bool noflush;

static void attr_of(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0777 : S_IFREG | 0666;
	st->st_nlink = 1;
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
	e.ino = 2;
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

static void floor_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fi->noflush = noflush;
	fuse_reply_open(req, fi);
}

static void floor_ok(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops floor_ops = {
	.lookup = floor_lookup,
	.getattr = floor_getattr,
	.open = floor_open,
	.flush = floor_ok,
	.release = floor_ok,
};

int main(int argc, char **argv)
{
	char name[] = "floor", options[] = "-ofsname=floor,subtype=floor";
	char *fuse_argv[] = { name, options, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, fuse_argv);
	struct fuse_session *se;
	int err = 1;

	noflush = argc > 2 && strcmp(argv[1], "-n") == 0;
	if (argc != 2 + noflush) {
		fuse_log(FUSE_LOG_ERR, "usage: floor [-n] MOUNTPOINT\n");
		return 2;
	}
	se = fuse_session_new(&args, &floor_ops, sizeof(floor_ops), NULL);
	if (!se)
		return 1;
	if (fuse_set_signal_handlers(se) == 0 && fuse_session_mount(se, argv[argc - 1]) == 0) {
		err = fuse_session_loop(se) < 0;
		fuse_session_unmount(se);
	}
	fuse_remove_signal_handlers(se);
	fuse_session_destroy(se);
	return err;
}
