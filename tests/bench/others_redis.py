#!/usr/bin/python3
"""redis-py's Lock among several processes; by default who waits looks again every 0.1 s.

others_redis.py handoff URL N   as handoff.c: from release to the return of the blocked acquire
others_redis.py crowd URL       "CLIENTS SECONDS one|distinct" on each line; answers as crowd.c
"""

import multiprocessing
import random
import statistics
import sys
import time

import redis

fork = multiprocessing.get_context("fork")


def lock_of(url, name):
    return redis.Redis.from_url(url).lock(name, timeout=10)


def wait_for_it(url, pipe):
    lock = lock_of(url, "handoff")
    while pipe.recv():
        pipe.send("asking")
        lock.acquire()
        taken = time.monotonic()
        lock.release()
        pipe.send(taken)


def handoff(url, n):
    here, there = fork.Pipe()
    waiter = fork.Process(target=wait_for_it, args=(url, there), daemon=True)
    waiter.start()
    lock, every, warm = lock_of(url, "handoff"), [], False
    for _ in sys.stdin:
        times = []
        for _ in range(n):
            lock.acquire()
            here.send(True)
            here.recv()
            # At any moment between two looks of the one that waits, not always the same one.
            time.sleep(random.uniform(0.05, 0.15))
            given = time.monotonic()
            lock.release()
            times.append((here.recv() - given) * 1e6)
        print(f"{statistics.median(times):.3f} {sum(times) / n:.3f} 0 0", flush=True)
        every += times if warm else []
        warm = True
    every.sort()
    print(f"{statistics.median(every):.3f} {every[len(every) * 99 // 100]:.3f}", flush=True)
    here.send(False)


def work(url, name, me, done, ready, go, stop):
    lock = lock_of(url, name)
    ready.release()
    go.wait()
    while not stop.is_set():
        if lock.acquire(blocking_timeout=0.5):
            lock.release()
            done[me] += 1


def crowd(url, clients, seconds, names):
    done, ready, go, stop = fork.Array("L", clients, lock=False), fork.Semaphore(0), fork.Event(), fork.Event()
    crew = [fork.Process(target=work, args=(url, f"crowd{i if names == 'distinct' else ''}", i, done, ready, go, stop),
                         daemon=True) for i in range(clients)]
    for one in crew:
        one.start()
    for _ in crew:
        ready.acquire()
    begun = time.monotonic()
    go.set()
    time.sleep(seconds)
    counts, took = list(done), time.monotonic() - begun
    stop.set()
    for one in crew:
        one.join()
    print(f"{took:.6f}", *counts, flush=True)


def main():
    if sys.argv[1] == "handoff":
        handoff(sys.argv[2], int(sys.argv[3]))
        return
    for line in sys.stdin:
        clients, seconds, names = line.split()
        crowd(sys.argv[2], int(clients), float(seconds), names)


if __name__ == "__main__":
    main()
