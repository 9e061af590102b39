"""What must not hurt: hostile names and a DIR that is full, read-only, replaced or gone.

After each the server is up, other locks go on, and nothing outside DIR was touched.
"""

import os
import random
import shutil
import subprocess

import pytest

from lockclient import fails, wait_until
from plockmount import unmount_lazily


def assert_goes_on(mount, client, name="elsewhere"):
    """The server is alive and another lock can be had, by name and by slot."""
    assert mount.running
    c = client()
    c.close(c.hold(mount.path("with/timeout=10s/locks", name)))
    assert mount.read("status")


# --- names ---

@pytest.mark.parametrize("name", [b"\xff\xfe", b"\xc3", b"a\xf0\x9f", b"%s%n", b"*", b"~", b"-rf", b"a:b", b"$(id)",
                                  b"x" * 255, b"\xff" * 255, b"a\\nb", b"NUL", b"job.lock"])
def test_odd_but_valid_names(mount, client, name):
    c, path = client(), os.fsencode(mount.path("locks/")) + name
    fd = c.hold(path)
    c.write(fd, b"v")
    assert name in os.listdir(os.fsencode(mount.path("locks")))
    assert os.listdir(os.fsencode(mount.path("holders/locks"))) == [name]
    for text in ("status", "status.json", "metrics"):
        mount.read(text).encode("utf-8")
    c.close(fd)
    assert os.listdir(mount.path("holders/locks")) == []


@pytest.mark.parametrize("path", ["locks/../locks/job", "locks/./job", "locks//job", "./job"])
def test_dots_are_the_kernels(mount, client, path):
    c = client()
    c.hold(mount.path(path))
    assert mount.holder_pids("job") == [c.pid]


@pytest.mark.parametrize("path", ["locks/..", "..", "with/..", "with/try/..", "sems/pool/.."])
def test_dot_dot_is_a_directory(mount, client, path):
    fails("EISDIR|ENOENT|EINVAL", client().hold, mount.path(path), os.O_RDWR)


def test_very_long_paths(mount, client):
    c = client()
    depth = 0
    path = mount.path("locks")
    try:
        for depth in range(1, 60):
            path = os.path.join(path, "n" * 100)
            os.mkdir(path)
    except OSError as e:
        assert e.errno == 36, e  # ENAMETOOLONG
    assert depth >= 5
    fails("ENAMETOOLONG", c.hold, mount.path("locks", *["n" * 100] * (depth - 1), "m" * 250))
    fails("ENAMETOOLONG|ENOENT", c.hold, mount.path("with", *["try/with"] * 700, "try/job"))
    assert_goes_on(mount, client)


def test_with_without_end(mount, client):
    """Each level makes a node; the kernel's limit on paths is the only end."""
    c = client()
    c.close(c.hold(mount.path(*["with/try"] * 200, "job")))
    assert_goes_on(mount, client)


@pytest.mark.parametrize("opts", ["a" * 255, ",".join(["try"] * 60), "timeout=" + "9" * 200, "timeout=1e99",
                                  "timeout=nan", "timeout=0x10", "lost=999", "lost=-1", "timeout=\xff",
                                  "try timeout=1s", "=", ",", "lost=KILL;reboot"])
def test_hostile_options(mount, client, opts):
    try:
        client().hold(mount.path("with", opts, "job"), os.O_RDONLY)
    except OSError as e:
        assert e.errno in (22, 2, 36, 34), e
    assert_goes_on(mount, client)


def test_random_names(mount, client):
    random.seed(7)
    c = client()
    for _ in range(150):
        name = bytes(random.choice(b"\x01\x7f\xff\xc3\xa9 .ab/%\\") for _ in range(random.randint(1, 40)))
        for tree in ("locks", "with/try/locks", "sems", "holders/locks", "waiters/sems", "files", "with", ""):
            try:
                os.stat(os.fsencode(mount.path(tree)) + b"/" + name)
            except OSError as e:
                assert e.errno in (2, 20, 22, 36, 95), e
        try:
            c.close(c.hold(os.fsencode(mount.path("with/try/locks")) + b"/" + name, os.O_RDWR | os.O_CREAT))
        except OSError as e:
            assert e.errno in (1, 2, 13, 20, 21, 22, 36), e
    assert_goes_on(mount, client)


def test_things_that_are_not_made_here(mount):
    for path in ("locks/new", "new", "sems/new", "with/new", "status", "holders/locks/new"):
        for make in (os.mkfifo, lambda p: os.symlink("/etc/passwd", p), lambda p: os.link(mount.path("status"), p)):
            fails("EPERM|EACCES|EEXIST|EINVAL|ENOENT|EXDEV|EOPNOTSUPP|EROFS|EBUSY", make, mount.path(path))
    for path in ("sems/d", "sems/pool/3/d", "with/d", "holders/d", "waiters/locks/d"):
        fails("EPERM|EACCES|EEXIST|EINVAL|ENOENT|EROFS|EOPNOTSUPP", os.mkdir, mount.path(path))
    assert os.stat(mount.path("locks")).st_mode & 0o170000 == 0o040000


# --- limits ---

def test_max_waiters(mounts, clients):
    m = mounts(opts="max_waiters=2")
    a, b, c, d = clients(4)
    fd = a.hold(m.lock("job"))
    b.open(m.lock("job"))
    m.wait_waiting("job", b)
    c.open(m.lock("job"))
    m.wait_waiting("job", b, c)
    fails("ENOLCK", d.hold, m.lock("job"))
    fails("EAGAIN", d.hold, m.path("with/try/job"))
    d.hold(m.lock("other"))
    a.close(fd)
    b.wait()


@pytest.mark.file_only
def test_limit_on_descriptors(mounts, client):
    m = mounts(nofile=100)
    c = client()
    held = []
    for i in range(200):
        try:
            held.append(c.hold(m.lock(f"job{i}")))
        except OSError as e:
            assert e.errno == 37, e  # ENOLCK
            break
    assert 40 <= len(held) < 100
    # What is held is held, what is free can be had after a close, and looking goes on.
    assert m.running and not m.can_lock("job0")
    assert len(os.listdir(m.path("holders/locks"))) == len(held)
    assert m.read("status")
    other = client()
    fails("ENOLCK", other.hold, m.lock("one-more"))
    other.open(m.lock("job0"))
    m.wait_waiting("job0", other)
    c.close(held.pop(0))
    other.close(other.wait())
    c.close(held.pop())
    other.close(other.hold(m.lock("one-more")))


@pytest.mark.file_only
def test_limit_is_said_once_in_the_log(mounts, client):
    m = mounts(nofile=100)
    c = client()
    failed = 0
    for i in range(130):
        try:
            c.hold(m.lock(f"job{i}"))
        except OSError:
            failed += 1
    assert failed > 10
    assert len(m.log_text().splitlines()) < 10


# --- a DIR that cannot be written ---

@pytest.fixture
def small_disk(work):
    """A file system of 1 MB, as DIR's."""
    disk = os.path.join(work, "disk")
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=200", "none", disk], check=True)
    yield disk
    unmount_lazily(disk)


def fill(path):
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError as e:
            assert e.errno == 28, e


def test_full_disk(mounts, client, small_disk):
    m, c = mounts(source=os.path.join(small_disk, "dir")), client()
    m.put("job", b"value")
    fd = c.hold(m.lock("job"))
    fill(os.path.join(small_disk, "filler"))
    fails("ENOSPC", c.write, fd, b"x" * 50_000, 8192)
    assert c.read(fd, 5, 0) == b"value"
    # Locks need no room for values.
    other = client()
    try:
        other.close(other.hold(m.path("with/timeout=5s/other")))
    except OSError as e:
        assert e.errno in (28, 37), e
    assert c.close(fd) == 0
    os.unlink(os.path.join(small_disk, "filler"))
    assert m.get("job") == b"value"
    assert_goes_on(m, client)


def test_no_inodes_left(mounts, client, small_disk):
    m, c = mounts(source=os.path.join(small_disk, "dir")), client()
    m.put("job", b"value")
    made = 0
    try:
        for made in range(300):
            with open(os.path.join(small_disk, f"f{made}"), "w", encoding="ascii"):
                pass
    except OSError as e:
        assert e.errno == 28, e
    assert m.get("job") == b"value"
    fails("ENOSPC|ENOLCK", c.hold, m.lock("new"))
    for i in range(made):
        os.unlink(os.path.join(small_disk, f"f{i}"))
    c.close(c.hold(m.lock("new")))
    assert_goes_on(m, client)


def test_token_rises_on_a_full_disk(mounts, client, small_disk):
    """Either it is refused, or the token is greater, also after a restart."""
    m, c = mounts(source=os.path.join(small_disk, "dir")), client()
    c.close(c.hold(m.lock("job")))
    last = m.token("job")
    fill(os.path.join(small_disk, "filler"))
    for _ in range(5):
        try:
            fd = c.hold(m.lock("job"))
        except OSError as e:
            assert e.errno in (28, 37), e
            continue
        assert m.token("job") > last
        last = m.token("job")
        c.close(fd)
    m.kill()
    c = client()
    os.unlink(os.path.join(small_disk, "filler"))
    m.start()
    c.hold(m.lock("job"))
    assert m.token("job") > last


@pytest.fixture
def disk(work):
    path = os.path.join(work, "disk")
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", path], check=True)
    yield path
    unmount_lazily(path)


def test_disk_becomes_read_only(mounts, client, disk):
    m, c = mounts(source=os.path.join(disk, "dir")), client()
    m.put("job", b"value")
    m.stop_cleanly()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    m = mounts(source=os.path.join(disk, "dir"), start=False)
    try:
        m.start()
    except AssertionError as e:
        # To refuse is right too, with a line that says why.
        assert "ended with 1" in str(e) and "ead-only" in m.log_text()
        m.pid = None
        return
    fails("EROFS", c.hold, m.lock("new"))
    fails("EROFS", os.mkdir, m.lock("ns"))
    assert os.stat(m.lock("job")).st_size == 5
    assert m.running


# --- a DIR that changes under us ---

@pytest.mark.file_only
def test_dir_renamed(mount, client, work):
    """Who goes by DIR's name now finds no locks there: so those held are lost, until it is back."""
    mount.put("job", b"value")
    c = client()
    fd = c.hold(mount.lock("job"))
    os.rename(mount.dir, os.path.join(work, "moved"))
    wait_until(lambda: raises_estale(c, fd), what="the lock is lost")
    fails("ESTALE", c.write, fd, b"v")
    fails("ESTALE", c.close, fd)
    fails("ESTALE|ENOENT|EIO", c.hold, mount.lock("job"))
    assert mount.running and mount.read("status")
    os.rename(os.path.join(work, "moved"), mount.dir)
    assert mount.get("job") == b"value"
    assert_goes_on(mount, client)


def raises_estale(c, fd):
    try:
        c.fsync(fd)
    except OSError as e:
        assert e.errno == 116, e
        return True
    return False


@pytest.mark.file_only
def test_dir_removed(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    shutil.rmtree(mount.dir)
    try:
        c.write(fd, b"v")
    except OSError as e:
        assert e.errno in (116, 5), e
    other = client()
    fails("ENOENT|ESTALE|EIO|ENOLCK", other.hold, mount.path("with/timeout=5s/other"))
    assert mount.running and mount.read("status")
    assert not os.path.exists(mount.dir)


def test_dir_is_a_symbolic_link_at_start(mounts, work):
    """The user's own link to DIR is followed; links below DIR are not."""
    real, link = os.path.join(work, "real"), os.path.join(work, "link")
    os.mkdir(real)
    os.symlink(real, link)
    m = mounts(source=link)
    m.put("job", b"x")
    assert os.path.exists(real + "/locks/job")


@pytest.fixture
def victim(work):
    path = os.path.join(work, "victim")
    os.mkdir(path)
    with open(os.path.join(path, "file"), "wb") as f:
        f.write(b"precious")
    yield path
    with open(os.path.join(path, "file"), "rb") as f:
        assert f.read() == b"precious"
    assert os.listdir(path) == ["file"]


@pytest.mark.file_only
def test_symbolic_links_in_dir(mount, client, victim):
    c = client()
    os.mkdir(mount.lock("ns"))
    mount.put("ns/job", b"x")
    os.symlink(os.path.join(victim, "file"), os.path.join(mount.dir, "locks", "link"))
    os.symlink(os.path.join(victim, "new"), os.path.join(mount.dir, "locks", "dangling"))
    os.symlink(victim, os.path.join(mount.dir, "locks", "linkdir"))
    shutil.rmtree(os.path.join(mount.dir, "locks", "ns"))
    os.symlink(victim, os.path.join(mount.dir, "locks", "ns"))
    for name in ("link", "dangling", "linkdir", "ns/file", "ns/new", "linkdir/file", "linkdir/new"):
        for flags in (os.O_RDONLY, os.O_RDWR | os.O_TRUNC | os.O_CREAT):
            fails("ELOOP|ENOTDIR|EINVAL|ENOENT|EACCES|EPERM|EISDIR|EIO|ESTALE|ENOLCK|EEXIST|EMLINK|EOPNOTSUPP", c.hold,
                  mount.path("with/timeout=5s/locks", name), flags)
    fails("ELOOP|ENOTDIR|EINVAL|ENOENT|EACCES|EPERM|EIO|ESTALE|EEXIST", os.mkdir, mount.lock("ns/sub"))
    fails("ELOOP|ENOTDIR|EINVAL|ENOENT|EACCES|EPERM|EIO|ESTALE|EISDIR|EBUSY", os.unlink, mount.lock("ns/file"))
    os.symlink(victim, os.path.join(mount.dir, "sems", "pool.00.lock"))
    fails("ELOOP|ENOTDIR|EINVAL|ENOENT|EACCES|EPERM|EISDIR|EIO|ESTALE|ENOLCK", c.hold,
          mount.path("with/timeout=5s/sems/pool/1/any"), os.O_RDONLY)
    assert_goes_on(mount, client)


@pytest.mark.file_only
@pytest.mark.parametrize("what", ["locks", "sems", ".plockfs"])
def test_parts_of_dir_replaced_by_symbolic_links(mount, client, victim, what):
    c = client()
    fd = c.hold(mount.lock("job"))
    c.close(c.hold(mount.path("sems/pool/1/any"), os.O_RDONLY))
    os.rename(os.path.join(mount.dir, what), os.path.join(mount.dir, "aside"))
    os.symlink(victim, os.path.join(mount.dir, what))
    for path, flags in (("with/timeout=5s/locks/new", os.O_RDWR | os.O_CREAT | os.O_TRUNC),
                        ("with/timeout=5s/locks/file", os.O_RDWR | os.O_TRUNC),
                        ("with/timeout=5s/sems/other/1/any", os.O_RDONLY)):
        try:
            c.close(c.hold(mount.path(path), flags))
        except OSError:
            pass
    try:
        c.close(fd)
    except OSError as e:
        assert e.errno == 116, e
    assert mount.running and mount.read("status")


@pytest.mark.parametrize("what", ["locks", "sems", ".plockfs"])
def test_start_with_parts_of_dir_being_symbolic_links(mounts, victim, work, what):
    os.mkdir(os.path.join(work, "dir"))
    os.symlink(victim, os.path.join(work, "dir", what))
    m = mounts(start=False)
    try:
        m.start()
    except AssertionError as e:
        assert "ended with 1" in str(e)
        m.pid = None
        return
    for path in ("locks/file", "with/timeout=5s/sems/pool/1/any"):
        try:
            os.close(os.open(m.path(path), os.O_RDWR | os.O_TRUNC))
        except OSError:
            pass


@pytest.mark.file_only
@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "socket", "file", "nothing"])
def test_lock_file_replaced_under_a_holder(mount, client, victim, kind):
    """Whoever locks the path from now on is not excluded by the holder: so it is lost."""
    a, b = client(), client()
    fd = a.hold(mount.lock("job"))
    a.write(fd, b"value")
    path = os.path.join(mount.dir, "locks", "job")
    os.unlink(path)
    if kind == "symlink":
        os.symlink(os.path.join(victim, "file"), path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "socket":
        subprocess.run(["python3", "-c", "import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])", path],
                       check=True)
    elif kind == "file":
        with open(path, "wb") as f:
            f.write(b"new")
    fails("ESTALE", a.fsync, fd)
    fails("ESTALE", a.write, fd, b"evil", 0)
    fails("ESTALE", a.close, fd)
    if kind == "file":
        assert mount.get("job") == b"new"
    elif kind == "nothing":
        assert mount.get("job") == b""
    else:
        fails("ELOOP|EISDIR|EINVAL|EIO|ENXIO|EACCES|ENOTDIR|ESTALE|ENOLCK|EPERM|EOPNOTSUPP", b.hold,
              mount.path("with/timeout=5s/locks/job"), os.O_RDWR)
    assert_goes_on(mount, client)


@pytest.mark.file_only
def test_lock_file_deleted_under_a_holder_with_a_waiter(mount, clients):
    """The next in line is granted on the new file."""
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    os.unlink(os.path.join(mount.dir, "locks", "job"))
    fails("ESTALE", a.fsync, fd)
    fails("ESTALE", a.close, fd)
    fd = b.wait()
    b.write(fd, b"new")
    b.close(fd)
    assert mount.get("job") == b"new"


@pytest.mark.file_only
def test_lock_file_deleted_while_waiting_for_a_program_outside(mount, client):
    """Locked at last, but no longer what the path says: it locks again."""
    path = os.path.join(mount.dir, "locks", "job")
    mount.put("job", b"old")
    outside = subprocess.Popen(["flock", "--no-fork", path, "sh", "-c", "echo; read x"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    try:
        outside.stdout.readline()
        c = client()
        c.open(mount.lock("job"))
        mount.wait_waiting("job", c)
        os.unlink(path)
        with open(path, "wb") as f:
            f.write(b"new")
    finally:
        outside.communicate(b"\n", timeout=20)
    fd = c.wait()
    assert c.read(fd) == b"new"
    assert subprocess.run(["flock", "-n", path, "true"], timeout=20, check=False).returncode == 1
    c.close(fd)


@pytest.mark.file_only
def test_strange_things_in_dir(mount, client):
    """What an administrator leaves lying about is not listed as something it is not."""
    folder = os.path.join(mount.dir, "locks")
    os.mkfifo(os.path.join(folder, "fifo"))
    with open(os.path.join(folder, ".hidden"), "wb") as f:
        f.write(b"x")
    with open(os.path.join(folder, "a\nb"), "wb") as f:
        f.write(b"x")
    with open(os.path.join(mount.dir, "sems", "pool.xx.lock"), "wb") as f:
        f.write(b"x")
    listed = os.listdir(mount.path("locks"))
    assert ".hidden" not in listed and "a\nb" not in listed
    for name in listed:
        os.stat(mount.lock(name))
    fails("EINVAL|ENXIO|EIO|EISDIR|EACCES|ENOENT|EPERM|ENOLCK|ESTALE|EOPNOTSUPP", client().hold,
          mount.path("with/timeout=5s/locks/fifo"))
    assert os.listdir(mount.path("sems")) == []
    assert_goes_on(mount, client)


@pytest.mark.file_only
def test_foreign_permissions_in_dir(mount, client):
    """A server of root reads all; the value's file mode does not matter for it."""
    mount.put("job", b"x")
    os.chmod(os.path.join(mount.dir, "locks", "job"), 0)
    assert mount.get("job") == b"x"


def test_every_call_on_every_kind_of_path(mount, client):
    """No combination ends the server."""
    c = client()
    c.hold(mount.lock("held"))
    mount.put("value", b"x")
    os.mkdir(mount.lock("ns"))
    paths = ["", "locks", "locks/held", "locks/value", "locks/ns", "locks/none", "sems", "sems/p", "sems/p/2",
             "sems/p/2/any", "files", "with", "with/try", "with/try/locks/held", "holders", "holders/locks",
             "holders/locks/held", "holders/locks/held/" + mount.holders("held")[0], "waiters/locks/held/0001:x:1",
             "waiters/locks/held", "status", "metrics", "README", "holders/sems/p"]
    calls = [os.stat, os.listdir, os.listxattr, lambda p: os.getxattr(p, "user.plockfs.mode"),
             lambda p: os.getxattr(p, "user.plockfs.free"), lambda p: os.close(os.open(p, os.O_RDONLY | os.O_NONBLOCK)),
             lambda p: os.close(os.open(p, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK)), os.readlink, os.statvfs,
             lambda p: os.truncate(p, 1), lambda p: os.chmod(p, 0o755), lambda p: os.chown(p, 1, 1), os.utime,
             lambda p: os.access(p, os.W_OK), lambda p: os.rename(p, p + "2"), lambda p: os.rename(p + "3", p),
             lambda p: os.mkdir(p + "/d"), os.mkdir, lambda p: os.mkfifo(p + "f"), os.rmdir]
    for path in paths:
        for call in calls:
            try:
                call(mount.path(path).rstrip("/"))
            except OSError as e:
                assert e.errno not in (103, 107, 38), (path, e)
    assert_goes_on(mount, client)
