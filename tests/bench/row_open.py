"""Rows 1 to 3: a lock that is free is taken and given back."""

import os
import shutil
import subprocess

from ruler import HERE, Sum, Timed, over, say, take_turns
from etcdserver import EtcdServer

# redlock's newest release that is no beta, and a client that it works with.
NPM = ("redlock@4.2.0", "ioredis@5.4.1")


def row_file(bench):
    m, local = bench.mount(bench.folder("dir")), bench.folder("local")
    deep = "locks/a/b/c/d"
    for i in range(2, 6):  # not makedirs: it asks what exists, and every name does
        os.mkdir(m.path(*deep.split("/")[:i]))
    t = bench.timing
    empty = bench.floor()
    floor = t("empty libfuse server", "open", empty, n=2000)
    job = t("locks/job", "open", m.path("locks/job"), n=2000)
    in_c = [floor, t("empty libfuse server, no FLUSH", "open", bench.floor("-n"), n=2000),
            t("empty libfuse server, NEW name each time", "fresh", empty, n=1000),
            job, t("locks/NEW each time", "fresh", m.path("locks/new"), n=1000),
            t(deep + "/job", "open", m.path(deep + "/job"), n=1000),
            t("sems/pool/3/any", "open", m.path("sems/pool/3/any"), n=1000),
            t("with/try/job", "open", m.path("with/try/job"), n=1000),
            t("with/shared/job", "shared", m.path("with/shared/job"), n=1000),
            t("files/job: open, flock, close", "flock", m.path("files/job"), n=500),
            t("local file: open, flock, close", "flock", local + "/job", n=2000),
            t("local file, NEW each time", "flock-fresh", local + "/new", n=1000)]
    o = bench.other
    portalocker = o("portalocker.Lock, local file", "portalocker", local + "/p", 500)
    opened = o("open(locks/job)", "open", m.path("locks/job"), 1000)
    in_python = [portalocker, o("filelock.FileLock, local file", "filelock", local + "/f", 300), opened,
                 o("portalocker.Lock, files/p", "portalocker", m.path("files/p"), 100)]
    take_turns("rows 1, 2", in_c + in_python, bench.rounds)
    table = bench.table
    table.times("1, 2. open+close of a free lock, file backend", in_c, floor)
    table.times("2. the same from Python", in_python, portalocker)
    table.aim("file backend: locks/job, times the empty libfuse server", over(job, floor), "<= 1.25")
    table.aim("file backend: open(locks/job) in Python, times portalocker.Lock on a local file",
              over(opened, portalocker), "<= 1.5")


def redlock(bench, sockets):
    """node-redlock on each of `sockets`, and why it is not there."""
    if not shutil.which("node") or not shutil.which("npm"):
        return [], "node-redlock: not measured: no node or npm (packaging/deps --bench)"
    say("row 3: npm install " + " ".join(NPM))
    folder = bench.folder("npm")
    try:
        done = subprocess.run(["npm", "install", "--prefix", folder, "--cache", os.path.join(folder, "cache"),
                               "--no-audit", "--no-fund", "--silent", *NPM], capture_output=True, text=True,
                              check=False, timeout=120)
    except subprocess.TimeoutExpired:
        return [], "node-redlock: not measured: npm install did not end within 120 s"
    if done.returncode:
        return [], f"node-redlock: not measured: npm install ended with {done.returncode} {done.stderr.strip()[:60]}"
    modules = os.path.join(folder, "node_modules")
    return [Timed(f"node-redlock, {label}", ["node", os.path.join(HERE, "redlock.js"), modules, address, bench.n(200)])
            for label, address in sockets], None


def etcd(bench):
    if not shutil.which("etcd") or not shutil.which("etcdctl"):
        return [], "etcd: not measured: no etcd or etcdctl (packaging/deps --bench)"
    say("row 3: starting etcd")
    server = EtcdServer(bench.folder("etcd"))
    bench.ends.append(server.end)
    server.start()
    etcdctl = f"etcdctl --endpoints {server.address}"
    return [bench.other("etcd's lock by HTTP and JSON, TCP", "etcd", server.address, 30),
            bench.other("etcdctl lock bench true (a process)", "run", f"{etcdctl} lock bench true", 2),
            bench.other("etcdctl version (a process, no lock)", "run", "etcdctl version", 2)], None


def row_redis(bench):
    server, file = bench.redis(), bench.mount(bench.folder("dir"))
    unix, unix2 = (bench.redis_mount(server.unix_url()) for _ in range(2))
    tcp, tcp2 = (bench.redis_mount(server.url()) for _ in range(2))
    address = f"127.0.0.1:{server.port}"
    t, empty = bench.timing, bench.floor()
    floor = t("empty libfuse server", "open", empty, n=500)
    floor_new = t("empty libfuse server, NEW name each time", "fresh", empty, n=300)
    local = t("file backend, locks/job", "open", file.path("locks/job"), n=500)
    first = [floor, floor_new, local]
    in_c = {}
    for way, one, two, ping in (("unix", unix, unix2, server.socket), ("TCP", tcp, tcp2, address)):
        in_c[way] = [t(f"PING, {way}", "ping", ping, n=500),
                     t(f"locks/job again, {way}", "open", one.path(f"locks/job-{way}"), n=200),
                     t(f"locks/NEW each time, {way}", "fresh", one.path(f"locks/new-{way}"), n=200),
                     t(f"locks/job by two mounts in turn, {way}", "turns", one.path(f"locks/turn-{way}"),
                       two.path(f"locks/turn-{way}"), n=200)]
    o = bench.other
    again = o("open(locks/job) again, unix", "open", unix.path("locks/py"), 200)
    new = o("open(locks/NEW), unix", "fresh", unix.path("locks/py-new"), 200)
    redis_py = o("redis-py Lock, unix", "redis-py", f"unix://{server.socket}", 100)
    redis_lock = o("portalocker.RedisLock, unix", "portalocker-redis", f"unix://{server.socket}", 1)
    etcds, no_etcd = etcd(bench)
    redlocks, no_redlock = redlock(bench, (("unix", server.socket), ("TCP", server.port)))
    others = [again, new, o("open(locks/NEW), TCP", "fresh", tcp.path("locks/py-tcp"), 200), redis_py,
              o("redis-py Lock, TCP", "redis-py", f"redis://{address}", 100), redis_lock, *redlocks, *etcds]
    take_turns("row 3", [*first, *in_c["unix"], *in_c["TCP"], *others], bench.rounds)

    table, shown = bench.table, first
    for way, (ping, same, fresh, turns) in in_c.items():
        known = Sum(f"empty server + 1.3 PING, {way}", (1, floor), (1.3, ping))
        unknown = Sum(f"empty server, NEW name + 1.3 PING, {way}", (1, floor_new), (1.3, ping))
        for thing, base in ((known, known), (same, known), (turns, known), (unknown, unknown), (fresh, unknown)):
            thing.base = base
        shown = shown + [ping, known, same, turns, unknown, fresh]
        aim = "Redis, " + way
        table.aim(f"{aim}: open of a NEW name, times the empty server's + 1.3 PING", over(fresh, unknown, 2), "<= 1")
        table.aim(f"{aim}: close of a NEW name, times the empty server's", over(fresh, floor_new, 3), "no PING in it")
        table.aim(f"{aim}: a name held last by this mount, times the file backend", over(same, local), "<= 1.3")
    table.times("3. open+close of a free lock, Redis", shown, floor,
                ["ratio: to the sum that stands above it, where there is one; PING counts once, in the open."])
    table.times("3. acquire and release beside other locks (from Python, but for node and etcdctl)", others, new,
                [why for why in (no_etcd, no_redlock) if why])
    table.aim("Redis: redis-py's Lock, times open(locks/NEW) in Python", over(redis_py, new), ">= 2")
    table.aim("Redis: redis-py's Lock, times open(locks/job) again in Python", over(redis_py, again), ">= 2")
    table.aim("Redis: portalocker.RedisLock, times open(locks/NEW) in Python", over(redis_lock, new), ">= 100")
