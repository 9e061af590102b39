/* files/ is opened with direct_io, so that a read after a lock sees what another
 * mount wrote. The kernel refuses shared maps of such files unless INIT was
 * answered with FUSE_DIRECT_IO_ALLOW_MMAP, a flag that came after libfuse 3.14:
 * it is set here, in the answer on its way out, if the kernel offered it.
 * One process has one session; INIT is its first message each way.
 */
#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include "fs/init_flags.h"

#include <linux/fuse.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* From the kernel's fuse.h, 7.36 and 7.39. */
#define INIT_EXT (1u << 30)
#define ALLOW_MMAP_2 (1u << (36 - 32))
/* Offsets in fuse_init_in and fuse_init_out of what was reserved before 7.36. */
#define IN_FLAGS2 16
#define OUT_FLAGS 12
#define OUT_FLAGS2 32

static uint64_t init_unique; /* of INIT, until it is answered */
static bool begun;

static ssize_t on_read(int fd, void *buf, size_t len, void *userdata)
{
	ssize_t n = read(fd, buf, len);
	const struct fuse_in_header *in = buf;
	uint32_t flags, flags2;

	(void)userdata;
	if (begun || n < (ssize_t)sizeof(*in))
		return n;
	begun = true;
	if (in->opcode != FUSE_INIT || n < (ssize_t)(sizeof(*in) + IN_FLAGS2 + sizeof(flags2)))
		return n;
	memcpy(&flags, (char *)buf + sizeof(*in) + OUT_FLAGS, sizeof(flags));
	memcpy(&flags2, (char *)buf + sizeof(*in) + IN_FLAGS2, sizeof(flags2));
	if ((flags & INIT_EXT) && (flags2 & ALLOW_MMAP_2))
		init_unique = in->unique;
	return n;
}

static void allow_mmap(const struct iovec *out)
{
	uint32_t flags, flags2;
	char *answer = out->iov_base;

	if (out->iov_len < OUT_FLAGS2 + sizeof(flags2))
		return;
	memcpy(&flags, answer + OUT_FLAGS, sizeof(flags));
	memcpy(&flags2, answer + OUT_FLAGS2, sizeof(flags2));
	flags |= INIT_EXT;
	flags2 |= ALLOW_MMAP_2;
	memcpy(answer + OUT_FLAGS, &flags, sizeof(flags));
	memcpy(answer + OUT_FLAGS2, &flags2, sizeof(flags2));
}

static ssize_t on_write(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct fuse_out_header *head = iov->iov_base;

	(void)userdata;
	if (init_unique && iov->iov_len >= sizeof(*head) && head->unique == init_unique) {
		init_unique = 0;
		if (count == 2 && head->error == 0)
			allow_mmap(&iov[1]);
	}
	return writev(fd, iov, count);
}

int init_flags_install(struct fuse_session *se)
{
	const struct fuse_custom_io io = { .writev = on_write, .read = on_read };

	return fuse_session_custom_io(se, &io, fuse_session_fd(se));
}
