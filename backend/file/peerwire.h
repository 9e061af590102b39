/* What mounts of one DIR say to each other: lines of JSON, one each way but for a
 * view, which may take several. Names go through byte for byte. Every byte that
 * comes in is checked. */
#ifndef BACKEND_FILE_PEERWIRE_H
#define BACKEND_FILE_PEERWIRE_H

#include "backend/file/gather.h"

/* Holders and waiters in one line: what a turn of the loop is given to. */
#define PEERWIRE_PARTIES 256

enum peer_op { PEER_VIEW, PEER_BREAK, PEER_END_WAIT, PEER_RANGE };

struct peer_request {
	enum peer_op op;
	enum lk_kind kind;
	bool all;
	char name[LK_NAME_MAX + 1];
	uint64_t serial;
	struct peer_range range;
};

/* malloc'ed texts with a newline at the end; NULL: out of memory. */
char *peerwire_write_ask(enum lk_kind kind, const char *name);
char *peerwire_write_tell(const char *op, uint64_t serial);
char *peerwire_write_range(const struct peer_range *range);
char *peerwire_write_pid(pid_t pid);
/* The line from the *at-th party on; *at becomes the next one's, or 0 after the last line. */
char *peerwire_write_view(const struct gather *g, size_t *at);
char *peerwire_write_err(int err);

/* 0, or -EBADMSG for anything that is not what it should be. */
int peerwire_read_request(const char *text, size_t len, struct peer_request *r);
/* One line of a view. 1: more follow. */
int peerwire_read_view(const char *text, size_t len, struct gather *g);
/* 0 for anything that is not one. */
pid_t peerwire_read_pid(const char *text, size_t len);
/* The errno that was sent: <= 0. */
int peerwire_read_err(const char *text, size_t len);

#endif
