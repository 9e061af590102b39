"""files/ and what programs read and write under a lock: the next holder, on the other mount, sees it in every way."""

import os
import subprocess

import pytest

from lockclient import fails
from programs import DEADLINE, count_together, foreign, ok, play

MAX_VALUE = 1 << 20
USER, OTHER = 65534, 65533


@pytest.fixture
def pair(consoles):
    """Two with the file open, each on its mount; they lock it by turns."""
    two = consoles(2)
    for c in two:
        c("fd = os.open(path, os.O_RDWR | os.O_CREAT)")
        c("take = lambda: fcntl.flock(fd, fcntl.LOCK_EX)")
        c("give = lambda: fcntl.flock(fd, fcntl.LOCK_UN)")
    return two


def by_turns(pair, n=6):
    """(who writes, who then reads, what): longer, shorter, of the same length, empty."""
    texts = ["first", "a longer text", "b", "c", "", "x" * 9000, "y" * 9000, "end"]
    for i in range(n + 2):
        yield pair[i % 2], pair[(i + 1) % 2], texts[i % len(texts)]


def write(console, text):
    console("take()")
    console(f"os.ftruncate(fd, 0), os.pwrite(fd, {text.encode()!r}, 0)")
    console("give()")


@pytest.mark.parametrize("read", [
    "os.pread(fd, 1 << 16, 0).decode()",
    "open(path).read()",
    "(os.lseek(fd, 0, os.SEEK_SET), os.read(fd, 1 << 16).decode())[1]",
])
def test_read_after_lock(pair, read):
    for writer, reader, text in by_turns(pair):
        write(writer, text)
        reader("take()")
        assert reader(read) == text
        reader("give()")


@pytest.mark.parametrize("size", ["os.fstat(fd).st_size", "os.stat(path).st_size", "os.lseek(fd, 0, os.SEEK_END)",
                                  "os.path.getsize('/proc/self/fd/%d' % fd)"])
def test_size_after_lock(pair, size):
    for writer, reader, text in by_turns(pair):
        write(writer, text)
        reader("take()")
        assert reader(size) == len(text)
        reader("give()")


def test_read_after_byte_range_lock(consoles):
    two = consoles(2)
    for c in two:
        c("fd = os.open(path, os.O_RDWR | os.O_CREAT)")
        c("take = lambda: fcntl.lockf(fd, fcntl.LOCK_EX, 1, 1 << 30)")
        c("give = lambda: fcntl.lockf(fd, fcntl.LOCK_UN, 1, 1 << 30)")
    for writer, reader, text in by_turns(two):
        write(writer, text)
        reader("take()")
        assert reader("os.pread(fd, 1 << 16, 0).decode()") == text
        reader("give()")


@pytest.mark.parametrize("kind", ["MAP_PRIVATE", "MAP_SHARED"])
@pytest.mark.parametrize("old", ["closed", "kept"])
def test_map_after_lock(pair, kind, old):
    """A map made under the lock; those of earlier rounds are unmapped, or still there."""
    for c in pair:
        c("maps = []")
        c(f"new = lambda: mmap.mmap(fd, 0, flags=mmap.{kind}, prot=mmap.PROT_READ)")
    for writer, reader, text in by_turns(pair):
        if not text:
            continue
        write(writer, text)
        reader("take()")
        reader("maps.append(new())")
        assert reader("maps[-1][:].decode()") == text
        reader("give()")
        if old == "closed":
            reader("maps.pop().close()")


def test_map_keeps_the_file(consoles):
    """After the close of the descriptor and the removal of the name."""
    a, b = consoles(2)
    a("f = open(path, 'wb+'); f.write(b'mapped' * 1000); f.flush()")
    a("m = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ); f.close()")
    b("os.unlink(path)")
    assert a("m[:].decode()") == "mapped" * 1000


@pytest.mark.parametrize("how", ["lock", "no"])
def test_append(folders, program, how):
    """Four that append, with a lock and without: O_APPEND writes to where the end is then, whoever moved it."""
    path = [os.path.join(folder, "log") for folder in folders]
    with open(path[0], "wb"):
        pass
    players = [program("sh", foreign("append.sh"), how, path[i % 2], 15, f"player-{i}") for i in range(4)]
    play(players)
    wanted = [f"player-{i} {k}" for i in range(4) for k in range(1, 16)]
    for p in path:
        with open(p, encoding="ascii") as f:
            lines = f.read().splitlines()
        assert sorted(lines) == sorted(wanted)
        assert [x for x in lines if x.startswith("player-0")] == wanted[:15]


def test_append_through_a_descriptor_that_stays_open(pair):
    """Who asks where the end is, knows where it wrote; a kernel that was not asked counts from the end it knew."""
    for c in pair:
        c("f = open(path, 'a+b', buffering=0)")
    size = 0
    for i in range(8):
        c = pair[i % 2]
        line = b"%d" % i * (i * 700 + 1)
        c("take()")
        if i >= 4:
            assert c("f.seek(0, os.SEEK_END)") == size
        c(f"f.write({line!r})")
        size += len(line)
        assert i < 4 or c("f.tell()") == size
        assert c("os.fstat(f.fileno()).st_size") == size
        c("give()")
    for c in pair:
        assert c("open(path, 'rb').read()") == "".join(str(i) * (i * 700 + 1) for i in range(8))


@pytest.mark.mount_only
def test_past_max_value(consoles):
    a, b = consoles(2)
    a("fd = os.open(path, os.O_RDWR | os.O_CREAT)")
    a(f"os.pwrite(fd, b'x' * 10, {MAX_VALUE} - 20)")
    before = b("open(path, 'rb').read()")
    assert len(before) == MAX_VALUE - 10
    a.fails("EFBIG", f"os.pwrite(fd, b'y' * 11, {MAX_VALUE} - 10)")
    a.fails("EFBIG", f"os.pwrite(fd, b'y', {MAX_VALUE})")
    a.fails("EFBIG", "os.pwrite(fd, b'y', 1 << 40)")
    a.fails("EFBIG", f"os.ftruncate(fd, {MAX_VALUE} + 1)")
    a.fails("EFBIG", f"os.truncate(path, {MAX_VALUE} + 1)")
    a.fails("EFBIG", "os.write(os.open(path, os.O_WRONLY | os.O_APPEND), b'y' * 11)")
    assert b("open(path, 'rb').read()") == before
    assert b("os.stat(path).st_size") == a("os.fstat(fd).st_size") == len(before)
    a(f"os.pwrite(fd, b'z' * 10, {MAX_VALUE} - 10)")
    assert b("os.stat(path).st_size") == MAX_VALUE
    assert b("open(path, 'rb').read()[-20:]") == "x" * 10 + "z" * 10
    b("os.truncate(path, 1)")
    assert a("os.fstat(fd).st_size") == 1


def test_holes(consoles):
    a, b = consoles(2)
    a("fd = os.open(path, os.O_RDWR | os.O_CREAT); os.pwrite(fd, b'x', 5000); os.ftruncate(fd, 7000)")
    assert b("open(path, 'rb').read()") == "\0" * 5000 + "x" + "\0" * 1999
    b("os.truncate(path, 4)")
    assert a("os.pread(fd, 9, 0)") == "\0" * 4
    assert a("os.pread(fd, 9, 4)") == ""


def test_modes_and_owners(folders):
    """What make, cp -p and lock libraries set and read."""
    here, there = (os.path.join(folder, "job") for folder in folders)
    os.close(os.open(here, os.O_CREAT | os.O_WRONLY, 0o640))
    for mode in (0o600, 0o444, 0o755):
        os.chmod(here, mode)
        assert os.stat(there).st_mode & 0o7777 == os.stat(here).st_mode & 0o7777 == mode
    fd = os.open(there, os.O_RDWR)
    os.fchmod(fd, 0o660)
    assert os.stat(here).st_mode & 0o7777 == 0o660
    os.chown(here, 65534, 65533)
    assert (os.stat(there).st_uid, os.stat(there).st_gid) == (65534, 65533)
    os.close(fd)
    assert ok("cp", "-p", here, os.path.join(folders[1], "copy"))
    st = os.stat(os.path.join(folders[0], "copy"))
    assert (st.st_uid, st.st_gid, st.st_mode & 0o7777) == (65534, 65533, 0o660)


def test_times(folders):
    """Lock files are kept fresh by touching them, and are stale when nobody did."""
    here, there = (os.path.join(folder, "job") for folder in folders)
    with open(here, "wb"):
        pass
    os.utime(here, ns=(10 ** 18, 10 ** 18 + 123456789))
    assert os.stat(there).st_mtime_ns == os.stat(here).st_mtime_ns == 10 ** 18 + 123456789
    fd = os.open(there, os.O_RDWR)
    os.utime(fd, (1000, 2000))
    assert os.stat(here).st_mtime == 2000
    os.write(fd, b"x")
    assert os.stat(here).st_mtime > 10 ** 9
    os.utime(there, (1000, 2000))
    assert ok("touch", here)
    assert os.stat(there).st_mtime > 10 ** 9
    os.close(fd)


def test_times_of_a_folder(folders):
    """proper-lockfile's lock is a folder whose time it sets and compares."""
    here, there = (os.path.join(folder, "lock") for folder in folders)
    os.mkdir(here)
    for seconds in (1000000000, 2000000000):
        os.utime(there, (seconds, seconds))
        assert os.stat(here).st_mtime == os.stat(there).st_mtime == seconds
        here, there = there, here


def test_permissions(folders):
    """An access that the file's mode does not give; locking needs no more than a descriptor."""
    here, there = (os.path.join(folder, "sub/job") for folder in folders)
    os.mkdir(os.path.dirname(here))
    os.chmod(os.path.dirname(here), 0o777)
    with open(here, "wb"):
        pass
    os.chmod(here, 0o644)
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    assert ok("sh", "-c", 'exec 9<"$1" && flock -n 9', "sh", there, **nobody)
    assert not ok("sh", "-c", 'exec 2>&- 9>>"$1"', "sh", there, **nobody)
    os.chmod(there, 0o600)
    assert not ok("sh", "-c", 'exec 2>&- 9<"$1"', "sh", here, **nobody)
    assert ok("sh", "-c", 'echo mine >"$1.2" && mv "$1.2" "$1"', "sh", there, **nobody)
    assert os.stat(here).st_uid == 65534
    with open(here, "rb") as f:
        assert f.read() == b"mine\n"


def python(code, *argv, user, groups=()):
    """What it prints; "E..." for the OSError that it ended with."""
    text = ("import errno, os, sys\n" "try:\n    print(eval(sys.argv[1]))\n"
            "except OSError as e:\n    print(errno.errorcode[e.errno])\n")
    return subprocess.run(["/usr/bin/python3", "-c", text, code, *argv], user=user, group=user,
                          extra_groups=list(groups), capture_output=True, text=True, timeout=DEADLINE,
                          check=True).stdout.strip()


@pytest.fixture
def shared(folders):
    """A folder for everybody, on each side."""
    both = [os.path.join(folder, "sub") for folder in folders]
    os.mkdir(both[0])
    os.chmod(both[0], 0o777)
    return both


def test_access(shared):
    """access(2) tells what open(2) would."""
    here, there = (os.path.join(folder, "job") for folder in shared)
    with open(here, "wb"):
        pass
    os.chown(here, USER, USER)
    os.chmod(here, 0o640)
    may = "[os.access(sys.argv[2], how) for how in (os.F_OK, os.R_OK, os.W_OK, os.X_OK)]"
    assert python(may, there, user=USER) == "[True, True, True, False]"
    assert python(may, there, user=OTHER, groups=[USER]) == "[True, True, False, False]"
    assert python(may, there, user=OTHER) == "[True, False, False, False]"
    assert python(may, there, user=0) == "[True, True, True, False]"
    os.chmod(there, 0o001)
    assert python(may, here, user=OTHER) == "[True, False, False, True]"
    assert python(may, here, user=0) == "[True, True, True, True]"
    os.chmod(shared[1], 0o700)
    assert python(may, here, user=USER) == "[False, False, False, False]"
    assert python("os.chdir(sys.argv[2])", shared[0], user=USER) == "EACCES"
    os.chmod(shared[0], 0o711)
    assert python("os.chdir(sys.argv[2])", shared[1], user=USER) == "None"


def test_who_may_touch(shared):
    """Any time only the owner; now also who may write, by whatever descriptor."""
    here, there = (os.path.join(folder, "job") for folder in shared)
    with open(here, "wb"):
        pass
    os.chown(here, USER, USER)
    os.chmod(here, 0o666)
    touch = "os.utime(sys.argv[2], {})"
    by_fd = "os.utime(os.open(sys.argv[2], os.O_RDONLY), {})"
    assert python(touch.format("(5, 7)"), there, user=USER) == "None"
    assert os.stat(here).st_mtime == 7
    for code in (touch, by_fd):
        assert python(code.format("(5, 8)"), there, user=OTHER) == "EPERM"
    assert os.stat(here).st_mtime == 7
    assert python(touch.format("None"), there, user=OTHER) == "None"
    assert os.stat(here).st_mtime > 10 ** 9
    os.chmod(here, 0o644)
    for code in (touch, by_fd):
        assert python(code.format("None"), there, user=OTHER) == "EACCES"
    assert python(touch.format("(0, 0)"), there, user=USER) == "None"
    assert int(os.stat(here).st_mtime) == 0


def test_links_have_owners(shared):
    """chown -h, as cp -a and tar do it."""
    here, there = (os.path.join(folder, "job") for folder in shared)
    os.symlink("nowhere", here)
    os.chown(there, USER, OTHER, follow_symlinks=False)
    os.utime(there, (5, 7), follow_symlinks=False)
    st = os.lstat(here)
    assert (st.st_uid, st.st_gid, st.st_mtime) == (USER, OTHER, 7)
    assert ok("cp", "-a", here, os.path.join(shared[1], "copy"))
    st = os.lstat(os.path.join(shared[0], "copy"))
    assert (st.st_uid, st.st_gid, st.st_mtime) == (USER, OTHER, 7)


def test_sticky_folder(shared):
    """As in /tmp: of others' files the names stay."""
    os.chmod(shared[0], 0o1777)
    here, there = (os.path.join(folder, "job") for folder in shared)
    assert python("open(sys.argv[2], 'x').close()", here, user=USER) == "None"
    assert python("os.mkdir(sys.argv[2] + '.d')", here, user=USER) == "None"
    assert python("open(sys.argv[2] + '.2', 'x').close()", there, user=OTHER) == "None"
    assert python("os.unlink(sys.argv[2])", there, user=OTHER) == "EPERM"
    assert python("os.rmdir(sys.argv[2] + '.d')", there, user=OTHER) == "EPERM"
    assert python("os.rename(sys.argv[2], sys.argv[2] + '.3')", there, user=OTHER) == "EPERM"
    assert python("os.rename(sys.argv[2] + '.2', sys.argv[2])", there, user=OTHER) == "EPERM"
    assert python("os.rename(sys.argv[2] + '.2', sys.argv[2] + '.3')", there, user=OTHER) == "None"
    assert python("os.unlink(sys.argv[2] + '.4')", there, user=OTHER) == "ENOENT"
    assert python("os.rename(sys.argv[2], sys.argv[2] + '.4')", there, user=USER) == "None"
    os.chown(shared[1], OTHER, OTHER)  # who has the folder may
    assert python("os.unlink(sys.argv[2] + '.4')", here, user=OTHER) == "None"
    assert python("os.rmdir(sys.argv[2] + '.d')", here, user=OTHER) == "None"


def test_folder_that_gives_its_group(shared):
    """Mail spools: what is made in a set-group-ID folder has the folder's group."""
    os.chown(shared[0], 0, OTHER)
    os.chmod(shared[0], 0o2777)
    here, there = (os.path.join(folder, "job") for folder in shared)
    assert python("open(sys.argv[2], 'x').close()", here, user=USER) == "None"
    assert python("os.mkdir(sys.argv[2] + '.d', 0o750)", here, user=USER) == "None"
    assert python("os.symlink('to', sys.argv[2] + '.l')", here, user=USER) == "None"
    assert python("os.mknod(sys.argv[2] + '.n')", here, user=USER) == "None"
    assert python("os.mkdir(sys.argv[2] + '.d/in')", there, user=USER) == "None"
    for name in ("", ".d", ".l", ".n", ".d/in"):
        assert (os.lstat(there + name).st_uid, os.lstat(there + name).st_gid) == (USER, OTHER)
    assert os.stat(there + ".d").st_mode & 0o7777 == 0o2750
    # Nobody makes a program of a group's that he is not in.
    assert python("os.chmod(sys.argv[2], 0o2755)", there, user=USER) == "None"
    assert os.stat(here).st_mode & 0o7777 == 0o755
    assert python("os.chmod(sys.argv[2], 0o2755)", there, user=USER, groups=[OTHER]) == "None"
    assert os.stat(here).st_mode & 0o7777 == 0o2755


def test_counter_that_grows_and_shrinks(folders, program):
    """Perl seeks and writes, Ruby truncates, the shell replaces: on one file, one after another."""
    path = "counter"
    kinds = [["perl", foreign("counter.pl"), "flock"], ["ruby", foreign("counter.rb")], ["sh", foreign("counter.sh")]]
    turn = iter(range(99))
    count_together(program, folders, lambda folder, n: [*kinds[next(turn) % 3], os.path.join(folder, path), n], n=6,
                   rounds=8)
    fails("ENOENT", os.stat, os.path.join(folders[0], path + ".lock"))
