/* The queue of one name: who is served when, and what obtain may answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/arbiter_fixture.h"

static int try_lock(struct world *w, enum lk_mode mode)
{
	unsigned slot;

	return arb_try(&w->arb, mode, 0, 1, &slot);
}

/* --- locks --- */

static void first_come_first_served(void **state)
{
	struct world w = new_world(LK_LOCK);
	struct party p[20];
	unsigned i;

	(void)state;
	for (i = 0; i < 20; i++)
		assert_int_equal(ask(&w, &p[i], LK_EXCLUSIVE), i == 0);
	for (i = 0; i < 20; i++) {
		assert_true(p[i].holds);
		assert_int_equal(w.arb.n_holders, 1);
		assert_int_equal(w.arb.n_waiters, 19 - i);
		give_back(&w, &p[i]);
	}
	assert_null(w.arb.holders);
	assert_null(w.arb.waiters);
}

static void shared_ones_enter_together(void **state)
{
	struct world w = new_world(LK_LOCK);
	struct party writer, r[3], second, last;
	unsigned i;

	(void)state;
	assert_true(ask(&w, &writer, LK_EXCLUSIVE));
	for (i = 0; i < 3; i++)
		assert_false(ask(&w, &r[i], LK_SHARED));
	assert_false(ask(&w, &second, LK_EXCLUSIVE));
	assert_false(ask(&w, &last, LK_SHARED));
	give_back(&w, &writer);
	assert_true(r[0].holds && r[1].holds && r[2].holds);
	assert_false(second.holds || last.holds);
	for (i = 0; i < 3; i++) {
		assert_false(second.holds);
		give_back(&w, &r[i]);
	}
	assert_true(second.holds);
	assert_false(last.holds);
	give_back(&w, &second);
	assert_true(last.holds);
}

static void readers_cannot_starve_a_writer(void **state)
{
	struct world w = new_world(LK_LOCK);
	struct party r[10], writer;
	unsigned i;

	(void)state;
	assert_true(ask(&w, &r[0], LK_SHARED));
	assert_true(ask(&w, &r[1], LK_SHARED));
	assert_false(ask(&w, &writer, LK_EXCLUSIVE));
	for (i = 2; i < 10; i++)
		assert_false(ask(&w, &r[i], LK_SHARED));
	assert_int_equal(try_lock(&w, LK_SHARED), -EAGAIN);
	give_back(&w, &r[1]);
	give_back(&w, &r[0]);
	assert_true(writer.holds);
	give_back(&w, &writer);
	assert_int_equal(w.arb.n_holders, 8);
}

static void a_try_gives_way_to_waiters_only(void **state)
{
	struct world w = new_world(LK_LOCK);
	struct party a, b;

	(void)state;
	assert_int_equal(try_lock(&w, LK_EXCLUSIVE), 0);
	assert_true(ask(&w, &a, LK_SHARED));
	assert_int_equal(try_lock(&w, LK_EXCLUSIVE), -EAGAIN);
	assert_int_equal(try_lock(&w, LK_SHARED), 0);
	assert_false(ask(&w, &b, LK_EXCLUSIVE));
	assert_int_equal(try_lock(&w, LK_SHARED), -EAGAIN);
	arb_unwait(&w.arb, &b.w);
	assert_int_equal(try_lock(&w, LK_SHARED), 0);
}

static void who_leaves_lets_those_behind_in(void **state)
{
	struct world w = new_world(LK_LOCK);
	struct party reader, writer, behind;

	(void)state;
	assert_true(ask(&w, &reader, LK_SHARED));
	assert_false(ask(&w, &writer, LK_EXCLUSIVE));
	assert_false(ask(&w, &behind, LK_SHARED));
	arb_unwait(&w.arb, &writer.w);
	assert_false(writer.w.queued);
	arb_pump(&w.arb);
	assert_true(behind.holds);
	assert_false(writer.holds);
}

static void holders_are_told_once(void **state)
{
	struct world w = new_world(LK_LOCK);
	struct party r[3], late, writer[2];
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++)
		ask(&w, &r[i], LK_SHARED);
	assert_false(r[0].contended);
	assert_false(ask(&w, &writer[0], LK_EXCLUSIVE));
	assert_false(ask(&w, &writer[1], LK_EXCLUSIVE));
	for (i = 0; i < 3; i++) {
		assert_true(r[i].contended);
		assert_int_equal(r[i].told, 1);
	}
	arb_unwait(&w.arb, &writer[0].w);
	assert_true(r[0].contended);
	arb_unwait(&w.arb, &writer[1].w);
	for (i = 0; i < 3; i++)
		assert_false(r[i].contended);
	/* Who gets in while others wait behind is told at once. */
	assert_false(ask(&w, &writer[0], LK_EXCLUSIVE));
	assert_false(ask(&w, &late, LK_EXCLUSIVE));
	for (i = 0; i < 3; i++)
		give_back(&w, &r[i]);
	assert_true(writer[0].holds && writer[0].contended);
	give_back(&w, &writer[0]);
	assert_true(late.holds);
	assert_false(late.contended);
}

/* --- what obtain answers --- */

static void a_program_outside_is_waited_for(void **state)
{
	struct world w = new_world(LK_LOCK);
	struct party a, b;

	(void)state;
	w.outside[0] = -EINPROGRESS;
	assert_int_equal(try_lock(&w, LK_EXCLUSIVE), -EAGAIN);
	assert_int_equal(w.waited, 0); /* a try starts no wait */
	assert_false(ask(&w, &a, LK_EXCLUSIVE));
	assert_int_equal(w.waited, 1);
	assert_false(ask(&w, &b, LK_EXCLUSIVE));
	assert_int_equal(a.err, 0);
	w.outside[0] = 0;
	arb_pump(&w.arb);
	assert_true(a.holds);
	assert_false(b.holds);
	give_back(&w, &a);
	assert_true(b.holds);
}

static void busy_leaves_the_queue_as_it_is(void **state)
{
	struct world w = new_world(LK_LOCK);
	struct party a, b;

	(void)state;
	w.outside[0] = -EBUSY;
	assert_false(ask(&w, &a, LK_SHARED));
	assert_false(ask(&w, &b, LK_SHARED));
	assert_int_equal(w.arb.n_waiters, 2);
	assert_int_equal(a.err, 0);
	w.outside[0] = 0;
	arb_pump(&w.arb);
	assert_true(a.holds && b.holds);
}

static void an_error_goes_to_everybody_who_waits(void **state)
{
	struct world w = new_world(LK_LOCK);
	struct party a, b[3];
	unsigned i;

	(void)state;
	assert_true(ask(&w, &a, LK_EXCLUSIVE));
	for (i = 0; i < 3; i++)
		assert_false(ask(&w, &b[i], LK_EXCLUSIVE));
	w.outside[0] = -ESTALE;
	give_back(&w, &a);
	for (i = 0; i < 3; i++) {
		assert_int_equal(b[i].err, -ESTALE);
		assert_false(b[i].holds);
	}
	assert_null(w.arb.waiters);
	assert_int_equal(try_lock(&w, LK_EXCLUSIVE), -ESTALE);
	w.outside[0] = 0;
	assert_true(ask(&w, &a, LK_EXCLUSIVE));
	assert_false(a.contended);
}

/* --- semaphores --- */

static void slots_and_bounds(void **state)
{
	struct world w = new_world(LK_SEM);
	struct party p[5], three, five, one;
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++) {
		assert_true(ask_slots(&w, &p[i], LK_EXCLUSIVE, 0, 3));
		assert_int_equal(p[i].h.slot, i);
	}
	assert_false(ask_slots(&w, &three, LK_EXCLUSIVE, 0, 3));
	/* Slots 3 and 4 are nothing that who wants 0..2 waits for. */
	for (; i < 5; i++) {
		assert_true(ask_slots(&w, &p[i], LK_EXCLUSIVE, 0, 5));
		assert_int_equal(p[i].h.slot, i);
	}
	assert_false(ask_slots(&w, &five, LK_EXCLUSIVE, 0, 5));
	assert_false(ask_slots(&w, &one, LK_EXCLUSIVE, 1, 2));
	give_back(&w, &p[3]);
	assert_true(five.holds);
	assert_int_equal(five.h.slot, 3);
	assert_false(three.holds || one.holds);
	give_back(&w, &p[1]);
	assert_true(three.holds);
	assert_int_equal(three.h.slot, 1);
	give_back(&w, &p[0]);
	assert_false(one.holds);
	give_back(&w, &three);
	assert_true(one.holds);
	assert_int_equal(one.h.slot, 1);
}

static void one_slot_waits_behind_who_came_first(void **state)
{
	struct world w = new_world(LK_SEM);
	struct party a, b;
	unsigned slot;

	(void)state;
	assert_true(ask_slots(&w, &a, LK_EXCLUSIVE, 1, 2));
	assert_int_equal(arb_try(&w.arb, LK_EXCLUSIVE, 1, 2, &slot), -EAGAIN);
	assert_int_equal(arb_try(&w.arb, LK_EXCLUSIVE, 2, 3, &slot), 0);
	assert_int_equal(slot, 2);
	assert_false(ask_slots(&w, &b, LK_EXCLUSIVE, 1, 2));
	arb_unhold(&w.arb, &a.h);
	w.had[1] = false;
	/* Free, but b is to have it. */
	assert_int_equal(arb_try(&w.arb, LK_EXCLUSIVE, 1, 2, &slot), -EAGAIN);
	arb_pump(&w.arb);
	assert_true(b.holds);
}

static void slots_taken_outside(void **state)
{
	struct world w = new_world(LK_SEM);
	struct party a, b;

	(void)state;
	w.outside[0] = w.outside[1] = -EINPROGRESS;
	assert_true(ask_slots(&w, &a, LK_EXCLUSIVE, 0, 3));
	assert_int_equal(a.h.slot, 2);
	assert_int_equal(w.waited, 0); /* a slot was free: no need to wait for the others */
	assert_false(ask_slots(&w, &b, LK_EXCLUSIVE, 0, 3));
	assert_int_equal(w.waited, 2); /* for both that it could get from outside */
	w.outside[1] = 0;
	arb_pump(&w.arb);
	assert_int_equal(b.h.slot, 1);
	w.outside[0] = -EIO;
	assert_int_equal(arb_try(&w.arb, LK_EXCLUSIVE, 0, 3, &(unsigned){ 0 }), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_come_first_served),
		cmocka_unit_test(shared_ones_enter_together),
		cmocka_unit_test(readers_cannot_starve_a_writer),
		cmocka_unit_test(a_try_gives_way_to_waiters_only),
		cmocka_unit_test(who_leaves_lets_those_behind_in),
		cmocka_unit_test(holders_are_told_once),
		cmocka_unit_test(a_program_outside_is_waited_for),
		cmocka_unit_test(busy_leaves_the_queue_as_it_is),
		cmocka_unit_test(an_error_goes_to_everybody_who_waits),
		cmocka_unit_test(slots_and_bounds),
		cmocka_unit_test(one_slot_waits_behind_who_came_first),
		cmocka_unit_test(slots_taken_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
