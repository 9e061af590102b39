#!/usr/bin/python3
"""Many locks held at once by one mount, and many opens blocked on one lock. Prints; judges nothing.

Run as root: the limit on descriptors is raised for the server and the clients, as far as the system allows;
where that is less than --locks the table says so and shows as many as can be had.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from lockclient import wait_until  # noqa: E402
from plockmount import Mount  # noqa: E402

PROCESSES = 4  # that the waiting threads are spread over


def rss_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return 1024 * int(next(line for line in f if line.startswith("VmRSS")).split()[1])


def attribute(mount, name, word):
    return int(mount.xattr("locks/" + name, word))


def show(what, value):
    print(f"{what:44}{value:>16}", flush=True)


class Server:
    """What a server uses, against what it used at the start."""

    def __init__(self, mount):
        self.mount = mount
        self.rss, self.fds, self.threads = rss_bytes(mount.pid), mount.descriptors(), mount.threads()

    def grown(self):
        return (rss_bytes(self.mount.pid) - self.rss, self.mount.descriptors() - self.fds,
                (self.threads, self.mount.threads()))


def idle_cpu_ms(mount, seconds):
    before = mount.cpu_seconds()
    time.sleep(seconds)
    return (mount.cpu_seconds() - before) * 1000


def run_scale(program, *argv):
    return subprocess.Popen([program, *map(str, argv)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def hold_all(program, mount, n, each):
    """n locks, at most `each` by one process: the processes, how many they got, the errno that ended it or 0."""
    clients, held, err = [], 0, 0
    for first in range(0, n, each):
        clients.append(run_scale(program, "hold", mount.path("locks"), first, min(each, n - first)))
        _, got, err = map(int, clients[-1].stdout.readline().replace("held", "0").split())
        held += got
        if err:
            break
    return clients, held, err


def held_locks(work, program, n, idle, each):
    mount = Mount(os.path.join(work, "held"), os.path.join(work, "mnt-held")).start()
    try:
        server = Server(mount)
        start = time.monotonic()
        clients, held, err = hold_all(program, mount, n, each)
        took = time.monotonic() - start
        rss, fds, threads = server.grown()
        print(f"-- {n} locks held by one mount")
        show("held", held)
        if err:
            show("then", os.strerror(err))
        show("seconds to take them", f"{took:.2f}")
        show("server memory per held lock, bytes", f"{rss / max(held, 1):.0f}")
        show("server descriptors per held lock", f"{fds / max(held, 1):.3f}")
        show("server threads before, after", f"{threads[0]}, {threads[1]}")
        show(f"server CPU in {idle} s idle, ms", f"{idle_cpu_ms(mount, idle):.0f}")
        for folder in ("locks", "holders/locks"):
            start = time.monotonic()
            listed = sum(1 for _ in os.scandir(mount.path(folder)))
            show(f"ls {folder}/ of {listed}, s", f"{time.monotonic() - start:.3f}")
        if not err:
            start = time.monotonic()
            os.close(os.open(mount.path("locks/one-more"), os.O_RDONLY))
            show("open+close of one more, ms", f"{(time.monotonic() - start) * 1000:.2f}")
        start = time.monotonic()
        for client in clients:
            client.communicate("\n")
        wait_until(lambda: attribute(mount, "l0", "holders") == 0, 120, "all released")
        show("seconds to close them", f"{time.monotonic() - start:.2f}")
    finally:
        print(mount.clean_up() or "", end="")


def queue_up(program, mount, n):
    """n threads in up to PROCESSES processes, all blocked on locks/job."""
    share = [n // PROCESSES + (i < n % PROCESSES) for i in range(PROCESSES)]
    clients = [run_scale(program, "wait", mount.path("locks/job"), k) for k in share if k]
    asked = sum(int(c.stdout.readline().split()[1]) for c in clients)
    wait_until(lambda: attribute(mount, "job", "waiters") == asked, 300, f"{asked} waiters")
    return clients, asked


def drain(clients):
    """Microseconds from one grant to the next, until the queue is empty. Each holder closes at once."""
    done = [c.communicate()[0].split() for c in clients]
    granted, errors = sum(int(d[1]) for d in done), sum(int(d[2]) for d in done)
    if errors:
        show("errors", errors)
    return (max(float(d[4]) for d in done) - min(float(d[3]) for d in done)) / max(granted - 1, 1)


def waiters(work, program, n, idle):
    mount = Mount(os.path.join(work, "wait"), os.path.join(work, "mnt-wait")).start()
    try:
        fd = os.open(mount.path("locks/job"), os.O_RDONLY)
        server = Server(mount)
        start = time.monotonic()
        clients, asked = queue_up(program, mount, n)
        took = time.monotonic() - start
        rss, fds, threads = server.grown()
        print(f"-- {asked} opens blocked on one lock")
        show("seconds to queue them", f"{took:.2f}")
        show("server memory per waiter, bytes", f"{rss / asked:.0f}")
        show("server descriptors more", fds)
        show("server threads before, after", f"{threads[0]}, {threads[1]}")
        show(f"server CPU in {idle} s idle, ms", f"{idle_cpu_ms(mount, idle):.0f}")
        start = time.monotonic()
        os.listdir(mount.path("waiters/locks/job"))
        show("ls waiters/locks/job/, s", f"{time.monotonic() - start:.3f}")
        cpu = mount.cpu_seconds()
        os.close(fd)
        us = drain(clients)
        cpu = (mount.cpu_seconds() - cpu) / asked * 1e6
        short = []
        for _ in range(25):
            fd = os.open(mount.path("locks/job"), os.O_RDONLY)
            clients, _ = queue_up(program, mount, 10)
            os.close(fd)
            short.append(drain(clients))
        show("hand-off in a queue of 10, us", f"{sorted(short)[len(short) // 2]:.0f}")
        show(f"hand-off in a queue of {asked}, us", f"{us:.0f}")
        show("of it CPU of the server, us", f"{cpu:.0f}")
    finally:
        print(mount.clean_up() or "", end="")


def limit(work, program, nofile):
    mount = Mount(os.path.join(work, "limit"), os.path.join(work, "mnt-limit"), nofile=nofile).start()
    try:
        client = run_scale(program, "hold", mount.path("locks"), 0, nofile * 2)
        _, held, err = client.stdout.readline().split()
        print(f"-- server limited to {nofile} descriptors")
        show("held", held)
        show("then", os.strerror(int(err)))
        client.communicate("\n")
    finally:
        print(mount.clean_up() or "", end="")


def raise_limit():
    """As many descriptors as the system lets this process have."""
    most = int(open("/proc/sys/fs/nr_open", encoding="ascii").read())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, PermissionError):  # only with CAP_SYS_RESOURCE
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--locks", type=int, default=100_000)
    p.add_argument("--waiters", type=int, default=10_000)
    p.add_argument("--idle", type=float, default=5.0, help="seconds of idleness to measure")
    args = p.parse_args()
    most = raise_limit()
    if most < args.locks + 100:
        print(f"note: no process may have more than {most} descriptors here, and a held lock is one of the server's")
    work = tempfile.mkdtemp(prefix="plockfs-scale-")
    try:
        program = os.path.join(work, "scale")
        subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-pthread", "-o", program,
                        os.path.join(HERE, "scale.c")], check=True)
        held_locks(work, program, args.locks, args.idle, most - 100)
        waiters(work, program, args.waiters, args.idle)
        limit(work, program, 1000)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
