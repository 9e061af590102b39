"""files/ and what Python programs lock with: portalocker, filelock and fasteners, as Debian has them."""

import os

import pytest

from programs import count_together, foreign

BRIEF = "timeout=0.1, check_interval=0.01"


@pytest.fixture
def two(consoles):
    """Two programs with job, each on its mount."""
    return consoles(2)


def listed(console):
    return console("sorted(os.listdir(folder))")


# --- portalocker ---

@pytest.fixture
def porta(two):
    for c in two:
        c("import portalocker")
    return two


def test_portalocker_lock(porta):
    a, b = porta
    for c in porta:
        c(f"lock = portalocker.Lock(path, {BRIEF})")
    for first, second in ((a, b), (b, a)):
        assert first("lock.acquire() is lock.fh")
        assert first("lock.acquire() is lock.fh")  # it has it
        second.fails("LockException", "lock.acquire()")
        first("lock.release()")
        second("lock.acquire()")
        first.fails("LockException", "lock.acquire()")
        second("lock.release()")


def test_portalocker_lock_waits(porta):
    a, b = porta
    a("lock = portalocker.Lock(path, timeout=0.1)")
    b("lock = portalocker.Lock(path, timeout=20, check_interval=0.01)")
    a("lock.acquire()")
    b.start("lock.acquire() is lock.fh")
    assert not b.answered()
    a("lock.release()")
    assert b.result() is True


def test_portalocker_lock_blocks(porta):
    """Without NON_BLOCKING the wait is the system's."""
    a, b = porta
    for c in porta:
        c("lock = portalocker.Lock(path, flags=portalocker.LockFlags.EXCLUSIVE)")
    a("lock.acquire()")
    b.waits_in("lock.acquire() is lock.fh")
    a("lock.release()")
    assert b.result() is True


def test_portalocker_fail_when_locked(porta):
    a, b = porta
    a("lock = portalocker.Lock(path)")
    b("lock = portalocker.Lock(path, timeout=20, fail_when_locked=True)")
    a("lock.acquire()")
    b.fails("AlreadyLocked", "lock.acquire()")
    a("lock.release()")
    b("lock.acquire()")
    a.fails("AlreadyLocked", "lock.acquire(fail_when_locked=True)")


def test_portalocker_shared_and_exclusive(porta, consoles):
    a, b = porta
    writer, = consoles(1)
    writer("import portalocker")
    for c in (a, b):
        c(f"lock = portalocker.Lock(path, mode='a+', {BRIEF}, "
          "flags=portalocker.LockFlags.SHARED | portalocker.LockFlags.NON_BLOCKING)")
        c("lock.acquire()")
    writer(f"lock = portalocker.Lock(path, {BRIEF})")
    writer.fails("LockException", "lock.acquire()")
    a("lock.release()")
    writer.fails("LockException", "lock.acquire()")
    b("lock.release()")
    writer("lock.acquire()")
    a.fails("LockException", "lock.acquire()")
    b.fails("LockException", "lock.acquire()")


def test_portalocker_functions(porta):
    """lock and unlock of a file that is open, and the bare flags."""
    a, b = porta
    for c in porta:
        c("f = open(path, 'a+')")
    a("portalocker.lock(f, portalocker.LOCK_EX)")
    for how in ("LOCK_SH", "LOCK_EX"):
        b.fails("LockException", f"portalocker.lock(f, portalocker.{how} | portalocker.LOCK_NB)")
    a("portalocker.lock(f, portalocker.LOCK_SH)")
    b("portalocker.lock(f, portalocker.LOCK_SH | portalocker.LOCK_NB)")
    a.fails("LockException", "portalocker.lock(f, portalocker.LOCK_EX | portalocker.LOCK_NB)")
    b("portalocker.unlock(f)")
    a("portalocker.lock(f, portalocker.LOCK_EX)")  # who unlocks on another mount does not wait for the server


def test_portalocker_writes_and_fsync(porta):
    """As its README has it: flush and fsync before the release; mode w truncates under the lock."""
    a, b = porta
    write = """
with portalocker.Lock(path, 'w', timeout=10) as f:
    f.write(text)
    f.flush()
    os.fsync(f.fileno())
"""
    a("text = 'a long text of a'")
    b("text = 'b'")
    for writer, reader in ((a, b), (b, a), (a, b)):
        writer(write)
        assert reader("open(path).read()") == writer("text")
        with_lock = "portalocker.Lock(path, 'r', timeout=10, flags=portalocker.LOCK_SH | portalocker.LOCK_NB)"
        assert reader(f"{with_lock}.acquire().read()") == writer("text")


def test_portalocker_rlock(porta):
    a, b = porta
    for c in porta:
        c(f"lock = portalocker.RLock(path, {BRIEF})")
    a("lock.acquire()")
    a("lock.acquire()")
    b.fails("LockException", "lock.acquire()")
    a("lock.release()")
    b.fails("LockException", "lock.acquire()")
    a("lock.release()")
    a.fails("LockException", "lock.release()")
    b("lock.acquire()")
    a.fails("LockException", "lock.acquire()")


def test_portalocker_temporary_file_lock(porta):
    a, b = porta
    for c in porta:
        c(f"lock = portalocker.TemporaryFileLock(path, {BRIEF})")
    for first, second in ((a, b), (b, a)):
        first("lock.acquire()")
        second.fails("AlreadyLocked", "lock.acquire()")
        assert listed(second) == ["job"]
        first("lock.release()")
        assert listed(first) == listed(second) == []
    b("lock.acquire()")
    assert b.ends() == 0  # atexit
    assert listed(a) == []
    a("lock.acquire()")


def test_portalocker_temporary_file_lock_as_it_comes(porta):
    """Its file is .lock, where the program is."""
    a, b = porta
    for c in porta:
        c("os.chdir(folder); lock = portalocker.TemporaryFileLock()")
    a("lock.acquire()")
    b.fails("AlreadyLocked", "lock.acquire()")
    a("lock.release()")
    assert listed(b) == []
    b("lock.acquire()")


def test_portalocker_bounded_semaphore(porta, consoles):
    ps = [*porta, *consoles(2)]
    for p in ps:
        p("import portalocker")
        p(f"new = lambda: portalocker.BoundedSemaphore(3, name='pool', directory=folder, {BRIEF})")
        p("sem = new()")
        p("got = lambda: os.path.basename(sem.lock.filename)")
    for i, p in enumerate(ps[:3]):
        p("sem.acquire()")
        assert p("got()") == f"pool.0{i}.lock"
    ps[3].fails("AlreadyLocked", "sem.acquire()")
    assert listed(ps[3]) == ["pool.00.lock", "pool.01.lock", "pool.02.lock"]
    ps[1]("sem.release()")
    ps[3]("sem = new()")
    ps[3]("sem.acquire(timeout=20)")
    assert ps[3]("got()") == "pool.01.lock"
    ps[0].kill()
    ps[1]("sem.acquire(timeout=20)")
    assert ps[1]("got()") == "pool.00.lock"


def test_portalocker_open_atomic(porta):
    a, b = porta
    a("""
with portalocker.utils.open_atomic(path) as f:
    f.write(b'whole')
""")
    assert b("open(path).read()") == "whole"
    assert listed(b) == ["job"]


# --- filelock ---

@pytest.fixture
def filelock(two):
    for c in two:
        c("import filelock")
    return two


@pytest.mark.parametrize("kind", ["FileLock", "SoftFileLock"])
def test_filelock(filelock, kind):
    a, b = filelock
    for c in filelock:
        c(f"lock = filelock.{kind}(path, timeout=0.1)")
    for first, second in ((a, b), (b, a)):
        first("lock.acquire()")
        second.fails("Timeout", "lock.acquire(poll_interval=0.01)")
        second.fails("Timeout", "lock.acquire(blocking=False)")
        first("lock.release()")
        second("lock.acquire(timeout=20, poll_interval=0.01)")
        first.fails("Timeout", "lock.acquire(timeout=0)")
        second("lock.release()")
    assert listed(a) == listed(b) == ([] if kind == "SoftFileLock" else ["job"])


@pytest.mark.parametrize("kind", ["FileLock", "SoftFileLock"])
def test_filelock_is_reentrant(filelock, kind):
    a, b = filelock
    for c in filelock:
        c(f"lock = filelock.{kind}(path, timeout=0.05)")
    a("lock.acquire()")
    a("lock.acquire()")
    a("lock.release()")
    assert a("lock.is_locked") is True
    b.fails("Timeout", "lock.acquire(poll_interval=0.01)")
    a("lock.release()")
    b("lock.acquire(poll_interval=0.01)")
    a("lock.timeout = 0")
    a.fails("Timeout", "lock.acquire()")
    b("lock.acquire()")
    b("lock.release(force=True)")
    a("lock.acquire()")


def test_filelock_waits_for_ever(filelock):
    a, b = filelock
    for c in filelock:
        c("lock = filelock.FileLock(path)")
    a("lock.acquire()")
    b.start("lock.acquire(poll_interval=0.01).lock is lock")
    a("lock.release()")
    assert b.result() is True


def test_filelock_dies(filelock):
    """A FileLock goes with its process; a SoftFileLock stays, by its nature."""
    a, b = filelock
    a("hard, soft = filelock.FileLock(path), filelock.SoftFileLock(path + '.soft')")
    a("hard.acquire(), soft.acquire()")
    a.kill()
    b("filelock.FileLock(path, timeout=20).acquire(poll_interval=0.01)")
    b.fails("Timeout", "filelock.SoftFileLock(path + '.soft', timeout=0).acquire()")


# --- fasteners: fcntl(2) ---

@pytest.fixture
def fasteners(two):
    for c in two:
        c("import fasteners")
    return two


def test_fasteners_lock(fasteners):
    a, b = fasteners
    for c in fasteners:
        c("lock = fasteners.InterProcessLock(path)")
    for first, second in ((a, b), (b, a)):
        assert first("lock.acquire(blocking=False)") is True
        assert second("lock.acquire(blocking=False)") is False
        assert second("lock.acquire(timeout=0.05)") is False
        second.start("lock.acquire(timeout=20)")
        first("lock.release()")
        assert second.result() is True
        second("lock.release()")
    b("lock.acquire()")
    b.kill()
    assert a("lock.acquire(timeout=20)") is True


def test_fasteners_reader_writer(fasteners, consoles):
    a, b = fasteners
    w, = consoles(1)
    w("import fasteners")
    for c in (a, b, w):
        c("lock = fasteners.InterProcessReaderWriterLock(path)")
    assert a("lock.acquire_read_lock(blocking=False)") is True
    assert b("lock.acquire_read_lock(blocking=False)") is True
    assert w("lock.acquire_write_lock(timeout=0.05)") is False
    a("lock.release_read_lock()")
    assert w("lock.acquire_write_lock(blocking=False)") is False
    w.start("lock.acquire_write_lock(timeout=20)")
    b("lock.release_read_lock()")
    assert w.result() is True
    assert a("lock.acquire_read_lock(blocking=False)") is False
    assert b("lock.acquire_write_lock(blocking=False)") is False
    w("lock.release_write_lock()")
    assert b("lock.acquire_write_lock(timeout=20)") is True


# --- all of them at once ---

LOCKS = {
    "portalocker": "portalocker.Lock(path + '.lock', timeout=60, check_interval=0.001)",
    "filelock": "filelock.FileLock(path + '.lock')",
    "filelock soft": "filelock.SoftFileLock(path + '.lock')",
    "fasteners": "fasteners.InterProcessLock(path + '.lock')",
    "fasteners writers": "fasteners.InterProcessReaderWriterLock(path + '.lock').write_lock(delay=0.001)",
}


@pytest.mark.parametrize("lock", LOCKS)
def test_counter(folders, program, lock):
    count_together(program, folders, lambda folder, rounds: [
        "/usr/bin/python3", foreign("counter.py"), LOCKS[lock], os.path.join(folder, "counter"), rounds], rounds=10)


def test_portalocker_and_filelock_and_flock_exclude_each_other(porta, consoles):
    """All three are flock(2)."""
    a, b = porta
    c, = consoles(1)
    c("import filelock")
    a("lock = portalocker.Lock(path)")
    a("lock.acquire()")
    c.fails("Timeout", "filelock.FileLock(path, timeout=0).acquire()")
    b.fails("BlockingIOError", "fcntl.flock(open(path), fcntl.LOCK_EX | fcntl.LOCK_NB)")
    b("fcntl.lockf(open(path, 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)")  # another kind
    a("lock.release()")
    c("lock = filelock.FileLock(path, timeout=20)")
    c("lock.acquire(poll_interval=0.01)")
    a.fails("AlreadyLocked", "lock.acquire(fail_when_locked=True)")
