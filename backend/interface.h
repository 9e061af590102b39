/* What a backend is: the implementers' side. One static const lk_impl each.
 * The rules stand in backend/backend.h; each lk_X call goes to impl->X, with
 * backend/backend.c between them. */
#ifndef BACKEND_INTERFACE_H
#define BACKEND_INTERFACE_H

#include "backend/files.h"

struct pl_loop;

/* All there or none. */
struct lk_files_impl {
	int (*stat)(struct lk_backend *, const char *, lk_file_stat_cb, void *);
	int (*open)(struct lk_backend *, const char *, int, mode_t, uid_t, gid_t, lk_file_open_cb, void *);
	int (*mkdir)(struct lk_backend *, const char *, mode_t, uid_t, gid_t, lk_done_cb, void *);
	int (*rmdir)(struct lk_backend *, const char *, lk_done_cb, void *);
	int (*unlink)(struct lk_backend *, const char *, lk_done_cb, void *);
	int (*rename)(struct lk_backend *, const char *, const char *, unsigned, lk_done_cb, void *);
	int (*link)(struct lk_backend *, const char *, const char *, lk_done_cb, void *);
	int (*symlink)(struct lk_backend *, const char *, const char *, uid_t, gid_t, lk_done_cb, void *);
	int (*readlink)(struct lk_backend *, const char *, lk_io_cb, void *);
	int (*list)(struct lk_backend *, const char *, lk_list_cb, void *);
	int (*setattr)(struct lk_backend *, struct lk_file *, const char *, const struct lk_file_attr *, lk_done_cb,
		       void *);
	int (*fstat)(struct lk_backend *, struct lk_file *, lk_file_stat_cb, void *);
	int (*read)(struct lk_backend *, struct lk_file *, size_t, off_t, lk_io_cb, void *);
	int (*write)(struct lk_backend *, struct lk_file *, const void *, size_t, off_t, lk_io_cb, void *);
	int (*truncate)(struct lk_backend *, struct lk_file *, uint64_t, lk_done_cb, void *);
	int (*sync)(struct lk_backend *, struct lk_file *, lk_done_cb, void *);
	void (*close)(struct lk_backend *, struct lk_file *);
	void (*on_lost)(struct lk_backend *, struct lk_file *, void (*fn)(void *arg), void *arg);
	int (*range_set)(struct lk_backend *, struct lk_range_request *);
	void (*range_cancel)(struct lk_backend *, struct lk_range_request *, int err);
	int (*range_test)(struct lk_backend *, struct lk_file *, const struct ranges_lock *, lk_range_test_cb, void *);
	int (*range_drop)(struct lk_backend *, struct lk_file *, uint64_t owner, lk_done_cb, void *);
};

struct lk_impl {
	const char *name;
	int (*acquire)(struct lk_backend *, struct lk_request *);
	void (*cancel)(struct lk_backend *, struct lk_request *, int err);
	void (*release)(struct lk_backend *, struct lk_hold *);
	int (*read)(struct lk_backend *, struct lk_hold *, size_t, off_t, lk_io_cb, void *);
	int (*write)(struct lk_backend *, struct lk_hold *, const void *, size_t, off_t, lk_io_cb, void *);
	int (*truncate)(struct lk_backend *, struct lk_hold *, uint64_t, lk_done_cb, void *);
	int (*sync)(struct lk_backend *, struct lk_hold *, lk_done_cb, void *);
	int (*stat)(struct lk_backend *, enum lk_kind, const char *, enum lk_depth, lk_stat_cb, void *);
	int (*list)(struct lk_backend *, enum lk_kind, const char *, lk_list_cb, void *);
	int (*view)(struct lk_backend *, enum lk_kind, const char *, lk_view_cb, void *);
	int (*break_hold)(struct lk_backend *, const char *, lk_done_cb, void *);
	int (*end_wait)(struct lk_backend *, const char *, lk_done_cb, void *);
	int (*remove)(struct lk_backend *, struct lk_hold *, lk_done_cb, void *);
	int (*rename)(struct lk_backend *, struct lk_hold *, struct lk_hold *, lk_done_cb, void *);
	int (*ns_make)(struct lk_backend *, const char *, mode_t, uid_t, gid_t, lk_done_cb, void *);
	int (*ns_remove)(struct lk_backend *, const char *, lk_done_cb, void *);
	int (*ns_rename)(struct lk_backend *, const char *, const char *, lk_done_cb, void *);
	int (*ns_chmod)(struct lk_backend *, const char *, mode_t, uid_t, gid_t, lk_done_cb, void *);
	int (*ns_sync)(struct lk_backend *, const char *, lk_done_cb, void *); /* may be NULL */
	const struct lk_files_impl *files;				       /* NULL: files/ is not of this backend */
	void (*tick)(struct lk_backend *);				       /* may be NULL */
	bool (*busy)(struct lk_backend *);				       /* may be NULL: never */
	void (*destroy)(struct lk_backend *);
};

/* What every backend starts with; embed it first. */
struct lk_backend {
	const struct lk_impl *impl;
	struct pl_loop *loop;
	struct lk_counters counters;
	char host[LK_HOST_MAX];
	char describe[512];
};

/* Limits and times that fs/ passes down from the options. */
struct lk_config {
	struct pl_loop *loop;
	uint64_t max_value;   /* bytes of one value */
	unsigned max_waiters; /* of this mount, all names together; 0: no limit */
	bool read_only;
};

#endif
