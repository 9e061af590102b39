"""A server that refuses for a while, or whose clock jumps, under mounts that hold and wait. docs/protocol.md has the
table; what is had through it is had, what is lost is lost before another has it, and afterwards everything works by itself.
"""

import os
import signal
import subprocess
import time

import pytest

from faults import check_lost, entry_of, heals, stamps, token_of, watch_loss
from lockclient import fails, wait_until

TTL = 2.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms,unavailable=2s"
SHORT, LONG = TTL * 0.4, TTL * 1.6


@pytest.fixture
def server(redis):
    one = redis(enable_protected_configs="yes", enable_debug_command="yes")
    one.settle(PREFIX, int(TTL * 1000))
    return one


@pytest.fixture
def two(server, mounts):
    """Both have watched for a ttl."""
    pair = mounts(server.url(), opts=OPTS), mounts(server.unix_url(), opts=OPTS)
    time.sleep(TTL * 1.1)
    return pair


class Busy:
    """A script of somebody else runs and runs."""

    def begin(self, server):
        server.cli("CONFIG", "SET", "busy-reply-threshold", 20)
        self.script = subprocess.Popen(["redis-cli", "-p", str(server.port), "EVAL", "while true do end", "0"],
                                       stdout=subprocess.DEVNULL)
        wait_until(lambda: server.cli("PING", check=False).startswith("BUSY"))

    def end(self, server):
        server.cli("SCRIPT", "KILL")
        self.script.wait()


class ReadOnly:
    """It has been made a replica, of nobody who answers."""

    def begin(self, server):
        server.cli("REPLICAOF", "127.0.0.1", 1)

    def end(self, server):
        server.cli("REPLICAOF", "NO", "ONE")


class NoReplicas:
    def begin(self, server):
        server.cli("CONFIG", "SET", "min-replicas-to-write", 1)

    def end(self, server):
        server.cli("CONFIG", "SET", "min-replicas-to-write", 0)


class Misconf:
    """Snapshots fail, and so it takes no writes."""

    def begin(self, server):
        server.cli("CONFIG", "SET", "dir", "/proc/1/task")
        server.cli("CONFIG", "SET", "save", "3600 1")
        server.cli("BGSAVE")
        wait_until(lambda: server.info("rdb_last_bgsave_status") == "err")

    def end(self, server):
        server.cli("CONFIG", "SET", "save", "")


class NoPerm:
    def begin(self, server):
        server.cli("ACL", "SETUSER", "default", "-evalsha")

    def end(self, server):
        server.cli("ACL", "SETUSER", "default", "+@all")


class Loading:
    """It takes its time to read what it has on disk."""

    def begin(self, server):
        server.cli("DEBUG", "POPULATE", 1000, "key", 2000)
        server.cli("SAVE")
        server.options.update(key_load_delay=20000, loading_process_events_interval_bytes=1024)
        os.unlink(os.path.join(server.dir, "redis.conf"))
        server.kill()
        server.start(ready=False)
        wait_until(lambda: server.cli("PING", check=False).startswith("LOADING"))

    def end(self, server):
        server.cli("CONFIG", "SET", "key-load-delay", 0)
        wait_until(lambda: server.cli("PING", check=False) == "PONG")


class NoAuth:
    """It wants a password that the mounts do not have."""

    def begin(self, server):
        server.cli("CONFIG", "SET", "requirepass", "another")
        server.cli("--no-auth-warning", "-a", "another", "CLIENT", "KILL", "TYPE", "normal")

    def end(self, server):
        server.cli("--no-auth-warning", "-a", "another", "CONFIG", "SET", "requirepass", "")


SHORT_ONES = [Busy, ReadOnly, NoReplicas, Misconf, NoPerm, NoAuth]
# What an open says meanwhile.
SAID = {Busy: "EHOSTDOWN", ReadOnly: "EHOSTDOWN", NoReplicas: "EHOSTDOWN", Misconf: "ENOLCK|EHOSTDOWN",
        NoPerm: "EACCES|EHOSTDOWN", Loading: "EHOSTDOWN", NoAuth: "EHOSTDOWN"}


@pytest.mark.parametrize("kind", SHORT_ONES)
def test_shorter_than_the_lease(server, two, clients, kind):
    """Nothing is lost, and nobody is let in."""
    one, other = two
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    token = token_of(a, fd)
    b.open(other.lock("job"))
    other.wait_waiting("job", b)
    trouble = kind()
    trouble.begin(server)
    time.sleep(SHORT)
    trouble.end(server)
    time.sleep(TTL)
    assert a.fsync(fd) == 0 and a.write(fd, b"by a", 0) == 4
    assert not b.answered()
    other.wait_waiting("job", b)
    a.close(fd)
    fd_b = b.wait(TTL)
    assert b.read(fd_b, 10, 0) == b"by a" and token_of(b, fd_b) > token
    b.close(fd_b)


@pytest.mark.parametrize("kind", [*SHORT_ONES, Loading])
def test_longer_than_the_lease(server, two, clients, kind):
    """The holder is told in time; an open says what is the matter; the waiter has the lock afterwards, or gives up."""
    one, other = two
    a, b, c = clients(3)
    fd = a.hold(one.lock("job"))
    token = token_of(a, fd)
    b.open(other.lock("job"))
    other.wait_waiting("job", b)
    watch_loss(a, fd)
    trouble = kind()
    began = time.monotonic()
    trouble.begin(server)
    c.open(one.lock("other"))
    lost, failed = stamps(a, c)
    assert lost - began <= TTL * 0.8 + 1.0, lost - began
    fails(SAID[kind], c.wait)
    assert failed - began <= 4.0
    a.wait()
    check_lost(a, fd)
    assert one.read("status") and other.read("status")
    time.sleep(max(0.0, began + LONG - time.monotonic()))
    trouble.end(server)
    mended = time.monotonic()
    at = stamps(b)[0]
    assert at > lost
    try:
        fd_b = b.wait()
    except OSError as e:
        assert e.errno == 112, e
        fd_b = b.hold(other.lock("job"))
    assert time.monotonic() - mended < 2 * TTL + 2.0
    assert token_of(b, fd_b) > token
    b.close(fd_b)
    heals(one, other, a, b)
    for m in two:
        m.wait_holding("job")  # nobody
        assert m.waiters("job") == []


def test_attempts_are_not_many(server, mounts):
    """A server that lets everybody in and then refuses is asked once a second, not twenty times."""
    mounts(server.url(), opts="prefix=u,ttl=10s")
    server.cli("CONFIG", "SET", "min-replicas-to-write", 1)
    server.cli("CLIENT", "KILL", "TYPE", "normal")
    time.sleep(2.0)
    before = int(server.info("total_connections_received"))
    time.sleep(2.0)
    # Three connections an attempt, and ours.
    attempts = (int(server.info("total_connections_received")) - before - 1) / 3
    assert 1 <= attempts <= 3, attempts


# --- the server's clock ---

@pytest.fixture
def stepping(redis, mounts):
    server = redis(clock=True)
    server.settle(PREFIX, int(TTL * 1000))
    pair = mounts(server.url(), opts=OPTS), mounts(server.unix_url(), opts=OPTS)
    time.sleep(TTL * 1.1)
    return server, *pair


@pytest.mark.parametrize("step", [3600, -3600, TTL * 0.7, -TTL * 0.7])
def test_clock_step(stepping, clients, step):
    """Nobody loses a lock by it, nobody is let in; tokens rise; a mount that dies afterwards is found dead."""
    server, one, other = stepping
    a, b, c = clients(3)
    fd = a.hold(one.lock("job"))
    token = token_of(a, fd)
    b.open(other.lock("job"))
    other.wait_waiting("job", b)
    before = int(server.cli("TIME").splitlines()[0])
    server.step(step)
    assert abs(int(server.cli("TIME").splitlines()[0]) - before - step) <= 2
    end = time.monotonic() + 2 * TTL
    while time.monotonic() < end:
        assert a.fsync(fd) == 0 and not b.answered(0.05)
    assert a.write(fd, b"by a", 0) == 4
    token_c = token_of(c, c.hold(one.lock("other")))
    assert token_c > token
    a.close(fd)
    fd = b.wait(0.5)
    assert b.read(fd, 10, 0) == b"by a" and token_of(b, fd) > token_c
    a.open(one.lock("job"))
    one.wait_waiting("job", a)
    died = time.monotonic()
    other.kill()
    got = stamps(a)[0]
    assert TTL * 0.75 - 0.1 <= got - died <= TTL * 2 + 0.5, got - died
    a.wait()


def test_clock_step_while_a_mount_is_away(stepping, clients):
    """The step must not make a lease shorter that its mount still believes in."""
    server, one, other = stepping
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    b.open(other.lock("job"))
    other.wait_waiting("job", b)
    watch_loss(a, fd)
    os.kill(one.pid, signal.SIGSTOP)
    server.step(3600)
    time.sleep(TTL * 0.5)
    os.kill(one.pid, signal.SIGCONT)
    time.sleep(TTL * 1.5)
    assert not a.answered() and not b.answered()
    os.unlink(other.path("holders/locks/job", entry_of(other, a)))
    lost, got = stamps(a, b)
    assert lost <= got + 0.05
