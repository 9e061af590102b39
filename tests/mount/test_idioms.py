"""files/ and locks that are names: O_EXCL, link(2), symlink(2), mkdir(2), rename(2); lock files that are removed."""

import json
import os
import sys

import pytest

from lockclient import fails, wait_until
from programs import foreign

PLAYERS = 4
ROUNDS = 25


def race(program, folders, idiom, rounds=ROUNDS):
    """For each round who got the lock."""
    p = program(sys.executable, foreign("race.py"), idiom, rounds, *(folders[i % 2] for i in range(PLAYERS)))
    line = p.says()
    assert p.ends() == 0
    return json.loads(line)


@pytest.mark.parametrize("idiom", ["Excl", "Link", "Symlink", "Mkdir", "RenameFolder", "RenameAway", "RenameOver",
                                   "Noreplace"])
def test_one_winner(program, folders, idiom):
    won = race(program, folders, idiom)
    assert [len(w) for w in won] == [1] * ROUNDS, won
    for folder in folders:
        assert os.listdir(folder) in ([], ["free"])


@pytest.mark.parametrize("how", ["flock", "lockf"])
def test_lock_file_that_is_removed(program, folders, how):
    p = program(sys.executable, foreign("reopen.py"), how, ROUNDS, *(folders[i % 2] for i in range(PLAYERS)))
    assert p.says() == str(PLAYERS * ROUNDS)
    assert p.ends() == 0
    for folder in folders:
        assert os.listdir(folder) == ["number"]


def test_open_while_others_unlink(consoles):
    """Never an error: a file that is gone when it is to be opened is opened all the same, or made anew."""
    code = """
for i in range(800):
    os.close(os.open(path, os.O_RDWR | os.O_CREAT))
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
"""
    cs = consoles(6)
    for c in cs:
        c.start(code)
    for c in cs:
        c.result()
    assert cs[0]("os.listdir(folder)") == []


def test_replaced_while_others_use_it(consoles):
    """rename(2) over a file, or over a link to one, leaves no moment without it: nobody gets an error."""
    a, b, *others = consoles(6)
    a("[open(folder + '/' + name, 'w').write(name * 9) for name in 'xy']; os.symlink('x', path); "
      "open(path + '.conf', 'w').write('z' * 9)")
    for c, make in ((a, "os.symlink('xy'[i % 2], new)"), (b, "open(new, 'w').write('uv'[i % 2] * 9)")):
        c.start(f"new = '{{}}/.{{}}'.format(folder, os.getpid())\n"
                f"for i in range(400):\n    {make}\n    os.rename(new, path + {'.conf' if c is b else ''!r})")
    for c in others:
        c.start("""
for i in range(60):
    for name in (path, path + '.conf'):
        assert len(open(name).read()) == 9
        os.close(os.open(name, os.O_RDWR | os.O_CREAT))
        os.utime(name)
        os.chmod(name, 0o600 + i % 2)
        assert os.stat(name).st_size == 9 and os.access(name, os.R_OK)
    assert os.readlink(path) in 'xy'
""")
    for c in (a, b, *others):
        c.result()


def test_link(folders):
    """Both names are one file, on both sides."""
    one, two = ([os.path.join(folder, name) for name in ("a", "b")] for folder in folders)
    with open(one[0], "wb") as f:
        f.write(b"text")
    os.link(one[0], one[1])
    for side in (one, two):
        assert os.path.samefile(*side)
        assert os.stat(side[0]).st_nlink == os.stat(side[1]).st_nlink == 2
    with open(two[1], "ab") as f:
        f.write(b"+")
    with open(one[0], "rb") as f:
        assert f.read() == b"text+"
    fails("EEXIST", os.link, two[0], two[1])
    os.unlink(two[0])
    assert os.stat(one[1]).st_nlink == 1
    fails("ENOENT", os.link, one[0], one[1] + "2")
    with open(one[1], "rb") as f:
        assert f.read() == b"text+"


def test_symlink(folders):
    one, two = (os.path.join(folder, "lock") for folder in folders)
    os.symlink("somebody@host.1234:567", one)
    assert os.readlink(two) == "somebody@host.1234:567"
    assert os.path.islink(two) and not os.path.exists(two)
    fails("EEXIST", os.symlink, "other", two)
    fails("EEXIST", os.open, two, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    fails("ELOOP", os.open, two, os.O_RDONLY | os.O_NOFOLLOW)
    os.unlink(two)
    fails("ENOENT", os.readlink, one)
    # One that leads to a file beside it.
    with open(os.path.join(folders[0], "file"), "wb") as f:
        f.write(b"text")
    os.symlink("file", two)
    with open(one, "rb") as f:
        assert f.read() == b"text"


def test_mkdir(folders):
    one, two = (os.path.join(folder, "lock") for folder in folders)
    os.mkdir(one)
    fails("EEXIST", os.mkdir, two)
    fails("EEXIST", os.open, two, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    with open(os.path.join(two, "pid"), "wb") as f:
        f.write(b"1")
    fails("ENOTEMPTY", os.rmdir, one)
    os.unlink(os.path.join(one, "pid"))
    os.rmdir(two)
    fails("ENOENT", os.rmdir, one)
    with open(two, "wb"):
        pass
    fails("EEXIST", os.mkdir, one)


def test_names_are_seen_at_once(folders):
    """What one made or removed, the other finds, also where it has just looked."""
    for i in range(10):
        here, there = (os.path.join(folder, "name") for folder in (folders if i % 2 else folders[::-1]))
        assert not os.path.exists(there)
        with open(here, "wb") as f:
            f.write(b"%d" % i)
        with open(there, "rb") as f:
            assert f.read() == b"%d" % i
        os.rename(there, there + "2")
        assert not os.path.exists(here)
        assert os.listdir(os.path.dirname(here)) == ["name2"]
        os.unlink(here + "2")
        fails("ENOENT", os.stat, there + "2")
        os.mkdir(here)
        assert os.path.isdir(there)
        os.rmdir(there)


def test_rename_over_an_open_file(consoles):
    a, b = consoles(2)
    a("open(path, 'w').write('old'); fd = os.open(path, os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)")
    b("f = open(path + '.new', 'w'); f.write('new'); f.close(); os.rename(path + '.new', path)")
    assert a("os.pread(fd, 9, 0)") == "old"
    assert a("open(path).read()") == b("open(path).read()") == "new"
    assert a("os.path.samestat(os.fstat(fd), os.stat(path))") is False
    assert a("os.fstat(fd).st_nlink") == 0
    # The lock stayed with the old file.
    b("fd = os.open(path, os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
    a.fails("EAGAIN", "fcntl.flock(open(path), fcntl.LOCK_EX | fcntl.LOCK_NB)")
    a("os.pwrite(fd, b'OLD', 0)")
    assert b("open(path).read()") == "new"
    assert a("os.pread(fd, 9, 0)") == "OLD"


@pytest.mark.parametrize("lock", ["flock", "lockf"])
def test_unlinked_while_open(consoles, lock):
    """The old file goes on as a lock for those who have it open; the new one is another."""
    a, b, c, d = consoles(4)
    a(f"open(path, 'w').write('old'); lock = fcntl.{lock}")
    for p in (b, c, d):
        p(f"lock = fcntl.{lock}")
    for p in (a, b, c):
        p("fd = os.open(path, os.O_RDWR)")
    a("lock(fd, fcntl.LOCK_EX)")
    d("os.unlink(path)")
    d("fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL); lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
    assert d("os.fstat(fd).st_size") == 0
    for p in (a, b, c):
        assert p("os.pread(fd, 9, 0)") == "old"
        assert p("os.fstat(fd).st_nlink") == 0
        assert p("os.path.samestat(os.fstat(fd), os.stat(path))") is False
    b.fails("BlockingIOError", "lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
    for p in (b, c):
        p.waits_in("lock(fd, fcntl.LOCK_EX)")
    a("os.ftruncate(fd, 0), os.pwrite(fd, b'still here', 0)")
    a("lock(fd, fcntl.LOCK_UN)")
    # Who of two mounts is first is not said.
    first, second = (b, c) if wait_until(lambda: [p for p in (b, c) if p.answered()])[0] is b else (c, b)
    first.result()
    assert first("os.pread(fd, 20, 0)") == "still here"
    assert not second.answered()
    first.kill()
    second.result()
    assert second("os.pread(fd, 20, 0)") == "still here"
    a.fails("BlockingIOError", "lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
    a.fails("BlockingIOError", "lock(os.open(path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)")
    assert second("open(path).read()") == ""
