"""Adds 1 to the number in FILE, ROUNDS times, each time under a lock: counter.py LOCK FILE ROUNDS.

LOCK is an expression of a context manager; `path` in it is FILE.
"""

import sys

import fasteners  # noqa: F401
import filelock  # noqa: F401
import portalocker  # noqa: F401

expression, path, rounds = sys.argv[1:]
print("ready", flush=True)
sys.stdin.read()
for _ in range(int(rounds)):
    with eval(expression):
        with open(path, encoding="ascii") as f:
            number = int(f.read())
        with open(path, "w", encoding="ascii") as f:
            f.write(f"{number + 1}\n")
