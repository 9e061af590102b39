"""More than one Redis server: replicas that must confirm, Sentinel, Cluster."""

import os
import subprocess
import time

import pytest

from faults import check_lost, entry_of, heals, record, refused, stamps, token_of, watch_loss
from lockclient import fails, wait_until
from redisserver import free_port

TTL = 2.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"


def settled(server):
    server.settle(PREFIX, int(TTL * 1000))
    return server


@pytest.fixture
def server(redis):
    return settled(redis(repl_diskless_sync_delay=0))


# --- replicas that must confirm ---

def test_replicas_missing(server, redis, mounts, clients):
    """No lease that no replica has confirmed, and the log does not fill with attempts."""
    assert "replicas" in refused(mounts(server.url(), opts=f"{OPTS},replicas=1", start=False), 4.0)
    m = mounts(server.url(), opts=f"{OPTS},replicas=1,unavailable=4s,nofail")
    a, = clients(1)
    fails("EHOSTDOWN", a.hold, m.lock("job"))
    redis(replicaof=f"127.0.0.1 {server.port}")
    a.hold(m.lock("job"))
    assert m.log_text().count("\n") <= 6, m.log_text()


def test_replica_lost(redis, mounts, clients):
    """The last replica goes: the lock is lost in time, and comes back with the replica."""
    server = settled(redis(repl_diskless_sync_delay=0))
    replica = redis(replicaof=f"127.0.0.1 {server.port}")
    wait_until(lambda: replica.info("master_link_status") == "up")
    m = mounts(server.url(), opts=f"{OPTS},replicas=1")
    a, = clients(1)
    fd = a.hold(m.lock("job"))
    watch_loss(a, fd)
    replica.kill()
    killed = time.monotonic()
    lost = stamps(a)[0]
    assert TTL * 0.8 - TTL / 4 - 0.2 <= lost - killed <= TTL * 0.8 + 0.3, lost - killed
    a.wait()
    check_lost(a, fd)
    replica.start()
    a.close(a.hold(m.lock("job")))


# --- Sentinel ---

class Sentinels:
    """A master, two replicas, three Sentinels."""

    def __init__(self, redis):
        first = redis(repl_diskless_sync_delay=0)
        self.servers = [first] + [redis(replicaof=f"127.0.0.1 {first.port}", repl_diskless_sync_delay=0)
                                  for _ in range(2)]
        for s in self.servers[1:]:
            wait_until(lambda s=s: s.info("master_link_status") == "up", what="replication")
        conf = "\n".join([f"sentinel monitor boss 127.0.0.1 {first.port} 2",
                          "sentinel down-after-milliseconds boss 500", "sentinel failover-timeout boss 3000"])
        self.sentinels = [redis(sentinel=True, conf=conf) for _ in range(3)]
        for s in self.sentinels:
            wait_until(lambda s=s: self.knows_all(s), 20, "the Sentinels to know each other and the replicas")

    @staticmethod
    def knows_all(sentinel):
        lines = sentinel.cli("SENTINEL", "MASTER", "boss").splitlines()
        known = dict(zip(lines[::2], lines[1::2]))
        return known.get("num-slaves") == "2" and known.get("num-other-sentinels") == "2"

    def url(self):
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{s.port}" for s in self.sentinels) + "/boss"

    def master(self):
        port = self.sentinels[0].cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "boss").splitlines()[1]
        return next(s for s in self.servers if s.port == int(port))


@pytest.fixture
def sentinels(redis):
    return Sentinels(redis)


@pytest.mark.parametrize("ttl", [2, 10])
def test_failover(sentinels, mounts, clients, ttl):
    """The holder keeps its lock, or is told before the next one has it; tokens go on rising."""
    opts = f"prefix={PREFIX},ttl={ttl}s"
    sentinels.master().settle(PREFIX, ttl * 1000)
    one, two = (mounts(sentinels.url(), opts=opts) for _ in range(2))
    a, b, c = clients(3)
    fd = a.hold(one.lock("job"))
    token = token_of(a, fd)
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    old = sentinels.master()
    watch_loss(a, fd)
    old.kill()
    c.open(one.lock("other"))
    at = record((a, b, c), (c,), 60)  # now and then the Sentinels need a second round
    c.close(c.wait())
    assert sentinels.master() is not old
    if a not in at:
        # Claimed: nobody else has it until it is closed, or broken.
        assert b not in at and not b.answered(1.0)
        two.wait_holding("job", a)
        os.unlink(two.path("holders/locks/job", entry_of(two, a)))
        record((a, b), (a,), 1, at)
    record((a, b), (a, b), 30, at)
    # A poll that is woken asks the mount once more before it returns; an open does not.
    assert at[a] <= at[b] + 0.05, at
    a.wait()
    check_lost(a, fd)
    fd_b = b.wait()
    assert token_of(b, fd_b) > token
    b.close(fd_b)
    # Unless the Sentinels moved on a second time, and the new master had no replica for a while.
    log = one.log_text()
    assert ttl < 5 or "locks lost" not in log or "replicas confirm" in log, log
    heals(one, two, a, b)


def test_sentinel_that_is_down(sentinels, mounts):
    sentinels.sentinels[0].kill()
    m = mounts(sentinels.url(), opts=OPTS)
    m.put("job", b"value", "locks")


def test_sentinel_does_not_know_the_name(sentinels, mounts):
    refused(mounts(sentinels.url().replace("boss", "nobody"), opts=OPTS, start=False), 5.0)


# --- Cluster ---

@pytest.fixture
def cluster(redis):
    """A function that starts n nodes; the first has every slot."""
    def make(n):
        nodes = [redis(cluster_enabled="yes", cluster_port=free_port(), cluster_node_timeout=2000) for _ in range(n)]
        nodes[0].cli("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        for other in nodes[1:]:
            bus = nodes[0].cli("CONFIG", "GET", "cluster-port").splitlines()[1]
            other.cli("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus)
        for node in nodes:
            wait_until(lambda node=node: "cluster_state:ok" in node.cli("CLUSTER", "INFO") and
                       f"cluster_known_nodes:{n}" in node.cli("CLUSTER", "INFO"), 20, "the cluster")
        return nodes
    return make


def test_cluster_of_one(cluster, mounts, clients):
    node, = cluster(1)
    settled(node)
    heals(mounts(node.url(), opts=OPTS), mounts(node.url(), opts=OPTS), *clients(2))


def test_cluster_moved(cluster, mounts, clients):
    """A mount that asks the wrong node is sent to the right one."""
    owner, other = cluster(2)
    settled(owner)
    one, two = mounts(other.url(), opts=OPTS), mounts(owner.url(), opts=OPTS)
    heals(one, two, *clients(2))
    one.put("job", b"value", "locks")
    assert two.get("job", "locks") == b"value"


def test_cluster_node_of_no_name(cluster, mounts, clients):
    """A redirection that leaves the host out."""
    owner, other = cluster(2)
    settled(owner)
    for node in (owner, other):
        node.cli("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
    one, two = mounts(other.url(), opts=OPTS), mounts(owner.url(), opts=OPTS)
    heals(one, two, *clients(2))


def test_cluster_node_gone(cluster, mounts, clients):
    """The node that a mount was sent to dies: it asks the one it was given at first, where the slot is by then."""
    owner, other = cluster(2)
    settled(owner)
    m = mounts(other.url(), opts=OPTS + ",unavailable=2s")
    a, = clients(1)
    fd = a.hold(m.lock("job"))
    token = token_of(a, fd)
    watch_loss(a, fd)
    gone = owner.cli("CLUSTER", "MYID")
    owner.kill()
    slot, ours = other.cli("CLUSTER", "KEYSLOT", "{%s}:g" % PREFIX), other.cli("CLUSTER", "MYID")
    other.cli("CONFIG", "SET", "cluster-require-full-coverage", "no")
    other.cli("CLUSTER", "FORGET", gone)
    other.cli("CLUSTER", "ADDSLOTS", slot)
    assert ours in other.cli("CLUSTER", "NODES")

    def works():
        try:
            return (a.hold(m.lock("again")),)
        except OSError as e:
            assert e.strerror == os.strerror(112)
            return None
    lost = a.answered(TTL * 2)
    if lost:
        a.wait()
        check_lost(a, fd)
    fd, = wait_until(works, 30.0)
    assert token_of(a, fd) > token


def test_cluster_ask(cluster, mounts, clients):
    """While a slot migrates, its node sends those who ask to another for once: they wait until it has moved."""
    owner, other = cluster(2)
    settled(owner)
    one, two = mounts(owner.url(), opts=OPTS), mounts(owner.url(), opts=OPTS)
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    a.write(fd, b"by a", 0)
    token = token_of(a, fd)
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    slot = owner.cli("CLUSTER", "KEYSLOT", "{%s}:g" % PREFIX)
    ids = {node: node.cli("CLUSTER", "MYID") for node in (owner, other)}
    other.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner])
    owner.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[other])
    owner.cli("MIGRATE", "127.0.0.1", other.port, "{%s}:g" % PREFIX, 0, 1000)
    wait_until(lambda: "ASK %s" % slot in one.log_text())
    assert not b.answered()
    while True:
        keys = owner.cli("CLUSTER", "GETKEYSINSLOT", slot, 100).split()
        if not keys:
            break
        owner.cli("MIGRATE", "127.0.0.1", other.port, "", 0, 1000, "KEYS", *keys)
    for node in (other, owner):
        node.cli("CLUSTER", "SETSLOT", slot, "NODE", ids[other])
    wait_until(lambda: other.cli("HGET", "{%s}:g" % PREFIX, "inc").startswith(other.info("run_id")))
    two.wait_holding("job", a)
    assert a.fsync(fd) == 0 and a.read(fd, 10, 0) == b"by a" and not b.answered(TTL)
    a.close(fd)
    fd_b = b.wait()
    assert token_of(b, fd_b) > token and b.read(fd_b, 10, 0) == b"by a"
    b.close(fd_b)
    heals(one, two, a, b)


def test_cluster_slot_moves_while_held(cluster, mounts, clients):
    """The slot goes to another node without its keys: the holder claims its lock there."""
    owner, other = cluster(2)
    settled(owner)
    one, two = mounts(owner.url(), opts=OPTS), mounts(other.url(), opts=OPTS)
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    token = token_of(a, fd)
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    slot = owner.cli("CLUSTER", "KEYSLOT", "{%s}:g" % PREFIX)
    assign = f"CLUSTER SETSLOT {slot} NODE {other.cli('CLUSTER', 'MYID')}"
    other.cli(*assign.split())
    done = subprocess.run(["redis-cli", "-p", str(owner.port)], input=f"MULTI\nFLUSHALL\n{assign}\nEXEC\n",
                          capture_output=True, text=True, check=True)
    assert "ERR" not in done.stdout, done.stdout
    wait_until(lambda: other.cli("EXISTS", "{%s}:g" % PREFIX) == "1")
    two.wait_waiting("job", b)
    two.wait_holding("job", a)
    assert a.fsync(fd) == 0 and not b.answered(TTL)
    a.close(fd)
    fd_b = b.wait()
    assert token_of(b, fd_b) > token
