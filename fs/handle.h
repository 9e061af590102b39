/* Open handles: what a file descriptor of ours stands for. fi->fh points to
 * one; the kernel gives it back unchanged until RELEASE or RELEASEDIR. */
#ifndef FS_HANDLE_H
#define FS_HANDLE_H

#include "fs/server.h"

enum handle_kind { H_LOCK, H_SEM, H_TEXT, H_FILE, H_DIR };

struct dirent_entry {
	char *name;
	mode_t type; /* S_IFDIR, S_IFREG, S_IFLNK */
};

struct handle {
	enum handle_kind kind;
	struct server *server;
	struct node *node;
	/* H_LOCK, H_SEM, H_FILE: the hold, NULL when given back or never taken */
	struct lk_hold *hold;
	bool lost;	/* it lost its hold: ESTALE until closed */
	bool readonly;	/* opened shared */
	bool unwritten; /* what was written to a map of it is not in the value */
	int lost_signal;
	struct lk_owner owner;
	struct waitgraph_entry graph;
	struct fuse_pollhandle *poll;
	struct flocking *flocks; /* utlist DL, flock(2) calls that are not answered yet */
	struct handle *prev, *next;
	/* H_FILE */
	struct lk_file *file;
	struct handle *file_prev, *file_next; /* of node->opened */
	uint64_t *range_owners;		      /* who asked for byte ranges through it */
	size_t n_range_owners;
	/* H_TEXT */
	char *text;
	size_t text_len;
	/* H_DIR */
	struct dirent_entry *entries;
	size_t n_entries, cap_entries;
};

static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh; // NOLINT(performance-no-int-to-ptr): fh is made for this
}

/* NULL when out of memory. */
struct handle *handle_new(struct server *s, struct node *node, enum handle_kind kind);
/* Gives back what it still holds, then frees it. */
void handle_free(struct handle *h);
/* Answers OPEN or OPENDIR with it; frees it when the opener is gone. */
void handle_reply_open(fuse_req_t req, struct handle *h, struct fuse_file_info *fi);
/* Appends a copy of name. 0 or -ENOMEM. */
int handle_add_entry(struct handle *h, const char *name, mode_t type);
/* . and .. */
int handle_add_dots(struct handle *h);

/* Its lock is lost: ESTALE from now on, and whoever wants to know is told. arg: the handle. */
void handle_lost(void *arg);
/* From now on `hold` is the handle's: on_lost and on_contended report to it. */
void handle_take_hold(struct handle *h, struct lk_hold *hold);
/* The hold goes back to the backend; nothing happens without one. */
void handle_give_back(struct handle *h);
/* The hold is the backend's again (a conversion that waits): forget it. */
void handle_forget_hold(struct handle *h);

#endif
