/* What the rooms of the other mounts share: peer.c (being one of them), peer_link.c (a
 * connection), peer_ask.c (questions to others) and peer_answer.c (theirs to us). */
#ifndef BACKEND_FILE_PEER_INTERNAL_H
#define BACKEND_FILE_PEER_INTERNAL_H

#include "backend/file/gather.h"

struct asking;

struct peers {
	struct file_backend *b;
	int lock_fd;
	uv_pipe_t *server;
	struct silent *silent;
	struct link *links; /* utlist DL: every connection, of both directions */
};

/* A connection: to a peer (ask set) or from one. */
struct link {
	uv_pipe_t pipe; /* first: freed by its close callback */
	uv_connect_t connect;
	uv_write_t write;
	struct peers *p;
	struct asking *ask;
	struct pl_timer *timer;
	char *buf;
	size_t len, cap, max;
	char *out;
	struct gather *view; /* that is being sent, from `at` on */
	size_t at;
	char id[MOUNT_ID_SIZE];
	bool complete; /* the last line of a view was read */
	bool closing;
	struct link *prev, *next;
};

/* peer.c */
/* Does the mount with this id live? What a dead one left is removed. */
bool peer_alive(struct peers *p, const char *id);
/* Calls fn for each other living mount. */
void peer_each(struct peers *p, void (*fn)(struct peers *p, const char *id, void *arg), void *arg);

/* peer_link.c */
/* max: of what is read before some of it is taken. It ends when nothing happens for a while. */
struct link *link_new(struct peers *p, size_t max);
/* 0 or < 0. */
int link_read(struct link *l);
/* text is the link's from now on. 0 or < 0. */
int link_send(struct link *l, char *text);
/* It does read or speak: a long answer may take longer. */
void link_lives(struct link *l);
/* Ends a link; for one that asked, with the answer that came in (ok) or without. */
void link_end(struct link *l, bool ok);

/* peer_ask.c: what a link that asked calls. */
void ask_read(struct link *l);
void ask_silent(struct link *l);
void ask_end(struct link *l, bool ok);
/* The backend goes. */
void ask_drop(struct link *l);
void ask_free(struct peers *p);

/* peer_answer.c */
void answer_connection(uv_stream_t *server, int status);
void answer_read(struct link *l);
/* The last piece is sent. */
void answer_more(struct link *l);

#endif
