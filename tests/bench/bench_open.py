#!/usr/bin/python3
"""open+close of a free lock beside an empty libfuse server, in one run, pinned to one CPU.

The servers and the caller sit on the same CPU, so that no wake-up crosses CPUs, and take turns round
by round, so that what disturbs the machine disturbs them alike. Prints a table; judges nothing.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from lockclient import wait_until  # noqa: E402
from plockmount import PLOCKFS, Mount, mountinfo, unmount_lazily  # noqa: E402


def build(work, name, *flags):
    program = os.path.join(work, name)
    fuse = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=True)
    subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", program, os.path.join(HERE, name + ".c"), *flags,
                    *(fuse.stdout.split() if name == "floor" else [])], check=True)
    return program


class Floor:
    def __init__(self, program, mnt, cpu, *options):
        self.mnt = mnt
        os.mkdir(mnt)
        self.proc = subprocess.Popen(["taskset", "-c", str(cpu), program, *options, mnt])
        wait_until(lambda: mountinfo(mnt), what="floor mounted")

    def end(self):
        self.proc.terminate()
        self.proc.wait(20)
        unmount_lazily(self.mnt)


class Caller:
    """One openclose process; `turn` runs one round."""

    def __init__(self, label, program, path, n, rounds, cpu):
        self.label = label
        self.us = []
        self.proc = subprocess.Popen(["taskset", "-c", str(cpu), program, path, str(n), str(rounds)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def turn(self):
        self.proc.stdin.write("\n")
        self.proc.stdin.flush()
        self.us.append(float(self.proc.stdout.readline()))

    def end(self):
        self.proc.stdin.close()
        self.proc.wait(20)
        del self.us[0]  # the warm-up


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("-n", type=int, default=5000, help="pairs a round (5000)")
    p.add_argument("-r", "--rounds", type=int, default=15, help="rounds (15)")
    p.add_argument("--cpu", type=int, default=0, help="CPU to pin to (0)")
    args = p.parse_args()
    work = tempfile.mkdtemp(prefix="plockfs-bench-")
    floors, mount, callers = [], None, []
    try:
        openclose, floor = build(work, "openclose"), build(work, "floor")
        floors.append(Floor(floor, os.path.join(work, "mnt-floor"), args.cpu))
        floors.append(Floor(floor, os.path.join(work, "mnt-floor-n"), args.cpu, "-n"))
        os.mkdir(os.path.join(work, "dir"))
        mount = Mount(os.path.join(work, "dir"), os.path.join(work, "mnt")).start()
        for task in os.listdir(f"/proc/{mount.pid}/task"):
            os.sched_setaffinity(int(task), {args.cpu})
        for label, path in (("empty server, no FLUSH", floors[1].mnt + "/job"),
                            ("empty server", floors[0].mnt + "/job"),
                            ("plockfs locks/job", mount.path("locks/job")),
                            ("plockfs with/try/job", mount.path("with/try/job")),
                            ("plockfs with/shared/job", mount.path("with/shared/job")),
                            ("plockfs sems/pool/3/any", mount.path("sems/pool/3/any")),
                            ("file on the same disk", os.path.join(work, "dir/locks/job"))):
            callers.append(Caller(label, openclose, path, args.n, args.rounds, args.cpu))
        for _ in range(args.rounds + 1):
            for c in callers:
                c.turn()
        for c in callers:
            c.end()
        base = statistics.median(callers[1].us)
        print(f"open+close, {args.rounds} rounds of {args.n}, all on CPU {args.cpu}, {os.path.basename(PLOCKFS)}")
        print(f"{'':26}{'median us':>10}{'best us':>10}{'/ empty':>9}")
        for c in callers:
            median = statistics.median(c.us)
            print(f"{c.label:26}{median:10.2f}{min(c.us):10.2f}{median / base:9.2f}")
    finally:
        for c in callers:
            c.proc.kill()
            c.proc.wait()
        if mount:
            print(mount.clean_up() or "", end="")
        for f in floors:
            f.end()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
