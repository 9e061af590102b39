"""One client of a history run: takes locks at random and writes down what it saw.

history_client.py LOG ID SEED UNTIL MNT...      UNTIL: time.monotonic() after which no step begins

One JSON object a line, written at once, so that nothing is lost when the process is killed. What it means is in
history.py.
"""

import errno
import json
import os
import random
import select
import sys
import time

LOCKS = ("a", "b", "c", "d")
# Mostly taken on the mount of that number, and mostly by tries: names that a mount keeps idle.
HOMES = ("h0", "h1", "h2")
SEM, SLOTS = "pool", 3
MARK_LEN = 24
GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.EBADF}


class Lost(Exception):
    """The handle says that its lock is lost."""


class Gone(Exception):
    """The mount of the handle is dead."""


class Stepper:
    def __init__(self, log, ident, seed, mounts):
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.ident = ident
        self.dice = random.Random(seed)
        self.mounts = mounts
        self.steps = 0
        self.marks = 0
        self.handle = None

    def note(self, event, **more):
        line = json.dumps({"e": event, "h": self.handle, **more}, separators=(",", ":"))
        os.write(self.log, line.encode() + b"\n")

    # --- one operation on a handle ---

    def _do(self, word, call):
        """(time of the call, result); an error that is no loss is noted, and the result is None."""
        begun = time.monotonic()
        try:
            return begun, call()
        except OSError as e:
            if e.errno == errno.ESTALE:
                self.note("lost", t=time.monotonic(), op=word)
                raise Lost from e
            if e.errno in GONE:
                raise Gone from e
            self.note("err", t=time.monotonic(), op=word, errno=e.errno)
            return begun, None

    def _poll(self, fd):
        p = select.poll()
        p.register(fd, select.POLLIN)
        events = p.poll(0)
        if events and events[0][1] & select.POLLERR:
            os.fsync(fd)  # tells a lost hold from a dead mount
            raise OSError(errno.ESTALE, "")
        return True

    def check(self, fd):
        word = self.dice.choice(("poll", "fsync"))
        begun, result = self._do(word, (lambda: self._poll(fd)) if word == "poll" else (lambda: os.fsync(fd) is None))
        if result:
            self.note("ok", t=begun, op=word)

    def read(self, fd):
        begun, data = self._do("read", lambda: os.pread(fd, 256, 0))
        if data is not None:
            self.note("read", t=begun, t1=time.monotonic(), data=data.decode("latin-1"))

    def write(self, fd, mark):
        """An empty mark: truncates."""
        self.note("write", t=time.monotonic(), mark=mark)
        code = errno.ESTALE
        try:
            call = (lambda: os.pwrite(fd, mark.encode(), 0)) if mark else (lambda: os.ftruncate(fd, 0) is None)
            code = 0 if self._do("write", call)[1] else errno.EHOSTDOWN
        finally:
            self.note("wrote", t=time.monotonic(), mark=mark, errno=code)

    def mark(self):
        self.marks += 1
        return f"{self.ident}:{self.marks}".ljust(MARK_LEN, ".")

    # --- a hold ---

    def hold_exclusive(self, mnt, fd, name, truncated):
        if self.dice.random() < 0.5:
            self.read(fd)
        if self.dice.random() < 0.7:
            begun, token = self._do("token", lambda: os.getxattr(f"{mnt}/locks/{name}", "user.plockfs.token"))
            if token:
                self.note("token", t=begun, t1=time.monotonic(), token=int(token))
        if not truncated and self.dice.random() < 0.5:
            self.write(fd, "")
        self.write(fd, self.mark())
        self.check(fd)
        self.keep(fd)
        self.read(fd)

    def keep(self, fd):
        long = self.dice.random() < 0.015
        end = time.monotonic() + (self.dice.uniform(0.2, 2.0) if long else self.dice.uniform(0, 0.006))
        while True:
            self.check(fd)
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.015))

    def hold(self, mnt, fd, name, mode, truncated):
        if mode == "x":
            self.hold_exclusive(mnt, fd, name, truncated)
            return
        begun, data = self._do("read", lambda: os.pread(fd, 256, 0))
        if data is not None and mode == "n":
            self.note("slot", t=begun, slot=int(data))
        elif data is not None:
            self.note("read", t=begun, t1=time.monotonic(), data=data.decode("latin-1"))
        self.keep(fd)

    def linger(self, fd, mode):
        """Lost is lost: nothing that this handle does takes effect."""
        for _ in range(3):
            try:
                if mode == "x":
                    self.write(fd, self.mark())
                else:
                    self.check(fd)
            except Lost:
                pass
            time.sleep(self.dice.uniform(0, 0.02))

    def close(self, fd):
        begun, code = time.monotonic(), 0
        try:
            os.close(fd)
        except OSError as e:
            code = e.errno
        self.note("end", t=begun, t1=time.monotonic(), errno=code)

    def step(self):
        dice = self.dice
        self.steps += 1
        self.handle = f"{self.ident}/{self.steps}"
        number = dice.randrange(len(self.mounts))
        mnt = self.mounts[number]
        home = dice.random() < 0.4
        name = dice.choice((*LOCKS, SEM))
        if home:
            name = HOMES[number % len(HOMES)] if dice.random() < 0.97 else dice.choice(HOMES)
        mode = "n" if name == SEM else dice.choice("xxxxxxxs" if home else "xxs")
        timeout = None if dice.random() < (0.9 if home else 0.25) else dice.choice((0.3, 1.0, 3.0, 8.0))
        words = ["try" if timeout is None else f"timeout={timeout}"] + (["shared"] if mode == "s" else [])
        truncated = mode == "x" and dice.random() < 0.3
        flags = (os.O_RDWR if mode == "x" else os.O_RDONLY) | (os.O_TRUNC if truncated else 0)
        tail = f"sems/{SEM}/{SLOTS}/any" if mode == "n" else f"locks/{name}"
        self.note("ask", t=time.monotonic(), mount=number, name=name, mode=mode, timeout=timeout, trunc=truncated)
        try:
            fd = os.open(f"{mnt}/with/{','.join(words)}/{tail}", flags)
        except OSError as e:
            self.note("fail", t=time.monotonic(), errno=e.errno)
            time.sleep(dice.uniform(0, 0.02))
            return
        self.note("got", t=time.monotonic())
        try:
            self.hold(mnt, fd, name, mode, truncated)
        except Lost:
            try:
                self.linger(fd, mode)
            except Gone:
                pass
        except Gone:
            pass
        self.close(fd)
        if dice.random() < 0.3:
            time.sleep(dice.uniform(0, 0.01))


def main():
    log, ident, seed, until, *mounts = sys.argv[1:]
    stepper = Stepper(log, ident, int(seed), mounts)
    while time.monotonic() < float(until):
        stepper.step()


if __name__ == "__main__":
    main()
