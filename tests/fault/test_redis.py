"""Two mounts of one Redis server: what they share, and what happens when a mount, a client or the network dies.

Times are time.monotonic() stamps. TTL is short, so that a lease ends within a test.
"""

import os
import signal
import time

import pytest

from cutproxy import TO_CLIENT, TO_SERVER
from faults import LOST, Contest, check_lost, entry_of, heals, spin, stamps, stop, watch_loss
from lockclient import fails, wait_until

TTL = 1.5
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"


@pytest.fixture
def old_two(two):
    """Both have watched for a ttl: from now on each may declare the other dead when its lease is over."""
    time.sleep(TTL * 1.1)
    return two


def evals(server):
    """How many scripts the server has run, and how many commands of any kind."""
    calls = {}
    for line in server.cli("INFO", "commandstats").splitlines():
        if line.startswith("cmdstat_"):
            name, rest = line[len("cmdstat_"):].split(":", 1)
            calls[name] = int(rest.split(",")[0].split("=")[1])
    return calls.get("evalsha", 0), sum(calls.values())


# --- what they share ---

def test_exclusion_and_fifo(two, clients):
    """Ten waiters, in turns on either mount: they get it in the order in which they came."""
    holder, *waiters = clients(11)
    fd = holder.hold(two[0].lock("job"))
    for i, c in enumerate(waiters):
        c.open(two[i % 2].lock("job"))
        for m in two:
            m.wait_waiting("job", *waiters[:i + 1])
    for m in two:
        m.wait_holding("job", holder)
        assert not m.can_lock("job")
    for i, c in enumerate(waiters):
        holder.close(fd)
        fd = c.wait()
        assert not any(w.answered() for w in waiters[i + 1:])
        for m in two:
            m.wait_holding("job", c)
            m.wait_waiting("job", *waiters[i + 1:])
        holder = c
    holder.close(fd)
    for m in two:
        wait_until(lambda m=m: m.holders("job") == [] and m.can_lock("job"))


def test_shared(two, clients):
    a, b, writer = clients(3)
    fds = [c.hold(m.path("with/shared/job"), os.O_RDONLY) for c, m in zip((a, b), two)]
    two[1].wait_holding("job", a, b)
    writer.open(two[0].lock("job"))
    two[1].wait_waiting("job", writer)
    a.close(fds[0])
    two[1].wait_holding("job", b)
    assert not writer.answered(0.1)
    b.close(fds[1])
    writer.wait()


def test_semaphore(two, clients):
    cs = clients(4)
    path = "sems/pool/3/any"
    fds = [c.hold(two[i % 2].path(path), os.O_RDONLY) for i, c in enumerate(cs[:3])]
    assert sorted(h.split(":")[0] for h in two[1].holders("pool", "sems")) == \
        sorted(h.split(":")[0] for h in two[0].holders("pool", "sems"))
    for m in two:
        fails("EAGAIN", os.open, m.path("with/try", path), os.O_RDONLY)
    cs[3].open(two[1].path(path), os.O_RDONLY)
    two[0].wait_waiting("pool", cs[3], kind="sems")
    cs[0].close(fds[0])
    cs[3].wait()
    two[0].wait_holding("pool", *cs[1:], kind="sems")


def test_value_and_tokens(two, clients):
    """Every holder sees what the one before wrote, wherever, and has a higher token."""
    tokens = []
    cs = clients(2)
    for i in range(10):
        c, m = cs[i % 2], two[i % 2]
        fd = c.hold(m.lock("job"))
        assert c.read(fd, 100, 0) == (b"" if i == 0 else b"round %d" % (i - 1))
        assert c.write(fd, b"round %d" % i, 0) == len(b"round %d" % i)
        tokens.append(int(c.fgetxattr(fd, "user.plockfs.token")))
        c.close(fd)
    assert tokens == sorted(set(tokens)), tokens


def test_break_on_the_other_mount(two, clients):
    a, b = clients(2)
    fd = a.hold(two[0].lock("job"))
    a.write(fd, b"by a", 0)
    b.open(two[1].lock("job"))
    two[1].wait_waiting("job", b)
    os.unlink(two[1].path("holders/locks/job", entry_of(two[1], a)))
    fails("ESTALE", a.fsync, fd)
    fd_b = b.wait(0.5)
    fails("ESTALE", a.write, fd, b"evil", 0)
    fails("ESTALE", a.close, fd)
    assert b.read(fd_b, 10, 0) == b"by a"


def test_end_of_a_wait_on_the_other_mount(two, clients):
    a, b, c = clients(3)
    fd = a.hold(two[0].lock("job"))
    for one in (b, c):
        one.open(two[0].lock("job"))
        wait_until(lambda: one.pid in two[1].waiter_pids("job"))
    os.unlink(two[1].path("waiters/locks/job", two[1].waiters("job")[0]))
    fails("ECANCELED", b.wait)
    for m in two:
        m.wait_waiting("job", c)
    a.close(fd)
    c.wait()


# --- how much it costs ---

def test_heartbeat_does_not_depend_on_the_number_of_locks(server, two, client):
    c = client(nofile=4096)

    def a_second():
        before = evals(server)
        time.sleep(1.0)
        return [after - b for after, b in zip(evals(server), before)]

    c.hold(two[0].lock("first"))
    with_one = a_second()
    for i in range(2000):
        c.hold(two[0].lock(f"job{i}"))
    with_many = a_second()
    # Two mounts, a beat every TTL / 4 each, and one or two more where the second falls.
    most = 2 * (4 / TTL + 2)
    assert 0 < with_one[0] <= most and 0 < with_many[0] <= most, (with_one, with_many)
    assert with_many[1] <= with_one[1] * 2 + 20, (with_one, with_many)


def test_waiters_do_not_poll(server, two, clients):
    holder, *waiters = clients(51)
    fd = holder.hold(two[0].lock("job"))
    for i, c in enumerate(waiters):
        c.open(two[i % 2].lock("job"))
    wait_until(lambda: len(two[0].waiters("job")) == 50)
    before = evals(server)[0]
    time.sleep(1.0)
    used = evals(server)[0] - before
    assert used <= 2 * (4 / TTL + 2), used
    holder.close(fd)


def test_release_hands_over_by_itself(server, mounts, clients):
    """Beats every 2 s: what takes less was not found by looking."""
    server.settle("slow", 8000)
    ms = [mounts(server.url(), opts="prefix=slow,ttl=8s") for _ in range(2)]
    cs = clients(2)
    fd = cs[0].hold(ms[0].lock("job"))
    took = []
    for i in range(1, 21):
        old, new = cs[(i - 1) % 2], cs[i % 2]
        new.open(ms[i % 2].lock("job"))
        ms[0].wait_waiting("job", new)
        start = time.monotonic()
        old.close(fd)
        fd = new.wait()
        took.append(time.monotonic() - start)
    assert max(took) < 0.5, took


# --- death ---

def check_freed(died, freed):
    """Not before the lease was over, which a beat up to TTL / 4 before the death gave, and soon after."""
    assert TTL - TTL / 4 - 0.1 <= freed - died <= TTL + 0.5, freed - died


def test_lost_grant_among_others(redis, mounts, clients, resp_proxies):
    """The next heartbeat finds it, though other grants come all the time."""
    server = redis()
    server.settle("slow", 4000)
    proxy = resp_proxies(server.port)
    opts = "prefix=slow,ttl=4s"
    one, two = mounts(proxy.url(), opts=opts), mounts(server.url(), opts=opts)
    a, b, *busy = clients(4)
    for c, m in zip(busy, (one, two)):
        spin(c, m.lock("busy"))
    fd = b.hold(two.lock("job"))
    a.open(one.lock("job"))
    two.wait_waiting("job", a)
    lost, others = [], []

    def rule(_when, op, raw, _link):
        if op == "message" and b"\r\ng " in raw:
            mine = b" %d %d " % (a.pid, a.pid) in raw
            (lost if mine else others).append(raw)
            return None if mine and len(lost) == 1 else raw
        return raw

    proxy.rule = rule
    start = time.monotonic()
    b.close(fd)
    a.close(a.wait(5.0))
    assert time.monotonic() - start < 2.0
    assert lost and len(others) > 20, (len(lost), len(others))


def test_death_of_a_mount(old_two, clients):
    a, b, other = clients(3)
    one, two = old_two
    a.hold(one.lock("job"))
    other.hold(one.path("sems/pool/1/any"), os.O_RDONLY)
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    died = time.monotonic()
    one.kill()
    check_freed(died, stamps(b)[0])
    b.wait()
    wait_until(lambda: two.holders("pool", "sems") == [], 1.0)
    assert two.xattr("locks/job", "abandoned") == "1"


def test_death_of_waiters_with_their_mount(old_two, clients):
    """Twenty in front of the queue vanish together, not one after the other."""
    holder, last, *dead = clients(22)
    one, two = old_two
    fd = holder.hold(two.lock("job"))
    for i, c in enumerate(dead):
        c.open(one.lock("job"))
        wait_until(lambda: len(two.waiters("job")) == i + 1)
    last.open(two.lock("job"))
    two.wait_waiting("job", *dead, last)
    died = time.monotonic()
    one.kill()
    holder.close(fd)
    check_freed(died, stamps(last)[0])
    last.wait()
    two.wait_holding("job", last)
    assert two.waiters("job") == []


def test_death_of_a_client(two, clients):
    a, b = clients(2)
    a.hold(two[0].lock("job"))
    b.open(two[1].lock("job"))
    two[1].wait_waiting("job", b)
    a.kill()
    died = time.monotonic()
    assert stamps(b)[0] - died < 0.3
    b.wait()


def test_death_of_a_waiting_client(two, clients):
    a, b, c = clients(3)
    fd = a.hold(two[0].lock("job"))
    for one in (b, c):
        one.open(two[1].lock("job"))
        wait_until(lambda: one.pid in two[0].waiter_pids("job"))
    b.kill()
    two[0].wait_waiting("job", c)
    a.close(fd)
    c.wait(0.5)


# --- pauses ---

@pytest.mark.parametrize("first", ["write", "read", "fsync", "close"])
def test_pause_of_a_mount(old_two, clients, first):
    """What a client asks of the paused mount is refused once it goes on, whatever it asks first."""
    a, b = clients(2)
    one, two = old_two
    fd = a.hold(one.lock("job"))
    a.write(fd, b"by a", 0)
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    stopped = stop(one.pid)
    args = {"write": (b"evil".hex(), 0), "read": (10, 0)}.get(first, ())
    a.start(first, fd, *args)
    check_freed(stopped, stamps(b)[0])
    fd_b = b.wait()
    b.write(fd_b, b"by b", 0)
    os.kill(one.pid, signal.SIGCONT)
    fails("ESTALE", a.wait)
    if first != "close":
        check_lost(a, fd)
    assert b.read(fd_b, 10, 0) == b"by b"
    two.wait_holding("job", b)
    one.wait_holding("job", b)
    a.open(one.lock("job"))
    two.wait_waiting("job", a)
    b.close(fd_b)
    a.close(a.wait())


def test_pause_of_a_mount_with_a_waiter(old_two, clients):
    """The queue goes on without it; it comes back with its old place."""
    a, b, late = clients(3)
    one, two = old_two
    fd = a.hold(two.lock("job"))
    b.open(one.lock("job"))
    two.wait_waiting("job", b)
    stop(one.pid)
    two.wait_waiting("job")
    late.open(two.lock("job"))
    two.wait_waiting("job", late)
    os.kill(one.pid, signal.SIGCONT)
    two.wait_waiting("job", b, late)
    a.close(fd)
    b.close(b.wait())
    late.wait()


def test_pause_of_the_server(old_two, server, clients):
    """Every holder is told before anybody else may have the lock."""
    a, b, watcher = clients(3)
    one, two = old_two
    fd = a.hold(one.lock("job"))
    fd_w = watcher.hold(one.path("sems/pool/1/any"), os.O_RDONLY)
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    stopped = stop(server.pid)
    watch_loss(a, fd)
    watch_loss(watcher, fd_w)
    lost = stamps(a, watcher)
    for at in lost:
        assert TTL * 0.8 - TTL / 4 - 0.1 <= at - stopped <= TTL * 0.8 + 0.2, at - stopped
    assert a.wait() & LOST == LOST
    check_lost(a, fd)
    assert not b.answered()
    resumed = time.monotonic()
    server.signal(signal.SIGCONT)
    got = stamps(b)[0]
    assert max(lost) < got and got - resumed < TTL + 0.5, (lost, got, resumed)
    fd_b = b.wait()
    two.wait_holding("job", b)
    b.close(fd_b)
    for m, c in ((one, a), (two, b)):
        c.close(c.hold(m.lock("again")))


# --- cuts ---

@pytest.fixture
def cut_two(server, proxies, mounts):
    """A mount behind a proxy, and one that is not; both have watched for a ttl."""
    proxy = proxies(server.port)
    pair = mounts(proxy.url(), opts=OPTS), mounts(server.url(), opts=OPTS)
    time.sleep(TTL * 1.1)
    return proxy, *pair


DIRECTIONS = pytest.mark.parametrize("directions", [(TO_SERVER,), (TO_CLIENT,), (TO_SERVER, TO_CLIENT)])


@DIRECTIONS
@pytest.mark.parametrize("reset", [False, True])
def test_cut_with_a_holder(cut_two, clients, directions, reset):
    proxy, one, two = cut_two
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    a.write(fd, b"by a", 0)
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    watch_loss(a, fd)
    cut = time.monotonic()
    proxy.cut(*directions)
    lost, got = stamps(a, b)
    assert lost < got, (cut, lost, got)
    assert lost - cut <= TTL * 0.8 + 0.2
    # A beat on its way when only the answers are cut counts for the server.
    assert TTL * 0.75 - 0.1 <= got - cut <= TTL * 1.25 + 0.5, got - cut
    fd_b = b.wait()
    b.write(fd_b, b"by b", 0)
    a.wait()
    check_lost(a, fd)
    proxy.mend(reset=reset)
    wait_until(lambda: one.holder_pids("job") == [b.pid])
    assert b.read(fd_b, 10, 0) == b"by b"
    b.close(fd_b)
    heals(one, two, a, b)


@DIRECTIONS
def test_cut_shorter_than_the_lease(cut_two, clients, directions):
    """Nothing is lost."""
    proxy, one, two = cut_two
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    proxy.cut(*directions)
    time.sleep(TTL * 0.4)
    proxy.mend()
    assert a.write(fd, b"by a", 0) == 4
    time.sleep(TTL)
    assert not b.answered() and a.fsync(fd) == 0
    a.close(fd)
    assert b.read(b.wait(), 10, 0) == b"by a"


@DIRECTIONS
def test_cut_during_an_acquire(cut_two, clients, directions):
    """Whether or not the server gave it the lock: it is not believed after the lease, and the open goes on."""
    proxy, one, two = cut_two
    a, b = clients(2)
    proxy.cut(*directions)
    a.open(one.lock("job"))
    if TO_SERVER not in directions:
        two.wait_holding("job", a)
    b.open(two.lock("job"))
    fd_b = b.wait()
    assert not a.answered()
    b.write(fd_b, b"by b", 0)
    proxy.mend()
    two.wait_waiting("job", a)
    assert not a.answered(0.2)
    two.wait_holding("job", b)
    b.close(fd_b)
    fd = a.wait()
    assert a.read(fd, 10, 0) == b"by b"
    a.close(fd)
    heals(one, two, a, b)


@DIRECTIONS
def test_cut_with_a_waiter(cut_two, clients, directions):
    """It is given the lock while it cannot hear of it: the next one gets it, the waiter later."""
    proxy, one, two = cut_two
    a, b, c = clients(3)
    fd = a.hold(two.lock("job"))
    b.open(one.lock("job"))
    two.wait_waiting("job", b)
    c.open(two.lock("job"))
    two.wait_waiting("job", b, c)
    proxy.cut(*directions)
    a.close(fd)
    fd = c.wait()
    # Either its open ended in time, and then the lock is lost by now, or it waits.
    early = b.answered()
    proxy.mend()
    if early:
        fails("ESTALE", b.fsync, b.wait())
    else:
        two.wait_waiting("job", b)
        c.close(fd)
        b.close(b.wait())
    heals(one, two, a, b)


def test_connections_closed_at_any_moment(cut_two, clients):
    """Each time faster than a lease ends: nothing is lost, and the lock goes on through the queue."""
    proxy, one, two = cut_two
    contest = Contest(clients(6), (one, two)).run(5, proxy.reset, 0.23)
    assert contest.lost == 0 and contest.taken > 50, contest
