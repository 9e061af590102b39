"""flock(2) calls at the same time on one open file: by its threads, or by processes that share it."""

import contextlib
import os
import subprocess
from fcntl import LOCK_EX, LOCK_UN, flock

import pytest

from lockclient import wait_until


@pytest.fixture(params=["files", "locks"])
def one_file(request, mount, clients):
    """An open file of `job` without a lock, and somebody who has it: (fd, client, its descriptor)."""
    fd = os.open(mount.path(request.param, "job"), os.O_RDWR | os.O_CREAT)
    if request.param == "locks":
        flock(fd, LOCK_UN)
    holder, = clients(1)
    yield fd, holder, holder.hold(mount.lock("job"))
    with contextlib.suppress(OSError):  # ESTALE where it was lost
        os.close(fd)


def waiting(mount, fd, *kinds):
    """A flock(1) each, on that same open file."""
    started = [subprocess.Popen(["flock", kind, str(fd)], pass_fds=[fd]) for kind in kinds]
    wait_until(lambda: len(mount.waiter_pids("job")) == len(kinds))
    return started


@pytest.mark.parametrize("kinds", [("-s", "-s"), ("-x", "-x"), ("-s", "-x"), ("-x", "-s"), ("-x", "-s", "-x")])
def test_all_of_them_get_it(mount, one_file, client, kinds):
    fd, holder, held = one_file
    started = waiting(mount, fd, *kinds)
    holder.close(held)
    assert [p.wait(20) for p in started] == [0] * len(kinds)
    assert len(mount.holders("job")) == 1
    flock(fd, LOCK_UN)
    assert mount.holders("job") == []
    # Nothing of theirs is left behind.
    client().hold(mount.path("with/try/job"))


def test_others_do_not_get_in(mount, one_file, client):
    fd, holder, held = one_file
    started = waiting(mount, fd, "-x", "-x")
    holder.close(held)
    assert [p.wait(20) for p in started] == [0, 0]
    other = client().open(mount.lock("job"))
    mount.wait_waiting("job", other)
    flock(fd, LOCK_EX)
    assert not other.answered()
    flock(fd, LOCK_UN)
    other.wait()


def test_who_unlocks_while_another_waits(mount, one_file):
    fd, holder, held = one_file
    started = waiting(mount, fd, "-x", "-x")
    flock(fd, LOCK_UN)
    assert len(mount.waiter_pids("job")) == 2
    holder.close(held)
    assert [p.wait(20) for p in started] == [0, 0]


def test_broken_while_another_waits(mount, one_file):
    """Of two that were given the lock of one file, none may believe in it once it is lost."""
    fd, holder, held = one_file
    started = waiting(mount, fd, "-x", "-x")
    holder.close(held)
    assert [p.wait(20) for p in started] == [0, 0]
    os.unlink(mount.path("holders/locks/job", mount.holders("job")[0]))
    with pytest.raises(OSError, match="Stale"):
        flock(fd, LOCK_EX)
    assert mount.can_lock("job")
