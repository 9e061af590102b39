"""The connection of a mount breaks, or goes dead, at one step of the protocol: before the server got the call, or before
the mount got the answer. `a` is behind the proxy, `b` is not. Times are time.monotonic() stamps."""

import errno
import os
import signal
import time
from fcntl import LOCK_EX, LOCK_SH

import pytest

from cutproxy import TO_CLIENT, TO_SERVER
from faults import check_lost, heals, stamps, token_of, watch_loss
from lockclient import fails, hexed, wait_until
from respproxy import CLOSE

TTL = 1.5
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"
WHEN = pytest.mark.parametrize("when", ["before", "after"])


@pytest.fixture
def pair(server, resp_proxies, mounts):
    """A mount behind a proxy, and one that is not; both have watched for a ttl."""
    proxy = resp_proxies(server.port)
    both = mounts(proxy.url(), opts=OPTS), mounts(server.url(), opts=OPTS)
    time.sleep(TTL * 1.1)
    return proxy, *both


class Once:
    """A rule for the first call of `op`; `at` is when that was."""

    def __init__(self, proxy, when, op, act):
        self.proxy, self.when, self.op, self.act, self.at = proxy, when, op, act, None
        self.link = None
        proxy.rule = self

    def __call__(self, when, op, raw, link):
        if self.at is not None or (when, op) != (self.when, self.op):
            return raw
        self.link, self.at = link, time.monotonic()
        return self.act(raw)

    def wait(self):
        wait_until(lambda: self.at is not None, what=f"a call of {self.op}")


def breaks(proxy, when, op):
    def act(raw):
        proxy.reset()
        return CLOSE
    return Once(proxy, when, op, act)


def goes_dead(proxy, when, op):
    """What was to pass then does not, nor anything later in that direction."""
    def act(raw):
        proxy.cut(TO_SERVER if when == "before" else TO_CLIENT)
        return raw
    return Once(proxy, when, op, act)


# --- a connection that breaks ---

def use(one, a, b):
    """One of each, on the mount behind the proxy. Each append must be there once."""
    fd = a.hold(one.lock("job"), os.O_RDWR | os.O_APPEND)
    token = token_of(a, fd)
    assert a.read(fd, 10, 0) == b"0"
    a.write(fd, b"12")
    a.write(fd, b"34")
    a.ftruncate(fd, 4)
    assert a.fsync(fd) == 0
    b.open(one.lock("job"))
    one.wait_waiting("job", b)
    a.close(fd)
    fd = b.wait()
    assert b.read(fd, 10, 0) == b"0123" and token_of(b, fd) > token
    b.close(fd)


@WHEN
@pytest.mark.parametrize("op", ["acq", "rel", "rd", "wr", "trunc", "sync_value", "beat", "view"])
def test_connection_breaks_at(pair, clients, op, when):
    """Nothing is lost, nothing is done twice."""
    proxy, one, two = pair
    a, b = clients(2)
    two.put("job", b"0", "locks")
    rule = breaks(proxy, when, op)
    use(one, a, b)
    rule.wait()
    assert "lost" not in one.log_text()
    assert two.get("job", "locks") == b"0123"
    heals(one, two, a, b)
    for m in (one, two):
        m.wait_holding("job")  # nobody
        assert m.waiters("job") == []


@WHEN
@pytest.mark.parametrize("op", ["info", "script", "subscribe", "hello", "sync", "nsget"])
def test_connection_breaks_while_it_comes_back(pair, clients, op, when):
    proxy, one, two = pair
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    rule = breaks(proxy, when, op)
    proxy.reset()
    rule.wait()
    assert a.write(fd, b"by a", 0) == 4 and a.fsync(fd) == 0 and not b.answered()
    a.close(fd)
    assert b.read(b.wait(1.0), 10, 0) == b"by a"


@WHEN
def test_connection_breaks_at_a_conversion(pair, clients, when):
    """What is not sure is not held; the lock is not stuck."""
    proxy, one, two = pair
    a, b = clients(2)
    fd = a.hold(one.path("with/shared/job"), os.O_RDONLY)
    breaks(proxy, when, "conv")
    fails("ESTALE", a.flock, fd, LOCK_EX)
    fails("ESTALE", a.close, fd)
    fd = b.hold(two.lock("job"))
    b.flock(fd, LOCK_SH)
    b.close(fd)


@WHEN
def test_connection_breaks_at_a_claim(server, pair, clients, when):
    """The server lost its memory, and then the connection over which the lock is claimed: it is kept."""
    proxy, one, two = pair
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    rule = breaks(proxy, when, "claim")
    server.cli("FLUSHALL")
    rule.wait()
    end = time.monotonic() + TTL * 2
    while time.monotonic() < end:
        assert a.fsync(fd) == 0 and not b.answered(0.05)
    a.close(fd)
    b.wait(0.5)


@pytest.mark.parametrize("step", [("before", "sync"), ("after", "sync"), ("before", "claim"), ("after", "claim")])
def test_claims_that_break_and_then_go_dead(server, pair, clients, step):
    """A lock that was not claimed does not get a lease from the hello of the next connection."""
    proxy, one, two = pair
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    watch_loss(a, fd)

    def broken(raw):
        proxy.refusing = True
        proxy.reset()
        return CLOSE
    rule = Once(proxy, "before", "claim", broken)
    server.cli("FLUSHALL")
    rule.wait()
    time.sleep(TTL * 0.3)
    goes_dead(proxy, *step)
    proxy.refusing = False
    lost, got = stamps(a, b)
    assert lost < got, (rule.at, lost, got)
    b.wait()
    a.wait()
    check_lost(a, fd)
    proxy.mend()
    two.wait_holding("job", b)


# --- connections that go dead ---

@WHEN
def test_dead_at_an_acquire(pair, clients, when):
    """Whether or not the server gave it the lock: the other mount has it in time, and this one later."""
    proxy, one, two = pair
    a, b = clients(2)
    rule = goes_dead(proxy, when, "acq")
    a.open(one.lock("job"))
    rule.wait()
    b.open(two.lock("job"))
    got = stamps(b)[0]
    assert got - rule.at <= TTL * 1.25 + 0.5 and not a.answered()
    fd = b.wait()
    proxy.mend()
    two.wait_waiting("job", a)
    b.close(fd)
    a.close(a.wait())
    heals(one, two, a, b)


@WHEN
def test_dead_at_a_release(pair, clients, when):
    """It has been given back, or is over with the lease: once."""
    proxy, one, two = pair
    a, b, c = clients(3)
    fd = a.hold(one.lock("job"))
    a.write(fd, b"by a", 0)
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    rule = goes_dead(proxy, when, "rel")
    a.close(fd)
    rule.wait()
    got = stamps(b)[0]
    if when == "after":
        assert got - rule.at < 0.3, got - rule.at
    else:
        assert TTL * 0.75 - 0.1 <= got - rule.at <= TTL * 1.25 + 0.5, got - rule.at
    fd = b.wait()
    assert b.read(fd, 10, 0) == b"by a"
    c.open(one.lock("job"))
    proxy.mend()
    two.wait_waiting("job", c)
    two.wait_holding("job", b)
    b.close(fd)
    c.close(c.wait())
    heals(one, two, a, b)


@WHEN
@pytest.mark.parametrize("op", ["beat", "hello", "sync", "wr"])
def test_dead_with_a_holder(pair, clients, op, when):
    """Told that it is lost before the other open returns."""
    proxy, one, two = pair
    a, b, writer = clients(3)
    fd = a.hold(one.lock("job"))
    fd_w = writer.hold(one.lock("other"))
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    watch_loss(a, fd)
    rule = goes_dead(proxy, when, op)
    if op in ("hello", "sync"):
        proxy.reset()
    if op == "wr":
        writer.start("write", fd_w, b"late".hex(), 0)
    rule.wait()
    lost, got = stamps(a, b)
    assert lost < got, (rule.at, lost, got)
    assert got - rule.at <= TTL * 1.25 + 0.5, got - rule.at
    fd_b = b.wait()
    a.wait()
    check_lost(a, fd)
    if op == "wr":
        fails("ESTALE", writer.wait)
    proxy.mend()
    wait_until(lambda: one.holder_pids("job") == [b.pid])
    b.close(fd_b)
    heals(one, two, a, b)
    # What was on its way when the lease ended does not take effect later; what arrived in time did.
    assert two.get("other", "locks") == (b"late" if (op, when) == ("wr", "after") else b"")


# --- one of the three connections is dead, the others are not ---

@pytest.mark.parametrize("op", ["wr", "view", "nsmk", "sync_value"])
def test_mount_ends_during(pair, client, op):
    """Its caller gets the answer that is on its way."""
    proxy, one, two = pair
    c = client()
    fd = c.hold(one.lock("job"))
    kept = []

    def keep(raw):
        kept.append(raw)
        return None

    once = Once(proxy, "after", op, keep)
    c.start(*{"wr": ("write", fd, b"value".hex(), 0), "view": ("open", hexed(one.path("status")), os.O_RDONLY, 0),
              "nsmk": ("mkdir", hexed(one.lock("ns")), 0o777), "sync_value": ("fsync", fd)}[op])
    once.wait()
    os.kill(one.pid, signal.SIGTERM)
    wait_until(lambda: "unmounting" in one.log_text())
    once.link.client.sendall(kept[0])
    c.wait()
    assert one.wait_end() == 0
    if op == "wr":
        assert two.get("job") == b"value"
    wait_until(lambda: two.can_lock("job"), TTL / 2)


def lanes(proxy):
    """The numbers of the connections as they are made: of commands, of heartbeats, subscribed."""
    return [link.number for link in proxy.links[-3:]]


def swallow(proxy, number):
    proxy.rule = lambda when, op, raw, link: None if link.number == number else raw


def test_commands_dead(pair, clients):
    """A heartbeat that goes on does not keep for ever what cannot be given back."""
    proxy, one, two = pair
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    swallow(proxy, lanes(proxy)[0])
    a.close(fd)
    closed = time.monotonic()
    got = stamps(b)[0]
    assert got - closed <= TTL + 0.5, got - closed
    b.close(b.wait())
    heals(one, two, a, b)


def test_heartbeats_dead(pair, clients):
    """Nothing is lost."""
    proxy, one, two = pair
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    swallow(proxy, lanes(proxy)[1])
    time.sleep(TTL * 2)
    assert a.fsync(fd) == 0 and a.write(fd, b"by a", 0) == 4
    a.close(fd)
    heals(one, two, a, b)


def test_subscription_dead(pair, clients):
    """A grant that is not told is found within ttl/2, and the next one is told again."""
    proxy, one, two = pair
    a, b = clients(2)
    fd = b.hold(two.lock("job"))
    a.open(one.lock("job"))
    two.wait_waiting("job", a)
    swallow(proxy, lanes(proxy)[2])
    b.close(fd)
    closed = time.monotonic()
    assert stamps(a)[0] - closed <= TTL / 2 + 0.5
    fd = a.wait()
    wait_until(lambda: "subscription is dead" in one.log_text())
    wait_until(lambda: two.can_lock("free"))
    a.close(fd)
    heals(one, two, b, a)
    for _ in range(5):
        fd = b.hold(two.lock("job"))
        a.open(one.lock("job"))
        two.wait_waiting("job", a)
        b.close(fd)
        closed = time.monotonic()
        assert stamps(a)[0] - closed < 0.3
        a.close(a.wait())


def test_answers_that_never_begin(server, resp_proxies, mounts, clients):
    """A connection that dies between its start and the hello is found dead, also at the start of the mount."""
    proxy = resp_proxies(server.port)
    seen = []

    def rule(when, op, raw, _link):
        if op != "hello":
            return raw
        seen.append(op)
        return None if len(seen) < 4 else raw
    proxy.rule = rule
    m = mounts(proxy.url(), opts=OPTS + ",unavailable=1s,nofail")
    a, = clients(1)

    def works():
        try:
            return a.hold(m.lock("job"))
        except OSError as e:
            assert e.errno == errno.EHOSTDOWN
            return None
    a.close(wait_until(works, 20.0))
    assert len(seen) >= 4
