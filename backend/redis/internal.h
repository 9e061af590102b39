/* What the rooms of the Redis backend share.
 *
 * Everything a mount holds or waits for is one entry at the server, named
 * SESSION/HANDLE. Handles are never used twice by one process, so every script
 * may be sent again after a lost connection. One exception: a hold that is ours
 * to keep goes to the next one here under the same handle (keep.c).
 */
#ifndef BACKEND_REDIS_INTERNAL_H
#define BACKEND_REDIS_INTERNAL_H

#include "backend/redis/wire.h"
#include "backend/redis/redis.h"
#include "base/log.h"
#include "base/loop.h"

#include <errno.h>
#include <uthash.h>

#define SID_MAX 48
#define INC_MAX 80
/* What the server could not do now is asked again after this. */
#define RETRY_TIME (100 * PL_MS)

struct redis_backend;
struct fcall; /* backend/redis/files.h, as what follows */
struct rrange;

/* Something that is asked again once a mount has answered what it keeps. Embed it. */
struct ragain {
	struct redis_backend *b;
	void (*run)(struct ragain *again);
	void (*drop)(struct ragain *again); /* the backend ends; may be NULL */
	struct ragain *prev, *next;
	bool queued;
};

/* A name in use here. */
struct rname {
	struct rhold *holds; /* utlist DL */
	struct rhold *idle;  /* or NULL: held, and given back here */
	unsigned n_waits;
	unsigned pins;	     /* it stays for as long as somebody here works on it */
	struct rwait *turns; /* utlist DL by turn_prev: those of them who wait here (turns.c) */
	unsigned n_turns;
	struct pl_timer *turn_timer; /* started by the first of them */
	struct rwait *leader;	     /* asked the server last, of those that may wait; or NULL */
	uint64_t asked;		     /* b->seq when the server was last asked for it */
	uint64_t given;		     /* pl_now() when a hold was given back to the server */
	struct rname *turning_prev, *turning_next;
	uint64_t wanted; /* b->seq when we were told that somebody waits behind us; 0: nobody does */
	UT_hash_handle hh;
	size_t keylen;
	char kn[]; /* 'L' or 'S', then the name; 'F' and the name of an inode's lock for flock(2) of files */
};

struct rhold {
	struct lk_hold pub; /* first */
	struct redis_backend *b;
	struct rname *name; /* NULL once lost or released */
	uint64_t handle;
	bool claiming; /* a claim is under way, in a new incarnation of the server */
	/* keep.c */
	bool wished, kept;	   /* ours to keep: we asked for that; the server said so */
	bool stale;		   /* what the server has of it is not so any more; in b->stale */
	uint64_t tokens, n_tokens; /* the next one for whom we give it to, and how many there are */
	unsigned block;		   /* so many came at once */
	bool asking;		   /* for more */
	uint64_t idle_since;	   /* pl_now(); 0: it is in use */
	struct rhold *stale_prev, *stale_next;
	struct pl_task lost;
	unsigned ops;	 /* callbacks on the way that look at this hold */
	uint64_t synced; /* b->syncs when the server last told of it */
	bool released;
	struct rhold *prev, *next;
	UT_hash_handle hh;
};

struct rwait {
	struct lk_request *req;
	struct redis_backend *b;
	struct rname *name;
	uint64_t handle;
	uint64_t came;	 /* its first handle: they are served in this order */
	uint64_t ticket; /* place in the queue, kept through everything; 0: none yet */
	uint64_t sent;	 /* b->seq when last sent; 0: to be sent */
	bool queued;	 /* the server has said so */
	bool full;	 /* max_waiters was reached when it came */
	/* pl_now() since when it waits for its turn here, and the server knows nothing of it; 0: not so */
	uint64_t turn;
	struct rwait *turn_prev, *turn_next;
	unsigned keep; /* tokens asked for, to keep the hold; 0: it is not to be kept */
	bool kept;     /* the server said that it is */
	struct ragain again;
	uint64_t synced; /* b->syncs when the server last told of it */
	bool finished;
	int err;
	struct lk_hold *result;
	struct pl_timer *unavailable;
	struct converting *conv; /* instead of all that: a conversion under way */
	struct pl_task finish;
	struct rwait *prev, *next;
	UT_hash_handle hh;
};

enum release_how { RELEASE_CLEAN, RELEASE_KEPT /* cleanly; it may be one to keep */, RELEASE_LOST };

/* A release that the server has not confirmed. */
struct rrelease {
	struct redis_backend *b;
	uint64_t handle;
	enum release_how how;
	bool sent;	   /* and not answered */
	char sid[SID_MAX]; /* "": of a session that is over */
	struct rrelease *prev, *next;
	char kn[];
};

struct nspace {
	mode_t perm;
	uid_t uid;
	gid_t gid;
	uint64_t mtime; /* wall ns */
	UT_hash_handle hh;
	char path[];
};

enum session_state { SESSION_DOWN, SESSION_HELLO, SESSION_UP };

struct redis_backend {
	struct lk_backend base; /* first */
	struct lk_config config;
	uint64_t ttl_ns, unavailable_ns;
	unsigned replicas;
	struct wire *conn;
	char mount[SID_MAX - 12]; /* this mount; its channel */
	char sid[SID_MAX];	  /* MOUNT.N */
	char old_sid[SID_MAX];	  /* one that is over, to be taken out at the server; or "" */
	char inc[INC_MAX];	  /* incarnation of the server, "" before the first */
	char run_id[64];
	unsigned generation; /* N: sessions of this mount so far */
	enum session_state state;
	uint64_t deadline; /* pl_now() at which every hold is lost; 0: no lease */
	struct pl_timer *deadline_timer, *beat_timer, *extra_timer, *grace_timer, *retry_timer;
	uint64_t beat_pending; /* pl_now() when the unanswered beat was sent; 0: none */
	uint64_t hellos, syncs;
	uint64_t beat_sent;   /* pl_now() when the last answered beat was sent */
	uint64_t beat_at;     /* server ms in its answer */
	uint64_t watch_since; /* server ms since when our clock agrees with the server's */
	uint64_t floor;	      /* highest token seen */
	bool differed;	      /* the server had another number of our handles, at the last beat */
	uint64_t told, heard; /* server ms of our last beat, as its answer and as our channel have it */
	/* grants published to us: received; told by the last beat; received when that beat's message came */
	uint64_t granted_seen, granted_said, granted_heard;
	unsigned claims;      /* not answered yet */
	uint64_t claims_sent; /* pl_now() of the hello before them */
	uint64_t seq, handle;
	uint64_t answered; /* seq of the last acquire that was answered, or failed */
	struct rname *names;
	struct rhold *holds;
	struct rhold *idle;   /* by handle too; not among holds */
	struct rhold *stale;  /* utlist DL by stale_prev: to be told to the server */
	struct rwarm *warm;   /* names given back lately */
	struct ragain *again; /* utlist DL: what waits for a mount that was asked for what it keeps */
	struct pl_timer *stale_timer, *idle_timer;
	uint64_t wanted_seen, wanted_said, wanted_heard; /* the same: times we were asked for what we keep */
	struct rwait *waits;
	struct rname *turning;	/* utlist DL by turning_prev: names with some who wait here */
	struct rwait *finished; /* utlist DL: decided, but not yet told */
	struct rhold *lost;	/* utlist DL: not held any more, and not yet released */
	struct rrelease *releases;
	struct nspace *namespaces;
	uint64_t namespaces_version;
	bool namespaces_asked;
	struct rval *vals;	     /* utlist DL: value operations under way */
	struct rlook *looks;	     /* utlist DL: questions under way */
	struct fcall *calls;	     /* utlist DL: about files/, under way */
	struct lk_file *files;	     /* utlist DL: open */
	struct rrange *ranges;	     /* uthash: sets of byte ranges under way */
	struct rrange *ranges_ended; /* utlist DL: decided, but not yet told */
	unsigned ranges_queued;
	uint64_t contact; /* wall ns of the last answer */
	uint64_t give_up; /* pl_now(): no attempt more after it, while starting */
	bool starting;	  /* inside lk_redis_backend_open */
	bool stopping;	  /* inside lk_destroy */
	bool bye_said;	  /* the server has taken our session out */
	bool was_down;	  /* and the log has said so */
	bool fatal;
	char why[256];	       /* why the connection is down */
	char said_why[2][256]; /* and what the log has said */
	struct pl_log_limit log_lost, log_odd;
	struct wire_config conn_config;
	char key[128], channel_mount[160], channel_all[128];
	char *password;
};

static inline struct redis_backend *rb_of(struct lk_backend *b)
{
	return (struct redis_backend *)b;
}

/* --- protocol.c: the scripts, put together from their parts --- */
/* NULL: no memory. For wire_config; valid for ever. */
const char *const *protocol_scripts(void);
/* Which of them knows this operation. */
unsigned protocol_script(const char *op);

/* --- script.c: one call of a script --- */

#define SCRIPT_ARGS 16

struct script_call {
	const char *argv[SCRIPT_ARGS + 7];
	size_t len[SCRIPT_ARGS + 7];
	int argc;
	size_t used;
	unsigned script;
	char numbers[448];
	char kn[LK_NAME_MAX + 2];
};

/* Begins a call of operation `op` with what every call carries. */
void script_begin(struct redis_backend *b, struct script_call *c, const char *op);
void script_str(struct script_call *c, const char *s);
void script_bytes(struct script_call *c, const void *data, size_t len);
void script_num(struct script_call *c, int64_t n);
/* A handle and what it is about, as the server has them. */
void script_handle(struct script_call *c, uint64_t handle, const char *kn);
void script_kn(struct script_call *c, const char *kn); /* one in a call */
/* 0 or negative errno, as wire_script. */
int script_send(struct redis_backend *b, enum wire_lane lane, struct script_call *c, wire_cb cb, void *arg);
/* The first word of an answer, "" for anything unexpected; INC and GONE have been acted on. */
const char *script_word(struct redis_backend *b, const redisReply *reply);
/* Field i of an answer as text (never NULL) or number. */
const char *reply_str(const redisReply *reply, size_t i);
uint64_t reply_num(const redisReply *reply, size_t i);
/* The bytes of a field, at most `most`, as what a read(2) ends with: how many, or -EIO when that is not what came. */
ssize_t reply_bytes(const redisReply *reply, size_t i, size_t most, const char **data);
/* Words of an answer to a call that did nothing, and must be asked again while whoever asks believes in its lease. LATE
 * says then that the server's clock was set forward; the next heartbeat sees by how much. */
bool script_again(const char *word);
/* A word that stands for an errno. */
int script_errno(const char *word);

/* --- lease.c --- */
/* A lease that was asked for at `sent` (pl_now()) has been granted. */
void lease_set(struct redis_backend *b, uint64_t sent);
/* Does the server's clock agree with ours since the last beat? If not, or anew, we
 * cannot vouch for anything that was before. */
void lease_compare_clocks(struct redis_backend *b, uint64_t server_ms, uint64_t sent, bool anew);
/* Were messages lost, by what the last beat and its own message say? Then what they may have said is asked for. */
void lease_compare_messages(struct redis_backend *b);
/* WAITs for the replicas that must have a lease. As wire_command. */
int lease_replicas(struct redis_backend *b, enum wire_lane lane, wire_cb cb, void *arg);
/* Heartbeats from here on. */
void lease_beats(struct redis_backend *b);
void lease_arm(struct redis_backend *b, struct pl_timer **t, uint64_t delay, pl_timer_fn fn);
void lease_disarm(struct redis_backend *b, struct pl_timer **t);

/* --- session.c --- */
/* The server tells what it has for us; calls sent from here on are not in it. */
void session_sync(struct redis_backend *b);
void session_up(struct redis_backend *b, const char *run_id);
void session_down(struct redis_backend *b);
/* The server does not know our session, or is another incarnation: say hello. */
void session_again(struct redis_backend *b);
/* Is the lease over? Then everything is lost from here on. */
bool session_check(struct redis_backend *b);
/* Everything is lost; a new session begins. */
void session_lose(struct redis_backend *b, const char *why);
void session_stop(struct redis_backend *b);
/* A claim was answered. */
void session_claimed(struct redis_backend *b);
/* Server ms up to which a write may take effect. */
uint64_t session_limit(const struct redis_backend *b);

/* --- hold.c --- */
/* Made when missing; NULL: no memory. */
struct rname *rname_get(struct redis_backend *b, char kind, const char *name);
/* Frees one that nobody uses. */
void rname_settle(struct redis_backend *b, struct rname *n);
/* Used by somebody, or waited for? */
static inline bool rname_used(const struct rname *n)
{
	return n->holds || n->n_waits || n->pins;
}
/* How many of ours wait that the server was asked for. */
static inline unsigned rname_at_server(const struct rname *n)
{
	return n->n_waits - n->n_turns;
}
/* The hold that ends this wait. NULL: garbage, or no memory. */
struct rhold *rhold_new(struct rwait *w, const char *record, bool contended);
/* Those that the server has not confirmed. */
void releases_resend(struct redis_backend *b);

/* --- keep.c --- */
/* With how many tokens a hold of this name is to be kept; 0: not at all. */
unsigned keep_wish(struct redis_backend *b, const char *kn);
/* The server says whether it is ours to keep. */
void keep_begin(struct rhold *h, bool kept, unsigned tokens);
/* Given back: true when it is idle now, and not to be released. */
bool keep_put(struct rhold *h);
/* A hold for this request, of one that is idle. NULL: there is none that it may have. */
struct rhold *keep_take(struct redis_backend *b, struct rname *n, const struct lk_request *req);
/* From here on an ordinary hold, for the server too. */
void keep_end(struct rhold *h);
/* What is idle of this name, or of all, goes back to the server. */
void keep_release(struct redis_backend *b, struct rname *n);
void keep_release_all(struct redis_backend *b);
/* In use or idle. */
struct rhold *keep_find(struct redis_backend *b, uint64_t handle);
/* The server told what it has: nothing is kept that is not among that. As sync_missing. */
void keep_missing(struct redis_backend *b, uint64_t seq);
/* Somebody else asks for it: `SESSION KN`. */
void keep_recall(struct redis_backend *b, const char *text);
/* Nothing is known of what was asked meanwhile: nothing is kept any more. */
void keep_doubt(struct redis_backend *b);
/* The server does not know them any more. */
void keep_lost(struct redis_backend *b);
/* What the server has of our holds is so, for calls sent from here on. */
void keep_tell(struct redis_backend *b);
/* The name was wanted by others: it is not kept for a while. */
void keep_wanted(struct redis_backend *b, const char *kn);
bool keep_is_wanted(const struct redis_backend *b, const char *kn);
/* About to be given back: may the next one here have it? Then it is that one's, under a token of its own. */
bool keep_pass(struct rhold *h, const struct lk_request *next);
void keep_forget(struct rhold *h); /* about to be freed */
void keep_free(struct redis_backend *b);

/* --- party.c --- */
/* The server says whether somebody waits behind what we hold of this name; by_others: not only of this mount. */
void lock_contended(struct redis_backend *b, const char *kn, bool yes, bool by_others);

/* --- turns.c --- */
/* Does it wait here, for a moment, instead of at the server? */
bool turn_wait(struct rwait *w);
/* It waits here no more. */
void turn_leave(struct rwait *w);
/* The server has answered those before them (or the acquire that was sent as that): they know that they wait. */
void turns_tell(struct rname *n);
void turns_answered(struct redis_backend *b, uint64_t sent);
/* A hold is about to be given back: true when the next one here has it now. */
bool turn_pass(struct rhold *h);
/* This mount has this name no more: the next one here asks for it, unless one has already. */
void turn_lead(struct redis_backend *b, struct rname *n);
/* Those who wait here for this name, or for any, wait at the server from now on. */
void turns_enter(struct rname *n);
void turns_enter_name(struct redis_backend *b, char kind, const char *name);
void turns_enter_all(struct redis_backend *b);
/* How many of b->waits do not. */
unsigned turns_count(const struct redis_backend *b);

/* --- again.c --- */
/* Runs it when told, or in a moment. */
void again_later(struct ragain *again);
void again_drop(struct ragain *again);
/* A mount has answered: all of them. */
void again_run(struct redis_backend *b);
void again_free(struct redis_backend *b);
typedef void (*again_sent)(struct redis_backend *b);
/* Calls op with these strings, also again while a mount is asked for what it keeps: -EHOSTDOWN when that does not
 * answer within an attempt. sent comes right behind each time it was sent; or NULL. < 0: cb never runs. */
int again_ask(struct redis_backend *b, const char *op, unsigned n, const char *const *argv, again_sent sent,
	      lk_done_cb cb, void *arg);

/* --- lock.c --- */
int rb_acquire(struct lk_backend *b, struct lk_request *req);
void rb_cancel(struct lk_backend *b, struct lk_request *req, int err);
void rb_release(struct lk_backend *b, struct lk_hold *hold);
void rhold_unref(struct rhold *h);
void rhold_lose(struct rhold *h, bool tell_server);
struct rhold *rhold_find(struct redis_backend *b, uint64_t handle);
struct rwait *rwait_find(struct redis_backend *b, uint64_t handle);
void rwait_fail(struct rwait *w, int err);
/* The answer: nothing changes it any more. */
void rwait_finish(struct rwait *w, int err, struct lk_hold *hold);
/* Into the queue, or whatever the server makes of it. 0 or negative errno. */
int rwait_enter(struct rwait *w);
/* Tells whoever asked that it waits; once. In the order of asking. */
void rwait_tell(struct rwait *w);
/* To the server. It may end at once. */
void rwait_send(struct rwait *w);
/* convert.c: the request is about a hold that we have. 0 or negative errno. */
int rwait_convert(struct rwait *w);
void convert_canceled(struct rwait *w);
void rwait_send(struct rwait *w);
/* The server has it in the queue. */
void rwait_queued(struct rwait *w);
/* party.c: "g SID HANDLE MORE RECORD" and the like, from our channel. */
void lock_message(struct redis_backend *b, const char *text);
/* The server says that this wait has been granted. */
void rwait_granted(struct rwait *w, const char *record, bool contended);
/* Everything that was not answered is asked again; nothing is believed of what was. */
void lock_resend(struct redis_backend *b);
/* The server could not do it now: lock_resend and value_resend in a moment. */
void retry_soon(struct redis_backend *b);
/* The connection broke: waits begin to count `unavailable`. */
void lock_down(struct redis_backend *b);
void rhold_claim(struct rhold *h);
/* flock(2) of files is never claimed: who holds or waits for one is told that it is lost. */
void lock_files_lost(struct redis_backend *b);
/* Nobody is told anything any more. */
void lock_stop(struct redis_backend *b);
void hold_stop(struct redis_backend *b);
void value_stop(struct redis_backend *b);
void look_stop(struct redis_backend *b);
/* Gives back what the server has for a handle that is none of ours. */
void release_handle(struct redis_backend *b, uint64_t handle, const char *kn, enum release_how how);
/* New session or incarnation: what was to be released is gone anyway. */
void releases_drop(struct redis_backend *b);
struct rname *rname_find(struct redis_backend *b, char kind, const char *name);
static inline char kind_char(enum lk_kind kind)
{
	return kind == LK_LOCK ? 'L' : 'S';
}
int rb_break(struct lk_backend *b, const char *id, lk_done_cb cb, void *arg);
int rb_end_wait(struct lk_backend *b, const char *id, lk_done_cb cb, void *arg);

/* --- value.c --- */
int rb_read(struct lk_backend *b, struct lk_hold *h, size_t size, off_t off, lk_io_cb cb, void *arg);
int rb_write(struct lk_backend *b, struct lk_hold *h, const void *data, size_t size, off_t off, lk_io_cb cb, void *arg);
int rb_truncate(struct lk_backend *b, struct lk_hold *h, uint64_t size, lk_done_cb cb, void *arg);
int rb_sync(struct lk_backend *b, struct lk_hold *h, lk_done_cb cb, void *arg);
int rb_remove(struct lk_backend *b, struct lk_hold *h, lk_done_cb cb, void *arg);
int rb_rename(struct lk_backend *b, struct lk_hold *from, struct lk_hold *to, lk_done_cb cb, void *arg);
void value_resend(struct redis_backend *b);
void value_lost(struct redis_backend *b);
void value_free(struct redis_backend *b);

/* --- look.c, ns.c --- */
int rb_stat(struct lk_backend *b, enum lk_kind kind, const char *name, enum lk_depth depth, lk_stat_cb cb, void *arg);
int rb_list(struct lk_backend *b, enum lk_kind kind, const char *ns, lk_list_cb cb, void *arg);
int rb_view(struct lk_backend *b, enum lk_kind kind, const char *name, lk_view_cb cb, void *arg);
void look_free(struct redis_backend *b);
int rb_ns_make(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg);
int rb_ns_remove(struct lk_backend *b, const char *ns, lk_done_cb cb, void *arg);
int rb_ns_rename(struct lk_backend *b, const char *from, const char *to, lk_done_cb cb, void *arg);
int rb_ns_chmod(struct lk_backend *b, const char *ns, mode_t perm, uid_t uid, gid_t gid, lk_done_cb cb, void *arg);
/* Reads all namespaces again. */
void ns_refresh(struct redis_backend *b);
struct nspace *ns_find(struct redis_backend *b, const char *path);
void ns_free(struct redis_backend *b);

/* --- record.c: who holds and who waits, as text at the server --- */
/* "HOST PID TID UID GID START COMM", the words percent-escaped. */
void record_who(const struct redis_backend *b, const struct lk_owner *o, char out[256]);
/* Reads it back; host gets LK_HOST_MAX bytes. False for garbage. */
bool record_read_who(const char *text, struct lk_owner *o, char *host);
/* "MODE SLOT TOKEN SINCE WHO". *who points into text. */
bool record_read_hold(const char *text, enum lk_mode *mode, unsigned *slot, uint64_t *token, uint64_t *since_ms,
		      const char **who);
/* "MODE LO HI ASKED WHO". */
bool record_read_wait(const char *text, enum lk_mode *mode, unsigned *lo, unsigned *hi, uint64_t *asked_ms,
		      const char **who);

#endif
