#!/usr/bin/python3
"""What users would pick instead, timed as timing.c does: others.py KIND ARG N.

Kinds: open PATH (open and close in Python: the comparison for the rest), portalocker PATH, filelock PATH,
redis-py URL (its Lock), portalocker-redis HOST:PORT (its RedisLock).
"""

import os
import sys
import time


def operation(kind, arg):
    if kind == "open":
        return lambda: os.close(os.open(arg, os.O_RDWR | os.O_CLOEXEC))
    if kind == "portalocker":
        import portalocker

        def lock():
            with portalocker.Lock(arg, "a"):
                pass
    elif kind == "filelock":
        import filelock
        one = filelock.FileLock(arg)

        def lock():
            with one:
                pass
    elif kind == "redis-py":
        import redis
        client = redis.Redis.from_url(arg)

        def lock():
            with client.lock("bench", timeout=10):
                pass
    elif kind == "portalocker-redis":
        import portalocker
        import redis
        client = redis.Redis(port=int(arg.rsplit(":", 1)[1]))

        def lock():
            with portalocker.RedisLock("bench", connection=client, timeout=10):
                pass
    else:
        raise SystemExit(__doc__)
    return lock


def main():
    run, n = operation(*sys.argv[1:3]), int(sys.argv[3])
    every = []
    for _ in sys.stdin:
        begun = time.perf_counter()
        for _ in range(n):
            mark = time.perf_counter()
            run()
            every.append((time.perf_counter() - mark) * 1e6)
        print(f"{(time.perf_counter() - begun) * 1e6 / n:.3f}", flush=True)
    every.sort()
    print(f"{every[len(every) // 2]:.3f} {every[len(every) * 99 // 100]:.3f}", flush=True)


if __name__ == "__main__":
    main()
