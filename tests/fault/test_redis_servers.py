"""Redis servers that restart, forget, refuse, are something else, or come and go."""

import os
import socket
import threading
import time

import pytest

from faults import Contest, check_lost, heals, refused, stamps, token_of, watch_loss
from lockclient import fails, wait_until
from redisserver import free_port

TTL = 2.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"


def settled(server):
    server.settle(PREFIX, int(TTL * 1000))
    return server


@pytest.fixture
def server(redis):
    return settled(redis())


# --- a server that loses its memory ---

def check_kept(two, a, b, fd, forget, value=b""):
    """a keeps its lock through forget(), b waits on the other mount and gets it after a: and only then."""
    one, other = two
    token = token_of(a, fd)
    b.open(other.lock("job"))
    other.wait_waiting("job", b)
    forget()
    forgot = time.monotonic()
    while time.monotonic() < forgot + TTL * 1.5:
        try:
            os.close(os.open(other.path("with/try/locks/job"), os.O_RDONLY))
            raise AssertionError("a second holder")
        except OSError as e:
            assert e.errno in (11, 112), e  # EAGAIN; EHOSTDOWN while it is not known who had what
        assert not b.answered()
        assert a.fsync(fd) == 0
        time.sleep(0.02)
    other.wait_holding("job", a)
    other.wait_waiting("job", b)
    assert a.read(fd, 10, 0) == value
    assert a.write(fd, b"by a", 0) == 4
    a.close(fd)
    released = time.monotonic()
    assert stamps(b)[0] - released < 0.5
    fd_b = b.wait()
    assert token_of(b, fd_b) > token
    assert b.read(fd_b, 10, 0) == b"by a"
    b.close(fd_b)
    heals(one, other, a, b)


@pytest.mark.parametrize("options, value", [({}, b""), ({"appendonly": "yes", "appendfsync": "always"}, b"old")])
def test_restart(redis, mounts, clients, options, value):
    """The lock is kept either way, the value where the server keeps it on disk."""
    server = settled(redis(**options))
    two = [mounts(server.url(), opts=OPTS) for _ in range(2)]
    a, b = clients(2)
    fd = a.hold(two[0].lock("job"))
    a.write(fd, b"old", 0)
    check_kept(two, a, b, fd, server.restart, value)
    assert "1 locks again" in two[0].log_text()


def test_flushall(server, two, clients):
    a, b = clients(2)
    fd = a.hold(two[0].lock("job"))
    check_kept(two, a, b, fd, lambda: server.cli("FLUSHALL"))


def test_nobody_is_let_in_before_a_mount_that_was_away_could_claim(server, two, clients):
    """After a loss of memory a free lock is given only when every old lease is over."""
    c, = clients(1)
    server.cli("FLUSHALL")
    flushed = time.monotonic()
    wait_until(lambda: server.cli("EXISTS", "{%s}:g" % PREFIX) == "1")
    fails("EHOSTDOWN", os.open, two[0].path("with/try/locks/free"), os.O_RDONLY)
    c.open(two[0].lock("free"))
    at = stamps(c)[0]
    assert TTL - 0.1 <= at - flushed <= TTL + 1.0, at - flushed
    c.wait()


def test_script_flush(server, two, clients):
    a, b = clients(2)
    fd = a.hold(two[0].lock("job"))
    b.open(two[1].lock("job"))
    two[1].wait_waiting("job", b)
    for _ in range(3):
        server.cli("SCRIPT", "FLUSH")
        assert a.write(fd, b"by a", 0) == 4 and a.fsync(fd) == 0
        time.sleep(TTL / 4)  # a beat
    assert not b.answered()
    a.close(fd)
    assert b.read(b.wait(), 10, 0) == b"by a"


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_connections_killed(server, two, clients, kind):
    contest = Contest(clients(10), two).run(4, lambda: server.cli("CLIENT", "KILL", "TYPE", kind), 0.25)
    assert contest.lost == 0 and contest.taken > 50, contest
    heals(*two, *clients(2))


def test_out_of_memory(server, two, clients):
    a, b = clients(2)
    server.cli("CONFIG", "SET", "maxmemory", 1)
    fd = a.hold(two[0].lock("job"))
    b.open(two[1].lock("job"))
    two[1].wait_waiting("job", b)
    a.write(fd, b"by a", 0)
    time.sleep(TTL * 1.2)
    a.close(fd)
    assert b.read(b.wait(), 10, 0) == b"by a"


# --- a server that will not do ---

def test_replica(server, redis, mounts):
    replica = redis(replicaof=f"127.0.0.1 {server.port}")
    assert "replica" in refused(mounts(replica.url(), opts=OPTS, start=False), 4.0)


def test_evicting(redis, mounts):
    server = redis(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    assert "allkeys-lru" in refused(mounts(server.url(), opts=OPTS, start=False))


def test_another_ttl(server, two, mounts):
    line = refused(mounts(server.url(), opts=f"prefix={PREFIX},ttl=7s", start=False))
    assert f"ttl={TTL * 1000:.0f}ms" in line
    assert two[0].can_lock("job")
    # Another prefix is another matter.
    mounts(server.url(), opts="prefix=other,ttl=7s").stop_cleanly()


class Impostor:
    """A TCP server that answers with text, or with nothing."""

    def __init__(self, text):
        self.text = text
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.kept = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                conn = self.listener.accept()[0]
            except OSError:
                return
            self.kept.append(conn)
            try:
                conn.recv(4096)
                conn.sendall(self.text)
            except OSError:
                pass

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for conn in self.kept:
            conn.close()


@pytest.mark.parametrize("text", [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"", b"\0" * 3000,
                                  b"+OK\r\n", b"*-1\r\n", b"$5\r\nabc", b"*1000000\r\n" + b"*1\r\n" * 2000,
                                  b"+OK\r\n" * 40, b"*2\r\n:1\r\n:2\r\n" * 3, b"*0\r\n" * 3, b"*2000000000\r\n",
                                  b">1\r\n:1\r\n" * 3, b"#t\r\n" * 3, b",1.5\r\n" * 3, b"%1\r\n:1\r\n:2\r\n" * 3],
                         ids=["http", "silent", "zeros", "ok", "nil", "half", "nested", "oks", "numbers", "nothings", "huge",
                              "pushes", "booleans", "doubles", "maps"])
def test_not_redis(mounts, text):
    impostor = Impostor(text)
    try:
        refused(mounts(f"redis://127.0.0.1:{impostor.port}", opts=OPTS, start=False), 4.0)
    finally:
        impostor.end()


@pytest.mark.parametrize("where", ["redis://127.0.0.1:{port}", "unix://{work}/none", "redis://no-such-host.invalid"])
def test_nobody_there(mounts, work, where):
    source = where.format(port=free_port(), work=work)
    assert source in refused(mounts(source, opts=OPTS, start=False), 10.0 if "invalid" in source else 3.0)


# --- a server that comes and goes ---

def test_nofail(redis, mounts, clients):
    server = redis(start=False)
    m = mounts(server.url(), opts=OPTS + ",unavailable=1s,nofail")
    a, b = clients(2)
    start = time.monotonic()
    fails("EHOSTDOWN", a.hold, m.lock("job"))
    assert 0.9 <= time.monotonic() - start <= 2.0
    start = time.monotonic()
    fails("EHOSTDOWN", b.hold, m.path("with/try/locks/job"))
    assert time.monotonic() - start <= 2.2
    m.read("status")
    server.start()

    def works():
        try:
            return a.hold(m.lock("job"))
        except OSError as e:
            assert e.strerror == os.strerror(112)
            return None
    fd = wait_until(works)
    a.write(fd, b"by a", 0)
    a.close(fd)
    assert b.read(b.hold(m.lock("job")), 10, 0) == b"by a"


def test_server_gone(server, mounts, clients):
    m = mounts(server.url(), opts=OPTS + ",unavailable=1s")
    a, b, waiter = clients(3)
    fd = a.hold(m.lock("job"))
    waiter.open(m.lock("job"))
    m.wait_waiting("job", waiter)
    server.kill()
    gone = time.monotonic()
    b.open(m.lock("other"))
    watch_loss(a, fd)
    # Looking goes on.
    for path in ("status", "status.json", "metrics"):
        assert m.read(path)
    os.listdir(m.path("holders"))
    os.listdir(m.path("holders/locks"))
    assert time.monotonic() - gone < 5.0
    failed, lost, gave_up = stamps(b, a, waiter)
    assert 0.9 <= failed - gone <= 2.0, failed - gone
    assert lost - gone <= TTL * 0.8 + 0.3, lost - gone
    assert gave_up - gone <= TTL * 0.8 + 2.0, gave_up - gone
    fails("EHOSTDOWN", b.wait)
    fails("EHOSTDOWN", waiter.wait)
    a.wait()
    check_lost(a, fd)
    server.start()
    m2 = mounts(server.url(), opts=OPTS)
    wait_until(lambda: server.cli("ZCARD", "{%s}:%s:s" % (PREFIX, server.cli("HGET", "{%s}:g" % PREFIX, "e"))) == "2")
    heals(m, m2, a, b)


# --- sockets, databases, prefixes ---

def test_prefixes_and_databases_are_separate(server, mounts, clients):
    """One name in four worlds, each with its holder and its value."""
    sources = [(server.url(), OPTS), (server.url(), OPTS.replace("prefix=t", "prefix=u")), (server.url() + "/3", OPTS),
               (server.unix_url() + "?db=5", OPTS)]
    ms = [mounts(source, opts=opts) for source, opts in sources]
    cs = clients(4)
    fds = [c.hold(m.lock("job")) for c, m in zip(cs, ms)]
    for i, (c, m, fd) in enumerate(zip(cs, ms, fds)):
        c.write(fd, b"value %d" % i, 0)
        m.wait_holding("job", c)
    for i, (c, fd) in enumerate(zip(cs, fds)):
        assert c.read(fd, 20, 0) == b"value %d" % i
        c.close(fd)
    # A database is one whatever the way to it.
    same = mounts(server.unix_url() + "?db=3", opts=OPTS)
    assert same.get("job", "locks") == b"value 2"
    os.mkdir(ms[2].path("locks/ns"))
    wait_until(lambda: os.path.isdir(same.path("locks/ns")))
    assert not os.path.isdir(ms[0].path("locks/ns"))
