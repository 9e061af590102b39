"""Row 4: from close in one process to the return of the blocked open in another."""

import os

from ruler import HERE, PYTHON, Sum, Timed, over, take_turns


def row_handoff(bench):
    folder, server = bench.folder("dir"), bench.redis()
    one, two = bench.mount(folder), bench.mount(folder)
    unix1, unix2 = (bench.redis_mount(server.unix_url()) for _ in range(2))
    tcp1, tcp2 = (bench.redis_mount(server.url()) for _ in range(2))
    local = os.path.join(bench.folder("local"), "handoff")
    with open(local, "wb"):
        pass
    h = bench.handoff
    empty, empty_n = bench.floor("-b"), bench.floor("-b", "-n")
    pipe = h("a pipe's wake-up", "pipe", "-", "-", 500)
    floor = h("empty server that blocks the open", "open", empty, empty, 200)
    same = h("one mount", "open", one.path("locks/h"), one.path("locks/h"), 200)
    unix = h("two mounts of one Redis, unix", "open", unix1.path("locks/k"), unix2.path("locks/k"), 100)
    tcp = h("two mounts of one Redis, TCP", "open", tcp1.path("locks/l"), tcp2.path("locks/l"), 100)
    publish = h("PUBLISH to a subscriber, unix", "publish", server.socket, "unix", 200)
    publish_tcp = h("PUBLISH to a subscriber, TCP", "publish", f"127.0.0.1:{server.port}", "tcp", 200)
    redis_py = Timed("redis-py's blocking Lock, unix", [PYTHON, os.path.join(HERE, "others_redis.py"), "handoff",
                                                        f"unix://{server.socket}", 2])
    things = [pipe, h("flock of a local file", "flock", local, local, 500),
              floor, h("the same, no FLUSH", "open", empty_n, empty_n, 200),
              same, h("two mounts of one DIR", "open", one.path("locks/i"), two.path("locks/i"), 100),
              h("one mount of Redis, unix", "open", unix1.path("locks/j"), unix1.path("locks/j"), 100),
              unix, tcp, publish, publish_tcp, redis_py]
    take_turns("row 4", things, bench.rounds)
    sums = [Sum(f"the empty server + a PUBLISH, {way}", (1, floor), (1, p))
            for way, p in (("unix", publish), ("TCP", publish_tcp))]
    bench.table.times("4. hand-off: from close to the return of the blocked open", [*things[:-1], *sums, redis_py],
                      pipe)
    aim = bench.table.aim
    aim("hand-off on one mount, times a pipe's wake-up", over(same, pipe), "<= 2.5")
    aim("hand-off on one mount, times the empty server's", over(same, floor), "(what FUSE leaves)")
    for way, thing, total in (("unix", unix, sums[0]), ("TCP", tcp, sums[1])):
        aim(f"hand-off between mounts of Redis, {way}, times the empty server's + a PUBLISH to a subscriber",
            over(thing, total), "two one-way messages")
