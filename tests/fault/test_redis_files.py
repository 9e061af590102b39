"""files/ on Redis when mounts, clients or the server's memory go: the rules of the lease hold for flock and ranges.

Times are time.monotonic() stamps. TTL is short, so that a lease ends within a test.
"""

import os
import signal
import time
from fcntl import F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB

import pytest

from cutproxy import TO_CLIENT, TO_SERVER
from faults import check_lost, stamps, stop, watch_loss
from lockclient import fails, wait_until

TTL = 1.5
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"
KINDS = pytest.mark.parametrize("kind", ["flock", "range"])


@pytest.fixture
def two(server, mounts):
    """Two mounts of one server that have watched for a ttl, with files/job."""
    pair = mounts(server.url(), opts=OPTS), mounts(server.unix_url(), opts=OPTS)
    with open(pair[0].path("files/job"), "wb") as f:
        f.write(b"before")
    time.sleep(TTL * 1.1)
    return pair


def take(c, fd, kind):
    if kind == "flock":
        c.flock(fd, LOCK_EX | LOCK_NB)
    else:
        c.fcntl(fd, F_SETLK, F_WRLCK, 3, 10)


def wish(c, fd, kind):
    if kind == "flock":
        c.start("flock", fd, LOCK_EX)
    else:
        c.start_fcntl(fd, F_SETLKW, F_WRLCK, 5, 10)


def refused(c, fd, kind):
    fails("EAGAIN", take, c, fd, kind)


def check_freed(died, got):
    assert TTL * 0.75 - 0.1 <= got - died <= TTL * 1.25 + 0.5, got - died


@KINDS
def test_kill_of_a_mount(two, clients, kind):
    """Its locks are gone when its lease is over, and no sooner."""
    a, b = clients(2)
    one, other = two
    fa, fb = a.hold(one.path("files/job")), b.hold(other.path("files/job"))
    take(a, fa, kind)
    wish(b, fb, kind)
    one.kill()
    died = time.monotonic()
    check_freed(died, stamps(b)[0])
    b.wait()
    refused_by = b.hold(other.path("files/job"))
    if kind == "flock":
        refused(b, refused_by, kind)


@KINDS
def test_kill_of_the_client(two, clients, kind):
    """At once, with what it waited for too."""
    a, b, c = clients(3)
    fa, fb, fc = (x.hold(m.path("files/job")) for x, m in ((a, two[0]), (b, two[0]), (c, two[1])))
    take(a, fa, kind)
    wish(b, fb, kind)
    wish(c, fc, kind)
    b.kill()
    a.kill()
    died = time.monotonic()
    assert stamps(c)[0] - died < 0.5
    c.wait()


@KINDS
def test_pause_of_a_mount(two, clients, kind):
    """Longer than its lease: whatever is asked first afterwards says that the lock is lost."""
    a, b = clients(2)
    one, other = two
    fa, fb = a.hold(one.path("files/job")), b.hold(other.path("files/job"))
    take(a, fa, kind)
    a.write(fa, b"by a", 0)
    wish(b, fb, kind)
    stopped = stop(one.pid)
    a.start("write", fa, b"evil".hex(), 0)
    check_freed(stopped, stamps(b)[0])
    b.wait()
    b.write(fb, b"by b", 0)
    os.kill(one.pid, signal.SIGCONT)
    fails("ESTALE", a.wait)
    assert b.read(fb, 10, 0) == b"by bre"
    check_lost(a, fa)
    # Nothing was taken again: b has it, and gives it back.
    again = a.hold(one.path("files/job"))
    refused(a, again, kind)
    if kind == "flock":
        b.close(fb)
    else:
        b.fcntl(fb, F_SETLK, F_UNLCK)
    wish(a, again, kind)  # at the server it is free a moment later
    a.wait()


@KINDS
@pytest.mark.parametrize("directions", [(TO_SERVER,), (TO_CLIENT,)])
def test_cut(server, proxies, mounts, clients, kind, directions):
    """The holder knows before the next one has it; its mount works again when the cut has healed."""
    proxy = proxies(server.port)
    one, other = mounts(proxy.url(), opts=OPTS), mounts(server.url(), opts=OPTS)
    with open(one.path("files/job"), "wb"):
        pass
    time.sleep(TTL * 1.1)
    a, b = clients(2)
    fa, fb = a.hold(one.path("files/job")), b.hold(other.path("files/job"))
    take(a, fa, kind)
    wish(b, fb, kind)
    watch_loss(a, fa)
    proxy.cut(*directions)
    lost, got = stamps(a, b)
    assert lost < got
    a.wait()
    b.wait()
    check_lost(a, fa)
    proxy.mend()
    c, = clients(1)
    fc = wait_until(lambda: can_open(c, one), what="the mount to work again")
    refused(c, fc, kind)
    b.close(fb)
    wish(c, fc, kind)  # at the server it is free a moment later
    c.wait()


def can_open(c, mount):
    try:
        return c.hold(mount.path("files/job"))
    except OSError:
        return None


@KINDS
def test_flushall(server, two, clients, kind):
    """The file is gone with the server's memory: its handles are lost, nothing is claimed."""
    a, b = clients(2)
    one, other = two
    fa = a.hold(one.path("files/job"))
    unlocked = a.hold(one.path("files/job"))
    take(a, fa, kind)
    watch_loss(a, fa)
    server.cli("FLUSHALL")
    stamps(a)
    a.wait()
    check_lost(a, fa)
    fails("ESTALE", a.read, unlocked, 10, 0)
    fails("ENOENT", os.stat, other.path("files/job"))
    new = b.hold(other.path("files/job"), os.O_RDWR | os.O_CREAT | os.O_EXCL)
    wish(b, new, kind)
    b.wait()
    assert b.read(new, 10, 0) == b""


@KINDS
def test_restart_with_a_disk(redis, mounts, clients, kind):
    """What the server kept is there again: files, and the claims of who has them open are settled one way."""
    server = redis(appendonly="yes", appendfsync="always")
    server.settle(PREFIX, int(TTL * 1000))
    one, other = (mounts(server.url(), opts=OPTS) for _ in range(2))
    a, b = clients(2)
    fa = a.hold(one.path("files/job"), os.O_RDWR | os.O_CREAT)
    a.write(fa, b"kept", 0)
    take(a, fa, kind)
    watch_loss(a, fa)
    server.restart()
    stamps(a)
    a.wait()
    check_lost(a, fa)
    fb = b.hold(other.path("files/job"))
    assert b.read(fb, 10, 0) == b"kept"
    wish(b, fb, kind)
    b.wait()


def test_an_orphan_dies_with_its_mount(server, two, clients):
    """What was open without a name is removed when the mount that had it open is gone."""
    a, = clients(1)
    one, other = two
    fa = a.hold(one.path("files/job"))
    os.unlink(other.path("files/job"))
    assert a.read(fa, 10, 0) == b"before" and a.fstat(fa)[1] == 0
    one.kill()

    def contents():
        return [k for k in server.cli("KEYS", "{%s}:v:*" % PREFIX).split("\n") if k]
    assert contents()
    wait_until(lambda: not contents(), what="the content to go")
    fails("ENOENT", os.stat, other.path("files/job"))


def test_server_away(server, mounts, clients):
    """A call on files/ is not held for ever."""
    m = mounts(server.url(), opts=OPTS + ",unavailable=500ms")
    a, = clients(1)
    fa = a.hold(m.path("files/job"), os.O_RDWR | os.O_CREAT)
    stop(server.pid)
    began = time.monotonic()
    fails("EHOSTDOWN", os.stat, m.path("files/job"))
    a.start("write", fa, b"x".hex(), 0)
    with pytest.raises(OSError):
        a.wait()
    assert time.monotonic() - began < 5
    os.kill(server.pid, signal.SIGCONT)
    wait_until(lambda: can_open(a, m), what="the mount to work again")
