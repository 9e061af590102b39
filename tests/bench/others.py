#!/usr/bin/python3
"""What users would pick instead, timed as timing.c does: others.py KIND ARG N.

Kinds: open PATH (open and close in Python: the comparison for the rest), fresh PREFIX, portalocker PATH, filelock PATH,
redis-py URL (its Lock), portalocker-redis URL (its RedisLock), etcd HOST:PORT (the lock of its HTTP gateway, below one
lease), run COMMAND (its words; a process each time).
"""

import base64
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import time


def etcd(address):
    connection = http.client.HTTPConnection(address)

    def call(path, **body):
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"etcd: {text}")
        return json.loads(text)

    lease = call("/v3/lease/grant", TTL=600)["ID"]
    name = base64.b64encode(b"bench").decode()

    def lock():
        call("/v3/lock/unlock", key=call("/v3/lock/lock", name=name, lease=lease)["key"])
    return lock


def operation(kind, arg):
    if kind == "open":
        return lambda: os.close(os.open(arg, os.O_RDWR | os.O_CLOEXEC))
    if kind == "fresh":
        names = (arg + str(i) for i in itertools.count())
        return lambda: os.close(os.open(next(names), os.O_RDWR | os.O_CLOEXEC))
    if kind == "etcd":
        return etcd(arg)
    if kind == "run":
        words = arg.split()
        return lambda: subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
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
        client = redis.Redis.from_url(arg)

        def lock():
            with portalocker.RedisLock("bench-portalocker", connection=client, timeout=10):
                pass
    else:
        raise SystemExit(__doc__)
    return lock


def main():
    run, n = operation(*sys.argv[1:3]), int(sys.argv[3])
    every, warm = [], False
    for _ in sys.stdin:
        times = []
        for _ in range(n):
            mark = time.perf_counter()
            run()
            times.append((time.perf_counter() - mark) * 1e6)
        print(f"{statistics.median(times):.3f} {sum(times) / n:.3f} 0 0", flush=True)
        every += times if warm else []
        warm = True
    every.sort()
    print(f"{statistics.median(every):.3f} {every[len(every) * 99 // 100]:.3f}", flush=True)


if __name__ == "__main__":
    main()
