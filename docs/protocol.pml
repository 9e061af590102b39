/* The lease of plockfs's Redis backend, for spin: never two believers.
 *
 * Two mounts, one server that may lose its memory once, and a clock. Each message takes any
 * time: between being sent, being executed and being answered the clock may go on as it likes. A mount
 * that is stopped is one that takes no step for a while; it believes in nothing once it goes on, because it
 * looks at its deadline first. So a mount *believes* while it has the hold and its deadline has not passed.
 *
 *   -DNO_DEADLINE  rule 1 removed: a hold is believed whatever the clock says
 *   -DLATE_REPLY   rule 2 removed: a heartbeat's answer counts from when it arrives
 *   -DNO_GRACE     rule 3 removed: a server without memory grants at once
 *   -DLEASE_UNCLAIMED  a hello over a new connection gives a lease also while claims were lost with the old one
 * Each of them has a counter-example; tests/model runs all five.
 */
#define TTL 3
#define MARGIN 1
#define MAXT 7

byte now;
byte epoch = 1;		/* of the server */
byte grace;		/* no grant before */
byte holder;		/* 1, 2, or 0 */
byte lease[3];		/* end of the session's lease; 0: the server does not know it */
bool restarted;

bool has[3];		/* the mount has been told that it holds */
byte deadline[3];
byte known[3];		/* the epoch that the mount knows */
byte claim[3];		/* 1 + when the hello was sent since which what it holds is not claimed; 0: it is */

#ifdef NO_DEADLINE
#define believes(i) (has[i])
#else
#define believes(i) (has[i] && now < deadline[i])
#endif

#ifdef LATE_REPLY
#define BASE now
#else
#define BASE sent
#endif

#define check() assert(!(believes(1) && believes(2)))

/* A session past its lease may be purged by whoever asks. */
inline purge()
{
	if
	:: holder != 0 && lease[holder] <= now -> lease[holder] = 0; holder = 0
	:: else
	fi
}

proctype mount(byte i)
{
	byte sent, said;
	bool ok;

	do
	/* At the deadline everything is lost here, and a new session begins. */
	:: atomic {
		deadline[i] > 0 && now >= deadline[i] ->
#ifndef NO_DEADLINE
		has[i] = false;
#endif
		deadline[i] = 0; known[i] = 0; claim[i] = 0
	   }
	/* hello: to a server of another epoch with what we hold, within the old deadline */
	:: atomic { known[i] != epoch -> sent = now };
		/* ... on its way ... */
		atomic {
			said = epoch;
			lease[i] = now + TTL;
			if
			:: holder == i && !has[i] -> holder = 0 /* bye to the old session */
			:: else
			fi;
			ok = true
		};
		/* ... the answer on its way ... */
		atomic {
			if
			:: has[i] && !(ok && believes(i)) -> has[i] = false; deadline[i] = 0; known[i] = 0; claim[i] = 0
			:: has[i] && ok && believes(i) -> known[i] = said; claim[i] = 1 + BASE /* the deadline stays */
			:: !has[i] -> known[i] = said; deadline[i] = BASE + TTL - MARGIN; claim[i] = 0
			fi;
			check();
			sent = 0; said = 0; ok = false /* fewer states */
		}
	/* claim: answered, or lost with its connection, and then a hello to the same epoch comes before the next try */
	:: atomic { claim[i] != 0 && known[i] == epoch && has[i] && believes(i) -> said = known[i] };
		atomic {
			if
			:: said == epoch && lease[i] != 0 && (holder == 0 || holder == i) -> holder = i; ok = true
			:: said == epoch && lease[i] != 0 && holder != 0 && holder != i -> ok = false
			:: said != epoch || lease[i] == 0 -> said = 0
			:: said = 0 /* lost */
			fi
		};
		atomic {
			if
			:: said == 0 && known[i] == epoch && claim[i] != 0 && has[i] && believes(i) ->
				lease[i] = now + TTL;
				claim[i] = 1 + now;
#ifdef LEASE_UNCLAIMED
				deadline[i] = now + TTL - MARGIN; claim[i] = 0
#endif
			:: said != 0 && known[i] == said && claim[i] != 0 && has[i] && believes(i) && ok ->
				deadline[i] = claim[i] - 1 + TTL - MARGIN; claim[i] = 0
			:: said != 0 && known[i] == said && claim[i] != 0 && !ok ->
				has[i] = false; claim[i] = 0
			:: else
			fi;
			check();
			said = 0; ok = false
		}
	/* the heartbeat */
	:: atomic { known[i] == epoch && deadline[i] > now && deadline[i] < now + TTL - MARGIN -> sent = now };
		atomic {
			ok = (known[i] == epoch && lease[i] != 0);
			if
			:: ok -> lease[i] = now + TTL
			:: else
			fi
		};
		atomic {
			if
#ifdef LATE_REPLY
			:: ok -> deadline[i] = BASE + TTL - MARGIN
#else
			:: ok && now < deadline[i] && claim[i] == 0 -> deadline[i] = BASE + TTL - MARGIN
#endif
			:: else
			fi;
			check();
			sent = 0; ok = false
		}
	/* acquire */
	:: atomic { known[i] == epoch && deadline[i] > now && !has[i] -> said = known[i] };
		atomic {
			purge();
			ok = (said == epoch && lease[i] != 0 && now >= grace && (holder == 0 || holder == i));
			if
			:: ok -> holder = i
			:: else
			fi
		};
		atomic {
			if
			:: ok && now < deadline[i] && known[i] == said -> has[i] = true
			:: else -> /* not believed: given back */
				if
				:: ok && holder == i && epoch == said -> holder = 0
				:: else
				fi
			fi;
			check();
			said = 0; ok = false
		}
	/* release */
	:: atomic { has[i] && believes(i) -> has[i] = false };
		atomic {
			if
			:: holder == i && known[i] == epoch -> holder = 0
			:: else
			fi
		}
	:: now >= MAXT -> break
	od
}

proctype clock()
{
	do
	:: now < MAXT -> now++
	:: else -> break
	od
}

proctype failure()
{
	atomic {
		!restarted && now < MAXT - TTL ->
		restarted = true;
		epoch++;
		holder = 0;
		lease[1] = 0;
		lease[2] = 0;
#ifndef NO_GRACE
		grace = now + TTL;
#endif
	}
}

init {
	atomic {
		run mount(1);
		run mount(2);
		run clock();
		run failure()
	}
}
