/* Calls of backend/files.h, made and waited for. Every answer is the call's
 * errno, or its callback's.
 */
#ifndef TESTS_CONTRACT_FILES_H
#define TESTS_CONTRACT_FILES_H

#include "tests/contract/outcome.h"

#include <fcntl.h>
#include <sys/stat.h>

#define TEXT_MAX 256

/* An open file of one mount. */
struct opened {
	struct fixture *f;
	struct lk_backend *b;
	struct lk_file *file;
	const char *name; /* as it was opened */
};

/* Asks; does not wait. Owner 0:0, mode 0644. */
struct outcome *file_opening(struct lk_backend *b, const char *name, int flags);
struct outcome *file_opening_as(struct lk_backend *b, const char *name, int flags, mode_t perm, uid_t uid, gid_t gid);
int file_open(struct opened *o, struct lk_backend *b, struct fixture *f, const char *name, int flags);
/* These fail the test where the file cannot be opened; made(): O_CREAT, was there or not. */
struct opened opened(struct lk_backend *b, struct fixture *f, const char *name);
struct opened made(struct lk_backend *b, struct fixture *f, const char *name);
void file_close(struct opened *o);

ssize_t file_put(const struct opened *o, const char *text, off_t off);
ssize_t file_get(const struct opened *o, char *out, size_t size, off_t off);
/* All that it holds is this text. */
void file_is(const struct opened *o, const char *text);
int file_cut(const struct opened *o, uint64_t size);
int file_sync(const struct opened *o);
struct lk_file_stat file_fstat(const struct opened *o);
int file_fsetattr(const struct opened *o, const struct lk_file_attr *attr);

int name_stat(struct lk_backend *b, struct fixture *f, const char *name, struct lk_file_stat *st);
/* 0 where there is nothing. */
uint64_t name_ino(struct lk_backend *b, struct fixture *f, const char *name);
int name_setattr(struct lk_backend *b, struct fixture *f, const char *name, const struct lk_file_attr *attr);
int name_unlink(struct lk_backend *b, struct fixture *f, const char *name);
int name_rename(struct lk_backend *b, struct fixture *f, const char *from, const char *to, unsigned flags);
int name_link(struct lk_backend *b, struct fixture *f, const char *from, const char *to);
int name_symlink(struct lk_backend *b, struct fixture *f, const char *target, const char *name);
/* Static storage: the target, or "errno N". */
const char *name_readlink(struct lk_backend *b, struct fixture *f, const char *name);
/* "a b/ c@ ": sorted, folders with a slash, links with an at; or "errno N". Static storage. */
const char *file_list(struct lk_backend *b, struct fixture *f, const char *ns);
/* What is at name, opened and read, is this text. */
void name_is(struct lk_backend *b, struct fixture *f, const char *name, const char *text);

/* flock(2) of an open file: asked, as by ask_lock and ask_try. */
struct ask *ask_flock(const struct opened *o, enum lk_mode mode);
struct ask *ask_flock_try(const struct opened *o, enum lk_mode mode);
/* A lock on any mount. */
struct ask *ask_on(struct lk_backend *b, struct fixture *f, enum lk_mode mode, const char *name, bool try_only);

#endif
