/* The command line: plockfs's own form and mount(8)'s helper form.
 *
 * What a user typed is shown in one line of bounded length, and only where it
 * cannot be a password.
 */
#include "fs/options.h"

#include "fs/option_list.h"
#include "fs/source.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG_OPTION 256 /* above every short option's letter */
#define MAX_OPERANDS 2

struct command_line {
	char *operands[MAX_OPERANDS];
	int n;	     /* as given: may be more than there is room for */
	bool helper; /* called as mount.plockfs or mount.fuse.plockfs */
};

static void add_operand(struct command_line *line, char *word)
{
	if (line->n < MAX_OPERANDS)
		line->operands[line->n] = word;
	line->n++;
}

static int unknown_flag(char **argv)
{
	if (optopt > 0 && optopt < LONG_OPTION)
		return option_error("unknown option '-%c' (see --help)", optopt);
	return option_error("unknown option '%.200s' (see --help)", argv[optind - 1]);
}

static int flags(struct options *o, struct command_line *line, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, LONG_OPTION },
					       { "version", no_argument, NULL, LONG_OPTION + 1 },
					       { NULL, 0, NULL, 0 } };
	int c, code = 0;

	optind = 0; /* GNU: start over, also when called twice */
	opterr = 0;
	/* '-': operands come as option 1, in order, whatever POSIXLY_CORRECT says. */
	while (code == 0 &&
	       (c = getopt_long(argc, argv, line->helper ? "-:o:t:sfnvhVd" : "-:o:fdhV", longs, NULL)) != -1) {
		if (c == 1)
			add_operand(line, optarg);
		else if (c == 'o')
			code = option_list(o, optarg);
		else if (c == 'f' && line->helper)
			o->fake = true;
		else if (c == 'f')
			o->foreground = true;
		else if (c == 'd')
			o->foreground = o->debug = true;
		else if (c == 'h' || c == LONG_OPTION)
			o->help = true;
		else if (c == 'V' || c == LONG_OPTION + 1)
			o->version = true;
		else if (c == ':')
			code = option_error("option '-%c' needs a value", optopt);
		else if (c == '?')
			code = unknown_flag(argv);
	}
	while (code == 0 && optind < argc)
		add_operand(line, argv[optind++]);
	return code;
}

static int operands(struct options *o, const struct command_line *line)
{
	char why[320];
	int err;

	if (line->n < 1 || line->n > MAX_OPERANDS)
		return option_error("usage: plockfs [-f] [-o OPT[,OPT...]] [SOURCE] MOUNTPOINT (see --help)");
	if (!*line->operands[line->n - 1])
		return option_error("the mount point is empty");
	o->mountpoint = source_absolute(line->operands[line->n - 1]);
	if (!o->mountpoint)
		return option_error("out of memory");
	err = source_parse(o, line->n == 2 ? line->operands[0] : NULL, why, sizeof(why));
	return err ? option_error("%s", why) : 0;
}

static bool defaults(struct options *o)
{
	memset(o, 0, sizeof(*o));
	o->ttl_ns = UINT64_C(10000000000);
	o->unavailable_ns = UINT64_C(30000000000);
	o->max_value = 1 << 20;
	o->uid = geteuid();
	o->gid = getegid();
	o->umask = umask(0);
	umask(o->umask);
	o->prefix = strdup("plockfs");
	o->fuse_opts = strdup("");
	return o->prefix && o->fuse_opts;
}

int options_parse(struct options *o, int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = argc > 0 ? (slash ? slash + 1 : argv[0]) : "plockfs";
	struct command_line line = { .helper = strncmp(name, "mount.", 6) == 0 };
	int code = defaults(o) ? 0 : option_error("out of memory");

	if (code == 0 && argc > 0)
		code = flags(o, &line, argc, argv);
	if (code == 0 && !o->help && !o->version)
		code = operands(o, &line);
	if (code)
		options_free(o);
	return code;
}

void options_free(struct options *o)
{
	free(o->source);
	free(o->dir);
	free(o->mountpoint);
	free(o->prefix);
	free(o->password_file);
	free(o->tls_ca);
	free(o->tls_cert);
	free(o->tls_key);
	free(o->fuse_opts);
	memset(o, 0, sizeof(*o));
}

void options_help(void)
{
	puts("usage: plockfs [-f] [-o OPT[,OPT...]] [SOURCE] MOUNTPOINT\n"
	     "       mount -t fuse.plockfs SOURCE MOUNTPOINT [-o OPT,...]\n"
	     "\n"
	     "Turns locks into files: opening MOUNTPOINT/NAME takes the lock NAME, closing it gives it back.\n"
	     "\n"
	     "SOURCE  DIR or file:DIR   locks in a directory of this host\n"
	     "        (default: /var/lib/plockfs as root, else ~/.local/state/plockfs)\n"
	     "        redis[s]://[USER@]HOST[:PORT][/DB], unix:///PATH[?db=N], redis+sentinel://H1[:P],H2.../NAME\n"
	     "\n"
	     "  -f                 stay in the foreground, log to stderr\n"
	     "  -d                 as -f, and show every FUSE request\n"
	     "  --help, --version\n"
	     "\n"
	     "  -o timeout=DUR     how long an open waits (default: for ever); 250ms, 5s, 2m, 1h; 0: not at all\n"
	     "  -o lost=none|SIG   also signal the opener's process when its lock is lost\n"
	     "  -o max_waiters=N   more waiting opens than this get ENOLCK (default: no limit)\n"
	     "  -o max_value=SIZE  bytes of one lock's value (default: 1M)\n"
	     "  -o umask=M,uid=N,gid=N   mode and owner of the tree (default: those of who mounts)\n"
	     "  -o ro,allow_other,...    mount options as in fuse(8)\n"
	     "With Redis:\n"
	     "  -o ttl=DUR         a mount that dies frees its locks after this (default: 10s); the same on every "
	     "mount\n"
	     "  -o unavailable=DUR how long an open waits for a server that does not answer (default: 30s)\n"
	     "  -o prefix=WORD     of the keys (default: plockfs)\n"
	     "  -o password_file=PATH    else $PLOCKFS_REDIS_PASSWORD\n"
	     "  -o tls_ca=FILE     whom rediss:// trusts (default: whom the system does)\n"
	     "  -o tls_cert=FILE,tls_key=FILE   the certificate to show the server (default: none), and its key\n"
	     "  -o replicas=N      a heartbeat counts when N replicas have it (default: 0; with Sentinel 1)\n"
	     "  -o nofail          mount also when the server does not answer, and keep trying\n"
	     "\n"
	     "MOUNTPOINT/README tells how to use the tree; plockfs(8) has the rest.");
}
