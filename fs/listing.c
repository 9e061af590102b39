#include "fs/listing.h"

#include <stdlib.h>

struct listing *listing_new(fuse_req_t req, struct node *n, const struct fuse_file_info *fi)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (l)
		l->h = handle_new(server_of(req), n, H_DIR);
	if (!l || !l->h) {
		free(l);
		reply_err(req, -ENOMEM);
		return NULL;
	}
	l->req = req;
	l->node = n;
	l->fi = *fi;
	return l;
}

void listing_end(struct listing *l, int err)
{
	if (err) {
		handle_free(l->h);
		reply_err(l->req, err);
	} else {
		handle_reply_open(l->req, l->h, &l->fi);
	}
	free(l);
}
