"""Row 6: what one lock more costs while many are held, or waited for."""

import os
import resource
import statistics
import subprocess
import time

from lockclient import wait_until
from ruler import over, say, take_turns

PROCESSES = 4  # that the waiting threads are spread over
SPARE = 500  # descriptors that are left for what is not held for long
TTL_MS = 4000  # a heartbeat a second, so that an idle moment has some


def rss_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return 1024 * int(next(line for line in f if line.startswith("VmRSS")).split()[1])


def cpu_us(pid):
    """To the nanosecond, not in ticks of the clock."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1000


class FileSide:
    """What is behind the mount: nothing, here."""

    label = "file backend"
    descriptors = True  # each lock held is one of the server's

    def __init__(self, bench):
        self.mount = bench.mount(bench.memory_folder())

    def usage(self):
        return {"plockfs memory": rss_bytes(self.mount.pid)}

    def mark(self):
        self.cpu = cpu_us(self.mount.pid)

    def since(self):
        return {"server CPU": cpu_us(self.mount.pid) - self.cpu}


class RedisSide:
    label = "Redis, unix"
    descriptors = False

    def __init__(self, bench):
        self.redis = bench.redis(TTL_MS)
        self.mount = bench.redis_mount(self.redis.unix_url(), TTL_MS)

    def usage(self):
        return {"plockfs memory": rss_bytes(self.mount.pid), "Redis RSS": rss_bytes(self.redis.pid),
                "Redis used_memory": int(self.redis.info("used_memory"))}

    def scripts(self):
        """Calls of a script so far, and the microseconds that the server says they took."""
        for line in self.redis.cli("INFO", "commandstats").splitlines():
            if line.startswith("cmdstat_evalsha:"):
                words = dict(w.split("=") for w in line.split(":", 1)[1].split(","))
                return int(words["calls"]), float(words["usec"])
        return 0, 0.0

    def mark(self):
        self.called = self.scripts()  # first: asking costs the server something too
        self.cpu, self.redis_cpu = cpu_us(self.mount.pid), cpu_us(self.redis.pid)

    def since(self):
        cpu, redis_cpu = cpu_us(self.mount.pid) - self.cpu, cpu_us(self.redis.pid) - self.redis_cpu
        calls, usec = (now - then for now, then in zip(self.scripts(), self.called))
        return {"server CPU": cpu, "Redis CPU": redis_cpu, "calls": calls, "script": usec / calls if calls else 0.0}


class Columns:
    """One column for each number of locks or waiters; lines by what was measured, in the order of coming."""

    def __init__(self):
        self.heads, self.lines = [], {}

    def begin(self, head):
        self.heads.append(head)

    def put(self, what, value):
        self.lines.setdefault(what, {})[len(self.heads) - 1] = value

    def show(self, table, title, aim):
        table.line(f"\n{title:54}" + "".join(f"{h:>12}" for h in self.heads) + f"{'last/first':>12}")
        for what, cells in self.lines.items():
            row = [cells.get(i) for i in range(len(self.heads))]
            known = [v for v in row if v]
            ratio = known[-1] / known[0] if len(known) > 1 and row[-1] else None
            table.line(f"{what:54}" + "".join(f"{'' if v is None else format(v, '.2f'):>12}" for v in row)
                       + f"{'' if ratio is None else format(ratio, '.2f'):>12}")
            if aim in what and ratio:
                table.aim(f"{title}: {what}, last to first", ratio, "flat: near 1")


def run_scale(bench, *argv):
    client = subprocess.Popen([bench.program("scale"), *map(str, argv)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True)
    bench.ends.append(client.kill)  # so that nothing stays open where a row fails
    return client


def one_more(bench, side, columns):
    """open+close of other names while things are as they are, beside an empty server; then nothing at all."""
    n, path, floor = bench.n(200), side.mount.path("locks/more"), bench.floor()
    new, again = (bench.timing("plockfs", kind, f"{path}{len(columns.heads)}-", n=n) for kind in ("fresh", "open"))
    floor_new, floor_again = (bench.timing("empty server", kind, floor, n=n) for kind in ("fresh", "open"))
    rounds = 3 if bench.args.quick else 5
    side.mark()
    take_turns("row 6", [new, floor_new, again, floor_again], rounds)
    used, n = side.since(), 2 * (rounds + 1) * n
    columns.put("open+close of a NEW name, median us", new.middle(0))
    columns.put("NEW, times an empty server's", over(new, floor_new))
    columns.put("open+close of the same name again, median us", again.middle(0))
    columns.put("again, times an empty server's", over(again, floor_again))
    columns.put("of both, CPU of plockfs, us", used["server CPU"] / n)
    if "calls" in used:
        columns.put("of both, CPU of Redis, us", used["Redis CPU"] / n)
        columns.put("a call in the Redis server, us", used["script"])
    seconds = 2.2 if bench.args.quick else bench.args.idle
    side.mark()
    time.sleep(seconds)
    used = side.since()
    columns.put("idle: CPU of plockfs, us a second", used["server CPU"] / seconds)
    if "calls" in used:
        columns.put("idle: CPU of Redis, us a second", used["Redis CPU"] / seconds)
        columns.put("idle: calls a second", used["calls"] / seconds)
        if used["calls"]:
            columns.put("a heartbeat in the Redis server, us", used["script"])


def memory(columns, side, before, n, what):
    if n >= 1000:  # below, pages of the allocator are all that is seen
        for name, now in side.usage().items():
            columns.put(f"{name} a {what}, bytes", (now - before[name]) / n)


def hold(bench, side, columns, counts, each):
    """Locks held by one mount: ever more, by clients that may have `each` descriptors."""
    before, held, clients = side.usage(), 0, []
    if side.descriptors and counts[-1] > each - SPARE:
        bench.table.line(f"\n{each - SPARE:,} locks instead of {counts[-1]:,}: each is a descriptor of the server, and "
                         "no process may have more here.")
        counts = [min(c, each - SPARE) for c in counts]
    for wanted in counts:
        say(f"row 6: {side.label}: {wanted} locks held")
        begun, had = time.monotonic(), held
        while held < wanted:
            n = min(each, wanted - held)
            clients.append(run_scale(bench, "hold", side.mount.path("locks"), held, n))
            _, got, err = clients[-1].stdout.readline().split()
            held += int(got)
            if int(err):
                raise OSError(int(err), f"{held} of {wanted} locks held, then {os.strerror(int(err))}")
        columns.begin(f"{held:,}")
        if held - had > 100:
            columns.put("taking them, us each", (time.monotonic() - begun) * 1e6 / (held - had))
        one_more(bench, side, columns)
        memory(columns, side, before, held, "lock held")
        begun = time.monotonic()
        listed = sum(1 for _ in os.scandir(side.mount.path("holders/locks")))
        if listed >= 100:
            columns.put("ls holders/locks/, us an entry", (time.monotonic() - begun) * 1e6 / listed)
    say(f"row 6: {side.label}: closing {held} locks")
    for client in clients:
        client.communicate("\n", timeout=120)


def queue_up(bench, side, n):
    """n threads in up to PROCESSES processes, all blocked on locks/job."""
    share = [n // PROCESSES + (i < n % PROCESSES) for i in range(PROCESSES)]
    clients = [run_scale(bench, "wait", side.mount.path("locks/job"), k) for k in share if k]
    asked = sum(int(c.stdout.readline().split()[1]) for c in clients)
    wait_until(lambda: int(side.mount.xattr("locks/job", "waiters")) == asked, 300, f"{asked} waiters")
    return clients, asked


def drain(fd, clients):
    """Microseconds from the close to the last grant, each. Each holder closes at once."""
    begun = time.monotonic() * 1e6
    os.close(fd)
    done = [c.communicate(timeout=300)[0].split() for c in clients]
    granted, errors = (sum(int(d[i]) for d in done) for i in (1, 2))
    if errors:
        raise RuntimeError(f"{errors} of the waiters failed")
    return (max(float(d[4]) for d in done) - begun) / granted


def wait(bench, side, columns, counts):
    for wanted in counts:
        say(f"row 6: {side.label}: {wanted} waiters")
        before = side.usage()
        fd = os.open(side.mount.path("locks/job"), os.O_RDONLY)
        begun = time.monotonic()
        clients, asked = queue_up(bench, side, wanted)
        columns.begin(f"{asked:,}")
        if asked > 1:
            columns.put("queueing them, us each", (time.monotonic() - begun) * 1e6 / asked)
        one_more(bench, side, columns)
        memory(columns, side, before, asked, "waiter")
        say(f"row 6: {side.label}: {asked} hand-offs")
        side.mark()
        us = [drain(fd, clients)]
        used = side.since()
        while len(us) < (5 if bench.args.quick else 15) and wanted < 1000:
            fd = os.open(side.mount.path("locks/job"), os.O_RDONLY)
            us.append(drain(fd, queue_up(bench, side, wanted)[0]))
        columns.put("a hand-off, us", statistics.median(us))
        if asked > 1:
            columns.put("a hand-off, CPU of plockfs, us", used["server CPU"] / asked)
            if "calls" in used:
                columns.put("a hand-off, CPU of Redis, us", used["Redis CPU"] / asked)


def raise_limit():
    """As many descriptors as the system lets this process have, and so those that it starts."""
    most = int(open("/proc/sys/fs/nr_open", encoding="ascii").read())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, PermissionError):  # only with CAP_SYS_RESOURCE
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def row_scale(bench):
    each = raise_limit() - 100
    args, share = bench.args, 0.1 if bench.args.quick else 1
    locks = [1, min(1000, args.locks), max(1, int(args.locks * share))]
    waiters = [1, min(100, args.waiters), max(1, int(args.waiters * share))]
    for side_of in (FileSide, RedisSide):
        held, waited = Columns(), Columns()
        hold(bench, side_of(bench), held, locks, each)
        held.show(bench.table, f"6. locks held: {side_of.label}", "times an empty")
        wait(bench, side_of(bench), waited, waiters)
        waited.show(bench.table, f"6. waiters: {side_of.label}", "a hand-off, CPU")
