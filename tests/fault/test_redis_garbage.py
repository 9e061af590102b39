"""A server, or what stands in its place, that answers anything. A mount believes much of what it is told, but it neither
ends nor hangs by it; and once the answers are right again it works."""

import contextlib
import os
import random
import threading
import time
from fcntl import F_SETLK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN

import pytest

from faults import heals
from lockclient import wait_until
from respproxy import CLOSE, passing

TTL = 1.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms,unavailable=500ms"

GARBAGE = [
    b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b":7\r\n", b":-9223372036854775808\r\n", b"+OK\r\n", b"-\r\n", b"-ERR \x1b[2J\r\n",
    b"-BUSY x\r\n", b"-LOADING\r\n", b"-MOVED 1 127.0.0.1:1\r\n", b"-MOVED\r\n", b"-MOVED 1 :0\r\n", b"-ASK 1 x\r\n",
    b"-NOSCRIPT x\r\n", b"-NOPERM x\r\n", b"-OOM x\r\n", b"*1\r\n$2\r\nOK\r\n", b"*1\r\n*1\r\n*1\r\n*0\r\n",
    b"*2\r\n$2\r\nOK\r\n$-1\r\n", b"*2\r\n$2\r\nOK\r\n:9\r\n", b"*2\r\n$2\r\nOK\r\n*2\r\n$1\r\nx\r\n$-1\r\n",
    b"*3\r\n$2\r\nOK\r\n$0\r\n\r\n$0\r\n\r\n", b"*3\r\n$2\r\nOK\r\n$20000\r\n" + b"a" * 20000 + b"\r\n$0\r\n\r\n",
    b"*2\r\n$2\r\nOK\r\n$300000\r\n" + b"\0" * 300000 + b"\r\n", b"*1\r\n$3\r\nINC\r\n", b"*1\r\n$4\r\nGONE\r\n",
    b"*1\r\n$3\r\nOLD\r\n", b"*1\r\n$4\r\nWAIT\r\n", b"*2\r\n$4\r\nWAIT\r\n$1\r\n-\r\n", b"*1\r\n$4\r\nLATE\r\n",
    b"*1\r\n$4\r\nLOST\r\n", b"*3\r\n$2\r\nOK\r\n$19\r\nx 70000 1 1 h 1 1 1\r\n$1\r\n1\r\n",
    b"*6\r\n$2\r\nOK\r\n" + b"$20\r\n18446744073709551615\r\n" * 5, b"*100000\r\n" + b"$-1\r\n" * 100000,
    b"*1000000000\r\n", b"$99999999999\r\n", b"!oops\r\n", b"\0\0\0", b"*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n",
    b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n", b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n$1\r\ny\r\n", b"+OK\r\n+OK\r\n", b"*2\r\n$2\r\nOK\r\n$2\r\nhi\r\n:1\r\n",
    # Of RESP3, which nobody asked for.
    b"%1\r\n+a\r\n:1\r\n", b"~1\r\n:1\r\n", b"|1\r\n+a\r\n:1\r\n:1\r\n", b"#t\r\n", b",1.5\r\n", b"_\r\n", b"(1\r\n",
    b"=5\r\ntxt:x\r\n", b">1\r\n:1\r\n", b">0\r\n", b">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\ny\r\n",
    b"*2\r\n$2\r\nOK\r\n#t\r\n", b"*2\r\n$2\r\nOK\r\n,1\r\n",
]


class Spoiler:
    """Answers with garbage, or with the answer to another call, to a part of the calls of some operations."""

    def __init__(self, seed, part, ops=None):
        self.dice = random.Random(seed)
        self.part, self.ops = part, ops
        self.kept = [b"*1\r\n$2\r\nOK\r\n"]
        self.done = 0

    def __call__(self, when, op, raw, _link):
        if when == "before":
            return raw
        self.kept.append(raw)
        if len(self.kept) > 50:
            self.kept.pop(self.dice.randrange(50))
        if (self.ops and op not in self.ops) or self.dice.random() > self.part:
            return raw
        self.done += 1
        kind = self.dice.randrange(10)
        if kind < 6:
            return self.dice.choice(GARBAGE)
        if kind < 8:
            return self.dice.choice(self.kept)
        if kind == 8:
            at = self.dice.randrange(len(raw))
            return raw[:at] + bytes([self.dice.randrange(256)]) + raw[at + 1:]
        return CLOSE if self.dice.random() < 0.5 else raw + raw


@contextlib.contextmanager
def opened(c, path, flags=os.O_RDWR):
    """Whatever goes wrong, it is closed: so that nobody waits for it for long."""
    fd = c.hold(path, flags)
    try:
        yield fd
    finally:
        with contextlib.suppress(OSError):
            c.close(fd)


def step(*call):
    """One that may fail."""
    with contextlib.suppress(OSError, ValueError):
        call[0](*call[1:])


def walk(c, m, dice):
    """Uses something; what comes of it is not looked at."""
    within = "with/timeout=300ms"
    what = dice.randrange(8)
    if what < 3:
        with opened(c, m.path(within, dice.choice(("locks", "with/shared/locks")), "job"), os.O_RDONLY) as fd:
            step(c.read, fd, 100, 0)
            step(c.flock, fd, LOCK_SH | LOCK_NB)
    elif what == 3:
        with opened(c, m.path(within, "locks/other"), os.O_RDWR | os.O_APPEND) as fd:
            step(c.write, fd, b"1234")
            step(c.fsync, fd)
            step(c.read, fd, 100, 0)
            step(c.ftruncate, fd, 2)
    elif what == 4:
        with opened(c, m.path(within, "sems/pool/3/any"), os.O_RDONLY):
            pass
    elif what == 5:
        with opened(c, m.path("files/file"), os.O_RDWR | os.O_CREAT) as fd:
            step(c.write, fd, b"1234", 0)
            step(c.read, fd, 100, 0)
            step(c.fcntl, fd, F_SETLK, F_WRLCK, 3, 10)
            step(c.fcntl, fd, F_SETLK, F_UNLCK, 3, 10)
            step(c.flock, fd, LOCK_EX | LOCK_NB)
            step(c.flock, fd, LOCK_UN)
    elif what == 6:
        for path in ("locks", "files", "holders/locks", "waiters/locks/job", "sems/pool/3"):
            step(os.listdir, m.path(path))
        step(os.stat, m.path("files/file"))
        step(m.read, "status.json")
        step(m.token, "job")
    else:
        step(os.mkdir, m.path("locks/ns"))
        step(os.symlink, "there", m.path("files/link"))
        step(os.readlink, m.path("files/link"))
        step(os.unlink, m.path("files/link"))
        step(os.rename, m.path("locks/ns"), m.path("locks/ns2"))
        step(os.rmdir, m.path("locks/ns2"))


OPS = ["hello", "beat", "sync", "acq", "rel", "rd", "fopen", "fread", "view", "list", "stat", "nsget", "info", "script",
       "subscribe", "message", "freadlink", "rset", None]


@pytest.mark.parametrize("ops", OPS)
def test_garbage(redis, resp_proxies, mounts, clients, ops):
    server = redis()
    server.settle(PREFIX, int(TTL * 1000))
    proxy = resp_proxies(server.port)
    m, other = mounts(proxy.url(), opts=OPTS), mounts(server.url(), opts=OPTS)
    cs = clients(3)
    seed = int(os.environ.get("GARBAGE_SEED", "1"))
    proxy.rule = Spoiler(f"{ops} {seed}", 0.5 if ops else 0.1, ops and {ops})
    end = time.monotonic() + (4.0 if ops else 12.0)

    def run(c, dice):
        while time.monotonic() < end:
            step(walk, c, m, dice)

    threads = [threading.Thread(target=run, args=(c, random.Random(i))) for i, c in enumerate(cs)]
    for t in threads:
        t.start()
    while time.monotonic() < end:
        if ops in ("hello", "sync", "info", "script", "subscribe", "nsget"):
            proxy.reset()
        time.sleep(0.2)
    spoiler, proxy.rule = proxy.rule, passing
    assert m.running, m.log_text()
    assert spoiler.done >= 3, spoiler.done
    proxy.reset()
    for t in threads:
        t.join(20)
        assert not t.is_alive(), [c.pending for c in cs]
    a, b = clients(2)

    def works():
        try:
            return (a.hold(m.lock("again")),)
        except OSError:
            return None
    a.close(wait_until(works, 20.0)[0])
    heals(m, other, a, b)
    # What a client still has open of the time before may be held; a client that is gone has nothing.
    for c in cs:
        c.kill()
    for name in ("job", "other"):
        wait_until(lambda name=name: other.can_lock(name), 10.0, f"{name} to be free")
