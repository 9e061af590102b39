/* files/: an open that raced with the end of the file's name.
 *
 * The kernel opens by LOOKUP, then OPEN; locally what the first found is opened
 * even if it was unlinked in between, and O_CREAT never says ENOENT. Here the
 * second would not find it. So OPEN says ESTALE, which makes the kernel look
 * once more, and that LOOKUP opens the file already: OPEN takes it over, with
 * or without a name. One name at a time is enough, and none for long.
 */
#include "fs/fileop.h"

#include <stdlib.h>
#include <string.h>

#define PIN_TIME PL_SEC

static void unpin(struct server *s)
{
	struct pin *p = &s->pin;

	pl_timer_stop(s->loop, p->timer);
	if (p->file)
		lk_file_close(s->backend, p->file);
	memset(p, 0, sizeof(*p));
}

static void on_timer(void *arg)
{
	struct server *s = arg;

	s->pin.timer = NULL;
	unpin(s);
}

void pin_end(struct server *s)
{
	unpin(s);
}

int pin_next(struct server *s, const struct node *n)
{
	struct pin *p = &s->pin;

	unpin(s);
	p->timer = pl_timer_start(s->loop, PIN_TIME, on_timer, s);
	if (p->timer && n->hashed) {
		p->parent = n->parent->id;
		strncpy(p->name, node_name(n), sizeof(p->name) - 1);
	}
	return -ESTALE;
}

bool pin_wanted(const struct server *s, const struct node *parent, const char *name)
{
	return s->pin.parent == parent->id && !s->pin.file && strcmp(s->pin.name, name) == 0;
}

bool pin_keep(struct server *s, const struct node *n, struct lk_file *file)
{
	if (s->pin.file || !s->pin.timer)
		return false;
	s->pin.file = file;
	s->pin.node = n->id;
	return true;
}

struct lk_file *pin_take(struct server *s, const struct node *n)
{
	struct lk_file *file = s->pin.node == n->id ? s->pin.file : NULL;

	if (file) {
		s->pin.file = NULL;
		unpin(s);
	}
	return file;
}
