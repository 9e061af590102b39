"""Random holds under random faults: what the clients saw must be what locks can do.

First the rules, each on a small history made by hand; then real runs. test_history_planted.py has runs of programs with
a planted bug, which the same rules must find.
"""

import errno
import os

import pytest

import history
from history_run import run

TTL = 1.0


class Story:
    """A history made by hand. Every handle holds "a" of mount 0 exclusively unless told otherwise."""

    def __init__(self):
        self.events = []
        self.n = 0

    def say(self, handle, word, t, **more):
        self.events.append({"e": word, "h": handle, "t": t, **more})
        return handle

    def ask(self, t, name="a", mode="x", timeout=60.0, trunc=False, mount=0, client=None):
        self.n += 1
        return self.say(f"{client or f'c{self.n}'}/{self.n}", "ask", t, mount=mount, name=name, mode=mode,
                        timeout=timeout, trunc=trunc)

    def hold(self, asked, got, until, **how):
        """Held from got, and known to be until `until`; then closed."""
        handle = self.ask(asked, **how)
        self.say(handle, "got", got)
        self.say(handle, "ok", until, op="poll")
        return handle

    def closed(self, asked, got, until, **how):
        return self.end(self.hold(asked, got, until, **how), until)

    def end(self, handle, t, code=0):
        return self.say(handle, "end", t, t1=t + 0.001, errno=code)

    def write(self, handle, t, mark, t1=None, code=0):
        self.say(handle, "write", t, mark=mark)
        self.say(handle, "wrote", t1 or t + 0.001, mark=mark, errno=code)

    def read(self, handle, t, data, t1=None):
        self.say(handle, "read", t, t1=t1 or t + 0.001, data=data)

    def token(self, handle, t, token):
        self.say(handle, "token", t, t1=t + 0.001, token=token)

    def fault(self, kind, t, t1, target=None):
        self.events.append({"e": "fault", "kind": kind, "target": target, "t": t, "t1": t1})

    def over(self, t, left=()):
        self.events.append({"e": "over", "t": t, "left": list(left)})

    def found(self, starving=False):
        """Most stories leave locks free for long while somebody waits, which is not what they are about."""
        kinds = [v.kind for v in history.check(self.events, TTL)]
        return [k for k in kinds if starving or k != "starved"]


@pytest.fixture
def story():
    return Story()


# --- the rules ---

def test_one_after_the_other_is_right(story):
    story.closed(0, 1, 2)
    story.closed(0.5, 2, 3)
    assert story.found() == []


def test_two_exclusive(story):
    story.hold(0, 1, 2.5)
    story.hold(0, 2, 3)
    assert story.found() == ["both hold"]


def test_a_hold_without_a_check_proves_nothing(story):
    """It may have been lost while the answer of its open was on the way."""
    story.hold(0, 1, 4)
    story.say(story.ask(0), "got", 2)
    assert story.found() == []


def test_names_are_apart(story):
    story.hold(0, 1, 2.5)
    story.hold(0, 2, 3, name="b")
    assert story.found() == []


def test_exclusive_among_shared(story):
    story.hold(0, 1, 4, mode="s")
    story.hold(0, 1.1, 4, mode="s")
    assert story.found() == []
    story.hold(0, 2, 3)
    assert story.found() == ["both hold", "both hold"]


def test_found_behind_a_shorter_one(story):
    """The long hold overlaps with the third, although the second is over by then."""
    story.hold(0, 1, 9, mode="s")
    story.closed(0, 2, 3, mode="s")
    story.hold(0, 5, 6)
    assert story.found() == ["both hold"]


def test_belief_ends_with_the_last_check(story):
    """What a stopped client would have believed is not held against anybody."""
    handle = story.hold(0, 1, 1.5)
    story.fault("stop_mount", 1.4, 2.6, target=0)
    story.hold(0, 2.5, 3, mount=1)
    story.say(handle, "lost", 3.1, op="poll")
    assert story.found() == []


def test_a_failed_close_proves_nothing(story):
    story.end(story.hold(0, 1, 1.5), 5, code=errno.ENOTCONN)
    story.hold(0, 2, 3)
    assert story.found() == []


@pytest.mark.parametrize("slots, found", [
    ((0, 1, 2), []),
    ((0, 1, 1), ["same slot"]),
    ((0, 1, 3), ["no such slot"]),
    ((0, 1, 2, None), ["too many"]),
])
def test_slots(story, slots, found):
    for i, slot in enumerate(slots):
        handle = story.hold(0, 1 + i / 10, 3, name="pool", mode="n")
        if slot is not None:
            story.say(handle, "slot", 1.5, slot=slot)
    assert story.found() == found


@pytest.mark.parametrize("second, found", [(8, []), (7, ["token"]), (6, ["token"])])
def test_tokens_rise(story, second, found):
    story.token(story.closed(0, 1, 2), 1.1, 7)
    story.token(story.closed(1.2, 3, 4), 3.1, second)
    assert story.found() == found


def test_tokens_are_of_a_name(story):
    """A mount may have taken some ahead, for a name that it keeps."""
    story.token(story.closed(0, 1, 2), 1.1, 7)
    story.token(story.closed(1.2, 3, 4, name="b"), 3.1, 6)
    assert story.found() == []


def test_tokens_of_grants_in_any_order(story):
    """The second was asked for before the first was had: either may have been granted first."""
    story.token(story.closed(0, 2, 3), 2.1, 7)
    story.token(story.closed(1, 3, 4, name="b"), 3.1, 6)
    assert story.found() == []


def test_a_token_read_too_late_counts_for_nothing(story):
    story.token(story.hold(0, 1, 2), 1.1, 7)
    story.token(story.hold(2, 3, 4), 4.1, 6)
    assert story.found() == []


def test_values_are_kept(story):
    first = story.hold(0, 1, 2)
    story.read(first, 1.1, "")
    story.write(first, 1.2, "one")
    story.read(first, 1.3, "one")
    story.end(first, 2)
    second = story.hold(0, 3, 4, mode="s")
    story.read(second, 3.1, "one")
    assert story.found() == []
    story.read(second, 3.2, "")
    assert story.found() == ["old value"]


def test_value_of_nobody(story):
    story.read(story.hold(0, 1, 2), 1.1, "two")
    assert story.found() == ["no such value"]


def test_an_older_value_comes_back(story):
    first = story.closed(0, 1, 2)
    story.write(first, 1.2, "one")
    second = story.closed(0, 3, 4)
    story.write(second, 3.2, "two")
    story.read(story.hold(0, 5, 6), 5.1, "one")
    assert story.found() == ["old value"]


@pytest.mark.parametrize("data, found", [("one", []), ("two", []), ("", ["old value"])])
def test_a_write_that_failed_may_have_worked(story, data, found):
    first = story.hold(0, 1, 2)
    story.write(first, 1.2, "one")
    story.write(first, 1.5, "two", code=errno.EHOSTDOWN)
    story.end(first, 2)
    story.read(story.hold(0, 3, 4), 3.1, data)
    assert story.found() == found


def test_but_not_after_the_next_holder_wrote(story):
    first = story.hold(0, 1, 1.5)
    story.write(first, 1.2, "one", t1=9, code=errno.EHOSTDOWN)
    second = story.hold(0, 3, 4)
    story.write(second, 3.1, "two")
    story.read(second, 3.5, "one")
    assert story.found() == ["old value"]


def test_memory_lost(story):
    first = story.closed(0, 1, 2)
    story.write(first, 1.2, "one")
    story.fault("flushall", 2.5, 2.6, target="server")
    second = story.hold(0, 3, 4)
    story.read(second, 3.1, "")
    assert story.found() == []
    story.read(second, 3.2, "one")
    assert story.found() == ["old value"]


@pytest.mark.parametrize("got, found", [(3, ["old value"]), (None, [])])
def test_truncating_open(story, got, found):
    """One that failed may have had the lock for a moment."""
    story.write(story.closed(0, 1, 2), 1.2, "one")
    other = story.ask(2.1, trunc=True, timeout=0.8)
    if got:
        story.say(other, "got", got)
        story.end(other, 3.1)
    else:
        story.fault("kill_mount", 2.0, 2.1, target=0)
        story.say(other, "fail", 2.9, errno=errno.ETIMEDOUT)
    reader = story.hold(3.2, 4, 5)
    story.read(reader, 4.1, "one" if got else "")
    assert story.found() == found


@pytest.fixture
def loser(story):
    """One that lost its lock at 2, and why."""
    handle = story.hold(0, 1, 1.2)
    story.fault("stop_mount", 1.2, 2, target=0)
    story.say(handle, "lost", 2, op="fsync")
    return handle


def test_lost_is_lost(story, loser):
    story.write(loser, 2.1, "late", code=errno.ESTALE)
    story.end(loser, 2.2, code=errno.ESTALE)
    assert story.found() == []


def test_lost_and_found(story, loser):
    story.say(loser, "ok", 2.3, op="poll")
    assert story.found() == ["lost and found"]


def test_lost_writes(story, loser):
    story.write(loser, 2.1, "late")
    assert "write of a lost one" in story.found()


def test_lost_write_takes_effect(story, loser):
    story.write(loser, 2.1, "late", code=errno.ESTALE)
    story.read(story.hold(0, 3, 4, mode="s", mount=1), 3.1, "late")
    assert story.found() == ["write of a lost one"]


@pytest.mark.parametrize("kind, target, length", [
    (None, 0, 0), ("cut_normal", "server", 0.01), ("stop_mount", 1, 2), ("stop_mount", 0, 0.2),
    ("kill_client", None, 1),
])
def test_lost_without_cause(story, kind, target, length):
    handle = story.hold(0, 5, 5.5)
    if kind:
        story.fault(kind, 5.1, 5.1 + length, target=target)
    story.say(handle, "lost", 6, op="fsync")
    assert story.found() == ["lost without cause"]


@pytest.mark.parametrize("took, code, timeout, found", [
    (1.0, errno.ETIMEDOUT, 1.0, []),
    (1.4, errno.ETIMEDOUT, 1.0, []),
    (0.5, errno.ETIMEDOUT, 1.0, ["early"]),
    (2.5, errno.ETIMEDOUT, 1.0, ["late"]),
    (0.1, errno.EAGAIN, None, []),
    (0.1, errno.EAGAIN, 1.0, ["odd error"]),
    (0.1, errno.EHOSTDOWN, 1.0, ["odd error"]),
    (0.1, errno.EINVAL, 1.0, ["odd error"]),
    (3.5, errno.EAGAIN, None, ["late"]),
])
def test_waits(story, took, code, timeout, found):
    story.closed(0, 9, 14, client="other")
    waiter = story.ask(10, timeout=timeout)
    story.say(waiter, "fail", 10 + took, errno=code)
    assert story.found() == found


@pytest.mark.parametrize("asked, found", [(2.9, []), (3.2, []), (9.0, ["busy by nobody"])])
def test_busy(story, asked, found):
    """Told EAGAIN while another has it, soon after, and long after."""
    story.closed(0, 1, 3)
    story.say(story.ask(asked, timeout=None), "fail", asked + 0.001, errno=errno.EAGAIN)
    assert story.found() == found


def test_outage(story):
    story.fault("kill_mount", 9, 10, target=0)
    story.say(story.ask(10.2, timeout=1.0), "fail", 10.3, errno=errno.ENOTCONN)
    assert story.found() == []


def test_a_stopped_mount_answers_later(story):
    story.closed(0, 9, 14, client="other", mount=1)
    story.fault("stop_mount", 10.1, 12, target=0)
    story.say(story.ask(10, timeout=0.3), "fail", 12.1, errno=errno.ETIMEDOUT)
    assert story.found() == []


def test_an_open_that_never_ends(story):
    story.ask(10, timeout=1.0)
    story.closed(0, 9, 14.5, client="other")
    story.over(15)
    assert story.found() == ["late"]


def test_a_killed_client_owes_nothing(story):
    story.ask(10, timeout=1.0, client="dead")
    story.events.append({"e": "killed", "client": "dead", "t": 10.5})
    story.over(15)
    assert story.found() == []


@pytest.mark.parametrize("free_until, found", [(11.0, []), (13.0, ["starved"])])
def test_starving(story, free_until, found):
    story.closed(8.9, 9, 10, client="one")
    story.closed(free_until - 0.5, free_until, free_until + 2.0, client="two")
    waiter = story.ask(9.5, timeout=8.0)
    story.say(waiter, "got", free_until + 2.1)
    story.end(waiter, free_until + 2.2)
    assert story.found(starving=True) == found


def test_a_fault_explains_a_wait(story):
    story.fault("restart_server", 10, 10.1, target="server")
    story.end(story.say(story.ask(9.5, timeout=8.0), "got", 12.7), 12.8)
    assert story.found(starving=True) == []


def test_left_over(story):
    story.over(1, left=[[0, "a", ["x"], []]])
    assert story.found() == ["left over"]


# --- real runs ---

@pytest.mark.parametrize("backend, seconds, least", [("redis", 60, 2000), ("file", 30, 1000)])
def test_run(backend, seconds, least):
    seed = int(os.environ.get("HISTORY_SEED", "1"))
    violations, counts = run(seconds, seed, backend)
    assert not violations, "\n".join(v.text() for v in violations[:5])
    assert counts["steps"] >= least and counts["holds"] >= least / 2
    assert counts["faults"] >= seconds / 3, "too quiet"
