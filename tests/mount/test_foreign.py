"""A8: mounts of one DIR and programs that lock in DIR exclude one another."""

import os
import select
import signal
import subprocess
import sys

import pytest

from lockclient import fails, wait_until
from plockmount import cpu_share

PYTHON = "/usr/bin/python3"  # Debian's, which has portalocker

LOCK_SCRIPT = """
import portalocker, sys
try:
    lock = portalocker.Lock(sys.argv[1], mode="a+b", timeout=float(sys.argv[2]), check_interval=0.01,
                            flags=portalocker.LOCK_NB | getattr(portalocker, sys.argv[3]))
    lock.acquire()
except portalocker.exceptions.BaseLockException:
    print("busy", flush=True)
else:
    print("held", flush=True)
    sys.stdin.readline()
    lock.release()
    print("released", flush=True)
"""

SEMAPHORE_SCRIPT = """
import contextlib, io, portalocker, sys
with contextlib.redirect_stdout(io.StringIO()):  # it prints for debugging
    sem = portalocker.BoundedSemaphore(int(sys.argv[3]), name=sys.argv[2], directory=sys.argv[1],
                                       timeout=float(sys.argv[4]), check_interval=0.01)
    try:
        got = sem.acquire()
    except portalocker.exceptions.BaseLockException:
        got = None
print("held" if got else "busy", flush=True)
if got:
    sys.stdin.readline()
    sem.release()
    print("released", flush=True)
"""


class Outside:
    """A program that locks in DIR by itself. `state` is "held" or "busy"."""

    def __init__(self, *argv):
        self.proc = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                     bufsize=0, start_new_session=True)
        self.state = None

    @property
    def pid(self):
        return self.proc.pid

    def says(self, timeout=20.0):
        ready, _, _ = select.select([self.proc.stdout], [], [], timeout)
        return self.proc.stdout.readline().strip() if ready else ""

    def settle(self):
        self.state = self.says() or "busy"
        return self

    def release(self):
        self.proc.stdin.write("\n")
        self.proc.stdin.close()
        self.proc.wait(20)

    def end(self):
        if self.proc.poll() is None:
            os.killpg(self.proc.pid, signal.SIGKILL)
        self.proc.wait(20)


@pytest.fixture
def outside():
    started = []

    def make(*argv):
        started.append(Outside(*argv))
        return started[-1]
    yield make
    for o in started:
        o.end()


@pytest.fixture
def portalocker_lock(outside):
    return lambda path, timeout=0, mode="LOCK_EX": outside(PYTHON, "-c", LOCK_SCRIPT, path, timeout, mode).settle()


@pytest.fixture
def portalocker_semaphore(outside):
    return lambda folder, name, n, timeout=0: outside(PYTHON, "-c", SEMAPHORE_SCRIPT, folder, name, n,
                                                      timeout).settle()


@pytest.fixture
def flock(outside):
    """flock(1) holding a file of DIR until told; it execs, so that the pid is the holder's."""
    def make(path, *options):
        return outside("flock", *options, "--no-fork", path, "sh", "-c", "echo held; read x").settle()
    return make


@pytest.fixture
def two(mounts):
    return mounts(), mounts()


def inside(m, name="job"):
    """The file that is the lock, in DIR."""
    path = os.path.join(m.dir, "locks", name)
    if not os.path.exists(path):
        m.put(name, b"")
        with open(path, "ab"):
            pass
    return path


@pytest.mark.parametrize("path", ["locks/job", "sems/pool/1/any"])
def test_replaced_while_nobody_had_it(mount, outside, path):
    """The descriptor that the mount kept is not taken for the file."""
    os.close(os.open(mount.path(path), os.O_RDONLY))
    file = os.path.join(mount.dir, "locks/job" if path == "locks/job" else "sems/pool.00.lock")
    old = os.stat(file).st_ino
    with open(file + "-new", "wb"):
        pass
    os.rename(file + "-new", file)
    assert os.stat(file).st_ino != old
    p = outside("flock", "--no-fork", file, "sh", "-c", "echo held; read x").settle()
    fails("EAGAIN", os.open, mount.path("with/try", path), os.O_RDONLY)
    p.release()
    os.close(os.open(mount.path(path), os.O_RDONLY))


# --- two mounts ---

def test_two_mounts_exclude(two, clients):
    one, other = two
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    fails("EAGAIN", b.hold, other.path("with/try/locks/job"))
    b.open(other.lock("job"))
    other.wait_waiting("job", b)
    a.close(fd)
    fd = b.wait()
    fails("EAGAIN", a.hold, one.path("with/try/locks/job"))
    a.open(one.lock("job"))
    one.wait_waiting("job", a)
    b.close(fd)
    a.wait()


def test_two_mounts_share(two, clients):
    one, other = two
    a, b = clients(2)
    a.hold(one.path("with/shared/job"), os.O_RDONLY)
    b.hold(other.path("with/try,shared/job"), os.O_RDONLY)
    for m in two:
        assert not m.can_lock("job")


def test_two_mounts_see_the_value(two):
    one, other = two
    # A close is only done for the other mount once its RELEASE is: so wait for the lock there.
    one.put("job", b"from one")
    assert other.get("job", tree="locks") == b"from one"
    assert os.stat(other.lock("job")).st_size == 8
    os.mkdir(one.lock("ns"))
    assert wait_until(lambda: os.path.isdir(other.lock("ns")))
    other.put("ns/job", b"x")
    assert one.get("ns/job", tree="locks") == b"x"


def test_two_mounts_semaphore(two, clients):
    one, other = two
    cs = clients(4)
    slots = []
    for m, c in zip((one, other, one), cs):
        slots.append(int(c.read(c.hold(m.path("with/try/sems/pool/3/any"), os.O_RDONLY), 9)))
    assert sorted(slots) == [0, 1, 2]
    fails("EAGAIN", cs[3].hold, other.path("with/try/sems/pool/3/any"), os.O_RDONLY)
    cs[3].open(other.path("sems/pool/3/any"), os.O_RDONLY)
    other.wait_waiting("pool", cs[3], kind="sems")
    cs[0].kill()
    assert int(cs[3].read(cs[3].wait(), 9)) == slots[0]


def test_ls_shows_the_other_mounts_holders(two, clients):
    one, other = two
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    wait_until(lambda: other.holder_pids("job") == [a.pid])
    info = other.holder("job", other.holders("job")[0])
    assert (info["pid"], info["uid"], info["mode"], info["comm"]) == (str(a.pid), "0", "exclusive", "lock_client")
    assert int(info["token"]) == one.token("job") == other.token("job")
    assert "job" in os.listdir(other.path("locks"))
    assert "job" in os.listdir(other.path("holders/locks"))
    assert other.xattr("locks/job", "mode") == "exclusive"
    a.close(fd)
    wait_until(lambda: other.holders("job") == [])
    b.hold(one.path("sems/pool/2/1"), os.O_RDONLY)
    wait_until(lambda: other.holder_pids("pool", "sems") == [b.pid])
    assert os.listdir(other.path("sems/pool/2")) == ["1"]


def test_sigkill_of_a_server_frees_its_locks(two, clients):
    one, other = two
    a, b, c = clients(3)
    a.hold(one.lock("job"))
    c.hold(one.path("sems/pool/1/any"), os.O_RDONLY)
    b.open(other.lock("job"))
    other.wait_waiting("job", b)
    one.kill()
    b.wait(timeout=5)
    assert other.holder_pids("job") == [b.pid]
    assert os.path.exists(other.path("with/try/sems/pool/1/any"))
    os.close(os.open(other.path("with/try/sems/pool/1/any"), os.O_RDONLY))
    assert other.holders("pool", "sems") == []


def test_waiting_for_another_mount_uses_no_cpu(two, clients):
    one, other = two
    a, b = clients(2)
    a.hold(one.lock("job"))
    b.open(other.lock("job"))
    other.wait_waiting("job", b)
    assert cpu_share(one) < 0.1
    assert cpu_share(other) < 0.1


# --- flock(1) in DIR ---

def test_flock_outside_holds(mount, client, flock):
    path = inside(mount)
    f = flock(path)
    assert f.state == "held"
    c = client()
    fails("EAGAIN", c.hold, mount.path("with/try/job"))
    fails("ETIMEDOUT", c.hold, mount.path("with/timeout=200ms/job"))
    fails("EAGAIN", c.hold, mount.path("with/try,shared/job"), os.O_RDONLY)
    c.open(mount.lock("job"))
    mount.wait_waiting("job", c)
    assert mount.holder_pids("job") == [f.pid]
    assert mount.holder("job", mount.holders("job")[0])["pid"] == str(f.pid)
    assert mount.xattr("locks/job", "mode") == "exclusive"
    assert cpu_share(mount) < 0.1
    f.release()
    c.wait()
    assert mount.holder_pids("job") == [c.pid]


def test_killed_program_outside(mount, client, flock):
    f = flock(inside(mount))
    c = client()
    c.open(mount.lock("job"))
    mount.wait_waiting("job", c)
    f.end()
    c.wait()


def test_mount_holds_flock_waits(mount, client, flock, outside):
    path = inside(mount)
    c = client()
    fd = c.hold(mount.lock("job"))
    assert subprocess.run(["flock", "-n", path, "true"], timeout=20, check=False).returncode == 1
    assert subprocess.run(["flock", "-s", "-n", path, "true"], timeout=20, check=False).returncode == 1
    f = outside("flock", "--no-fork", path, "sh", "-c", "echo held; read x")
    wait_until(lambda: blocked_in_flock(f.pid), what="flock(1) waits")
    c.close(fd)
    assert f.says() == "held"
    f.release()
    assert mount.can_lock("job")


def blocked_in_flock(pid):
    with open("/proc/locks", encoding="utf-8") as f:
        return any(" -> FLOCK" in line and f" {pid} " in line for line in f)


def test_flock_outside_shares(mount, client, flock):
    path = inside(mount)
    f = flock(path, "-s")
    c = client()
    fd = c.hold(mount.path("with/try,shared/job"), os.O_RDONLY)
    fails("EAGAIN", c.hold, mount.path("with/try/job"))
    mount.wait_holding("job", c, f)
    f.release()
    assert subprocess.run(["flock", "-s", "-n", path, "true"], timeout=20, check=False).returncode == 0
    assert subprocess.run(["flock", "-n", path, "true"], timeout=20, check=False).returncode == 1
    c.close(fd)
    # The server hears of the close a moment after close(2) has returned.
    assert subprocess.run(["flock", "-w", "5", path, "true"], timeout=20, check=False).returncode == 0


def test_several_behind_a_program_outside_keep_their_order(mount, clients, flock):
    f, queue = flock(inside(mount)), clients(4)
    for i, c in enumerate(queue):
        c.open(mount.lock("job"))
        mount.wait_waiting("job", *queue[:i + 1])
    f.release()
    for i, c in enumerate(queue):
        fd = c.wait()
        assert mount.holder_pids("job") == [c.pid]
        c.close(fd)


def test_wait_behind_a_program_outside_can_be_ended(mount, clients, flock):
    a, b, c = clients(3)
    f = flock(inside(mount))
    a.catch(signal.SIGUSR1)
    a.open(mount.lock("job"))
    mount.wait_waiting("job", a)
    b.open(mount.path("with/timeout=300ms/job"))
    fails("ETIMEDOUT", b.wait)
    a.send(signal.SIGUSR1)
    fails("EINTR", a.wait)
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    b.kill()
    wait_until(lambda: mount.waiters("job") == [])
    f.release()
    # None of them left anything behind that has the lock.
    c.close(c.hold(mount.path("with/timeout=5s/job")))
    assert subprocess.run(["flock", "-w", "5", inside(mount), "true"], timeout=20, check=False).returncode == 0


def test_program_outside_cannot_be_broken(mount, flock):
    f = flock(inside(mount))
    wait_until(lambda: mount.holder_pids("job") == [f.pid])
    fails("EPERM|EACCES|EBUSY|EOPNOTSUPP", os.unlink, mount.path("holders/locks/job", mount.holders("job")[0]))
    assert f.proc.poll() is None


def test_ends_while_waiting_for_a_program_outside(mount, client, flock):
    f = flock(inside(mount))
    c = client()
    c.open(mount.lock("job"))
    mount.wait_waiting("job", c)
    assert mount.terminate() == 0
    fails("ECANCELED|ECONNABORTED|ENOTCONN|EINTR", c.wait)
    f.release()


def test_many_names_held_outside(mount, clients, outside):
    """More waits than there can be worker threads; each is woken, and other locks go on meanwhile."""
    names = [f"job{i}" for i in range(12)]
    cs = clients(len(names))
    script = "import fcntl,sys\nfs=[open(p) for p in sys.argv[1:]]\n" \
             "for f in fs: fcntl.flock(f, fcntl.LOCK_EX)\nprint('held', flush=True)\nsys.stdin.readline()"
    o = outside(sys.executable, "-c", script, *[inside(mount, n) for n in names])
    assert o.says() == "held"
    for n, c in zip(names, cs):
        c.open(mount.lock(n))
        mount.wait_waiting(n, c)
    mount.put("free", b"x")
    assert mount.get("free") == b"x"
    o.release()
    for c in cs:
        c.wait()


# --- portalocker in DIR ---

def test_portalocker_lock(mount, client, portalocker_lock):
    path = inside(mount)
    c = client()
    p = portalocker_lock(path)
    assert p.state == "held"
    fails("EAGAIN", c.hold, mount.path("with/try/job"))
    c.open(mount.lock("job"))
    mount.wait_waiting("job", c)
    p.release()
    fd = c.wait()
    assert portalocker_lock(path).state == "busy"
    c.close(fd)
    assert portalocker_lock(path).state == "held"


def test_portalocker_lock_with_two_mounts_and_flock(two, client, flock, portalocker_lock):
    """Each holds once; all others are refused."""
    one, other = two
    path = inside(one)
    c = client()
    everyone = {
        "one": lambda: one.can_lock("job"),
        "other": lambda: other.can_lock("job"),
        "flock": lambda: subprocess.run(["flock", "-n", path, "true"], timeout=20, check=False).returncode == 0,
        "portalocker": lambda: portalocker_lock(path).state == "held",
    }
    for holder in everyone:
        if holder in ("one", "other"):
            m = one if holder == "one" else other
            fd = c.hold(m.path("with/timeout=10s/job"))
            assert [n for n, can in everyone.items() if can()] == [], holder
            c.close(fd)
        else:
            o = (flock if holder == "flock" else portalocker_lock)(path)
            assert o.state == "held"
            assert [n for n, can in everyone.items() if can()] == [], holder
            o.release()


def test_portalocker_shared(mount, client, portalocker_lock):
    path = inside(mount)
    c = client()
    p = portalocker_lock(path, mode="LOCK_SH")
    assert p.state == "held"
    fd = c.hold(mount.path("with/try,shared/job"), os.O_RDONLY)
    fails("EAGAIN", c.hold, mount.path("with/try/job"))
    p.release()
    assert portalocker_lock(path).state == "busy"
    c.close(fd)


def test_portalocker_semaphore(mount, clients, portalocker_semaphore):
    folder = os.path.join(mount.dir, "sems")
    os.makedirs(folder, exist_ok=True)
    a, b, c = clients(3)
    p = portalocker_semaphore(folder, "pool", 3)
    assert p.state == "held"
    slots = {x: int(x.read(x.hold(mount.path("with/try/sems/pool/3/any"), os.O_RDONLY), 9)) for x in (a, b)}
    taken = sorted(os.listdir(mount.path("sems/pool/3")))
    assert taken == ["0", "1", "2"]
    assert mount.xattr("sems/pool/3", "free") == "0"
    fails("EAGAIN", c.hold, mount.path("with/try/sems/pool/3/any"), os.O_RDONLY)
    assert portalocker_semaphore(folder, "pool", 3).state == "busy"
    c.open(mount.path("sems/pool/3/any"), os.O_RDONLY)
    mount.wait_waiting("pool", c, kind="sems")
    assert cpu_share(mount) < 0.1
    p.release()
    assert {int(c.read(c.wait(), 9)), *slots.values()} == {0, 1, 2}
    # Bounds differ per opener here too.
    assert portalocker_semaphore(folder, "pool", 4).state == "held"
    fails("EAGAIN", portalocker_try, mount, b)


def portalocker_try(mount, c):
    return c.hold(mount.path("with/try/sems/pool/4/any"), os.O_RDONLY)


def test_file_names_of_slots(mount, client):
    client().hold(mount.path("sems/pool/3/1"), os.O_RDONLY)
    client().hold(mount.path("sems/pool/200/123"), os.O_RDONLY)
    names = [n for n in os.listdir(os.path.join(mount.dir, "sems")) if n.startswith("pool.")]
    assert {"pool.01.lock", "pool.123.lock"} <= set(names)
