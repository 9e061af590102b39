/* The command line, parsed: what to mount, where and how. */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum source_kind { SOURCE_FILE, SOURCE_REDIS, SOURCE_UNIX, SOURCE_SENTINEL };

struct options {
	bool help, version;
	bool foreground; /* -f, or -d (debug, implies -f) */
	bool debug;
	bool fake; /* mount(8)'s -f: check the line, mount nothing, exit 0 */
	bool nofail;
	bool read_only;	  /* -o ro */
	bool allow_other; /* -o allow_other */
	enum source_kind source_kind;
	bool source_is_default;
	char *source;	     /* as to show: "file:/abs/dir", "redis://host"; never a password */
	char *dir;	     /* SOURCE_FILE: the folder, absolute */
	char *mountpoint;    /* absolute */
	bool timeout_set;    /* else an open waits for ever */
	uint64_t timeout_ns; /* 0: not at all */
	uint64_t ttl_ns, unavailable_ns;
	char *prefix, *password_file;
	char *tls_ca, *tls_cert, *tls_key;
	unsigned replicas; /* that must confirm each heartbeat; default 0, with Sentinel 1 */
	bool replicas_set;
	int lost_signal; /* 0: none */
	unsigned max_waiters;
	uint64_t max_value;
	mode_t umask; /* of the tree; default: the process's */
	uid_t uid;    /* the tree's owner; default: who mounts */
	gid_t gid;
	char *fuse_opts; /* what goes on to libfuse, comma separated; may be "" */
};

/* 0, or 2 (the exit code) after one line on stderr that names what is wrong.
 * Options may stand before and after the operands. Both command forms are
 * understood: `plockfs [-f] [-o OPTS] [SOURCE] MOUNTPOINT` and mount(8)'s
 * `mount.plockfs SOURCE MOUNTPOINT [-sfnv] [-o OPTS]`. */
int options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);
void options_help(void); /* on stdout */

/* OPTS of with/OPTS/: an acquisition's own settings. */
struct acquire_opts {
	bool try_only, shared;
	bool timeout_set;
	uint64_t timeout_ns; /* 0: do not wait (as try) but say ETIMEDOUT */
	bool lost_set;
	int lost_signal; /* 0: none */
};
/* Adds the words of `text` to *o. 0, -EINVAL for an unknown or contradicting word. */
int acquire_opts_parse(struct acquire_opts *o, const char *text);
/* "TERM", "SIGTERM", "15", "none" -> number (none: 0); -EINVAL. */
int signal_number(const char *word);

#endif
