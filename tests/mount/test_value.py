"""A4: the value of a lock."""

import contextlib
import errno
import mmap
import os
import subprocess
from fcntl import LOCK_SH

import pytest

from lockclient import fails, wait_until

MAX = 65536


@pytest.fixture
def small(mounts):
    return mounts(opts="max_value=64K")


def test_write_and_read_through_the_handle(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    assert c.read(fd) == b""
    assert c.write(fd, b"hello world") == 11
    assert c.read(fd, 100, 0) == b"hello world"
    assert c.write(fd, b"W", 6) == 1
    assert c.read(fd, 5, 6) == b"World"
    assert c.read(fd, 5, 11) == b"" and c.read(fd, 5, 10 ** 9) == b""
    assert os.stat(mount.lock("job")).st_size == 11
    c.close(fd)
    assert mount.get("job") == b"hello World"


def test_no_stale_tail(mount):
    mount.put("job", b"a long value")
    mount.put("job", b"short")
    assert mount.get("job") == b"short"


def test_large_value(mount):
    data = os.urandom(1 << 20)
    fd = os.open(mount.lock("job"), os.O_RDWR)
    done = 0
    while done < len(data):
        done += os.write(fd, data[done:])
    os.close(fd)
    assert mount.get("job") == data


def test_value_lasts(mount):
    mount.put("job", b"kept")
    assert mount.get("job") == b"kept"
    mount.restart()
    assert mount.get("job") == b"kept"
    fd = os.open(mount.lock("job"), os.O_RDWR)
    os.write(fd, b"KEPT")
    mount.kill()
    fails("ENOTCONN|ESTALE|ECONNABORTED", os.read, fd, 1)
    try:
        os.close(fd)
    except OSError:
        pass
    mount.start()
    # With Redis the dead mount's lease has to end first.
    assert mount.get("job", tree="with/timeout=30/locks") == b"KEPT"


@pytest.mark.file_only
def test_value_is_the_files_bytes(mount):
    os.mkdir(mount.lock("ns"))
    mount.put("ns/job", b"bytes\n")
    with open(os.path.join(mount.dir, "locks", "ns", "job"), "rb") as f:
        assert f.read() == b"bytes\n"


def test_truncation_acts_after_the_grant(mount, clients):
    a, b, c = clients(3)
    mount.put("job", b"value")
    fd = a.hold(mount.lock("job"))
    b.open(mount.lock("job"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    mount.wait_waiting("job", b)
    fails("EAGAIN", c.hold, mount.path("with/try/job"), os.O_WRONLY | os.O_TRUNC)
    assert a.read(fd, 10, 0) == b"value"
    a.close(fd)
    b.wait()
    assert os.stat(mount.lock("job")).st_size == 0


def test_truncation_is_not_done_by_a_wait_that_ended(mount, clients):
    a, b = clients(2)
    mount.put("job", b"value")
    a.hold(mount.lock("job"))
    b.open(mount.lock("job"), os.O_WRONLY | os.O_TRUNC)
    mount.wait_waiting("job", b)
    b.kill()
    a.kill()
    assert mount.get("job") == b"value"


def test_append_acts_after_the_grant(mount, clients):
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    b.open(mount.lock("job"), os.O_WRONLY | os.O_APPEND)
    mount.wait_waiting("job", b)
    a.write(fd, b"first ")
    a.close(fd)
    fd = b.wait()
    b.write(fd, b"second")
    b.write(fd, b" third")
    b.close(fd)
    assert mount.get("job") == b"first second third"


def test_shell_redirections(mount):
    script = f"echo one > {mount.lock('log')}; echo two >> {mount.lock('log')}; cat {mount.lock('log')}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "one\ntwo\n"


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC])
def test_shared_holders_only_read(mount, client, flags):
    mount.put("job", b"value")
    fails("EACCES", client().hold, mount.path("with/shared/job"), flags)
    assert mount.get("job") == b"value"
    c = client()
    assert c.read(c.hold(mount.path("with/shared/job"), os.O_RDONLY)) == b"value"


def test_write_after_converting_to_shared(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    c.write(fd, b"value")
    c.flock(fd, LOCK_SH)
    fails("EACCES", c.write, fd, b"x", 0)
    fails("EACCES", c.ftruncate, fd, 0)
    assert c.read(fd, 10, 0) == b"value"


# --- limits ---

def test_largest_value(small, client):
    c = client()
    fd = c.hold(small.lock("job"))
    assert c.write(fd, b"x" * MAX, 0) == MAX
    fails("EFBIG", c.write, fd, b"y", MAX)
    fails("EFBIG", c.write, fd, b"yy", MAX - 1)
    fails("EFBIG", c.ftruncate, fd, MAX + 1)
    c.close(fd)
    assert small.get("job") == b"x" * MAX
    fd = c.hold(small.lock("job"), os.O_WRONLY | os.O_APPEND)
    fails("EFBIG", c.write, fd, b"y")
    c.close(fd)
    assert small.get("job") == b"x" * MAX
    fails("EFBIG", os.truncate, small.lock("job"), MAX + 1)


@pytest.mark.parametrize("offset", [MAX, 1 << 31, 1 << 32, (1 << 62) - 1, (1 << 63) - 2])
def test_hostile_offsets(small, client, offset):
    c = client()
    fd = c.hold(small.lock("job"))
    c.write(fd, b"value")
    fails("EFBIG|EINVAL", c.write, fd, b"y", offset)
    assert c.read(fd, 10, offset - 10) == b""
    fails("EFBIG|EINVAL", c.ftruncate, fd, offset + 1)
    assert c.read(fd, 10, 0) == b"value"
    assert os.stat(small.lock("job")).st_size == 5


def test_negative_offsets(small, client):
    c = client()
    fd = c.hold(small.lock("job"))
    fails("EINVAL", c.write, fd, b"y", -1)
    fails("EINVAL", c.ftruncate, fd, -1)
    fails("EINVAL", c.read, fd, 1, -5)


def test_hole_reads_as_zeros(small, client):
    c = client()
    fd = c.hold(small.lock("job"))
    c.write(fd, b"end", 1000)
    assert c.read(fd, 2000, 0) == bytes(1000) + b"end"
    c.ftruncate(fd, 1010)
    assert c.read(fd, 2000, 1000) == b"end" + bytes(7)
    c.ftruncate(fd, 4)
    c.ftruncate(fd, 8)
    assert c.read(fd, 2000, 0) == bytes(8)


def test_fsync(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    c.write(fd, b"value")
    assert c.fsync(fd) == 0
    fd = c.hold(mount.path("with/shared/other"), os.O_RDONLY)
    assert c.fsync(fd) == 0


# --- memory maps ---

@pytest.fixture
def mapped(mount):
    """A value and a shared map of it through the handle that holds it; None where the kernel has no such maps."""
    fd = os.open(mount.path("with/try/job"), os.O_RDWR)
    os.pwrite(fd, b"value", 0)
    try:
        data = mmap.mmap(fd, 5)
    except OSError as e:
        assert e.errno == errno.ENODEV  # before Linux 6.6
        data = None
    yield fd, data
    with contextlib.suppress(OSError):
        os.close(fd)
    if data is not None:
        data.close()


def test_map_is_not_written(mount, mapped):
    fd, data = mapped
    if data is None:
        return
    assert data[:5] == b"value"
    data[:5] = b"wrong"
    fails("EIO", data.flush)
    fails("EIO", os.fsync, fd)
    fails("EIO", os.close, fd)
    data.close()  # it was a hold, too
    wait_until(lambda: mount.holders("job") == [])
    assert mount.get("job") == b"value"


def test_map_of_a_lost_lock_does_not_disturb_the_next_holder(mount, mapped, client):
    fd, data = mapped
    if data is None:
        return
    data[:5] = b"wrong"
    os.unlink(mount.path("holders/locks/job", mount.holders("job")[0]))
    c = client()
    new = c.hold(mount.lock("job"))
    assert c.read(new, 10, 0) == b"value"
    fails("ESTALE", data.flush)
    fails("ESTALE", os.fsync, fd)
    assert c.read(new, 10, 0) == b"value"
    assert c.fsync(new) == 0
    assert c.close(new) == 0


# --- by path, without holding ---

def test_by_path_while_another_holds(mount, clients):
    a, b = clients(2)
    mount.put("job", b"value")
    mount.put("free", b"free")
    fd = a.hold(mount.lock("job"))
    fails("EBUSY", b.truncate, mount.lock("job"), 0)
    fails("EBUSY", b.unlink, mount.lock("job"))
    fails("EBUSY", b.rename, mount.lock("job"), mount.lock("other"))
    fails("EBUSY", b.rename, mount.lock("free"), mount.lock("job"))
    assert a.read(fd, 10, 0) == b"value"
    a.close(fd)
    fd = a.hold(mount.path("with/shared/job"), os.O_RDONLY)
    fails("EBUSY", b.truncate, mount.lock("job"), 0)
    fails("EBUSY", b.unlink, mount.lock("job"))
    assert a.read(fd, 10, 0) == b"value"
    a.close(fd)
    assert sorted(os.listdir(mount.path("locks"))) == ["free", "job"]


def test_truncate_by_path(mount, client):
    mount.put("job", b"value")
    client().truncate(mount.lock("job"), 2)
    assert mount.get("job") == b"va"
    assert mount.holders("job") == []


def test_rm(mount, client):
    mount.put("job", b"value")
    os.unlink(mount.lock("job"))
    assert os.listdir(mount.path("locks")) == []
    assert mount.get("job") == b""
    fails("ENOENT", os.unlink, mount.lock("unused"))
    c = client()
    c.close(c.hold(mount.path("with/try/job")))


def test_rm_by_the_holder(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    c.write(fd, b"value")
    c.unlink(mount.lock("job"))
    # It still has the lock.
    assert not mount.can_lock("job")
    assert mount.holder_pids("job") == [c.pid]
    c.close(fd)
    assert mount.can_lock("job")
    assert mount.get("job") == b""


def test_truncate_by_the_holder(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    c.write(fd, b"value")
    c.truncate(mount.lock("job"), 1)
    assert c.read(fd, 10, 0) == b"v"


def test_rename_moves_the_value(mount):
    mount.put("one", b"1")
    os.rename(mount.lock("one"), mount.lock("two"))
    assert os.listdir(mount.path("locks")) == ["two"]
    assert mount.get("two") == b"1" and mount.get("one") == b""
    mount.put("three", b"3")
    os.rename(mount.lock("three"), mount.lock("two"))
    assert mount.get("two") == b"3"
    os.mkdir(mount.lock("ns"))
    os.rename(mount.lock("two"), mount.lock("ns/two"))
    assert mount.get("ns/two") == b"3"
    assert os.listdir(mount.path("locks")) == ["ns"]


def test_rename_of_a_namespace(mount, client):
    c = client()
    os.mkdir(mount.lock("ns"))
    mount.put("ns/job", b"value")
    fd = c.hold(mount.lock("ns/job"))
    fails("EBUSY", os.rename, mount.lock("ns"), mount.lock("moved"))
    c.close(fd)
    os.rename(mount.lock("ns"), mount.lock("moved"))
    assert mount.get("moved/job") == b"value"
    assert os.listdir(mount.path("locks")) == ["moved"]


def test_rename_of_an_open_name_after_unlock(mount, client):
    """The handle of a renamed lock locks its own file, not what the name became."""
    mount.put("one", b"1")
    os.rename(mount.lock("one"), mount.lock("two"))
    c = client()
    fd = c.hold(mount.lock("two"))
    assert c.read(fd) == b"1"
    assert mount.can_lock("one") and not mount.can_lock("two")


def test_across_trees(mount):
    mount.put("job", b"x")
    fails("EXDEV|EPERM|EACCES|EINVAL", os.rename, mount.lock("job"), mount.path("status"))
    fails("EPERM|EXDEV|EACCES|EOPNOTSUPP|EEXIST", os.link, mount.lock("job"), mount.lock("linked"))
    fails("EPERM|EACCES|EEXIST", os.symlink, "job", mount.lock("pointer"))
    assert mount.get("job") == b"x"
