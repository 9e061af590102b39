"""What clients saw of locks, and whether locks can have done that.

A history is a list of events, dicts with a word `e` and times in seconds of one monotonic clock:

  ask    h t mount name mode timeout trunc   an open begins; mode x (exclusive), s (shared), n (slot);
                                             timeout None: try; h: the handle, CLIENT/NUMBER
  got    h t            it returned           fail  h t errno      it failed
  ok     h t op         a check of the handle that was begun at t found it held
  lost   h t op         the handle had said by t that it is lost
  token  h t t1 token   slot h t slot         read h t t1 data
  write  h t mark       a write begins ("": it truncates)            wrote h t mark errno   it ended
  end    h t t1 errno   its close             err h t op errno      an operation failed, which says nothing
  fault  kind target t t1                     killed client t       over t left

Every rule holds whatever the delays: a hold is sure from the return of its open to the begin of the last call on the
handle that said it is held, and only what cannot be true in any order of the calls is a violation.
"""

import bisect
import collections
import errno
import json
import math

SLOTS = 3
DATA_LOSS = ("flushall", "restart_server")
# How long after a fault its effects may last, in ttls.
RECOVERY = 2.5
# A lease outlives interruptions that are shorter in sum, in ttls.
ENDURED = 0.45
# A lock free for so long, in ttls, with somebody waiting, and no fault about.
IDLE = 1.25
LATENESS = 1.0
# A closer does not wait for the server to know.
GIVING_BACK = 0.5
OUTAGE = (errno.EHOSTDOWN, errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT, errno.EIO, errno.ECANCELED)


def read_log(path):
    """A killed client's last line may be torn."""
    events = []
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.endswith("\n"):
                events.append(json.loads(line))
    return events


def excerpt(events):
    """Without the checks that were followed and preceded by one like them."""
    words = ["", *(e["e"] for e in events), ""]
    return [e for i, e in enumerate(events) if words[i:i + 3] != ["ok"] * 3]


class Violation:
    def __init__(self, kind, what, *holds):
        self.kind = kind
        self.what = what
        self.holds = holds
        self.faults = []

    def text(self):
        lines = [f"VIOLATION {self.kind}: {self.what}"]
        events = [e for h in self.holds for e in excerpt(h.events)] + self.faults
        lines += ["    " + json.dumps(e) for e in sorted(events, key=lambda e: e["t"])]
        return "\n".join(lines)

    def __repr__(self):
        return f"{self.kind}: {self.what}"


class Hold:
    """One open and what came of it. Times are None for what did not happen."""

    def __init__(self, ask):
        self.events = [ask]
        self.id = ask["h"]
        self.client = ask["h"].split("/")[0]
        self.asked = ask["t"]
        self.mount, self.name, self.mode = ask["mount"], ask["name"], ask["mode"]
        self.timeout, self.trunc = ask["timeout"], ask["trunc"]
        self.got = self.failed = self.error = self.lost = self.ended = self.end_error = None
        self.seen = None  # surely held until then
        self.token = self.token_read = self.slot = None
        self.checks_after_loss = []
        self.writes = []
        self.reads = []
        self.last = ask["t"]

    def _held(self, t):
        if self.lost is not None and t > self.lost:
            self.checks_after_loss.append(t)
        elif self.got is not None:
            self.seen = max(self.seen, t)

    def add(self, event):
        self.events.append(event)
        self.last = max(self.last, event["t"])
        getattr(self, "_" + event["e"])(event)

    def _got(self, e):
        self.got = self.seen = e["t"]

    def _fail(self, e):
        self.failed, self.error = e["t"], e["errno"]

    def _ok(self, e):
        self._held(e["t"])

    def _lost(self, e):
        if self.lost is None:
            self.lost = e["t"]

    def _token(self, e):
        self.token, self.token_read = e["token"], e["t1"]

    def _slot(self, e):
        self.slot = e["slot"]
        self._held(e["t"])

    def _read(self, e):
        self.reads.append(Read(e["t"], e["t1"], e["data"], self))
        self._held(e["t"])

    def _write(self, e):
        self.writes.append(Write(e["t"], math.inf, e["mark"], False, self))

    def _wrote(self, e):
        write = self.writes[-1]
        write.returned = e["t"]
        if e["errno"] == 0:
            write.end, write.done = e["t"], True
            self._held(write.begun)

    def _end(self, e):
        self.ended, self.end_error = e["t1"], e["errno"]
        if e["errno"] == 0:
            self._held(e["t"])

    def _err(self, e):
        pass

    @property
    def sure_token(self):
        """The token that was read while it surely was the holder."""
        return self.token if self.token is not None and self.seen >= self.token_read else None


class Write:
    """`end`: it has taken effect by then, or never."""

    def __init__(self, begun, end, mark, done, hold):
        self.begun, self.end, self.mark, self.done, self.hold = begun, end, mark, done, hold
        self.returned = None

    @property
    def late(self):
        return self.hold is not None and self.hold.lost is not None and self.begun > self.hold.lost


class Read:
    def __init__(self, begun, end, data, hold):
        self.begun, self.end, self.data, self.hold = begun, end, data, hold


class History:
    def __init__(self, events, ttl):
        self.ttl = ttl
        self.holds = {}
        self.faults = []
        self.killed = {}
        self.over = None
        self.left = []
        self.violations = []
        for event in events:
            self._add(event)
        if self.over is None:
            self.over = max((e["t"] for e in events), default=0.0)
        self.by_name = collections.defaultdict(list)
        for hold in self.holds.values():
            self.by_name[hold.name].append(hold)

    def _add(self, event):
        word = event["e"]
        if word == "ask":
            self.holds[event["h"]] = Hold(event)
        elif word == "fault":
            self.faults.append(event)
        elif word == "killed":
            self.killed[event["client"]] = event["t"]
        elif word == "over":
            self.over, self.left = event["t"], event["left"]
        else:
            self.holds[event["h"]].add(event)

    def report(self, kind, what, *holds):
        v = Violation(kind, what, *holds)
        since = min((h.asked for h in holds), default=self.over) - 3 * self.ttl
        until = max((h.last for h in holds), default=self.over) + 0.1
        v.faults = [f for f in self.faults if f["t1"] >= since and f["t"] <= until]
        self.violations.append(v)

    def shaken(self, begun, end):
        """A fault that may have an effect between begun and end."""
        return any(f["t"] <= end and f["t1"] + RECOVERY * self.ttl >= begun for f in self.faults)

    # --- exclusion ---

    def check_exclusion(self):
        for name, holds in self.by_name.items():
            had = sorted((h for h in holds if h.got is not None), key=lambda h: h.got)
            current = []
            for hold in had:
                current = [h for h in current if h.seen >= hold.got]
                for other in current:
                    self._check_pair(name, other, hold)
                current.append(hold)
                slots = [h for h in current if h.mode == "n" and h.seen > hold.got]
                if len(slots) > SLOTS:
                    self.report("too many", f"{len(slots)} holds of the {SLOTS} slots of {name}", *slots)

    def _check_pair(self, name, a, b):
        # Without a check since its open, b may have been lost again before that returned.
        if min(a.seen, b.seen) <= b.got:
            return
        span = f"{name}: {a.id} and {b.id} for {min(a.seen, b.seen) - b.got:.6f} s"
        if a.mode == "n":
            if a.slot is not None and a.slot == b.slot:
                self.report("same slot", span, a, b)
        elif "x" in (a.mode, b.mode):
            self.report("both hold", span, a, b)

    def check_slots(self):
        for hold in self.holds.values():
            if hold.slot is not None and not 0 <= hold.slot < SLOTS:
                self.report("no such slot", f"{hold.slot}", hold)

    # --- tokens ---

    def check_tokens(self):
        """One that was had before another of its name was asked for has the lower token."""
        for holds in self.by_name.values():
            self._check_tokens([h for h in holds if h.mode == "x" and h.got is not None and h.sure_token is not None])

    def _check_tokens(self, known):
        before = sorted(known, key=lambda h: h.got)
        highest, at = None, 0
        for hold in sorted(known, key=lambda h: h.asked):
            while at < len(before) and before[at].got < hold.asked:
                if highest is None or before[at].token > highest.token:
                    highest = before[at]
                at += 1
            if highest is not None and hold.token <= highest.token:
                self.report("token", f"{hold.token} after {highest.token}", highest, hold)

    # --- values ---

    def _writes(self, name):
        holds = [h for h in self.by_name[name] if h.mode == "x"]
        grants = sorted(h.got for h in holds if h.got is not None)
        writes = [Write(-math.inf, -math.inf, "", True, None)]
        writes += [Write(f["t"], f["t1"], "", True, None) for f in self.faults if f["kind"] in DATA_LOSS]
        for hold in holds:
            if hold.trunc:
                end = hold.got
                if end is None:
                    end = (hold.failed or self.killed.get(hold.client) or self.over) + 5 * self.ttl
                writes.append(Write(hold.asked, end, "", hold.got is not None, hold))
            for write in hold.writes:
                # It took effect while this had it, so before the next one had it.
                if not write.done:
                    later = bisect.bisect_right(grants, hold.got)
                    write.end = grants[later] if later < len(grants) else math.inf
                if not write.late:
                    writes.append(write)
                elif write.done:
                    self.report("write of a lost one", f"{write.mark!r} was accepted", hold)
        return writes

    def check_values(self):
        for name, holds in self.by_name.items():
            writes = self._writes(name)
            late = {w.mark: w for h in holds for w in h.writes if w.late and w.mark}
            by_mark = collections.defaultdict(list)
            for w in writes:
                by_mark[w.mark].append(w)
            done = sorted((w for w in writes if w.done), key=lambda w: w.end)
            ends = [w.end for w in done]
            newest = []  # of those that ended first, which began last
            for w in done:
                newest.append(w if not newest or w.begun > newest[-1].begun else newest[-1])
            for read in (r for h in holds for r in h.reads):
                self._check_read(name, read, by_mark, late, newest[bisect.bisect_left(ends, read.begun) - 1])

    def _check_read(self, name, read, by_mark, late, newest):
        # A mark is one write of one length, so no mixture of two is ever seen.
        if any(w.begun <= read.end and w.end >= newest.begun for w in by_mark.get(read.data, ())):
            return
        holds = [h for h in (read.hold, newest.hold) if h]
        if read.data in late:
            self.report("write of a lost one", f"{name}: {read.data!r} is read", read.hold, late[read.data].hold)
        elif read.data in by_mark:
            writers = [w.hold for w in by_mark[read.data] if w.hold][-1:] if read.data else []
            self.report("old value", f"{name}: {read.data!r} instead of {newest.mark!r} or later", *holds, *writers)
        else:
            self.report("no such value", f"{name}: {read.data!r}", *holds)

    # --- loss ---

    def check_losses(self):
        for hold in self.holds.values():
            if hold.checks_after_loss:
                self.report("lost and found", f"{hold.id} said it is lost, then that it is held", hold)
            if hold.lost is not None and self._interrupted(hold) < ENDURED * self.ttl:
                self.report("lost without cause", hold.id, hold)

    def _interrupted(self, hold):
        """For how long its mount and the server could not talk, in the leases before it was lost."""
        since = hold.got - RECOVERY * self.ttl
        return sum(max(0.0, min(f["t1"], hold.lost) - max(f["t"], since)) for f in self.faults
                   if f["kind"] in ("stop_server", "restart_server") or
                   (f["kind"] in ("stop_mount", "partition") and f["target"] == hold.mount))

    # --- waits ---

    def _paused(self, hold, end):
        """How long its server could not answer."""
        return sum(max(0.0, min(f["t1"], end) - max(f["t"], hold.asked)) for f in self.faults
                   if f["kind"] == "stop_mount" and f["target"] == hold.mount)

    def check_waits(self):
        for hold in self.holds.values():
            end = hold.got or hold.failed
            if end is None:
                if hold.client in self.killed:
                    continue
                end = self.over
            # A try that cannot be answered ends after two seconds.
            limit = 2.0 if hold.timeout is None else hold.timeout
            took = end - hold.asked
            if took > limit + LATENESS + self._paused(hold, end):
                word = "did not end" if hold.got is None and hold.failed is None else "ended"
                self.report("late", f"{hold.id} with a timeout of {hold.timeout} {word} after {took:.3f} s", hold)
            elif hold.failed is not None:
                self._check_failure(hold, took)

    def _check_failure(self, hold, took):
        code = errno.errorcode.get(hold.error, hold.error)
        if hold.error == errno.ETIMEDOUT:
            if hold.timeout is None or took < hold.timeout - 0.02:
                self.report("early", f"{hold.id}: {code} after {took:.3f} s of {hold.timeout}", hold)
        elif hold.error == errno.EAGAIN:
            if hold.timeout is not None:
                self.report("odd error", f"{hold.id}: {code}", hold)
        elif hold.error not in OUTAGE or not self.shaken(hold.asked, hold.failed):
            self.report("odd error", f"{hold.id}: {code}", hold)

    def check_busy(self):
        """A try is not told EAGAIN when nobody has it, nor had it a moment before, nor waits for it."""
        for holds in self.by_name.values():
            spans = [(h.asked, h.ended or h.failed or self.killed.get(h.client, self.over), h) for h in holds]
            for hold in (h for h in holds if h.error == errno.EAGAIN):
                others = any(b <= hold.failed and e + GIVING_BACK >= hold.asked for b, e, h in spans if h is not hold)
                if not others and not self.shaken(hold.asked, hold.failed):
                    self.report("busy by nobody", hold.id, hold)

    def check_starving(self):
        """Nobody waits for long for what nobody has."""
        noise = [(f["t"], f["t1"] + RECOVERY * self.ttl) for f in self.faults]
        for name, holds in self.by_name.items():
            had = [(h.asked, h.ended if h.ended is not None else self.killed.get(h.client, self.over), h)
                   for h in holds if h.got is not None]
            for hold in holds:
                end = hold.got or hold.failed or self.killed.get(hold.client, self.over)
                if end - hold.asked < IDLE * self.ttl:
                    continue
                # Of a semaphore: any hold hides it, which is less than could be said.
                taken = noise + [(b, e) for b, e, h in had if h is not hold]
                gap = longest_gap(hold.asked, end, taken)
                if gap > IDLE * self.ttl:
                    self.report("starved", f"{hold.id} waited while {name} was free for {gap:.3f} s", hold)

    def check_left(self):
        if self.left:
            self.report("left over", f"{self.left}")


def longest_gap(begun, end, spans):
    """The longest part of begun..end that no span covers."""
    longest, at = 0.0, begun
    for low, high in sorted((s for s in spans if s[1] > begun and s[0] < end), key=lambda s: s[0]):
        longest = max(longest, low - at)
        at = max(at, high)
    return max(longest, end - at)


def check(events, ttl):
    """The violations of a history."""
    h = History(events, ttl)
    for rule in (h.check_exclusion, h.check_slots, h.check_tokens, h.check_values, h.check_losses, h.check_waits,
                 h.check_busy, h.check_starving, h.check_left):
        rule()
    return h.violations
