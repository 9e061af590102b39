"""What must not happen to a mount that many processes use and die in: a lock had twice, a lock
or a descriptor that stays behind, somebody who hangs."""

import errno
import mmap
import os
import random
import select
import signal
import struct
import subprocess
import threading
import time

import pytest

from lockclient import fails, process_state, wait_until
from plockmount import cpu_share, mountinfo, unmount_lazily

CROWD = 300
WAITERS = 500
# Now and then a name is offered to programs outside, which takes a thread for a moment; a few are kept. And the loop's own
# workers, four, begin when one is first needed.
IDLE_THREADS = 8


def settled(mount):
    """Nobody holds or waits, says the mount itself."""
    status = mount.status_json()
    return (status["holders"], status["waiters"], status["held"], status["waiting"]) == ([], [], 0, 0)


def warm_up(mount, names):
    """Opens what the server keeps open for good; then its numbers of descriptors and threads.

    names: of locks/, or paths in the mount.
    """
    for name in names:
        os.close(os.open(mount.path(name) if "/" in name else mount.lock(name), os.O_RDONLY))
        os.listdir(mount.path("waiters/locks"))
    wait_until(lambda: settled(mount))
    return mount.descriptors(), mount.threads()


def back_to(mount, descriptors, threads):
    wait_until(lambda: settled(mount), what="nobody holds or waits")
    wait_until(lambda: mount.descriptors() == descriptors, what=f"{descriptors} descriptors, as before")
    wait_until(lambda: mount.threads() <= threads + IDLE_THREADS, what="threads ended")


# --- plain children: a process for each opener, made fast ---

class Children:
    """Forked processes that run a function; whatever happens they are gone at the end."""

    def __init__(self):
        self.pids = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        while self.pids:
            self.reap(block=True)

    def fork(self, run, *args):
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                code = run(*args) or 0
            finally:
                os._exit(code)
        self.pids.add(pid)
        return pid

    def reap(self, block=False):
        """{pid: wait status} of those that ended."""
        ended = {}
        for pid in list(self.pids):
            done, status = os.waitpid(pid, 0 if block else os.WNOHANG)
            if done:
                self.pids.discard(pid)
                ended[pid] = status
        return ended


def open_and_close(path, flags=os.O_RDWR):
    """A child's life; its exit code is the errno it got."""
    try:
        os.close(os.open(path, flags | os.O_CLOEXEC))
    except OSError as e:
        return e.errno
    return 0


# --- no two holders, whoever dies when ---

class Shared:
    """Counters that forked processes share; each has its own cell, so that none is lost."""

    def __init__(self, cells):
        self.memory = mmap.mmap(-1, 8 * cells)
        self.cells = cells

    def add(self, cell):
        at = 8 * cell
        self.memory[at:at + 8] = struct.pack("q", struct.unpack("q", self.memory[at:at + 8])[0] + 1)

    def total(self, first, end):
        return sum(struct.unpack(f"{end - first}q", self.memory[8 * first:8 * end]))


def alive(pid):
    return process_state(pid) not in ("", "Z", "X")


def enter_alone(side):
    """Makes the side file (a link, so that its maker's pid is in it from the start), which must not be there.

    One that a killed holder left is cleared; one whose maker lives, or removes it himself, is a second holder.
    """
    me = str(os.getpid())
    try:
        os.symlink(me, side)
        return True
    except FileExistsError:
        pass
    try:
        other = int(os.readlink(side))
        # Killed, and its files already closed, but not gone yet?
        wait_until(lambda: not alive(other), 5, "end of the killed holder")
        os.unlink(side)
        os.symlink(me, side)
    except (OSError, AssertionError):
        return False
    return True


def storm(mount, names, work, counts, cell, seed):
    """Opens and closes at random until killed, by itself at times."""
    dice = random.Random(seed)
    ways = ["{}", "locks/{}", "with/try/locks/{}", "with/timeout=30ms/{}", "with/timeout=20s/locks/{}"]
    while True:
        name = dice.choice(names)
        try:
            fd = os.open(mount.path(dice.choice(ways).format(name)), os.O_RDWR)
        except OSError as e:
            if e.errno not in (errno.EAGAIN, errno.ETIMEDOUT):
                return e.errno
            continue
        side = os.path.join(work, "side-" + name)
        fate = dice.random()
        if fate < 0.02:
            os.kill(os.getpid(), signal.SIGKILL)
        if not enter_alone(side):
            return 98
        if fate < 0.04:
            os.kill(os.getpid(), signal.SIGKILL)
        counts.add(cell)
        os.unlink(side)
        if fate < 0.06:
            os.kill(os.getpid(), signal.SIGKILL)
        os.close(fd)


def test_no_two_holders_among_300_that_die_at_random(mount, work):
    names = [f"n{i}" for i in range(5)]
    descriptors, threads = warm_up(mount, names)
    counts, dice = Shared(CROWD), random.Random(1)
    cells, killed, seed, codes = {}, 0, 0, set()
    with Children() as children:
        def spawn(cell):
            nonlocal seed
            seed += 1
            cells[children.fork(storm, mount, names, work, counts, cell, seed)] = cell

        def step():
            """Kills a few wherever they are, replaces all who died."""
            nonlocal killed
            for pid in dice.sample(sorted(children.pids), 4):
                os.kill(pid, signal.SIGKILL)
            for pid, status in children.reap().items():
                if os.WIFSIGNALED(status):
                    killed += 1
                else:
                    codes.add(os.WEXITSTATUS(status))
                spawn(cells.pop(pid))
            return codes or (counts.total(0, CROWD) >= 3000 and killed >= 600)

        for cell in range(CROWD):
            spawn(cell)
        wait_until(step, 60, "3000 sections and 600 deaths")
        assert codes == set(), f"ended with (98: two holders at once, else an errno): {codes}"
        assert mount.threads() <= threads + max(len(names), IDLE_THREADS), "one for a name, none for an opener"
    back_to(mount, descriptors, threads)
    assert all(mount.can_lock(name) for name in names)


def test_blocked_openers_are_killed_again_and_again(mount, client):
    holder = client()
    descriptors, threads = warm_up(mount, ["job"])
    fd = holder.hold(mount.lock("job"))
    dice = random.Random(2)
    with Children() as children:
        for _ in range(60):
            pids = [children.fork(open_and_close, mount.lock("job")) for _ in range(4)]
            if dice.random() < 0.5:
                wait_until(lambda: len(mount.waiters("job")) == 4)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            statuses = children.reap(block=True).values()
            assert all(os.WIFSIGNALED(s) for s in statuses)
        wait_until(lambda: mount.waiters("job") == [], what="no waiter left")
    assert mount.holder_pids("job") == [holder.pid]
    holder.close(fd)
    back_to(mount, descriptors, threads)
    assert mount.can_lock("job")


@pytest.mark.parametrize("path", ["locks/job", "with/shared/locks/job", "sems/pool/1/any"])
def test_killed_when_the_grant_comes(mount, client, path):
    """Close and SIGKILL at the same time, in both orders: the lock ends up free."""
    descriptors, threads = warm_up(mount, ["job", "sems/pool/1/any"])
    kind, name = ("sems", "pool") if path.startswith("sems") else ("locks", "job")
    mine = mount.path("sems/pool/1/any" if kind == "sems" else "locks/job")
    bounded = mount.path("with/timeout=10s", *mine[len(mount.mnt) + 1:].split("/"))
    # The child of a fork would have the descriptor too: a process of its own holds.
    holder, dice = client(), random.Random(3)
    with Children() as children:
        for i in range(200 if path == "locks/job" else 60):
            fd = holder.hold(bounded, os.O_RDONLY)
            pid = children.fork(open_and_close, mount.path(path), os.O_RDONLY)
            assert holder.poll(fd, select.POLLPRI, 15000) & select.POLLPRI, "it waits"
            if i % 2:
                holder.start("close", fd)
                spin_until = time.perf_counter() + dice.random() * 0.0006
                while time.perf_counter() < spin_until:
                    pass
                os.kill(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
                holder.start("close", fd)
            assert holder.wait() == 0
            children.reap(block=True)
    back_to(mount, descriptors, threads)
    assert mount.holders(name, kind) == [] and mount.waiters(name, kind) == []


# --- a process that is stopped ---

def test_stopped_holder_is_in_nobodys_way(mount, clients):
    a, b, c = clients(3)
    fd = a.hold(mount.lock("job"))
    a.stop()
    b.close(b.hold(mount.lock("other")))
    assert not mount.can_lock("job")
    fails("ETIMEDOUT", b.hold, mount.path("with/timeout=50ms/locks/job"))
    assert os.listdir(mount.path("locks")) == ["job"]
    assert mount.xattr("locks/job", "holders") == "1"
    assert [h["pid"] for h in mount.status_json()["holders"]] == [a.pid]
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    # Broken under it: the next one enters while it still sleeps.
    os.unlink(mount.path("holders/locks/job", mount.holders("job")[0]))
    fd_b = b.wait()
    a.cont()
    fails("ESTALE", a.read, fd)
    assert not mount.can_lock("job")
    b.close(fd_b)
    c.close(c.hold(mount.path("with/try/job")))


def test_stopped_waiter_does_not_hold_up_the_queue(mount, clients):
    a, b, c = clients(3)
    fd = a.hold(mount.lock("job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    c.open(mount.lock("job"))
    mount.wait_waiting("job", b, c)
    b.stop()
    wait_until(lambda: mount.waiter_pids("job") == [c.pid], what="the stopped one has left the queue")
    a.close(fd)
    c.wait()
    b.cont()


def test_lazy_umount_with_a_stopped_holder(mount, client):
    c = client()
    c.hold(mount.lock("job"))
    c.stop()
    unmount_lazily(mount.mnt)
    assert mountinfo(mount.mnt) is None
    assert mount.running
    c.kill()
    assert mount.wait_end() == 0


# --- the end of the server ---

def test_server_ends_with_a_stopped_holder(mount, clients):
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    a.stop()
    mount.terminate()
    fails("ECANCELED|ECONNABORTED|ENOTCONN|EINTR", b.wait)
    a.cont()
    fails("ENOTCONN|ECONNABORTED|ESTALE", a.read, fd)


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_server_ends_under_waiters(mount, client, how):
    holder = client()
    fd = holder.hold(mount.lock("job"))
    holder.hold(mount.path("sems/pool/1/any"), os.O_RDONLY)
    with Children() as children:
        pids = [children.fork(open_and_close, mount.path(path), os.O_RDONLY)
                for path in ("locks/job", "with/shared/job", "sems/pool/1/any", "with/timeout=80s/job") * 10]
        wait_until(lambda: mount.status_json()["waiting_here"] == len(pids))
        getattr(mount, how)()
        ended = {}
        wait_until(lambda: ended.update(children.reap()) or len(ended) == len(pids), what="all waiters got an answer")
    assert {os.WEXITSTATUS(s) for s in ended.values()} <= {errno.ECANCELED, errno.ECONNABORTED, errno.ENOTCONN}
    fails("ENOTCONN|ECONNABORTED|ESTALE", holder.read, fd)


@pytest.mark.file_only
def test_look_under_way_is_answered_at_the_end(mounts, client):
    """It asks another mount, which is stopped: that takes a moment."""
    one, other = mounts(), mounts()
    c = client()
    one.status_json()
    wait_until(lambda: settled(one))
    before = one.descriptors()
    os.kill(other.pid, signal.SIGSTOP)
    try:
        c.open(one.path("status"), os.O_RDONLY)
        wait_until(lambda: one.descriptors() > before, what="the connection to the other mount")
        assert one.terminate() == 0
        c.wait()
    finally:
        os.kill(other.pid, signal.SIGCONT)


# --- many waiters ---

def test_500_waiters_cost_no_threads_and_block_nobody(mount, client):
    holder, other = client(), client()
    descriptors, threads = warm_up(mount, ["job", "free"])
    fd = holder.hold(mount.lock("job"))
    with Children() as children:
        pids = {children.fork(open_and_close, mount.lock("job")) for _ in range(WAITERS)}
        wait_until(lambda: mount.xattr("locks/job", "waiters") == str(WAITERS), 30)
        assert mount.threads() == threads
        assert mount.descriptors() <= descriptors + 4, "none for a waiter"
        start = time.monotonic()
        assert set(mount.waiter_pids("job")) == pids
        assert os.listdir(mount.path("locks")) == ["job"]
        status = mount.status_json()
        assert len(status["waiters"]) == status["waiting"] == WAITERS
        assert mount.read("status").count("\n") >= WAITERS
        assert subprocess.run(["ls", "-l", mount.path("waiters/locks/job")], capture_output=True, text=True, timeout=20,
                              check=True).stdout.count("\n") == WAITERS + 1
        assert other.spin(mount.lock("free"), os.O_RDWR, 200) == 200
        assert not mount.can_lock("job")
        assert time.monotonic() - start < 15, "it answers while they wait"
        assert cpu_share(mount) < 0.3, "waiting costs nothing"
        assert holder.poll(fd, select.POLLPRI, 0) & select.POLLPRI
        # Half of them die, the rest get it one after the other.
        for pid in list(pids)[::2]:
            os.kill(pid, signal.SIGKILL)
        holder.close(fd)
        ended = {}
        wait_until(lambda: ended.update(children.reap()) or not children.pids, 30, "all had their turn")
        assert all(os.WIFSIGNALED(s) or os.WEXITSTATUS(s) == 0 for s in ended.values())
    back_to(mount, descriptors, threads)


# --- poll ---

def test_poll_wakes_every_shared_holder(mount, clients):
    holders, writer = clients(12), clients(1)[0]
    fds = {c: c.hold(mount.path("with/shared/job"), os.O_RDONLY) for c in holders}
    for c in holders:
        c.start("poll", fds[c], select.POLLPRI, 20000)
    writer.open(mount.lock("job"))
    for c in holders:
        assert c.wait() & select.POLLPRI
    writer.kill()
    for c in holders:
        wait_until(lambda c=c: c.poll(fds[c], select.POLLPRI, 0) == 0, what="nobody waits any more")
        c.start("poll", fds[c], 0, 20000)
    for entry in mount.holders("job"):
        os.unlink(mount.path("holders/locks/job", entry))
    for c in holders:
        gone = c.wait()
        assert gone & select.POLLERR and gone & select.POLLHUP
        fails("ESTALE", c.close, fds[c])


def test_killed_in_poll(mount, client):
    descriptors, threads = warm_up(mount, ["job"])
    for _ in range(30):
        c = client()
        fd = c.hold(mount.path("with/timeout=10s/job"))
        c.start("poll", fd, select.POLLPRI, 20000)
        c.kill()
    back_to(mount, descriptors, threads)
    assert mount.can_lock("job")


def test_poll_in_many_threads_of_one_process(mount, client):
    """Each wakes up, whatever the others do with the same descriptor."""
    fd, woken = os.open(mount.lock("job"), os.O_RDWR), []

    def poll():
        p = select.poll()
        p.register(fd, select.POLLPRI)
        woken.append(p.poll(20000))

    threads = [threading.Thread(target=poll) for _ in range(8)]
    for t in threads:
        t.start()
    waiter = client().open(mount.lock("job"))
    for t in threads:
        t.join(30)
    assert woken == [[(fd, select.POLLPRI)]] * 8
    os.close(fd)
    waiter.wait()
