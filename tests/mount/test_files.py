"""files/: the same names as ordinary small files; open takes nothing, flock does."""

import os
import select
import subprocess
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN

import pytest

from lockclient import fails, wait_until


def file(mount, name="job"):
    return mount.path("files", name)


def test_create_write_read_unlink(mount):
    fails("ENOENT", os.stat, file(mount))
    fails("ENOENT", os.open, file(mount), os.O_RDWR)
    with open(file(mount), "wb") as f:
        f.write(b"content")
    assert os.listdir(mount.path("files")) == ["job"]
    st = os.stat(file(mount))
    assert st.st_size == 7
    with open(file(mount), "r+b") as f:
        assert f.read() == b"content"
        f.seek(3)
        f.write(b"TENT!")
        f.truncate(6)
    with open(file(mount), "rb") as f:
        assert f.read() == b"conTEN"
    with open(file(mount), "ab") as f:
        f.write(b"+")
    assert open(file(mount), "rb").read() == b"conTEN+"
    os.rename(file(mount), file(mount, "other"))
    assert os.listdir(mount.path("files")) == ["other"]
    os.unlink(file(mount, "other"))
    assert os.listdir(mount.path("files")) == []


def test_o_excl(mount, clients):
    """One of many wins."""
    a, b = clients(2)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    a.close(a.hold(file(mount), flags))
    fails("EEXIST", b.hold, file(mount), flags)
    os.unlink(file(mount))
    b.hold(file(mount), flags)


def test_names_with_a_dot(mounts, clients):
    """Programs that lock by link(2) make such a file beside the lock; in locks/ there is none."""
    one, two = mounts(), mounts()
    a, b = clients(2)
    fa = a.hold(file(one, ".tmp1234"), os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.link(file(one, ".tmp1234"), file(one))
    assert sorted(os.listdir(two.path("files"))) == [".tmp1234", "job"]
    fb = b.hold(file(two, ".tmp1234"), os.O_RDWR)
    a.flock(fa, LOCK_EX | LOCK_NB)
    fails("EAGAIN", b.flock, fb, LOCK_EX | LOCK_NB)
    for m in (one, two):
        assert ".tmp1234" not in os.listdir(m.path("locks"))
        assert ".tmp1234" not in os.listdir(m.path("holders/locks"))
        fails("ENOENT", os.stat, m.lock(".tmp1234"))
        assert m.status_json()
    os.unlink(file(two, ".tmp1234"))
    assert os.listdir(one.path("files")) == ["job"]
    for name in ("...", "a\nb"):
        fails("EINVAL", b.hold, file(one, name), os.O_RDWR | os.O_CREAT)
    fails("EINVAL", os.mkdir, file(one, ".folder"))


def test_opening_takes_nothing(mount, clients):
    a, b = clients(2)
    fd = a.hold(file(mount), os.O_RDWR | os.O_CREAT)
    b.hold(file(mount), os.O_RDWR)
    assert mount.holders("job") == []
    c = b.hold(mount.path("with/try/locks/job"))
    b.close(c)
    assert a.close(fd) == 0


def test_is_the_value_of_the_lock(mount):
    mount.put("job", b"value")
    assert open(file(mount), "rb").read() == b"value"
    with open(file(mount, "new"), "wb") as f:
        f.write(b"n")
    assert mount.get("new") == b"n"


@pytest.mark.parametrize("op, mode", [(LOCK_EX, "exclusive"), (LOCK_SH, "shared")])
def test_flock_and_the_lock_exclude_each_other(mount, clients, op, mode):
    a, b, c = clients(3)
    fd = a.hold(file(mount), os.O_RDWR | os.O_CREAT)
    a.flock(fd, op | LOCK_NB)
    assert mount.xattr("locks/job", "mode") == mode
    assert mount.holder_pids("job") == [a.pid]
    fails("EAGAIN", b.hold, mount.path("with/try/locks/job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    a.flock(fd, LOCK_UN)
    held = b.wait()
    fails("EAGAIN", a.flock, fd, op | LOCK_NB)
    a.start("flock", fd, op)
    mount.wait_waiting("job", a)
    b.close(held)
    a.wait()
    a.close(fd)
    c.close(c.hold(mount.path("with/try/locks/job")))


def test_close_gives_the_flock_back(mount, clients):
    a, b = clients(2)
    fd = a.hold(file(mount), os.O_RDWR | os.O_CREAT)
    a.flock(fd, LOCK_EX)
    other = a.dup(fd)
    a.close(fd)
    assert not mount.can_lock("job")
    a.close(other)
    assert mount.can_lock("job")
    fd = b.hold(file(mount), os.O_RDWR)
    b.flock(fd, LOCK_EX)
    b.kill()
    assert mount.can_lock("job")


def test_flock_program(mount):
    p = subprocess.Popen(["flock", file(mount), "sh", "-c", "echo in; read x"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
    try:
        ready, _, _ = select.select([p.stdout], [], [], 20)
        assert ready and p.stdout.readline() == b"in\n"
        assert not mount.can_lock("job")
        assert subprocess.run(["flock", "-n", file(mount), "true"], timeout=20, check=False).returncode == 1
        assert subprocess.run(["flock", "-n", "-s", file(mount), "true"], timeout=20, check=False).returncode == 1
    finally:
        p.communicate(b"\n", timeout=20)
    assert subprocess.run(["flock", "-n", file(mount), "true"], timeout=20, check=False).returncode == 0
    assert mount.can_lock("job")


def test_second_mount(mounts, clients):
    one, two = mounts(), mounts()
    a, b = clients(2)
    fd = a.hold(file(one), os.O_RDWR | os.O_CREAT)
    a.flock(fd, LOCK_EX)
    other = b.hold(file(two), os.O_RDWR)
    fails("EAGAIN", b.flock, other, LOCK_EX | LOCK_NB)
    assert not two.can_lock("job")
    b.start("flock", other, LOCK_EX)
    two.wait_waiting("job", b)
    a.flock(fd, LOCK_UN)
    b.wait()
    assert not one.can_lock("job")


def test_folders(mount):
    os.mkdir(file(mount, "d"))
    with open(file(mount, "d/f"), "wb") as f:
        f.write(b"x")
    assert os.path.isdir(mount.lock("d"))
    fails("ENOTEMPTY", os.rmdir, file(mount, "d"))
    os.unlink(file(mount, "d/f"))
    os.rmdir(file(mount, "d"))
    fails("ENOENT", os.stat, file(mount, "d"))


def test_unlinked_while_open(mount, client):
    """As anywhere: the descriptor goes on."""
    c = client()
    fd = c.hold(file(mount), os.O_RDWR | os.O_CREAT)
    c.write(fd, b"still here")
    os.unlink(file(mount))
    assert c.read(fd, 20, 0) == b"still here"
    assert c.close(fd) == 0


def test_unlink_while_the_lock_is_held(mount, clients):
    """rm of a name that another holds: EBUSY, or the holder is told."""
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    a.write(fd, b"x")
    try:
        b.unlink(file(mount))
    except OSError as e:
        assert e.errno == 16, e
        assert a.fsync(fd) == 0
    else:
        fails("ESTALE", a.fsync, fd)


def test_broken_flock_is_told(mount, client):
    c = client()
    fd = c.hold(file(mount), os.O_RDWR | os.O_CREAT)
    c.flock(fd, LOCK_EX)
    wait_until(lambda: mount.holders("job"))
    os.unlink(mount.path("holders/locks/job", mount.holders("job")[0]))
    fails("ESTALE", c.flock, fd, LOCK_EX)
    fails("ESTALE", c.write, fd, b"x")


@pytest.mark.file_only
@pytest.mark.parametrize("folder", ["files", "files/ns", "locks", "locks/ns", ""])
def test_fsync_of_a_folder(mount, folder):
    """It reaches the server each time: a call that is not known there the kernel answers itself."""
    os.mkdir(mount.path("files/ns"))
    fd = os.open(mount.path(folder), os.O_RDONLY)
    before = mount.status_json()["requests"]
    for _ in range(5):
        os.fsync(fd)
    asked = mount.status_json()["requests"] - before
    os.close(fd)
    before = mount.status_json()["requests"]
    quiet = mount.status_json()["requests"] - before
    assert asked >= quiet + 5


def test_fsync_of_a_folder_that_is_gone(mount):
    os.mkdir(mount.path("files/ns"))
    fd = os.open(mount.path("files/ns"), os.O_RDONLY)
    os.rmdir(mount.path("files/ns"))
    os.fsync(fd)
    os.close(fd)
