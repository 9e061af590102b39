#!/usr/bin/python3
"""plockfs beside what users would pick instead: one run, one CPU, in turns. Prints a table; judges nothing.

compare.py [--rows LIST] [--quick] [--cpu N]. Rows: 1 the floor, 2 the file backend, 3 Redis, 4 hand-offs, 5 throughput,
6 scale. docs/performance.md explains them. The table goes to stdout when all is done, progress to stderr. Exit code 1
when a row could not run.
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import time

from ruler import BEGUN, PLOCKFS, Bench, Table, say
from row_open import row_file, row_redis
from row_handoff import row_handoff
from row_crowd import row_crowd
from row_scale import row_scale

ROWS = {"1": row_file, "2": row_file, "3": row_redis, "4": row_handoff, "5": row_crowd, "6": row_scale}


def first_line(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()[0].strip()
    except (OSError, IndexError):
        return f"no {argv[0]}"


def build_type():
    """Of the meson folder that the program is in."""
    try:
        done = subprocess.run(["meson", "introspect", "--buildoptions", os.path.dirname(PLOCKFS)], capture_output=True,
                              text=True, check=True)
        return next(o["value"] for o in json.loads(done.stdout) if o["name"] == "buildtype")
    except (OSError, subprocess.SubprocessError, ValueError, StopIteration):
        return "unknown build type"


def machine(args):
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown CPU")
    yield f"{datetime.date.today()}, {model}, all on CPU {args.cpu} of {os.cpu_count()}, Linux {os.uname().release}"
    fuse, redis = first_line("pkg-config", "--modversion", "fuse3"), first_line("redis-server", "--version").split()
    yield (f"{first_line(PLOCKFS, '--version')} ({build_type()}), libfuse {fuse}, {' '.join(redis[:3])}"
           f"{', --quick' if args.quick else ''}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", default="1,2,3,4,5,6", help="which (all); 1 and 2 come together")
    p.add_argument("--quick", action="store_true", help="a fifth of the operations, a third of the rounds")
    p.add_argument("--cpu", type=int, default=0, help="CPU to pin everything to (0)")
    p.add_argument("--locks", type=int, default=100_000, help="row 6: how many to hold (100000)")
    p.add_argument("--waiters", type=int, default=10_000, help="row 6: how many to queue (10000)")
    p.add_argument("--idle", type=float, default=3.2, help="row 6: seconds of idleness to measure (3.2)")
    args = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that mounts and servers end too
    os.sched_setaffinity(0, {args.cpu})  # and all that is started from here
    table, failed = Table(), False
    for line in machine(args):
        table.line(line)
    try:
        for row in dict.fromkeys(ROWS[r] for r in args.rows.split(",")):
            say(f"{row.__name__}: begins")
            bench = Bench(args, table)
            try:
                row(bench)
            except (AssertionError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as e:
                failed = True
                table.line(f"\n{row.__name__}: could not run: {e}")
                say(f"{row.__name__}: could not run: {e}")
            finally:
                bench.end()
    finally:
        print(f"{table.text()}\n\n{time.monotonic() - BEGUN:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
