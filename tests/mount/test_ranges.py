"""fcntl(2) byte ranges on files/: among processes of one mount and of two, whatever the backend."""

import os
import signal
import struct
from fcntl import F_GETLK, F_RDLCK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB

import pytest

from lockclient import fails, wait_until

# Python's fcntl has no names for these before 3.12.
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
FAR = 2 ** 63 - 1


@pytest.fixture(params=["one mount", "two mounts"])
def sides(request, mounts):
    """files/job as the first and the second process see it."""
    one = mounts()
    two = one if request.param == "one mount" else mounts()
    with open(one.path("files/job"), "wb") as f:
        f.write(b"0123456789")
    return one.path("files/job"), two.path("files/job")


@pytest.fixture
def pair(sides, clients):
    """Two processes with the file open: (client, descriptor) each."""
    a, b = clients(2)
    return (a, a.hold(sides[0])), (b, b.hold(sides[1]))


def blocks(client):
    """Waits until the client's call waits for the mount's answer."""
    def waits():
        with open(f"/proc/{client.pid}/wchan", encoding="ascii") as f:
            return f.read().startswith("request_wait_answer") or client.answered()
    wait_until(waits, what=f"{client.pending} to wait")
    assert not client.answered()


def free(who, start=0, length=0, kind=F_WRLCK):
    client, fd = who
    return client.fcntl(fd, F_GETLK, kind, start, length)[0] == F_UNLCK


def refused(who, kind=F_WRLCK, start=0, length=0):
    client, fd = who
    fails("EAGAIN", client.fcntl, fd, F_SETLK, kind, start, length)


def test_exclude(pair):
    (a, fa), (b, fb) = pair
    a.fcntl(fa, F_SETLK, F_WRLCK, 10, 10)
    refused((b, fb), F_WRLCK, 19, 1)
    refused((b, fb), F_RDLCK, 0, 11)
    b.fcntl(fb, F_SETLK, F_WRLCK, 0, 10)
    b.fcntl(fb, F_SETLK, F_WRLCK, 20, 0)
    assert a.fcntl(fa, F_GETLK, F_RDLCK, 15, 6)[:3] == (F_WRLCK, 20, 0)
    a.fcntl(fa, F_SETLK, F_UNLCK)
    b.fcntl(fb, F_SETLK, F_WRLCK)
    assert a.fcntl(fa, F_GETLK, F_RDLCK, 5, 1)[:3] == (F_WRLCK, 0, 0)


def test_the_holder_is_named(pair):
    (a, fa), (b, fb) = pair
    a.fcntl(fa, F_SETLK, F_RDLCK, 3, 4)
    kind, start, length, pid = b.fcntl(fb, F_GETLK, F_WRLCK)
    assert (kind, start, length) == (F_RDLCK, 3, 4)
    assert pid == a.pid


def test_share_upgrade_downgrade(pair):
    (a, fa), (b, fb) = pair
    a.fcntl(fa, F_SETLK, F_RDLCK)
    b.fcntl(fb, F_SETLK, F_RDLCK, 5, 5)
    refused((a, fa), F_WRLCK, 0, 6)
    assert not free((b, fb), 0, 1)  # still shared by the one who was refused
    a.fcntl(fa, F_SETLK, F_WRLCK, 0, 5)
    refused((b, fb), F_RDLCK, 4, 1)
    a.fcntl(fa, F_SETLK, F_RDLCK, 0, 5)
    b.fcntl(fb, F_SETLK, F_RDLCK, 0, 5)


def test_split_and_merge(pair):
    (a, fa), (b, fb) = pair
    a.fcntl(fa, F_SETLK, F_WRLCK, 0, 30)
    a.fcntl(fa, F_SETLK, F_UNLCK, 10, 10)
    assert free((b, fb), 10, 10)
    assert b.fcntl(fb, F_GETLK, F_WRLCK, 9, 1)[1:3] == (0, 10)
    assert b.fcntl(fb, F_GETLK, F_WRLCK, 20, 1)[1:3] == (20, 10)
    a.fcntl(fa, F_SETLK, F_UNLCK, 0, 5)
    a.fcntl(fa, F_SETLK, F_UNLCK, 3, 4)  # overlaps what is free already
    assert b.fcntl(fb, F_GETLK, F_WRLCK, 0, 10)[1:3] == (7, 3)
    a.fcntl(fa, F_SETLK, F_WRLCK, 10, 10)
    assert b.fcntl(fb, F_GETLK, F_WRLCK, 0, 10)[1:3] == (7, 23)


def test_the_whole_of_offsets(pair):
    (a, fa), (b, fb) = pair
    a.fcntl(fa, F_SETLK, F_WRLCK, FAR - 1, 2)
    assert b.fcntl(fb, F_GETLK, F_WRLCK)[1:3] == (FAR - 1, 0)
    fails("EOVERFLOW", b.fcntl, fb, F_SETLK, F_WRLCK, FAR, 2)
    fails("EINVAL", b.fcntl, fb, F_SETLK, F_WRLCK, -1, 1)
    a.fcntl(fa, F_SETLK, F_WRLCK, 10, -10)  # the ten bytes before
    assert b.fcntl(fb, F_GETLK, F_WRLCK)[1:3] == (0, 10)
    a.fcntl(fa, F_SETLK, F_UNLCK)
    assert free((b, fb))


@pytest.mark.parametrize("how", ["unlock", "close", "close another descriptor", "exit", "kill"])
def test_a_waiter_gets_it(sides, pair, how):
    (a, fa), (b, fb) = pair
    second = a.hold(sides[0])
    a.fcntl(fa, F_SETLK, F_WRLCK, 0, 100)
    b.start_fcntl(fb, F_SETLKW, F_WRLCK, 50, 100)
    blocks(b)
    if how == "unlock":
        a.fcntl(fa, F_SETLK, F_UNLCK, 50, 50)
        b.wait()
        assert not free((b, fb), 0, 50)
    else:
        {"close": lambda: a.close(fa), "close another descriptor": lambda: a.close(second), "exit": a.end,
         "kill": a.kill}[how]()
        b.wait()
        assert free((b, fb), 0, 50)


def test_a_downgrade_lets_readers_in(pair):
    (a, fa), (b, fb) = pair
    a.fcntl(fa, F_SETLK, F_WRLCK)
    b.start_fcntl(fb, F_SETLKW, F_RDLCK)
    blocks(b)
    a.fcntl(fa, F_SETLK, F_RDLCK)
    b.wait()
    refused((a, fa))


def test_a_signal_ends_the_wait(pair, sides, client):
    (a, fa), (b, fb) = pair
    a.fcntl(fa, F_SETLK, F_WRLCK)
    b.catch(signal.SIGUSR1)
    b.start_fcntl(fb, F_SETLKW, F_WRLCK)
    blocks(b)
    b.send(signal.SIGUSR1)
    fails("EINTR", b.wait)
    a.fcntl(fa, F_SETLK, F_UNLCK)
    c = client()
    assert free((c, c.hold(sides[0])))


def test_a_killed_waiter_leaves_nothing(pair, sides, client):
    (a, fa), (b, fb) = pair
    a.fcntl(fa, F_SETLK, F_WRLCK)
    b.start_fcntl(fb, F_SETLKW, F_WRLCK)
    blocks(b)
    b.kill()
    a.fcntl(fa, F_SETLK, F_UNLCK)
    c = client()
    fc = c.hold(sides[1])
    wait_until(lambda: free((c, fc)))
    c.fcntl(fc, F_SETLK, F_WRLCK)


def test_fork_and_exec_do_not_inherit(mount, clients):
    """POSIX locks are the process's own; a child that closes the file drops nothing of its parent's."""
    a, b = clients(2)
    path = mount.path("files/job")
    fa, fb = (c.hold(path, os.O_RDWR | os.O_CREAT) for c in (a, b))
    a.fcntl(fa, F_SETLK, F_WRLCK)
    child = a.fork()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{child}/fd") or not os.listdir(f"/proc/{child}/fd"))
    refused((b, fb))


def test_open_file_description_locks(sides, pair):
    """The kernel hands F_OFD_ locks over with the open file as their owner."""
    (a, fa), (b, fb) = pair
    other = a.hold(sides[0])
    a.fcntl(fa, F_OFD_SETLK, F_WRLCK, 0, 10)
    fails("EAGAIN", a.fcntl, other, F_OFD_SETLK, F_WRLCK, 5, 1)
    fails("EAGAIN", b.fcntl, fb, F_OFD_SETLK, F_RDLCK, 5, 1)
    refused((b, fb), F_WRLCK, 9, 1)
    copy = a.dup(fa)
    a.close(fa)
    a.close(other)
    refused((b, fb), F_WRLCK, 9, 1)  # until the last close of that description
    b.start_fcntl(fb, F_OFD_SETLKW, F_WRLCK)
    blocks(b)
    a.close(copy)
    b.wait()


def test_deadlock(mount, clients):
    a, b = clients(2)
    path = mount.path("files/job")
    fa, fb = (c.hold(path, os.O_RDWR | os.O_CREAT) for c in (a, b))
    a.fcntl(fa, F_SETLK, F_WRLCK, 0, 1)
    b.fcntl(fb, F_SETLK, F_WRLCK, 1, 1)
    a.start_fcntl(fa, F_SETLKW, F_WRLCK, 1, 1)
    blocks(a)
    fails("EDEADLK", b.fcntl, fb, F_SETLKW, F_WRLCK, 0, 1)
    b.close(fb)
    a.wait()


def test_flock_and_ranges_do_not_see_each_other(pair):
    (a, fa), (b, fb) = pair
    a.flock(fa, LOCK_EX | LOCK_NB)
    b.fcntl(fb, F_SETLK, F_WRLCK)
    fails("EAGAIN", b.flock, fb, LOCK_EX | LOCK_NB)
    refused((a, fa))


def test_a_new_file_of_the_name_has_locks_of_its_own(sides, pair):
    (a, fa), (b, fb) = pair
    a.fcntl(fa, F_SETLK, F_WRLCK)
    os.unlink(sides[1])
    new = b.hold(sides[1], os.O_RDWR | os.O_CREAT | os.O_EXCL)
    b.fcntl(new, F_SETLK, F_WRLCK)
    refused((b, fb))


def test_fragments_are_bounded(pair):
    (a, fa), (b, fb) = pair
    for i in range(200):
        a.fcntl(fa, F_SETLK, F_WRLCK, 2 * i, 1)
    assert free((b, fb), 1, 1) and not free((b, fb), 398, 1)
    a.fcntl(fa, F_SETLK, F_UNLCK)
    assert free((b, fb))


def test_try_and_timeout_of_the_view(mount, clients):
    a, b = clients(2)
    fa = a.hold(mount.path("files/job"), os.O_RDWR | os.O_CREAT)
    a.fcntl(fa, F_SETLK, F_WRLCK)
    fails("EAGAIN", b.fcntl, b.hold(mount.path("with/try/files/job")), F_SETLKW, F_WRLCK)
    fails("ETIMEDOUT", b.fcntl, b.hold(mount.path("with/timeout=50ms/files/job")), F_SETLKW, F_WRLCK)


def test_on_a_lock_handle(mount, clients):
    """Whoever holds locks/NAME has all of it; ranges say nothing there."""
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    a.fcntl(fd, F_SETLKW, F_WRLCK)
    a.fcntl(fd, F_SETLK, F_UNLCK)
    assert not mount.can_lock("job")
    status = b.hold(mount.path("status"), os.O_RDONLY)
    fails("EBADF", b.fcntl, status, F_SETLK, F_RDLCK)


@pytest.mark.file_only
def test_programs_in_the_folder(mount, clients):
    """The files of DIR/locks are the same files, to fcntl too."""
    a, b = clients(2)
    fa = a.hold(mount.path("files/job"), os.O_RDWR | os.O_CREAT)
    fb = b.hold(os.path.join(mount.source, "locks/job"))
    b.fcntl(fb, F_SETLK, F_WRLCK, 0, 10)
    assert a.fcntl(fa, F_GETLK, F_RDLCK) == (F_WRLCK, 0, 10, b.pid)
    a.start_fcntl(fa, F_SETLKW, F_WRLCK, 5, 10)
    blocks(a)
    b.fcntl(fb, F_SETLK, F_UNLCK)
    a.wait()
    refused((b, fb), F_WRLCK, 14, 1)


def test_struct_flock_of_python(mount):
    """As scripts have it: the plainest use from Python."""
    import fcntl
    with open(mount.path("files/job"), "w+b") as f:
        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)
        answer = fcntl.fcntl(f, F_OFD_GETLK, struct.pack("hhqqi4x", F_WRLCK, 0, 0, 0, 0))
        assert struct.unpack("hhqqi4x", answer)[:4] == (F_WRLCK, 0, 5, 10)
        fcntl.lockf(f, fcntl.LOCK_UN)
