"""A lock file that its holder removes: reopen.py flock|lockf ROUNDS FOLDER...

One process for each FOLDER, all of them the same folder. Who locks the file looks whether the path still leads to it,
and begins again if not. Ends with 1 when two hold at once. Prints the number that each hold has added 1 to.
"""

import fcntl
import mmap
import os
import sys

from race import Start, together

ROOM = 64


def acquire(lock, path):
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        lock(fd, fcntl.LOCK_EX)
        try:
            there = os.stat(path)
        except FileNotFoundError:
            there = None
        if there and os.path.samestat(there, os.fstat(fd)):
            return fd
        os.close(fd)


def run(lock, rounds, folder, me, start, inside):
    path, number = os.path.join(folder, "lock"), os.path.join(folder, "number")
    start.wait(me)
    for _ in range(rounds):
        fd = acquire(lock, path)
        inside[me] = 1
        with open(number, "r+", encoding="ascii") as f:
            n = int(f.read()) + 1
            f.seek(0)
            f.write(str(n))
        assert sum(inside[:ROOM]) == 1, list(inside[:ROOM])
        inside[me] = 0
        os.unlink(path)
        os.close(fd)


def main(how, rounds, *folders):
    path = os.path.join(folders[0], "number")
    with open(path, "w", encoding="ascii") as f:
        f.write("0")
    start, inside = Start(len(folders)), mmap.mmap(-1, ROOM)
    together(len(folders), lambda me: run(getattr(fcntl, how), int(rounds), folders[me], me, start, inside))
    with open(path, encoding="ascii") as f:
        print(f.read())


if __name__ == "__main__":
    main(*sys.argv[1:])
