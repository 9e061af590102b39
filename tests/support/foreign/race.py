"""Races for a lock that a name is: race.py IDIOM ROUNDS FOLDER...

One process for each FOLDER, all of them the same folder by whatever path. Each round all try to take the lock at the
same instant, then whoever got it gives it back. Prints a JSON list: for each round those who got it.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import sys

RENAME_NOREPLACE = 1
AT_FDCWD = -100
libc = ctypes.CDLL(None, use_errno=True)


class Start:
    """A barrier that spins, so that all leave it together."""

    def __init__(self, n):
        self.passed = memoryview(mmap.mmap(-1, 4096)).cast("I")
        self.n = n

    def wait(self, me):
        self.passed[me] += 1
        turn = self.passed[me]
        while any(self.passed[i] < turn for i in range(self.n)):
            os.sched_yield()


def make(path, text=""):
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    os.write(fd, text.encode())
    os.close(fd)


class Idiom:
    def __init__(self, folder, me, start):
        self.folder, self.me, self.start = folder, me, start
        self.lock = self.path("lock")
        self.own = self.path(f"own.{me}")

    def path(self, name):
        return os.path.join(self.folder, name)

    def take(self):
        """Whether it got the lock."""
        try:
            self.try_it()
        except FileExistsError:
            return False
        return True

    def give(self):
        os.unlink(self.lock)


class Excl(Idiom):
    def try_it(self):
        make(self.lock)


class Link(Idiom):
    """By what the manual of open(2) says for NFS: the number of links tells."""
    def take(self):
        make(self.own, "pid")
        try:
            os.link(self.own, self.lock)
            linked = True
        except FileExistsError:
            linked = False
        got = os.stat(self.own).st_nlink == 2
        assert got == linked, (got, linked)
        os.unlink(self.own)
        assert not got or os.stat(self.lock).st_nlink == 1
        return got


class Symlink(Idiom):
    """The target says who has it, as Emacs and Firefox do it."""
    def try_it(self):
        os.symlink(f"host:{self.me}", self.lock)
        assert os.readlink(self.lock) == f"host:{self.me}"


class Mkdir(Idiom):
    def try_it(self):
        os.mkdir(self.lock)

    def give(self):
        os.rmdir(self.lock)


class RenameFolder(Idiom):
    """A folder with something in it takes the place of no other such folder."""
    def take(self):
        os.mkdir(self.own)
        make(os.path.join(self.own, "owner"), str(self.me))
        try:
            os.rename(self.own, self.lock)
        except OSError as e:
            if e.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            os.unlink(os.path.join(self.own, "owner"))
            os.rmdir(self.own)
            return False
        return True

    def give(self):
        with open(os.path.join(self.lock, "owner"), encoding="ascii") as f:
            assert f.read() == str(self.me)
        os.unlink(os.path.join(self.lock, "owner"))
        os.rmdir(self.lock)


class RenameAway(Idiom):
    """The file `free` is there once."""
    def __init__(self, *args):
        super().__init__(*args)
        self.free = self.path("free")
        if self.me == 0:
            make(self.free)

    def take(self):
        try:
            os.rename(self.free, self.own)
        except FileNotFoundError:
            return False
        return True

    def give(self):
        os.rename(self.own, self.free)


class RenameOver(Idiom):
    """All succeed, the last one's file stays, whole."""
    def take(self):
        make(self.own, f"{self.me}\n" * 500)
        self.start.wait(self.me)
        os.rename(self.own, self.lock)
        self.start.wait(self.me)
        with open(self.lock, encoding="ascii") as f:
            owners = f.read().split()
        assert len(owners) == 500 and len(set(owners)) == 1, owners
        return owners[0] == str(self.me)


class Noreplace(Idiom):
    """As mv -n does it."""
    def take(self):
        make(self.own)
        names = (os.fsencode(p) for p in (self.own, self.lock))
        old, new = names
        if libc.renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE) == 0:
            return True
        if ctypes.get_errno() != errno.EEXIST:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.unlink(self.own)
        return False


IDIOMS = {c.__name__: c for c in Idiom.__subclasses__()}


def run(idiom, rounds, folder, me, start, wins):
    it = IDIOMS[idiom](folder, me, start)
    for r in range(rounds):
        start.wait(me)
        got = it.take()
        wins[r * start.n + me] = got
        start.wait(me)
        if got:
            it.give()


def together(n, work):
    """work(i) in n processes; ends this one when one of them fails."""
    children = []
    for i in range(n):
        pid = os.fork()
        if pid == 0:
            work(i)
            os._exit(0)
        children.append(pid)
    while children:
        pid, status = os.wait()
        children.remove(pid)
        if status:
            for other in children:  # they would wait for it for ever
                os.kill(other, signal.SIGKILL)
            sys.exit(1)


def main(idiom, rounds, *folders):
    n, rounds = len(folders), int(rounds)
    start, wins = Start(n), mmap.mmap(-1, rounds * n)
    together(n, lambda me: run(idiom, rounds, folders[me], me, start, wins))
    print(json.dumps([[i for i in range(n) if wins[r * n + i]] for r in range(rounds)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
