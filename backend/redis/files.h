/* files/ on Redis: what call.c, file.c, names.c and range.c share.
 *
 * An open file is one entry at the server, SESSION/HANDLE, and ends with its
 * session: it is lost then, and nothing that it had is claimed again. Every
 * call is asked again until it was answered; what cannot be done twice carries
 * a number by which the server knows it.
 */
#ifndef BACKEND_REDIS_FILES_H
#define BACKEND_REDIS_FILES_H

#include "backend/interface.h"
#include "backend/redis/internal.h"

/* --- call.c --- */

/* Tells the caller: err, or what the answer has. */
typedef void (*fcall_fn)(struct fcall *f, int err, const redisReply *reply);

#define FCALL_ARGS 7

struct fcall {
	struct redis_backend *b;
	struct lk_file *file; /* NULL: by name, or its file is closed */
	const char *op;
	fcall_fn answer; /* NULL: nobody asks */
	union {
		lk_file_stat_cb stat;
		lk_file_open_cb open;
		lk_done_cb done;
		lk_io_cb io;
		lk_list_cb list;
		lk_range_test_cb test;
	} cb;
	void *arg;
	uint64_t number, size;
	struct lk_file *opening;
	bool of_file;	   /* ends with the session */
	bool lasting;	   /* asked on after its caller was answered: what it gives back must be given back */
	bool replicate;	   /* the replicas must have it too */
	bool sent, ended;  /* not answered by the server; the caller was answered */
	bool again;	   /* changed since it was sent */
	bool lost;	   /* its session is over, or the server's memory */
	unsigned sent_gen; /* b->generation when it was sent */
	int err;	   /* for `later` */
	struct pl_timer *unavailable;
	struct pl_task later;
	struct ragain parked;
	struct fcall *prev, *next;
	unsigned n;
	size_t len[FCALL_ARGS], used;
	char text[]; /* the arguments, one behind the other */
};

/* NULL: no memory. room: bytes of all strings that will be added. */
struct fcall *fcall_new(struct redis_backend *b, struct lk_file *file, const char *op, size_t room, fcall_fn answer,
			void *arg);
void fcall_bytes(struct fcall *f, const void *data, size_t len);
void fcall_str(struct fcall *f, const char *s);
void fcall_num(struct fcall *f, int64_t n);
/* Sends it, or waits for a connection; freed by itself. Returns 0. */
int fcall_go(struct fcall *f);
/* An answer for lk_done_cb. */
void fcall_done(struct fcall *f, int err, const redisReply *reply);
/* An open whose caller does not want it any more is closed. */
void fcall_close(struct fcall *f);
void calls_resend(struct redis_backend *b);
/* Those about open files are answered with -ESTALE. */
void calls_lost(struct redis_backend *b);
void calls_forget(struct redis_backend *b, const struct lk_file *file);
void calls_stop(struct redis_backend *b);
void calls_free(struct redis_backend *b);

/* --- file.c --- */

/* One that has ranges through an open file. */
struct rowner {
	uint64_t owner;
	struct rowner *prev, *next;
};

/* What is open. Its inode, and so its lock, keeps its name as long. */
struct lk_file {
	struct redis_backend *b;
	uint64_t handle;
	bool lost;
	struct rowner *owners; /* utlist DL */
	void (*on_lost)(void *arg);
	void *arg;
	struct pl_task tell;
	struct lk_file *prev, *next;
	char *ln; /* the lock's name */
};

extern const struct lk_files_impl redis_files;
/* The session that opened them is over, or the server's memory of it. */
void files_lost(struct redis_backend *b);
void file_lose(struct lk_file *file);
void files_stop(struct redis_backend *b);
void files_free(struct redis_backend *b);
int rf_open(struct lk_backend *b, const char *name, int flags, mode_t perm, uid_t uid, gid_t gid, lk_file_open_cb cb,
	    void *arg);
int rf_fstat(struct lk_backend *b, struct lk_file *file, lk_file_stat_cb cb, void *arg);
int rf_read(struct lk_backend *b, struct lk_file *file, size_t size, off_t off, lk_io_cb cb, void *arg);
int rf_write(struct lk_backend *b, struct lk_file *file, const void *data, size_t size, off_t off, lk_io_cb cb,
	     void *arg);
int rf_truncate(struct lk_backend *b, struct lk_file *file, uint64_t size, lk_done_cb cb, void *arg);
int rf_sync(struct lk_backend *b, struct lk_file *file, lk_done_cb cb, void *arg);
void rf_close(struct lk_backend *b, struct lk_file *file);
void rf_on_lost(struct lk_backend *b, struct lk_file *file, void (*fn)(void *arg), void *arg);

/* --- names.c --- */
/* An answer for lk_file_stat_cb. */
void fcall_stat(struct fcall *f, int err, const redisReply *reply);
int rf_stat(struct lk_backend *b, const char *name, lk_file_stat_cb cb, void *arg);
int rf_unlink(struct lk_backend *b, const char *name, lk_done_cb cb, void *arg);
int rf_rename(struct lk_backend *b, const char *from, const char *to, unsigned flags, lk_done_cb cb, void *arg);
int rf_link(struct lk_backend *b, const char *from, const char *to, lk_done_cb cb, void *arg);
int rf_symlink(struct lk_backend *b, const char *target, const char *name, uid_t uid, gid_t gid, lk_done_cb cb,
	       void *arg);
int rf_readlink(struct lk_backend *b, const char *name, lk_io_cb cb, void *arg);
int rf_list(struct lk_backend *b, const char *ns, lk_list_cb cb, void *arg);
int rf_setattr(struct lk_backend *b, struct lk_file *file, const char *name, const struct lk_file_attr *attr,
	       lk_done_cb cb, void *arg);

/* --- extent.c --- */
#define RANGE_TEXT 192
/* As extents.lua reads it. */
void range_write(const struct redis_backend *b, const struct ranges_lock *want, char out[RANGE_TEXT]);
/* The owner has ranges through this file. True: the slot is the file's now. */
bool range_note(struct lk_file *file, uint64_t owner, struct rowner *slot);
/* The owner has none of this inode, through whatever file. */
void range_forget(struct redis_backend *b, const char *ln, uint64_t owner);
int rf_range_test(struct lk_backend *b, struct lk_file *file, const struct ranges_lock *want, lk_range_test_cb cb,
		  void *arg);
int rf_range_drop(struct lk_backend *b, struct lk_file *file, uint64_t owner, lk_done_cb cb, void *arg);

/* --- range.c --- */
struct rrange *rrange_find(struct redis_backend *b, uint64_t handle);
/* The server says that this wait is over: it has its lock, or cannot. */
void rrange_granted(struct rrange *r, const char *record);
/* The server has it in its queue. */
void rrange_synced(struct rrange *r);
/* Those that a sync did not tell of are asked anew. */
void ranges_missing(struct redis_backend *b, uint64_t seq);
/* queued: also those in the queue, for the server to look again. */
void ranges_resend(struct redis_backend *b, bool queued);
void ranges_down(struct redis_backend *b);
void ranges_lost(struct redis_backend *b);
void ranges_stop(struct redis_backend *b);
void ranges_free(struct redis_backend *b);
int rf_range_set(struct lk_backend *b, struct lk_range_request *req);
void rf_range_cancel(struct lk_backend *b, struct lk_range_request *req, int err);

#endif
