"""Row 5: many clients, on one lock or each on its own."""

import os
import statistics
import subprocess

from ruler import HERE, PYTHON, say

CLIENTS = (1, 2, 8, 64)


class Crowd:
    """crowd.c over one or more paths of one lock."""

    def __init__(self, bench, label, kind, *paths):
        self.label, self.ways = label, len(paths)
        self.run = lambda clients, seconds, names: subprocess.run(
            [bench.program("crowd"), kind, str(clients), str(seconds), names, *paths], capture_output=True, text=True,
            check=True, timeout=120).stdout


class RedisPy:
    def __init__(self, url):
        self.label, self.ways = "redis-py Lock, unix", 1
        self.proc = subprocess.Popen([PYTHON, os.path.join(HERE, "others_redis.py"), "crowd", url],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def run(self, clients, seconds, names):
        self.proc.stdin.write(f"{clients} {seconds} {names}\n")
        return self.proc.stdout.readline()

    def end(self):
        self.proc.stdin.close()
        self.proc.wait(20)


def spread(counts):
    return max(counts) / min(counts) if min(counts) else float("inf")


def figures(out, ways):
    """Locks a second; most to least by client, and by way."""
    seconds, *counts = out.split()
    counts = [int(c) for c in counts]
    by_way = [sum(counts[w::ways]) for w in range(ways)]
    return sum(counts) / float(seconds), spread(counts), spread(by_way)


def row_crowd(bench):
    seconds, rounds = (0.2, 1) if bench.args.quick else (0.4, 3)
    server, folder = bench.redis(), bench.folder("dir")
    file1, file2 = bench.mount(folder), bench.mount(folder)
    redis1, redis2 = (bench.redis_mount(server.unix_url()) for _ in range(2))
    redis_py = RedisPy(f"unix://{server.socket}")
    bench.ends.append(redis_py.end)
    local = Crowd(bench, "flock of a local file", "flock", os.path.join(bench.folder("local"), "crowd"))
    things = [local, Crowd(bench, "file backend", "open", file1.path("locks/c")),
              Crowd(bench, "file backend, two mounts", "open", file1.path("locks/d"), file2.path("locks/d")),
              Crowd(bench, "Redis, unix", "open", redis1.path("locks/c")),
              Crowd(bench, "Redis, unix, two mounts", "open", redis1.path("locks/d"), redis2.path("locks/d")), redis_py]
    got = {}
    for i in range(rounds):
        say(f"row 5: round {i + 1} of {rounds}")
        for names in ("one", "distinct"):
            for clients in CLIENTS:
                for t in things:
                    if clients < t.ways or (t.ways > 1 and names == "distinct"):
                        continue
                    got.setdefault((t.label, names, clients), []).append(
                        figures(t.run(clients, seconds, names), t.ways))
    table = bench.table
    table.line(f"\n5. throughput, {rounds} times {seconds} s each; max/min of what clients, or mounts, got\n"
               f"{'':30}{'names':>10}{'clients':>9}{'locks/s':>10}{'clients':>10}{'mounts':>9}{'ratio':>9}")
    middle = {key: [statistics.median(x) for x in zip(*runs)] for key, runs in got.items()}
    for t in things:
        for (label, names, clients), (rate, by_client, by_way) in middle.items():
            if label == t.label:
                ways = f"{by_way:9.2f}" if t.ways > 1 else " " * 9
                ratio = rate / middle[local.label, names, clients][0]
                table.line(f"{label:30}{names:>10}{clients:9}{rate:10.0f}{by_client:10.2f}{ways}{ratio:9.3f}"
                           f"{'  = 1' if t is local else ''}")
    table.line("inf: one got nothing.")
    worst = max(middle["Redis, unix, two mounts", "one", c][2] for c in CLIENTS[1:])
    table.aim("two mounts of one Redis, one name: what the one got, times the other", worst, "near 1")
