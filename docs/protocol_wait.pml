/* A lost message loses no waiter, for spin: ltl served, with weak fairness (pan -a -f).
 *
 * One mount waits for a lock that another gives back, again and again. The release itself
 * grants the lock to the waiter and publishes that; any such message may be lost. The waiter's
 * heartbeat has the number of grants published to it: one that was told at a heartbeat and is still
 * not here at the next makes it ask what it has (sync).
 *
 *   -DNO_COUNT  heartbeats do not compare: the counter-example is a waiter that sleeps for ever
 */
mtype = { FREE, OTHER, OURS };
mtype holder = FREE;
bool queued;	/* at the server */
byte granted_ng; /* grants published to us, modulo 4 */

chan channel = [1] of { bit };

bool waiting, granted;
byte seen, said;

inline promote()
{
	if
	:: queued -> queued = false; holder = OURS; granted_ng = (granted_ng + 1) % 4;
		if
		:: channel ! 1
		:: skip /* lost */
		fi
	:: else -> holder = FREE
	fi
}

active proctype other()
{
	do
	:: atomic { holder == FREE && !queued -> holder = OTHER }
	:: atomic { holder == OTHER -> promote() }
	od
}

active proctype ours()
{
	do
	/* a program opens the lock */
	:: atomic { !waiting && !granted ->
		waiting = true;
		if
		:: holder == FREE -> holder = OURS; granted = true; waiting = false
		:: else -> queued = true
		fi }
	/* the message comes */
	:: atomic { channel ? _ -> seen = (seen + 1) % 4;
		if
		:: waiting -> granted = true; waiting = false
		:: else
		fi }
	/* it closes it */
	:: atomic { granted -> granted = false; promote() }
	od
}

active proctype heartbeat()
{
	do
	:: atomic {
#ifndef NO_COUNT
		if
		:: said != seen && said == granted_ng && empty(channel) -> /* sync */
			seen = granted_ng;
			if
			:: holder == OURS && waiting -> granted = true; waiting = false
			:: else
			fi
		:: else
		fi;
#endif
		said = granted_ng }
	od
}

ltl served { [] (waiting -> <> granted) }
