/* What a Redis server may say, drawn from the input of tests/support/fake_wire.h. */
#ifndef TESTS_SUPPORT_FAKE_REPLIES_H
#define TESTS_SUPPORT_FAKE_REPLIES_H

#include <hiredis/hiredis.h>

redisReply *reply_new(int type);
redisReply *text_reply(const char *text, size_t len);
redisReply *any_text(void);
redisReply *any_reply(unsigned depth);
/* As a server would, that has one lock and one file. */
redisReply *right_reply(const char *op);
/* Makes something else of a part of it. */
void spoil(redisReply *r);

#endif
