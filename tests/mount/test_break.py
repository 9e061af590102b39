"""A6 and rm in holders/ and waiters/: a lock that is lost."""

import os
import select
import signal
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN

import pytest

from lockclient import fails, wait_until

OTHER, THIRD = 65534, 12345


def break_holder(mount, c, name="job", kind="locks"):
    entry = next(h for h in mount.holders(name, kind) if h.split(":")[1] == str(c.pid))
    os.unlink(mount.path("holders", kind, name, entry))


def test_what_the_victim_sees(mount, client):
    mount.put("job", b"value")
    c = client()
    fd = c.hold(mount.lock("job"))
    break_holder(mount, c)
    assert mount.holders("job") == []
    fails("ESTALE", c.read, fd, 10, 0)
    fails("ESTALE", c.write, fd, b"x", 0)
    fails("ESTALE", c.ftruncate, fd, 0)
    fails("ESTALE", c.fsync, fd)
    for op in (LOCK_EX, LOCK_SH, LOCK_EX | LOCK_NB, LOCK_UN):
        fails("ESTALE", c.flock, fd, op)
    lost = select.POLLERR | select.POLLHUP
    assert c.poll(fd, select.POLLIN, 0) & lost == lost
    # Nothing silently takes it again.
    assert mount.can_lock("job")
    fails("ESTALE", c.close, fd)
    assert mount.get("job") == b"value"
    c.close(c.hold(mount.lock("job")))


def test_poll_wakes_up(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    c.start("poll", fd, select.POLLPRI, 15000)
    break_holder(mount, c)
    assert c.wait() & (select.POLLERR | select.POLLHUP) == select.POLLERR | select.POLLHUP


def test_next_waiter_gets_it_and_is_safe_from_the_victim(mount, clients):
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    a.write(fd, b"by a")
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    break_holder(mount, a)
    fd_b = b.wait()
    assert b.write(fd_b, b"by b", 0) == 4
    fails("ESTALE", a.write, fd, b"evil", 0)
    fails("ESTALE", a.ftruncate, fd, 0)
    fails("ESTALE", a.close, fd)
    assert b.read(fd_b, 10, 0) == b"by b"
    assert mount.holder_pids("job") == [b.pid]
    b.close(fd_b)


def test_only_that_holder(mount, clients):
    a, b = clients(2)
    fds = [c.hold(mount.path("with/shared/job"), os.O_RDONLY) for c in (a, b)]
    break_holder(mount, a)
    fails("ESTALE", a.fsync, fds[0])
    assert b.fsync(fds[1]) == 0
    assert mount.holder_pids("job") == [b.pid]
    assert not mount.can_lock("job")


def test_dups_and_forks_are_lost_too(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    other = c.dup(fd)
    break_holder(mount, c)
    fails("ESTALE", c.close, fd)
    fails("ESTALE", c.fsync, other)
    fails("ESTALE", c.close, other)


def test_slot(mount, clients):
    a, b = clients(2)
    fd = a.hold(mount.path("sems/pool/1/any"), os.O_RDONLY)
    b.open(mount.path("sems/pool/1/any"), os.O_RDONLY)
    mount.wait_waiting("pool", b, kind="sems")
    break_holder(mount, a, "pool", "sems")
    b.wait()
    fails("ESTALE", a.read, fd, 10)
    fails("ESTALE", a.close, fd)
    assert mount.holder_pids("pool", "sems") == [b.pid]


def test_entry_that_is_gone(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    path = mount.path("holders/locks/job", mount.holders("job")[0])
    c.close(fd)
    fails("ENOENT", os.unlink, path)


def test_lock_that_was_given_back_while_converting(mount, client):
    """LOCK_UN, then rm of what was the holder's file: the handle is not lost."""
    c = client()
    fd = c.hold(mount.lock("job"))
    path = mount.path("holders/locks/job", mount.holders("job")[0])
    c.flock(fd, LOCK_UN)
    fails("ENOENT", os.unlink, path)
    c.flock(fd, LOCK_EX)
    assert c.fsync(fd) == 0 and c.close(fd) == 0


# --- signals ---

@pytest.mark.parametrize("opts, path, signum", [
    ("lost=SIGUSR1", "locks/job", signal.SIGUSR1), ("", "with/lost=SIGUSR2/job", signal.SIGUSR2),
    ("lost=SIGUSR1", "with/lost=USR2/job", signal.SIGUSR2)])
def test_lost_signal(mounts, client, opts, path, signum):
    m, c = mounts(opts=opts), client()
    c.catch(signal.SIGUSR1)
    c.catch(signal.SIGUSR2)
    fd = c.hold(m.path(path))
    c.close(fd)
    assert c.signals(signum) == 0
    fd = c.hold(m.path(path))
    break_holder(m, c)
    wait_until(lambda: c.signals(signum) == 1, what="the signal")
    assert c.signals(signal.SIGUSR1) + c.signals(signal.SIGUSR2) == 1
    fails("ESTALE", c.close, fd)


def test_no_signal_unless_asked(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    break_holder(mount, c)
    fails("ESTALE", c.fsync, fd)
    assert c.proc.poll() is None


# --- waiters ---

def test_rm_of_a_waiter(mount, clients):
    a, b, c = clients(3)
    fd = a.hold(mount.lock("job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    c.open(mount.lock("job"))
    mount.wait_waiting("job", b, c)
    os.unlink(mount.path("waiters/locks/job", mount.waiters("job")[0]))
    fails("ECANCELED", b.wait)
    mount.wait_waiting("job", c)
    assert mount.waiters("job")[0].startswith("0001:")
    a.close(fd)
    c.wait()


def test_rm_of_a_waiter_for_a_slot(mount, clients):
    a, b = clients(2)
    a.hold(mount.path("sems/pool/1/0"), os.O_RDONLY)
    b.open(mount.path("sems/pool/1/any"), os.O_RDONLY)
    mount.wait_waiting("pool", b, kind="sems")
    os.unlink(mount.path("waiters/sems/pool", mount.waiters("pool", "sems")[0]))
    fails("ECANCELED", b.wait)


# --- who may ---

def test_who_may_break(shared_mount, client):
    m = shared_mount
    owner, owners_other, stranger, root = (client(uid=u) for u in (OTHER, OTHER, THIRD, None))
    fd = owner.hold(m.lock("job"))
    path = m.path("holders/locks/job", m.holders("job")[0])
    fails("EPERM|EACCES", stranger.unlink, path)
    assert owner.fsync(fd) == 0
    owners_other.unlink(path)
    fails("ESTALE", owner.close, fd)
    fd = owner.hold(m.lock("job"))
    root.unlink(path)
    fails("ESTALE", owner.close, fd)
    fd = root.hold(m.lock("job"))
    path = m.path("holders/locks/job", m.holders("job")[0])
    fails("EPERM|EACCES", stranger.unlink, path)
    assert root.close(fd) == 0


def test_who_may_end_a_wait(shared_mount, client):
    m = shared_mount
    root, waiter, stranger, owners_other = (client(uid=u) for u in (None, OTHER, THIRD, OTHER))
    root.hold(m.lock("job"))
    waiter.open(m.lock("job"))
    m.wait_waiting("job", waiter)
    path = m.path("waiters/locks/job", m.waiters("job")[0])
    fails("EPERM|EACCES", stranger.unlink, path)
    m.wait_waiting("job", waiter)
    owners_other.unlink(path)
    fails("ECANCELED", waiter.wait)


# --- from another mount ---

def test_break_through_another_mount(mounts, clients):
    one, two = mounts(), mounts()
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    wait_until(lambda: two.holder_pids("job") == [a.pid])
    b.open(two.lock("job"))
    two.wait_waiting("job", b)
    break_holder(two, a)
    b.wait()
    fails("ESTALE", a.write, fd, b"evil", 0)
    fails("ESTALE", a.close, fd)
    wait_until(lambda: one.holder_pids("job") == [b.pid])


# --- abandoned ---

def test_abandoned_after_a_break(mount, clients):
    a, b = clients(2)
    assert mount.xattr("locks/job", "abandoned") == "0"
    fd = a.hold(mount.lock("job"))
    break_holder(mount, a)
    fd_b = b.hold(mount.lock("job"))
    assert b.fgetxattr(fd_b, "user.plockfs.abandoned") == "1"
    b.close(fd_b)
    fd_b = b.hold(mount.lock("job"))
    assert b.fgetxattr(fd_b, "user.plockfs.abandoned") == "0"
    fails("ESTALE", a.close, fd)
    assert b.fgetxattr(fd_b, "user.plockfs.abandoned") == "0"


def test_abandoned_after_death_of_the_mount(mount, client):
    c = client()
    c.hold(mount.lock("job"))
    c.close(c.hold(mount.lock("clean")))
    mount.kill()
    c.kill()
    mount.start()
    c = client()
    fd = c.hold(mount.lock("job"))
    assert c.fgetxattr(fd, "user.plockfs.abandoned") == "1"
    assert mount.xattr("locks/clean", "abandoned") == "0"
    c.close(fd)
    mount.restart()
    assert mount.xattr("locks/job", "abandoned") == "0"


def test_not_abandoned_by_a_process_that_died(mount, client):
    """The kernel closed it: that is a close."""
    c = client()
    c.hold(mount.lock("job"))
    c.kill()
    assert mount.xattr("locks/job", "abandoned") == "0"
