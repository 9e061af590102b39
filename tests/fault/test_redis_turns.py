"""Waiters of one mount: the lock goes from one to the next here, as long as no other mount wants it (backend/redis/turns.c)."""

import errno
import fcntl
import os
import random
import re
import signal
import struct
import threading
import time

import pytest

from faults import Contest, check_lost, heals, scripts, spin, token_of, warm
from lockclient import fails, wait_until
from respproxy import passing, words_of

TTL = 2.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"


def waiting(mount):
    """How many: metrics is no look at the locks, which would send them to the server."""
    return int(re.search(r"^plockfs_waiting (\d+)", mount.read("metrics"), re.M)[1])


def lose(proxy, end):
    """From now on no message that ends so gets through; they are in what this gives."""
    lost = []

    def rule(_when, op, raw, _link):
        if op == "message" and end in raw:
            lost.append(raw)
            return None
        return raw

    proxy.rule = rule
    return lost


@pytest.fixture
def slow(redis, mounts, resp_proxies):
    """Two mounts, the first one by way of a proxy, that beat every 2 s: what takes less did not need one."""
    server = redis()
    server.settle("slow", 8000)
    proxy = resp_proxies(server.port)
    opts = "prefix=slow,ttl=8s"
    return mounts(proxy.url(), opts=opts), mounts(server.url(), opts=opts), proxy


def longest_wait(c, mount, times=20):
    took = []
    for _ in range(times):
        start = time.monotonic()
        c.close(c.hold(mount.lock("job")))
        took.append(time.monotonic() - start)
    return max(took)


def test_costs_no_round_trip(server, two, clients):
    crowd = clients(4)
    warm(crowd[0], two[0])
    before, start = scripts(server), time.monotonic()
    for c in crowd:
        spin(c, two[0].lock("job"), 1000)
    for c in crowd:
        c.wait()
    used, took = scripts(server) - before, time.monotonic() - start
    # What it tells the server of it, and the heartbeats; now and then the processes stand still for longer than a turn may last.
    assert used <= took * 150 + 200, (used, took)


def test_never_two_inside(two, clients, work):
    shared = os.path.join(work, "inside")
    with open(shared, "wb") as f:
        f.write(bytes(4 * 64))
    crowd = clients(9)
    for i, c in enumerate(crowd):
        c.start("contend", os.fsencode(two[i == 8].lock("job")).hex(), os.O_RDWR, 400, os.fsencode(shared).hex(), 1)
    for c in crowd:
        c.wait(60.0)
    with open(shared, "rb") as f:
        _, most, violations = struct.unpack("3i", f.read(12))
    assert (most, violations) == (1, 0)


def test_values_and_tokens_go_along(two, clients):
    """A counter that each adds to; and one of another mount among them."""
    found = Contest(clients(7), [two[0]] * 6 + [two[1]]).run(3.0, lambda: None, 1.0)
    assert (found.lost, found.unknown) == (0, 0) and found.taken > 50, found


def test_tokens_rise(two, clients):
    crowd = clients(3)
    warm(crowd[0], two[0])
    tokens, inside = [], crowd[0]
    fd = inside.hold(two[0].lock("job"))
    for i in range(60):
        c = crowd[(i + 1) % 3]
        c.open(two[0].lock("job"))
        tokens.append(token_of(inside, fd))
        inside.close(fd)
        inside, fd = c, c.wait()
    assert tokens == sorted(set(tokens)), tokens


@pytest.mark.parametrize("gap", [0.0, 0.005, 0.01, 0.015])
def test_deadlock_is_found_at_once(two, clients, gap):
    a, b = clients(2)
    held = {a: a.hold(two[0].lock("x")), b: b.hold(two[0].lock("y"))}
    a.open(two[0].lock("y"))
    time.sleep(gap)  # less than the server is told
    b.open(two[0].lock("x"))
    refused, = wait_until(lambda: [c for c in (a, b) if c.answered()], 5.0)
    fails("EDEADLK", refused.wait)
    refused.close(held.pop(refused))
    other, = held
    other.close(other.wait(5.0))


def test_flock_of_its_file_comes_after_those_before_it(two, clients):
    """The other door to the same lock."""
    a, b, c = clients(3)
    flocked = c.hold(two[0].path("files/job"), os.O_RDWR | os.O_CREAT)
    warm(a, two[0])
    for _ in range(5):
        fd = a.hold(two[0].lock("job"))
        b.open(two[0].lock("job"))
        wait_until(lambda: waiting(two[0]) == 1)
        c.start("flock", flocked, fcntl.LOCK_EX)
        wait_until(lambda: waiting(two[0]) == 2)
        a.close(fd)
        b.close(b.wait(5.0))
        c.wait(5.0)
        c.flock(flocked, fcntl.LOCK_UN)
        wait_until(lambda: two[0].can_lock("job"))


def test_flock_of_its_file_gets_in(slow, clients):
    """Also if what the server says of it is lost."""
    one, other, proxy = slow
    *crowd, c, d = clients(6)
    fd = c.hold(one.path("files/job"), os.O_RDWR | os.O_CREAT)
    warm(crowd[0], one)
    for x in crowd:
        spin(x, one.lock("job"))
    wait_until(lambda: one.cpu_seconds() > 0.1)
    lost = lose(proxy, b" Ljob\r")
    start = time.monotonic()
    c.flock(fd, fcntl.LOCK_EX)
    c.flock(fd, fcntl.LOCK_UN)
    assert time.monotonic() - start < 1.5
    assert lost
    proxy.rule = passing
    assert longest_wait(d, other, 3) < 1.5


class LateSyncs:
    """A rule: each heartbeat finds that a message was lost, and the answer to what follows, all that the mount has, comes late."""

    def __init__(self, proxy):
        self.lock, self.held, self.beats, self.syncs = threading.Lock(), {}, 0, 0
        proxy.rule = self

    def __call__(self, when, op, raw, link):
        with self.lock:
            if (when, op) == ("after", "beat"):
                self.beats += 1
                words = words_of(raw)
                words[2] = b"%d" % (int(words[2]) + self.beats)  # grants
                return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
            if when == "after" and (op == "sync" or link in self.held):
                if link not in self.held:
                    self.held[link] = []
                    self.syncs += 1
                    threading.Timer(0.03, self._pass, [link]).start()
                self.held[link].append(raw)
                return None
        return raw

    def _pass(self, link):
        with self.lock:
            link.client.sendall(b"".join(self.held.pop(link)))


def test_sync_takes_nothing_away(server, resp_proxies, mounts, clients):
    """Meanwhile those who waited here have gone to the server, and become holders."""
    proxy = resp_proxies(server.port)
    one = mounts(proxy.url(), opts=OPTS)
    late = LateSyncs(proxy)
    found = Contest(clients(6), [one]).run(8.0, lambda: None, 1.0)
    assert found.lost == found.unknown == 0 and late.syncs > 5, (found, late.syncs)


def test_order(two, clients):
    """Also when some of them wait at the server already, and others do not yet."""
    for warmed in (False, True):
        name = f"job{warmed}"
        cs = clients(5)
        if warmed:
            warm(cs[0], two[0], name)
        fd = cs[0].hold(two[0].lock(name))
        for i, c in enumerate(cs[1:4]):
            c.open(two[0].lock(name))
            wait_until(lambda i=i: waiting(two[0]) == i + 1)
            if i == 1:
                two[1].wait_waiting(name, *cs[1:3])
        cs[4].open(two[0].path("with/shared", name), os.O_RDONLY)
        two[1].wait_waiting(name, *cs[1:])
        tokens = [token_of(cs[0], fd)]
        cs[0].close(fd)
        for c in cs[1:4]:
            fd = c.wait(5.0)
            assert not any(o.answered() for o in cs[1:] if o is not c and o.pending)
            tokens.append(token_of(c, fd))
            c.close(fd)
        cs[4].close(cs[4].wait(5.0))
        assert tokens == sorted(set(tokens)), tokens


def test_seen_by_others_within_a_moment(two, clients):
    a, b, c = clients(3)
    fd = a.hold(two[0].lock("job"))
    b.open(two[0].lock("job"))
    two[1].wait_waiting("job", b)
    c.open(two[1].lock("job"))
    two[0].wait_waiting("job", b, c)
    a.close(fd)
    fd = b.wait(5.0)
    assert not c.answered()
    b.close(fd)
    c.close(c.wait(5.0))


def test_others_get_in(slow, clients):
    """However many pass it on among themselves."""
    one, other, _ = slow
    *crowd, c = clients(5)
    for x in crowd:
        spin(x, one.lock("job"))
    wait_until(lambda: one.cpu_seconds() > 0.1)
    assert longest_wait(c, other) < 1.0


def test_others_get_in_though_the_message_is_lost(slow, clients):
    """What is told of who has it is answered with it."""
    one, other, proxy = slow
    *crowd, c = clients(5)
    warm(crowd[0], one)
    for x in crowd:
        spin(x, one.lock("job"))
    wait_until(lambda: one.cpu_seconds() > 0.1)
    lost = lose(proxy, b"W Ljob\r")
    assert longest_wait(c, other, 1) < 1.0
    assert len(lost) == 1


def test_looks_are_in_nobodys_way(server, two, clients):
    """Each sends those who wait to the server: then it comes back to what it was."""
    crowd = clients(4)
    warm(crowd[0], two[0])
    for c in crowd:
        spin(c, two[0].lock("job"))
    for _ in range(5):
        two[0].status_json()

        def passed_on():
            before = scripts(server)
            start = time.monotonic()
            time.sleep(0.1)
            return scripts(server) - before <= (time.monotonic() - start) * 150 + 20
        wait_until(passed_on, 5.0)


@pytest.mark.parametrize("seed", range(4))
def test_dead_and_late_waiters(two, clients, seed):
    dice = random.Random(seed)
    holder, *crowd = clients(30)
    last = crowd.pop()
    warm(holder, two[0])
    fd = holder.hold(two[0].lock("job"))
    for c in crowd:
        spin(c, two[0].path("with/timeout=30ms/locks/job") if dice.random() < 0.3 else two[0].lock("job"), 1)
    for c in dice.sample(crowd, 10):
        c.kill()
    spin(last, two[0].lock("job"), 1)
    time.sleep(dice.random() * 0.04)  # some of them wait at the server by then
    holder.close(fd)
    for c in [c for c in crowd if c.proc.poll() is None] + [last]:
        try:
            c.wait(5.0)
        except OSError as e:
            assert e.errno in (errno.ETIMEDOUT, errno.EAGAIN) and c is not last
    heals(*two, holder, last)


def test_holder_dies(two, clients):
    for _ in range(5):
        a, b, c = clients(3)
        warm(a, two[0])
        a.hold(two[0].lock("job"))
        b.open(two[0].lock("job"))
        c.open(two[0].lock("job"))
        a.kill()
        first = wait_until(lambda b=b, c=c: [x for x in (b, c) if x.answered()])[0]
        first.close(first.wait())
        second = c if first is b else b
        second.close(second.wait(5.0))


def test_broken_holder(two, clients):
    a, b = clients(2)
    warm(a, two[0])
    fd = a.hold(two[0].lock("job"))
    entry, = two[0].holders("job")
    b.open(two[0].lock("job"))
    os.unlink(two[0].path("holders/locks/job", entry))
    held = b.wait(5.0)
    check_lost(a, fd)
    fails("EAGAIN", os.open, two[1].path("with/try/locks/job"), os.O_RDWR)
    b.close(held)


def test_mount_dies(two, clients):
    *crowd, c = clients(5)
    time.sleep(TTL * 1.1)  # from now on the other one may declare it dead
    for x in crowd:
        spin(x, two[0].lock("job"))
    wait_until(lambda: two[0].cpu_seconds() > 0.1)
    start = time.monotonic()
    two[0].kill()
    c.open(two[1].lock("job"))
    c.close(c.wait(TTL + 1.0))
    assert time.monotonic() - start < TTL + 1.0


def test_connection_dies_and_comes_back(slow, clients):
    one, other, proxy = slow
    *crowd, c, d = clients(6)
    for x in crowd:
        spin(x, one.lock("job"))
    wait_until(lambda: one.cpu_seconds() > 0.1)
    for _ in range(3):
        proxy.cut()
        time.sleep(0.3)
        proxy.mend()
        proxy.reset()
        assert longest_wait(c, other, 3) < 3.0
    for x in crowd:
        assert x.pending
        os.kill(x.pid, signal.SIGKILL)
    heals(one, other, c, d)
