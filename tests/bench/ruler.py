"""What the rows of compare.py share: things that are timed in turns, what they run against, the table."""

import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from lockclient import wait_until  # noqa: E402
from plockmount import PLOCKFS, Mount, mountinfo, unmount_lazily  # noqa: E402,F401
from redisserver import RedisServer  # noqa: E402

PREFIX, TTL_MS = "bench", 10000
TURN_DEADLINE = 60.0
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's modules

BEGUN = time.monotonic()


def say(text):
    """Progress, away from the table."""
    print(f"[{time.monotonic() - BEGUN:4.0f} s] {text}", file=sys.stderr, flush=True)


class Timed:
    """A process that does a round when told, and says what samples.h says."""

    def __init__(self, label, argv):
        self.label, self.rounds, self.base = label, [], None
        self.proc = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                     bufsize=1)

    def _line(self):
        ready, _, _ = select.select([self.proc.stdout], [], [], TURN_DEADLINE)
        line = self.proc.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError(f"{self.label}: " + (f"ended with {self.proc.wait(20)}" if ready else "stuck"))
        return [float(x) for x in line.split()]

    def turn(self, warm_up=False):
        self.proc.stdin.write("\n")
        line = self._line()
        if not warm_up:
            self.rounds.append(line)

    def finish(self):
        self.proc.stdin.close()
        _, self.p99 = self._line()
        self.proc.wait(20)

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait(20)

    def middle(self, what):
        """Of all rounds. What: 0 the median, 1 the mean, 2 the open, 3 the close."""
        return statistics.median(r[what] for r in self.rounds)


class Sum:
    """Of several things, round by round: `parts` are (factor, thing). Only the first one has opens and closes."""

    def __init__(self, label, *parts):
        self.label, self.base, self.p99 = label, None, None
        self.rounds = []
        for turns in zip(*(t.rounds for _, t in parts)):
            more = sum(f * r[0] for (f, _), r in zip(parts[1:], turns[1:]))
            first = turns[0]
            self.rounds.append([first[0] + more, first[1] + more, first[2] and first[2] + more, first[3]])

    middle = Timed.middle


def over(thing, base, what=0):
    """How many times `base` it takes: the median of what the rounds say, each in itself."""
    return statistics.median(t[what] / b[what] for t, b in zip(thing.rounds, base.rounds))


def take_turns(row, things, rounds):
    said = time.monotonic()
    try:
        for i in range(rounds + 1):
            for t in things:
                if time.monotonic() - said > 2:
                    said = time.monotonic()
                    say(f"{row}: round {i} of {rounds}, {t.label}")
                t.turn(warm_up=i == 0)
        for t in things:
            t.finish()
    finally:
        for t in things:
            t.kill()


class Table:
    def __init__(self):
        self.lines, self.aims = [], []

    def line(self, text=""):
        self.lines.append(text)

    def times(self, title, things, base, notes=()):
        """Ratios to `base`, or to a thing's own."""
        self.line(f"\n{title}\n{'us':44}{'median':>10}{'p99':>10}{'mean':>10}{'open':>9}{'close':>9}{'ratio':>9}")
        for t in things:
            p99, parts = ("" if x is None else f"{x:.2f}" for x in (t.p99, t.middle(2) or None))
            close = f"{t.middle(3):.2f}" if parts else ""
            self.line(f"{t.label:44}{t.middle(0):10.2f}{p99:>10}{t.middle(1):10.2f}{parts:>9}{close:>9}"
                      f"{over(t, t.base or base):9.2f}{'  = 1' if t is (t.base or base) else ''}")
        for note in notes:
            self.line(note)

    def aim(self, what, value, wanted):
        self.aims.append(f"{what:96}{value:9.2f}   {wanted}")

    def text(self):
        aims = ["\nWhat was aimed at", *self.aims] if self.aims else []
        return "\n".join(self.lines + aims)


class Floor:
    def __init__(self, program, mnt, *options):
        self.mnt = mnt
        os.mkdir(mnt)
        self.proc = subprocess.Popen([program, *options, mnt])
        wait_until(lambda: mountinfo(mnt), what="floor mounted")

    def end(self):
        self.proc.terminate()
        self.proc.wait(20)
        unmount_lazily(self.mnt)


class Bench:
    """One row's: all that it starts ends with it."""

    def __init__(self, args, table):
        self.args, self.table, self.ends = args, table, []
        self.work = tempfile.mkdtemp(prefix="plockfs-bench-")
        self.rounds, self.share = (4, 0.2) if args.quick else (12, 1)
        self.programs = {}

    def program(self, name):
        if name not in self.programs:
            say(f"compiling {name}.c")
            out = self.programs[name] = os.path.join(self.work, name)
            flags = ["-pthread"]
            if name == "floor":
                flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True,
                                       check=True).stdout.split()
            subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", out, os.path.join(HERE, name + ".c"),
                            *flags], check=True)
        return self.programs[name]

    def n(self, count, least=20):
        return max(least, int(count * self.share))

    # --- what is timed ---

    def timing(self, label, kind, *args, n):
        return Timed(label, [self.program("timing"), kind, *args, self.n(n)])

    def other(self, label, kind, arg, n):
        """`n` below 20: operations that take so long that they are not made fewer either."""
        return Timed(label, [PYTHON, os.path.join(HERE, "others.py"), kind, arg, n if n < 20 else self.n(n)])

    def handoff(self, label, kind, one, two, n):
        return Timed(label, [self.program("handoff"), kind, one, two, self.n(n)])

    # --- what they are timed against ---

    def folder(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        return path

    def memory_folder(self):
        """Where making a file costs the same each time; else where everything is."""
        if not os.path.ismount("/dev/shm"):
            return self.folder("dir")
        path = tempfile.mkdtemp(prefix="plockfs-bench-", dir="/dev/shm")
        self.ends.append(lambda: shutil.rmtree(path, ignore_errors=True))
        return path

    def floor(self, *options):
        f = Floor(self.program("floor"), os.path.join(self.work, f"floor{len(self.ends)}"), *options)
        self.ends.append(f.end)
        return f.mnt + "/job"

    def mount(self, source, opts=""):
        m = Mount(source, os.path.join(self.work, f"mnt{len(self.ends)}"), opts).start()
        self.ends.append(lambda: sys.stderr.write(m.clean_up() or ""))
        return m

    def redis(self, ttl_ms=TTL_MS):
        server = RedisServer().start()
        server.settle(PREFIX, ttl_ms)
        self.ends.append(server.end)
        return server

    def redis_mount(self, url, ttl_ms=TTL_MS):
        return self.mount(url, f"prefix={PREFIX},ttl={ttl_ms}ms")

    def end(self):
        for end in reversed(self.ends):
            try:
                end()
            except (AssertionError, OSError, subprocess.SubprocessError) as e:
                say(f"ending: {e}")
        shutil.rmtree(self.work, ignore_errors=True)
