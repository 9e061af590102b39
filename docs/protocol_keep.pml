/* Holds that a mount of plockfs keeps, idle, after they were given back, for spin.
 *
 * Mount A opens and closes a lock for ever; mount B waits for it, or tries. What A sends takes any time; what the
 * server publishes to A may be lost, but each try asks again, and heartbeats count. Leases are not in this model
 * (protocol.pml): both mounts live.
 *
 *   never both inside; a try of B is told busy only by what is in use, or was and the server does not know yet that it
 *   is given back; B gets in though A never leaves it idle for long (wait_ends)
 *
 *   -DNO_RECALL   the server answers a try by itself: told busy by an idle hold
 *   -DNO_FIRM     what is in use when it is asked for goes on being A's to keep: a try that asks again never ends
 *   -DNO_COUNT    heartbeats do not count what was asked for: B waits for ever
 *   -DFREE_IDLE   an idle hold is in nobody's way: both inside
 */
mtype = { NONE, USE, IDLE, LEAVING };

mtype a = NONE;		/* what A has */
bool b_in;		/* B is inside */
byte holder;		/* at the server: 0, 1 A, 2 B */
bool kept;		/* at the server: it is A's to keep */
bool told_idle;		/* at the server: what A last told */
bool b_waits;		/* at the server: B is in the queue */
bool wanted;		/* A knows that B waits */
bool uncounted;		/* the server asked A for it since the last heartbeat */
bool heartbeat;		/* and one has told A so */
bool used;		/* in use at some instant since B's try began */
bool retry;		/* B's try has not ended */
bool answered;		/* A has answered B's try, or will not */
bool w, y;		/* published, and on the way to A */
bool cool;		/* A was asked for it: not kept for a second, which is longer than a try takes to ask again */

byte losses = 2;	/* that are still to come */

/* A cannot be asked twice at a time; a message may be lost. */
inline publish(what)
{
	uncounted = true;
	if
	:: what = true
	:: losses > 0 -> losses--
	fi
}

inline check()
{
	assert(!(b_in && a == USE))
}

/* Idle, it goes back at once; in use, it is A's to keep no more. */
inline give_up()
{
	if
	:: a == IDLE -> a = LEAVING
#ifndef NO_FIRM
	:: a == USE -> kept = false; told_idle = false
#endif
	:: else
	fi
}

proctype mount_a()
{
	do
	/* What has come is looked at first. */
	:: atomic { w ->
		w = false;
		if
		:: a == USE -> wanted = true /* given back when it is closed */
		:: else -> give_up()
		fi
	   }
	:: atomic { y -> y = false; cool = true; give_up(); answered = (a != LEAVING) }
	:: atomic { heartbeat -> heartbeat = false; give_up() }
	:: atomic { !w && !y && !heartbeat && a == LEAVING ->
		/* the release arrives, and behind it the answer to a try; the head of the queue has it */
		answered = true; a = NONE; kept = false; told_idle = false; wanted = false;
		if
		:: b_waits -> holder = 2; b_waits = false
		:: else -> holder = 0
		fi
	   }
	:: atomic { !w && !y && !heartbeat && a == NONE && holder == 0 -> holder = 1; kept = !cool; a = USE; used = true; check() }
	:: atomic { !w && !y && !heartbeat && a == USE ->
		if
		:: wanted || !kept -> a = LEAVING
		:: else -> a = IDLE
		fi
	   }
	/* told, some time later */
	:: atomic { !w && !y && !heartbeat && a == IDLE -> told_idle = true; a = USE; used = true; check() }
	:: atomic { !w && !y && !heartbeat && a == IDLE -> a = USE; used = true; check() }
	:: atomic { !w && !y && !heartbeat && a == USE && told_idle -> told_idle = false }
	od
}

proctype beats()
{
	do
	:: atomic { uncounted && !heartbeat ->
#ifndef NO_COUNT
		heartbeat = true;
#endif
		uncounted = false
	   }
	od
}

inline leave_b()
{
	atomic { b_in = false; holder = 0 }
}

proctype mount_b()
{
	do
	/* an open that waits */
	:: atomic {
		if
		:: holder == 0 -> holder = 2
		:: else ->
			b_waits = true;
			if
			:: kept -> publish(w)
			:: else -> w = true /* not lost: the next close leaves in any case */
			fi
		fi
	   };
wait_b:	   atomic { holder == 2 -> b_in = true; check() };
	   leave_b()
	/* a try */
	:: atomic { cool = false; used = (a == USE || a == LEAVING); retry = true; answered = true };
	   do
	   :: atomic {
		/* again when A has answered, or in a moment if that is lost */
		retry && answered ->
		if
		:: holder == 0 -> holder = 2; retry = false
#ifdef FREE_IDLE
		:: holder == 1 && told_idle -> holder = 2; kept = false; retry = false
#endif
#ifndef NO_RECALL
		:: holder == 1 && kept -> publish(y); answered = !y
#endif
		:: else ->
			/* busy */
			assert(used || a == USE || a == LEAVING);
			retry = false;
			break
		fi
	      }
	   :: atomic { !retry -> b_in = true; check() };
	      leave_b();
	      break
	   od
	od
}

init {
	atomic {
		run mount_a();
		run beats();
		run mount_b()
	}
}

ltl wait_ends { [] (b_waits -> <> !b_waits) }
ltl try_ends { [] (retry -> <> !retry) }
