#!/usr/bin/python3
"""plockfs beside what users would pick instead: one run, one CPU, in turns. Prints a table; judges nothing.

compare.py [--rows LIST] [--quick] [--cpu N]. Rows: 1 the floor, 2 the file backend, 3 Redis, 4 hand-offs, 5 throughput.
(Row 6, scale, is scale.py.) docs/performance.md explains them. Exit code 1 when something could not run.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))
sys.path.insert(0, HERE)

from bench_open import Floor, build  # noqa: E402
from plockmount import Mount  # noqa: E402
from redisserver import RedisServer  # noqa: E402

PREFIX, TTL_MS = "bench", 10000


class Timed:
    """A process that runs a round when told; see timing.c and others.py."""

    def __init__(self, label, argv, n, base=None):
        self.label, self.base, self.means = label, base, []
        self.proc = subprocess.Popen([*argv, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                     bufsize=1)

    def turn(self):
        self.proc.stdin.write("\n")
        line = self.proc.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.label}: ended with {self.proc.wait(20)}")
        self.means.append(float(line))

    def end(self):
        self.proc.stdin.close()
        self.median, self.p99 = (float(x) for x in self.proc.stdout.readline().split())
        self.proc.wait(20)
        self.mean = statistics.median(self.means)


def show(title, things, note=""):
    print(f"\n{title}\n{'':44}{'median us':>10}{'p99 us':>9}{'mean us':>9}{'ratio':>8}")
    base = next((t for t in things if t.base), things[0])
    for t in things:
        print(f"{t.label:44}{t.median:10.2f}{t.p99:9.2f}{t.mean:9.2f}{t.mean / base.mean:8.2f}{'  = 1' if t is base else ''}")
    if note:
        print(note)


def take_turns(things, rounds):
    for _ in range(rounds):
        for t in things:
            t.turn()
    for t in things:
        t.end()


class Bench:
    def __init__(self, work, args):
        self.work, self.args, self.ends = work, args, []
        self.rounds, self.scale = (4, 0.2) if args.quick else (12, 1)
        self.programs = {n: build(work, n) for n in ("timing", "handoff", "crowd", "floor")}

    def n(self, count):
        return max(20, int(count * self.scale))

    def timing(self, label, kind, arg, n, base=None):
        return Timed(label, [self.programs["timing"], kind, arg], self.n(n), base)

    def other(self, label, kind, arg, n, base=None):
        return Timed(label, ["/usr/bin/python3", os.path.join(HERE, "others.py"), kind, arg], self.n(n), base)

    def floor(self):
        f = Floor(self.programs["floor"], os.path.join(self.work, f"floor{len(self.ends)}"), self.args.cpu)
        self.ends.append(f.end)
        return f.mnt

    def mount(self, source, opts=""):
        m = Mount(source, os.path.join(self.work, f"mnt{len(self.ends)}"), opts).start()
        self.ends.append(lambda: print(m.clean_up() or "", end=""))
        return m

    def folder(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        return path

    def redis(self):
        server = RedisServer().start()
        server.settle(PREFIX, TTL_MS)
        self.ends.append(server.end)
        return server

    def end(self):
        for end in reversed(self.ends):
            end()

    # --- rows ---

    def row_file(self):
        m, local = self.mount(self.folder("dir")), self.folder("local")
        deep = "locks/a/b/c/d"
        for i in range(2, 6):  # not makedirs: it asks what exists, and every name does
            os.mkdir(m.path(*deep.split("/")[:i]))
        things = [self.timing("empty libfuse server", "open", self.floor() + "/job", 3000, base=True),
                  self.timing("locks/job", "open", m.path("locks/job"), 3000),
                  self.timing(deep + "/job", "open", m.path(deep + "/job"), 2000),
                  self.timing("sems/pool/3/any", "open", m.path("sems/pool/3/any"), 3000),
                  self.timing("files/job: open, flock, close", "flock", m.path("files/job"), 1000),
                  self.timing("flock of a local file", "flock", local + "/job", 5000)]
        take_turns(things, self.rounds)
        show("1, 2. open+close of a free lock, file backend", things)
        things = [self.other("portalocker.Lock, local file", "portalocker", local + "/p", 1000, base=True),
                  self.other("filelock.FileLock, local file", "filelock", local + "/f", 500),
                  self.other("open(locks/job), Python", "open", m.path("locks/job"), 1000),
                  self.other("portalocker.Lock, files/p", "portalocker", m.path("files/p"), 300)]
        take_turns(things, self.rounds)
        show("2. the same from Python", things)

    def row_redis(self):
        server = self.redis()
        opts = f"prefix={PREFIX},ttl={TTL_MS}ms"
        unix, tcp = self.mount(server.unix_url(), opts), self.mount(server.url(), opts)
        socket = server.unix_url().split("?")[0].removeprefix("unix://")
        address = f"127.0.0.1:{server.port}"
        things = [self.timing("empty libfuse server", "open", self.floor() + "/job", 1000),
                  self.timing("PING, unix socket", "ping", socket, 1000),
                  self.timing("PING, loopback TCP", "ping", address, 1000),
                  self.timing("locks/job again, unix socket", "open", unix.path("locks/job"), 300),
                  self.timing("locks/NEW each time, unix socket", "fresh", unix.path("locks/u"), 300),
                  self.timing("locks/job again, loopback TCP", "open", tcp.path("locks/job2"), 300),
                  self.other("redis-py Lock, unix socket", "redis-py", f"unix://{socket}", 200, base=True),
                  self.other("redis-py Lock, loopback TCP", "redis-py", f"redis://{address}", 200)]
        take_turns(things, self.rounds)
        show("3. acquire+release of a free lock, Redis", things,
             "Not measured: portalocker.RedisLock (not in Debian's portalocker 2.2), node-redlock (not in Debian).")

    def handoff(self, label, kind, one, two, n):
        t = Timed.__new__(Timed)
        t.label, t.base = label, kind == "pipe"
        runs = []
        for _ in range(3):
            out = subprocess.run([self.programs["handoff"], kind, one, two, str(self.n(n))], capture_output=True,
                                 text=True, check=True, timeout=120).stdout.split()
            runs.append([float(x) for x in out])
        t.median, t.p99 = (statistics.median(r[i] for r in runs) for i in (0, 1))
        t.mean = t.median
        return t

    def row_handoff(self):
        folder, server = self.folder("dir4"), self.redis()
        one, two = self.mount(folder), self.mount(folder)
        opts = f"prefix={PREFIX},ttl={TTL_MS}ms"
        r1, r2 = (self.mount(server.unix_url(), opts) for _ in range(2))
        local = os.path.join(self.folder("local"), "handoff")
        with open(local, "wb"):
            pass
        things = [self.handoff("a pipe's wake-up", "pipe", "-", "-", 1000),
                  self.handoff("flock of a local file", "flock", local, local, 1000),
                  self.handoff("one mount", "open", one.path("locks/h"), one.path("locks/h"), 500),
                  self.handoff("two mounts of one DIR", "open", one.path("locks/i"), two.path("locks/i"), 300),
                  self.handoff("one mount of Redis", "open", r1.path("locks/j"), r1.path("locks/j"), 300),
                  self.handoff("two mounts of one Redis", "open", r1.path("locks/k"), r2.path("locks/k"), 300)]
        show("4. hand-off: from close to the return of the blocked open", things)

    def row_crowd(self):
        server = self.redis()
        seconds = 0.5 if self.args.quick else 2
        print(f"\n5. throughput, {seconds} s each\n{'':30}{'clients':>9}{'names':>10}{'locks/s':>10}{'max/min':>9}")
        for label, m in (("file backend", self.mount(self.folder("dir5"))),
                         ("Redis, unix socket", self.mount(server.unix_url(), f"prefix={PREFIX},ttl={TTL_MS}ms"))):
            for clients in (1, 2, 8, 64):
                for names in ("one", "distinct"):
                    out = subprocess.run([self.programs["crowd"], str(clients), str(seconds), m.path("locks/crowd"),
                                          names], capture_output=True, text=True, check=True, timeout=120).stdout.split()
                    print(f"{label:30}{clients:9}{names:>10}{float(out[0]):10.0f}{float(out[1]):9.2f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", default="1,2,3,4,5", help="which (all); 1 and 2 come together")
    p.add_argument("--quick", action="store_true", help="a fifth of the operations, a third of the rounds")
    p.add_argument("--cpu", type=int, default=0, help="CPU to pin everything to (0)")
    args = p.parse_args()
    os.sched_setaffinity(0, {args.cpu})  # and all that is started from here
    rows = {"1": "row_file", "2": "row_file", "3": "row_redis", "4": "row_handoff", "5": "row_crowd"}
    chosen = dict.fromkeys(rows[r] for r in args.rows.split(","))
    begun, failed = time.monotonic(), False
    print(f"{os.uname().nodename}: Linux {os.uname().release}, all on CPU {args.cpu} of {os.cpu_count()}")
    for row in chosen:
        work = tempfile.mkdtemp(prefix="plockfs-bench-")
        bench = Bench(work, args)
        try:
            getattr(bench, row)()
        except (OSError, RuntimeError, subprocess.SubprocessError) as e:
            failed = True
            print(f"{row}: could not run: {e}", file=sys.stderr)
        finally:
            bench.end()
            shutil.rmtree(work, ignore_errors=True)
    print(f"\n{time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
