"""What the fault tests share: stamps of events, and clients that contend for a lock while something goes wrong."""

import errno
import os
import re
import select
import signal
import subprocess
import time

from lockclient import fails, hexed, process_state, wait_until
from plockmount import mountinfo, server_env

LOST = select.POLLERR | select.POLLHUP


def entry_of(mount, c, name="job", kind="locks"):
    return next(h for h in mount.holders(name, kind) if h.split(":")[1] == str(c.pid))


def record(clients, until, deadline=15.0, found=None):
    """When the pending operation of each client ended, for those that did before all in `until` had."""
    end = time.monotonic() + deadline
    found = {} if found is None else found
    while not all(c in found for c in until):
        pending = {c.proc.stdout: c for c in clients if c not in found}
        ready, _, _ = select.select(list(pending), [], [], max(0.0, end - time.monotonic()))
        now = time.monotonic()
        assert ready, f"not within {deadline} s: {[c.pending[:80] for c in until if c not in found]}"
        found.update((pending[f], now) for f in ready)
    return found


def stamps(*clients, deadline=15.0):
    """When the pending operation of each client ended, in the order of the arguments."""
    found = record(clients, clients, deadline)
    return [found[c] for c in clients]


def watch_loss(c, fd):
    """Starts a poll that ends when the lock is lost (and not when somebody wants it)."""
    c.start("poll", fd, 0, 20000)


def check_lost(c, fd):
    """Nothing works any more on the handle."""
    fails("ESTALE", c.read, fd, 10, 0)
    fails("ESTALE", c.write, fd, b"evil", 0)
    fails("ESTALE", c.ftruncate, fd, 0)
    fails("ESTALE", c.fsync, fd)
    assert c.poll(fd, 0, 0) & LOST == LOST
    fails("ESTALE", c.close, fd)


def stop(pid):
    """SIGSTOP; returns when that was."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: process_state(pid) == "T")
    return time.monotonic()


def heals(one, two, c, d, deadline=15.0):
    """Both mounts lock again, and exclude each other."""
    fd = c.open(one.lock("healed")).wait(deadline)
    d.open(two.lock("healed"))
    one.wait_waiting("healed", d)
    c.close(fd)
    d.close(d.wait())


def refused(mount, deadline=3.0):
    """A start that fails: in time, with exit code 1 and one line, which is returned."""
    os.makedirs(mount.mnt, exist_ok=True)
    start = time.monotonic()
    done = subprocess.run(mount.argv(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          env=server_env(**mount.env), timeout=30)
    took = time.monotonic() - start
    assert done.returncode == 1, done
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert took < deadline, took
    assert mountinfo(mount.mnt) is None
    return done.stderr


def warm(c, mount, name="job"):
    """From now on, and for a second, the mount keeps it idle."""
    for _ in range(2):
        c.close(c.hold(mount.lock(name)))


def spin(c, path, n=100_000_000):
    """Starts to take it and give it back, n times or for ever."""
    c.start("spin", hexed(path), os.O_RDWR, n)


def scripts(server):
    """How many have run."""
    found = re.search(r"cmdstat_evalsha:calls=(\d+)", server.cli("INFO", "commandstats"))
    return int(found[1]) if found else 0


def token_of(c, fd):
    return int(c.fgetxattr(fd, "user.plockfs.token"))


class Contest:
    """Clients that take one lock in turns and each add 1 to its value: never two of them inside.

    A lock may be lost on the way (unless `run` is told otherwise), but only before the next one has it.
    """

    def __init__(self, clients, mounts, name="job"):
        self.clients, self.name = clients, name
        self.mount = {c: mounts[i % len(mounts)] for i, c in enumerate(clients)}
        self.inside = {}  # client: descriptor, value read, since when
        self.taken = self.added = self.unknown = self.lost = 0
        self.longest = 0.0  # between two grants

    def _lose(self, c):
        fails("ESTALE", c.close, self.inside.pop(c)[0])
        self.lost += 1

    def _enter(self, c):
        fd = c.wait()
        self.inside[c] = (fd, None, time.monotonic())
        self.taken += 1
        try:
            text = c.read(fd, 20, 0)
        except OSError as e:
            # Opens are not seen in the order in which they ended: it may be the one that has lost it.
            assert e.errno == errno.ESTALE
            self._lose(c)
            return
        self.inside[c] = (fd, int(text or b"0"), time.monotonic())
        for other in [o for o in self.inside if o is not c]:
            fails("ESTALE", other.fsync, self.inside[other][0])
            self._lose(other)

    def _leave(self, c):
        fd, value, _ = self.inside[c]
        try:
            c.write(fd, b"%d" % (value + 1), 0)
        except OSError as e:
            assert e.errno == errno.ESTALE
            self.unknown += 1
            self._lose(c)
            return
        self.added += 1
        try:
            c.close(fd)
        except OSError as e:
            assert e.errno == errno.ESTALE
            self.lost += 1
        del self.inside[c]

    def _turn(self, again):
        for c in self.clients:
            if c in self.inside:
                if time.monotonic() - self.inside[c][2] > 0.005:
                    self._leave(c)
            elif c.pending is None:
                if again:
                    c.open(self.mount[c].lock(self.name))
            elif c.answered():
                self._enter(c)

    def run(self, seconds, disturb, every):
        """Calls disturb() every so many seconds while the clients lock; then all of them end."""
        end = time.monotonic() + seconds
        due = grant = time.monotonic()
        while time.monotonic() < end:
            taken = self.taken
            self._turn(True)
            now = time.monotonic()
            if self.taken > taken:
                self.longest, grant = max(self.longest, now - grant), now
            if now >= due:
                disturb()
                due = time.monotonic() + every
            select.select([], [], [], 0.001)
        end = time.monotonic() + 15
        while self.inside or any(c.pending for c in self.clients):
            assert time.monotonic() < end, f"hangs: {[c.pid for c in self.clients if c.pending]} {self}"
            self._turn(False)
            select.select([], [], [], 0.001)
        c = self.clients[0]
        fd = c.hold(self.mount[c].lock(self.name))
        value = int(c.read(fd, 20, 0) or b"0")
        c.close(fd)
        assert self.added <= value <= self.added + self.unknown, f"{value}: {self}"
        return self

    def __repr__(self):
        return f"taken {self.taken}, added {self.added}, unknown {self.unknown}, lost {self.lost}"
