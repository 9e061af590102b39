"""Holds that a mount keeps, when what it sends and hears comes in another order, is refused, or is about something else."""

import os
import time
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN

import pytest

from faults import heals, stop, warm
from lockclient import fails, wait_until

TTL = 2.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"


@pytest.fixture
def proxy(server, resp_proxies):
    return resp_proxies(server.port)


@pytest.fixture
def two(server, proxy, mounts):
    """The first one by way of the proxy."""
    return mounts(proxy.url(), opts=OPTS), mounts(server.url(), opts=OPTS)


def kept_idle(c, two, name="job"):
    """And the server was told."""
    warm(c, two[0], name)
    two[1].wait_holding(name)


def test_asked_for_before_the_grant_is_known(two, proxy, clients):
    """The message that somebody waits overtakes the answer of the acquire."""
    busy, c = clients(2)
    busy.close(busy.hold(two[0].lock("job")))
    two[1].wait_holding("job")
    answers, told = [], []

    def rule(when, op, raw, link):
        if when == "after" and op == "acq" and not answers:
            answers.append((link, raw))
            return None
        if op == "message" and b"W Ljob" in raw:
            told.append(raw)
        return raw

    proxy.rule = rule
    busy.open(two[0].lock("job"))
    wait_until(lambda: answers)
    c.open(two[1].lock("job"))
    wait_until(lambda: told)
    time.sleep(0.05)  # it is passed on
    answers[0][0].client.sendall(answers[0][1])
    busy.close(busy.wait())
    end = time.monotonic() + 5.0
    while not c.answered(0.05):
        assert time.monotonic() < end
        busy.close(busy.hold(two[0].lock("job")))
    c.close(c.wait())


def test_given_back_while_the_mount_asks_what_it_has(two, proxy, clients):
    """A grant that it did not hear of makes it ask; what becomes idle meanwhile is its own."""
    a, b, c = clients(3)
    fd = b.hold(two[1].lock("other"))
    a.open(two[0].lock("other"))
    two[1].wait_waiting("other", a)
    warm(c, two[0])
    kept = c.hold(two[0].lock("job"))
    asked, told = [], []

    def rule(when, op, raw, _link):
        if when == "before" and op == "note":
            told.append(raw)
        if op == "message" and b"\ng " in raw:
            return None
        if (when, op) == ("after", "sync") and not asked:
            asked.append(raw)
            proxy.cut("to_client")
        return raw

    proxy.rule = rule
    b.close(fd)
    wait_until(lambda: asked)
    told.clear()
    c.close(kept)
    wait_until(lambda: told)
    proxy.mend()
    fd = a.wait(5.0)
    kept = c.hold(two[0].lock("job"))
    for _ in range(3):
        fails("EAGAIN", os.open, two[1].path("with/try/locks/job"), os.O_RDWR)
    c.close(kept)
    a.close(fd)
    heals(*two, a, b)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "slowly"])
@pytest.mark.parametrize("change", ["rm", "mv"])
def test_removed_while_its_file_is_open(two, proxy, clients, change, late):
    """What holds the name has another lock then, for its own goes on with the file."""
    a, b, c = clients(3)
    fds = [x.hold(two[0].path("files/job"), os.O_RDWR | os.O_CREAT) for x in (b, c)]
    b.write(fds[0], b"x", 0)
    kept_idle(a, two)
    told, done = [], []

    def rule(when, op, raw, _link):
        if late and (when, op) == ("after", change):
            proxy.cut("to_client")
            done.append(raw)
        if (when, op) == ("before", "note"):
            told.append(raw)
        return raw

    proxy.rule = rule
    other = [os.fsencode(two[0].lock("other")).hex()] if change == "mv" else []
    a.start("rename" if other else "unlink", os.fsencode(two[0].lock("job")).hex(), *other)
    if late:
        wait_until(lambda: told and done)  # that it is in use again, before or after
    proxy.mend()
    a.wait()
    wait_until(lambda: two[1].can_lock("job"), 5.0)
    for _ in range(3):
        warm(a, two[0])
        wait_until(lambda: two[1].can_lock("job"))
        assert b.flock(fds[0], LOCK_EX | LOCK_NB) == 0
        fails("EAGAIN", c.flock, fds[1], LOCK_EX | LOCK_NB)
        mine = a.hold(two[0].lock("job"))
        two[1].wait_holding("job", a)
        fails("EAGAIN", os.open, two[1].path("with/try/locks/job"), os.O_RDWR)
        a.close(mine)
        b.flock(fds[0], LOCK_UN)
        wait_until(lambda: two[1].can_lock("job"), 5.0)


def test_note_that_the_server_refuses(two, proxy, client):
    """-BUSY, say: the connection stands, and others must see who has it all the same."""
    c = client()
    kept_idle(c, two)
    refused = []

    def rule(when, op, raw, link):
        if when == "before" and op == "note" and not refused:
            refused.append(raw)
            link.asked.pop()
            link.client.sendall(b"-BUSY Redis is busy running a script.\r\n")
            return None
        return raw

    proxy.rule = rule
    fd = c.hold(two[0].lock("job"))
    wait_until(lambda: refused)
    two[1].wait_holding("job", c)
    c.close(fd)


def test_recall_of_a_name_that_is_none(server, two, clients):
    """Garbage on the channel of a mount."""
    a, b = clients(2)
    for channel in server.cli("PUBSUB", "CHANNELS", f"{{{PREFIX}}}:c:*").split():
        for text in ("y", "y x", "y x ", "y x L", "y x/1 L" + "a" * 100_000, "y " + "x" * 100_000 + " Ljob", "W ", "W",
                     "W L" + "a" * 100_000, "k", "k "):
            server.cli("PUBLISH", channel, text)
    heals(*two, a, b)
    assert two[0].running and two[1].running


def test_connection_that_breaks_while_others_are_asked(proxy, two, clients):
    """What waits for their answer ends all the same."""
    a, c = clients(2)
    kept_idle(a, two[::-1])
    stop(two[1].pid)
    asked = []

    def rule(when, op, raw, _link):
        if (when, op) == ("after", "nsmk") and not asked:
            asked.append(raw)
        return raw

    proxy.rule = rule
    try:
        c.start("mkdir", os.fsencode(two[0].lock("job")).hex(), 0o777)
        wait_until(lambda: asked)
        proxy.reset()
        assert b"AGAIN" in asked[0]
        fails("EHOSTDOWN", c.wait, 5.0)
    finally:
        os.kill(two[1].pid, 18)
    heals(*two, a, c)


def test_given_back_in_order_and_taken_again_at_once(two, proxy, clients):
    """It is not abandoned any more, though the server hears only of the next one who has it."""
    a, b = clients(2)
    time.sleep(TTL * 1.1)  # from now on the first one may declare the other dead
    a.close(a.hold(two[0].lock("job")))
    wait_until(lambda: two[1].can_lock("job"))
    b.hold(two[1].lock("job"))
    two[1].kill()

    def tried():
        try:
            return (a.hold(two[0].path("with/try/locks/job")),)
        except BlockingIOError:
            return None

    fd = wait_until(tried)[0]
    assert a.fgetxattr(fd, "user.plockfs.abandoned") == "1"
    for _ in range(3):
        a.close(fd)
        fd = a.hold(two[0].lock("job"))
        assert a.fgetxattr(fd, "user.plockfs.abandoned") == "0"
    a.close(fd)


def test_tokens_do_not_outrun_the_clock(server, two, client):
    """After a loss of all keys they rise by the clock alone: so a thousand such grants a second must not take a second's."""
    c = client()
    for name in ("a", "b", "c"):
        c.close(c.hold(two[0].lock(name)))
        held = "{%s}:%s:h:L%s" % (PREFIX, server.cli("HGET", "{%s}:g" % PREFIX, "e"), name)
        wait_until(lambda held=held: server.cli("EXISTS", held) == "0")
        fd = c.hold(two[0].lock(name))
        ahead = int(server.cli("HGET", f"{{{PREFIX}}}:g", "f")) - int(c.fgetxattr(fd, "user.plockfs.token"))
        assert 0 < ahead <= 64, ahead
        c.close(fd)
