"""What a lock costs at the server: round trips, commands a second, memory."""

import os
import re
import subprocess
import time

import pytest

from lockclient import wait_until

TTL = 4.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"


class Monitor:
    """The calls that clients sent, heartbeats left out, as MONITOR shows them: (client, operation)."""

    def __init__(self, server):
        self.server = server
        self.proc = subprocess.Popen(["redis-cli", "-p", str(server.port), "MONITOR"], stdout=subprocess.PIPE, text=True)
        assert self.proc.stdout.readline().strip() == "OK"

    def end(self):
        self.server.cli("ECHO", "the end")
        calls = []
        for line in self.proc.stdout:
            if "the end" in line:
                break
            who, words = re.match(r"[\d.]+ \[\d+ ([^\]]*)\] (.*)", line).groups()
            words = re.findall(r'"((?:[^"\\]|\\.)*)"', words)
            op = words[4] if words[0].upper() == "EVALSHA" else words[0].lower()
            if who != "lua" and op != "beat":
                calls.append(op)
        self.proc.kill()
        self.proc.wait()
        return calls


@pytest.fixture
def calls_of(server):
    """What was called while a function ran."""
    def measure(what, *args):
        monitor = Monitor(server)
        what(*args)
        return monitor.end()
    return measure


def test_round_trips(server, mounts, clients, calls_of):
    m, other = (mounts(source, opts=OPTS) for source in (server.url(), server.unix_url()))
    a, b = clients(2)

    def epoch_key(word, name):
        return "{%s}:%s:%s:L%s" % (PREFIX, server.cli("HGET", "{%s}:g" % PREFIX, "e"), word, name)

    def alone():
        for i in range(5):
            a.close(a.hold(m.lock(f"job{i}")))
        wait_until(lambda: server.cli("EXISTS", epoch_key("h", "job4")) == "0")
    # One at the open, and one at the close for which nobody waits.
    calls = [c for c in calls_of(alone) if c in ("acq", "rel") or c not in ("hget", "exists")]
    assert calls == ["acq", "rel"] * 5, calls

    def again():
        a.spin(m.lock("job0"), os.O_RDWR, 200)
        wait_until(lambda: server.cli("EXISTS", epoch_key("h", "job0")) == "0")
    # It is the mount's own until it has not been used for a while; at first it comes with tokens for a few times only.
    calls = [c for c in calls_of(again) if c not in ("hget", "exists", "note")]
    assert calls in (["acq", "rel"], ["acq", "rel"] * 2, ["acq", "rel"] * 3), calls

    fd = a.hold(m.lock("job"))

    def values():
        a.write(fd, b"value", 0)
        a.read(fd, 10, 0)
        a.fsync(fd)
    assert calls_of(values) == ["wr", "rd", "sync_value"]

    assert calls_of(time.sleep, TTL / 2) == []

    b.open(other.lock("job"))
    wait_until(lambda: b.pid in m.waiter_pids("job"))

    def handover():
        a.close(fd)
        b.wait()
    assert calls_of(handover) == ["rel"]


def test_no_herd(server, mounts, clients, calls_of):
    """However many wait, one release is one call, and only the next one's mount hears of it."""
    ms = [mounts(server.url(), opts=OPTS) for _ in range(4)]
    holder, *waiters = clients(41)
    fd = holder.hold(ms[0].lock("job"))
    for i, c in enumerate(waiters):
        c.open(ms[i % 4].lock("job"))
        wait_until(lambda: len(ms[0].waiters("job")) == i + 1)

    def handover():
        holder.close(fd)
        waiters[0].wait()
    assert calls_of(handover) == ["rel"]
    assert not any(c.answered() for c in waiters[1:])


def commands(server):
    return sum(int(n) for n in re.findall(r"cmdstat_[^:]+:calls=(\d+)", server.cli("INFO", "commandstats")))


def test_ten_thousand(server, mounts, clients):
    """Held by one mount, they cost the heartbeat of one, and no more memory than docs/protocol.md says."""
    m = mounts(server.url(), opts=OPTS)
    cs = clients(5, nofile=4096)
    epoch = server.cli("HGET", "{%s}:g" % PREFIX, "e")
    index = "{%s}:%s:i:%s" % (PREFIX, epoch, server.cli("ZRANGE", "{%s}:%s:s" % (PREFIX, epoch), 0, 0))

    def a_lease():
        """Commands of any kind while a lease goes by, those inside scripts included."""
        before = commands(server)
        time.sleep(TTL)
        return commands(server) - before - 1
    cs[0].hold(m.lock("first"))
    with_one = a_lease()
    before = int(server.info("used_memory"))
    names = [f"job{i:05d}" for i in range(10000)]
    for i, name in enumerate(names):
        cs[i % 5].hold(m.lock(name))
    assert server.cli("HLEN", index) == "10001"
    used = (int(server.info("used_memory")) - before) / len(names)
    with_all = a_lease()
    # Four heartbeats a lease, or five.
    assert with_all <= with_one * 1.5 and with_all < 120, (with_one, with_all)
    held = int(server.cli("MEMORY", "USAGE", "{%s}:%s:h:Ljob00001" % (PREFIX, epoch)))
    entry = int(server.cli("MEMORY", "USAGE", index, "SAMPLES", 0)) / 10001
    print(f"a held lock: {held} bytes in h, {entry:.0f} in i, {used:.0f} of the server's memory; {with_all} commands a lease")
    assert held <= 350 and entry <= 120 and used <= 600, (held, entry, used)
    os.stat(m.path("status"))
