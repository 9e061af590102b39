"""Holds that a mount keeps, idle, after they were given back: what it saves, and that nobody else can tell.

A name is kept from the second time on that a mount gives it back, for a second, unless others want it.
"""

import os
import time

import pytest

from faults import heals, scripts, spin, stop, token_of, warm, watch_loss
from lockclient import fails, wait_until

TTL = 2.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"


def test_again_costs_no_round_trip(server, two, client):
    c = client()
    warm(c, two[0])
    before, start = scripts(server), time.monotonic()
    c.spin(two[0].lock("job"), os.O_RDWR, 2000)
    used, took = scripts(server) - before, time.monotonic() - start
    # What it tells the server of it, 50 times a second at most, and the heartbeats of both mounts.
    assert used <= took * (50 + 2 * 4 / TTL) + 10, (used, took)


def test_tokens_rise_with_each_grant(two, clients):
    a, b = clients(2)
    tokens = []
    for i in range(30):
        c, m = (b, two[1]) if i % 10 == 9 else (a, two[0])
        fd = c.hold(m.lock("job"))
        tokens.append(token_of(c, fd))
        c.close(fd)
    assert tokens == sorted(set(tokens)), tokens


def test_more_grants_than_tokens_that_came_with_it(two, client):
    """1024 of them; then the mount asks for more."""
    c = client()
    warm(c, two[0])
    fd = c.hold(two[0].lock("job"))
    first = token_of(c, fd)
    c.close(fd)
    c.spin(two[0].lock("job"), os.O_RDWR, 5000)
    fd = c.hold(two[0].lock("job"))
    assert token_of(c, fd) >= first + 5000
    c.close(fd)


def test_idle_holds_are_nobodys(two, clients):
    """Here at once; on other mounts within a moment."""
    a, b = clients(2)
    for c in (a, b, a, b, a):
        fd = c.hold(two[0].lock("job"))
        assert two[0].holder_pids("job") == [c.pid]
        two[1].wait_holding("job", c)
        assert int(two[1].xattr("locks/job", "holders")) == 1
        c.close(fd)
        assert two[0].holders("job") == [] and "job" not in os.listdir(two[0].path("locks"))
        two[1].wait_holding("job")
        wait_until(lambda: "job" not in os.listdir(two[1].path("locks")))
        assert int(two[1].xattr("locks/job", "holders")) == 0


def test_try_is_never_told_busy_by_an_idle_hold(two, client):
    c = client()
    for i in range(40):
        # A new name each time: one that was asked for is not kept for a while, and its closer does not wait for the server.
        warm(c, two[i % 2], f"job{i}")
        assert two[1 - i % 2].can_lock(f"job{i}"), i


@pytest.mark.parametrize("here", [0, 1], ids=["same mount", "other mount"])
def test_try_is_told_busy_by_one_in_use(two, client, here):
    c = client()
    for i in range(5):
        warm(c, two[0], f"job{i}")
        fd = c.hold(two[0].lock(f"job{i}"))
        start = time.monotonic()
        for _ in range(3):
            fails("EAGAIN", os.open, two[here].path("with/try/locks", f"job{i}"), os.O_RDWR)
        assert time.monotonic() - start < 1.0
        c.close(fd)
        wait_until(lambda: two[here].can_lock(f"job{i}"))  # the closer does not wait for the server


def test_others_get_in_at_once(redis, mounts, clients):
    """Beats every 2 s: what takes less was not found by looking."""
    one = redis()
    one.settle("slow", 8000)
    ms = [mounts(one.url(), opts="prefix=slow,ttl=8s") for _ in range(2)]
    busy, c = clients(2)
    warm(busy, ms[0])
    spin(busy, ms[0].lock("job"))
    took = []
    for _ in range(20):
        start = time.monotonic()
        c.close(c.hold(ms[1].lock("job")))
        took.append(time.monotonic() - start)
    assert max(took) < 1.0, took


def test_lost_message(redis, mounts, clients, proxies):
    """That others want it is told once; a heartbeat finds that it was not heard, though the lock is never idle for long."""
    ttl = 4.0
    one = redis()
    one.settle("slow", int(ttl * 1000))
    proxy = proxies(one.port)
    opts = f"prefix=slow,ttl={ttl * 1000:.0f}ms"
    ms = mounts(proxy.url(), opts=opts), mounts(one.url(), opts=opts)
    busy, c = clients(2)
    warm(busy, ms[0])
    spin(busy, ms[0].lock("job"))
    proxy.lose(b"W Ljob")
    start = time.monotonic()
    fd = c.hold(ms[1].lock("job"))
    took = time.monotonic() - start
    c.close(fd)
    assert proxy.lost == 1, proxy.lost
    assert took < ttl / 2 + 1.0, took


def test_lost_recall(redis, mounts, clients, proxies):
    """A try asks again before it gives up."""
    one = redis()
    one.settle(PREFIX, int(TTL * 1000))
    proxy = proxies(one.port)
    ms = mounts(proxy.url(), opts=OPTS), mounts(one.url(), opts=OPTS)
    busy, c = clients(2)
    warm(busy, ms[0])
    fd = busy.hold(ms[0].lock("job"))
    proxy.lose(b"\ny ")
    c.open(ms[1].path("with/try/locks/job"))
    wait_until(lambda: proxy.lost)
    proxy.lose(None)
    fails("EAGAIN", c.wait)
    busy.close(fd)


def test_names_kept_elsewhere_can_be_changed(two, client):
    c = client()
    one, other = two
    warm(c, one)
    wait_until(lambda: "job" not in os.listdir(other.path("locks")))
    c.mkdir(other.lock("job"))
    wait_until(lambda: os.path.isdir(one.lock("job")))
    warm(c, one, "job/below")
    wait_until(lambda: "below" not in os.listdir(other.path("locks/job")))
    c.rename(other.lock("job"), other.lock("folder"))
    wait_until(lambda: os.path.isdir(one.lock("folder")))
    warm(c, one, "folder/below")
    c.rmdir(other.lock("folder"))
    with open(other.path("files/data"), "w", encoding="utf-8") as f:
        f.write("x")
    for change in (lambda: os.rename(other.path("files/data"), other.path("files/moved")),
                   lambda: os.unlink(other.path("files/moved"))):
        for name in ("data", "moved"):
            warm(c, one, name)
            other.wait_holding(name)  # those wanted a moment ago are not kept, and their closer does not wait
        change()


def test_names_in_use_cannot_be_changed(two, client):
    c = client()
    one, other = two
    with open(other.path("files/job"), "w", encoding="utf-8") as f:
        f.write("x")
    warm(c, one)
    fd = c.hold(one.lock("job"))
    fails("EBUSY", os.unlink, other.path("files/job"))
    fails("EBUSY", os.rename, other.path("files/job"), other.path("files/job2"))
    c.close(fd)
    os.unlink(other.path("files/job"))


def test_flock_of_the_same_file(two, clients):
    """The other door to the same lock."""
    a, b = clients(2)
    warm(a, two[0])
    for m in two:
        fd = b.hold(m.path("files/job"), os.O_RDWR | os.O_CREAT)
        assert b.flock(fd, 6) == 0  # LOCK_EX | LOCK_NB
        assert not two[0].can_lock("job") and not two[1].can_lock("job")
        b.close(fd)
        warm(a, two[0])


def test_shared_and_conversions(two, clients):
    a, b = clients(2)
    warm(a, two[0])
    shared = [c.hold(m.path("with/shared/locks/job"), os.O_RDONLY) for c, m in zip((a, b), two)]
    for c, fd in zip((a, b), shared):
        c.close(fd)
    warm(a, two[0])
    fd = a.hold(two[0].lock("job"))
    a.flock(fd, 1)  # LOCK_SH
    other = b.hold(two[1].path("with/try,shared/locks/job"), os.O_RDONLY)
    b.close(other)
    a.flock(fd, 2)  # LOCK_EX
    assert not two[1].can_lock("job")
    a.close(fd)
    wait_until(lambda: two[1].can_lock("job"))


def test_break(two, clients):
    """By who sees it from another mount; what was kept is held by somebody else then."""
    a, b = clients(2)
    warm(a, two[0])
    for c in (a, b):
        fd = c.hold(two[0].lock("job"))
        token = str(token_of(c, fd))
        # An entry of the grant before breaks nothing.
        wait_until(lambda: [two[1].holder("job", h)["token"] for h in two[1].holders("job")] == [token])
        watch_loss(c, fd)
        os.unlink(two[1].path("holders/locks/job", two[1].holders("job")[0]))
        c.wait()
        fails("ESTALE", c.close, fd)
        warm(a, two[0])


# --- when something goes wrong ---

def test_unmount_with_an_idle_hold(two, client):
    c = client()
    warm(c, two[0])
    c.end()
    two[0].stop_cleanly()
    start = time.monotonic()
    os.close(os.open(two[1].lock("job"), os.O_RDWR))
    assert time.monotonic() - start < TTL / 2
    assert two[1].xattr("locks/job", "abandoned") == "0"


def test_mount_killed_with_an_idle_hold(two, clients):
    """Others wait for its lease; nobody was inside."""
    a, b = clients(2)
    time.sleep(TTL * 1.1)  # from now on the other one may declare it dead
    warm(a, two[0])
    two[1].wait_holding("job")
    a.end()
    two[0].kill()
    start = time.monotonic()
    fd = b.hold(two[1].lock("job"))
    assert time.monotonic() - start < TTL + 1.0
    assert two[1].xattr("locks/job", "abandoned") == "0"
    b.close(fd)


def test_mount_killed_with_a_kept_hold_in_use(two, clients):
    a, b = clients(2)
    time.sleep(TTL * 1.1)
    warm(a, two[0])
    fd = a.hold(two[0].lock("job"))
    two[1].wait_holding("job", a)
    two[0].kill()
    fd = b.hold(two[1].lock("job"))
    assert two[1].xattr("locks/job", "abandoned") == "1"
    b.close(fd)
    assert two[1].xattr("locks/job", "abandoned") == "0"


def test_mount_stopped_with_an_idle_hold(two, clients):
    """Nobody is told that it is busy, nor let in while its lease lasts; then all goes on."""
    a, b, c, d = clients(4)
    time.sleep(TTL * 1.1)
    warm(a, two[0])
    since = stop(two[0].pid)
    try:
        c.open(two[1].path("with/try/locks/job"))
        b.open(two[1].lock("job"))
        fd = b.wait(TTL + 3.0)
        assert time.monotonic() - since < TTL + 1.0
        try:
            c.close(c.wait())
        except BlockingIOError:  # b had it
            pass
    finally:
        os.kill(two[0].pid, 18)
    b.close(fd)
    heals(*two, a, d)


def test_mount_stopped_and_its_idle_hold_taken(two, clients):
    """It wakes up and grants nothing by what it had."""
    a, b = clients(2)
    time.sleep(TTL * 1.1)
    warm(a, two[0])
    stop(two[0].pid)
    fd = b.hold(two[1].lock("job"))
    a.open(two[0].lock("job"))
    os.kill(two[0].pid, 18)
    assert not a.answered(0.5)
    b.fsync(fd)
    b.close(fd)
    a.close(a.wait())


@pytest.mark.parametrize("forget", ["FLUSHALL", "SCRIPT FLUSH", "CLIENT KILL TYPE normal"])
def test_server_that_forgets(server, two, clients, forget):
    a, b = clients(2)
    warm(a, two[0])
    fd = a.hold(two[0].lock("job"))
    token = token_of(a, fd)
    a.close(fd)
    server.cli(*forget.split())
    fds = []
    for c, m in ((a, two[0]), (b, two[1])):
        fd = c.hold(m.lock("job"))
        fds.append(token_of(c, fd))
        for one in two:  # in its grace the server does not know
            fails("EAGAIN|EHOSTDOWN", os.open, one.path("with/try/locks/job"), os.O_RDWR)
        c.close(fd)
    assert token < fds[0] < fds[1]
    warm(a, two[0])
    heals(*two, a, b)
