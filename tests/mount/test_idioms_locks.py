"""files/ and whose a lock is: through fork, dup, exec and close, with flock(2), fcntl(2) and open file descriptions."""

import os
import signal

import pytest

from lockclient import wait_until
from programs import WAITING_IN, ConsoleError

# By what a Console calls it: the two kinds of lock, each as take, try and give of the whole file.
KINDS = {
    "flock": "take, try_, give = (lambda f, op=op: fcntl.flock(f, op) for op in (2, 6, 8))",
    "fcntl": "take, try_, give = (lambda f, op=op: fcntl.lockf(f, op) for op in (2, 6, 8))",
    "ofd": "def ofd(f, cmd, kind, start=0, length=0):\n"
           "    return fcntl.fcntl(f, cmd, struct.pack('hhqqi4x', kind, 0, start, length, 0))\n"
           "take = lambda f: ofd(f, 38, fcntl.F_WRLCK)\n"
           "try_ = lambda f: ofd(f, 37, fcntl.F_WRLCK)\n"
           "give = lambda f: ofd(f, 37, fcntl.F_UNLCK)",
}
CROSSINGS = 2000
FORK = """
pid = os.fork()
if pid == 0:
    signal.pause()
"""


@pytest.fixture
def players(consoles):
    """A function that starts n, by turns on each mount, with the file open as fd and one kind of lock."""
    def make(n, kind):
        cs = consoles(n)
        for c in cs:
            c("fd = os.open(path, os.O_RDWR | os.O_CREAT)")
            c(KINDS[kind])
        return cs
    return make


def has(console, fd="fd"):
    """Whether a try gets the lock. What was given back on another mount may be so a moment later."""
    try:
        console(f"try_({fd})")
    except ConsoleError as e:
        assert "BlockingIOError" in e.kinds, e
        return False
    return True


def can(console, fd="fd"):
    """Whether it can have the lock now; gives it back."""
    if not has(console, fd):
        return False
    console(f"give({fd})")
    return True


def comm(console):
    with open(f"/proc/{console.pid}/comm", encoding="utf-8") as f:
        return f.read().strip()


def gets(console):
    """It gets the lock, at once or soon: the close of another mount's descriptor comes later than close(2)."""
    console("take(fd)")
    console("give(fd)")


@pytest.mark.parametrize("kind", KINDS)
def test_excludes(players, kind):
    a, b, c = players(3, kind)
    a("take(fd)")
    assert not can(b) and not can(c)
    b.waits_in("take(fd)")
    c.waits_in("take(fd)")
    a("give(fd)")
    first = wait_until(lambda: [p for p in (b, c) if p.answered()])[0]
    second = c if first is b else b
    first.result()
    assert not can(a)
    first("give(fd)")
    second.result()
    assert not can(a) and not can(first)


def test_kinds_do_not_see_each_other(players):
    """flock and fcntl; but an OFD lock is a range like any other."""
    a, = players(1, "flock")
    b, = players(1, "fcntl")
    c, = players(1, "ofd")
    a("take(fd)")
    b("take(fd)")
    assert not can(c)
    b("give(fd)")
    c("take(fd)")
    assert not can(b)
    a("give(fd)")
    assert not can(b)


@pytest.mark.parametrize("kind", ["flock", "ofd"])
def test_fork_shares_it(players, kind):
    """It is the description's: the parent's close leaves it to the child."""
    a, b, c = players(3, kind)
    a("take(fd)")
    a(FORK)
    a("os.close(fd)")
    assert not can(b) and not can(c)
    b.waits_in("take(fd)")
    a("os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)")
    b.result()


@pytest.mark.parametrize("kind", ["flock", "ofd"])
def test_child_can_give_it_back(players, kind):
    a, b = players(2, kind)
    a("take(fd)")
    a("""
pid = os.fork()
if pid == 0:
    give(fd)
    signal.pause()
""")
    gets(b)
    a("take(fd)")
    assert not can(b)
    a("os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)")
    assert not can(b)


def test_fork_does_not_share_a_process_lock(players):
    a, b = players(2, "fcntl")
    a("take(fd)")
    a("""
pid = os.fork()
if pid == 0:
    try:
        try_(fd)
    except BlockingIOError:
        os._exit(11)
    os._exit(0)
""")
    assert a("os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])") == 11
    assert not can(b)  # the child's exit closed its descriptors


@pytest.mark.parametrize("kind", ["flock", "ofd"])
def test_dup_shares_it(players, kind):
    a, b = players(2, kind)
    a("take(fd)")
    a("other = os.dup(fd); os.close(fd)")
    assert not can(b)
    a("give(other)")
    wait_until(lambda: can(b))
    a("take(other); third = os.dup(other); os.close(third)")
    assert not can(b)
    b.waits_in("take(fd)")
    a("os.close(other)")
    b.result()


@pytest.mark.parametrize("how", ["dup", "open", "open read-only", "same"])
def test_any_close_drops_a_process_lock(players, how):
    a, b = players(2, "fcntl")
    a("take(fd)")
    a({"dup": "other = os.dup(fd)", "open": "other = os.open(path, os.O_RDWR)", "same": "other = fd",
       "open read-only": "other = os.open(path, os.O_RDONLY)"}[how])
    assert not can(b)
    a("os.close(other)")
    wait_until(lambda: can(b))


@pytest.mark.parametrize("kind", ["flock", "ofd"])
def test_other_descriptions_do_not(players, kind):
    """Of the same process: they exclude each other, and the close of one leaves the other's lock."""
    a, b = players(2, kind)
    a("take(fd); other = os.open(path, os.O_RDWR)")
    assert not can(a, "other")
    a("os.close(other)")
    assert not can(b)
    a("other = os.open(path, os.O_RDWR); give(fd); take(other)")
    assert not can(a) and not can(b)


@pytest.mark.parametrize("kind, inherited", [("flock", True), ("flock", False), ("fcntl", True), ("fcntl", False),
                                             ("ofd", True), ("ofd", False)])
def test_exec(players, kind, inherited):
    """Kept, unless the descriptor is closed by it."""
    a, b = players(2, kind)
    a("take(fd)")
    a(f"os.set_inheritable(fd, {inherited})")
    a.start("os.execvp('cat', ['cat'])")
    wait_until(lambda: comm(a) == "cat")
    a.tell("cat runs")
    assert a.says() == "cat runs"
    if inherited:
        assert not can(b)
        b.waits_in("take(fd)")
        assert a.ends() == 0
        b.result()
    else:
        gets(b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["exit", "kill"])
def test_end_of_the_process(players, kind, how):
    a, b, c = players(3, kind)
    a("take(fd)")
    b.waits_in("take(fd)")
    if how == "exit":
        assert a.ends() == 0
    else:
        a.kill()
    b.result()
    b("give(fd)")
    gets(c)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mount", ["the holder's", "another"])
def test_signal_ends_the_wait(players, kind, mount):
    """With a handler: the call is over. Nothing of it is left that would have the lock later."""
    a, b, c = players(3, kind)
    waiter = b if mount == "another" else c
    waiter("""
class Alarm(Exception): pass
def alarm(*args): raise Alarm
signal.signal(signal.SIGUSR1, alarm)
""")
    a("take(fd)")
    for _ in range(3):
        waiter.waits_in("take(fd)")
        os.kill(waiter.pid, signal.SIGUSR1)
        waiter.fails("Alarm")
    assert not can(waiter)
    a("give(fd)")
    wait_until(lambda: can(a))
    gets(b)
    gets(c)
    a("take(fd)")


@pytest.mark.parametrize("kind", KINDS)
def test_death_in_the_middle_of_a_wait(players, kind):
    a, *others, last = players(6, kind)
    a("take(fd)")
    for p in others:
        p.waits_in("take(fd)")
    last.waits_in("take(fd)")
    for p in others:
        p.kill()
    assert not last.answered()
    a("give(fd)")
    last.result()
    last("give(fd)")
    gets(a)


def test_conversion_that_is_refused(players):
    """With LOCK_NB it costs the old lock, flock(2): two who wish to convert do not keep each other out for ever."""
    a, b, c = players(3, "flock")
    for p in (a, b):
        p("fcntl.flock(fd, fcntl.LOCK_SH)")
    a.fails("EAGAIN", "try_(fd)")
    wait_until(lambda: has(b))
    a.fails("EAGAIN", "fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)")
    b("fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)")
    a("fcntl.flock(fd, fcntl.LOCK_SH)")
    assert not can(c)
    c.waits_in("take(fd)")
    for p in (a, b):
        p("give(fd)")
    c.result()


def test_conversions_that_cross(players):
    """Somebody of the other mount who comes in between is a refusal: nobody's lock is lost, and never have two one."""
    code = f"""
with open(path + '.count', 'r+b', 0) as count:
    for i in range({CROSSINGS}):
        for op in (fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_SH):
            try:
                fcntl.flock(fd, op | fcntl.LOCK_NB)
            except BlockingIOError:
                break
            if op == fcntl.LOCK_EX:
                assert os.pread(count.fileno(), 9, 0) == b'-'
                os.pwrite(count.fileno(), b'+', 0)
                os.pwrite(count.fileno(), b'-', 0)
        fcntl.flock(fd, fcntl.LOCK_UN)
os.close(fd)
"""
    ps = players(4, "flock")
    ps[0]("with open(path + '.count', 'w') as f: f.write('-')")
    for p in ps:
        p.start(code)
    for p in ps:
        p.result()


def test_range_got_after_a_close_by_another_thread(players):
    """A close drops what the process has then, not what one of its threads still waits for; the next close does."""
    a, b, keeper = players(3, "fcntl")
    a("import threading; second = os.dup(fd); t = threading.Thread(target=take, args=(fd,))")
    b("take(fd)")
    a("t.start()")
    tasks = f"/proc/{a.pid}/task"

    def blocked():
        for tid in os.listdir(tasks):
            with open(f"{tasks}/{tid}/wchan", encoding="ascii") as f:
                if f.read() in WAITING_IN:
                    return True
        return False
    wait_until(blocked, what="the thread to wait")
    a("os.close(second)")
    b("give(fd)")
    a("t.join()")
    assert not can(b)
    a("os.close(fd)")  # the file stays open in the keeper
    gets(b)
    gets(keeper)


def test_deadlock(players):
    """Of process locks, on one mount."""
    a, _, b = players(3, "fcntl")
    for c in (a, b):
        c("byte = lambda n: fcntl.lockf(fd, fcntl.LOCK_EX, 1, n)")
    a("byte(0)")
    b("byte(1)")
    a.waits_in("byte(1)")
    b.fails("EDEADLK", "byte(0)")
    assert not a.answered()
    b("fcntl.lockf(fd, fcntl.LOCK_UN, 1, 1)")
    a.result()
    b.waits_in("byte(0)")
    a("give(fd)")
    b.result()


def test_from_the_end_of_the_file(players):
    """SEEK_END is where the kernel knows the end to be: fstat(2) tells it what the other mount wrote."""
    a, b = players(2, "ofd")
    b("os.pwrite(fd, b'x' * 10, 0)")
    a("os.fstat(fd); fcntl.lockf(fd, fcntl.LOCK_EX, 5, -2, os.SEEK_END)")
    assert b("struct.unpack('hhqqi4x', ofd(fd, 36, fcntl.F_WRLCK))[:4]") == [1, 0, 8, 5]
    b("os.pwrite(fd, b'x' * 10, 10)")
    a("os.fstat(fd); fcntl.lockf(fd, fcntl.LOCK_UN, 0, -20, os.SEEK_END)")
    b("take(fd)")


def test_ofd_ranges(players):
    """Of one description: they merge and split; F_OFD_GETLK tells the one in the way."""
    a, b = players(2, "ofd")
    get = "struct.unpack('hhqqi4x', ofd(fd, 36, fcntl.F_WRLCK, {}, {}))[:4]"
    a("ofd(fd, 37, fcntl.F_WRLCK, 0, 10)")
    a("ofd(fd, 37, fcntl.F_RDLCK, 4, 2)")
    b("ofd(fd, 37, fcntl.F_RDLCK, 4, 2)")
    b.fails("EAGAIN", "ofd(fd, 37, fcntl.F_WRLCK, 4, 2)")
    b.fails("EAGAIN", "ofd(fd, 37, fcntl.F_RDLCK, 3, 1)")
    assert b(get.format(0, 2)) == [1, 0, 0, 4]  # F_WRLCK, SEEK_SET
    assert b(get.format(10, 0)) == [2, 0, 10, 0]  # F_UNLCK, else as asked
    b("give(fd)")
    a("ofd(fd, 37, fcntl.F_WRLCK, 4, 2)")
    assert b(get.format(5, 1)) == [1, 0, 0, 10]
    b.fails("EINVAL", "fcntl.fcntl(fd, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 1))")  # a pid


def test_descriptor_sent_to_another_process(players):
    """A flock goes with the description, by a socket too."""
    a, b, keeper = players(3, "flock")
    a("take(fd)")
    keeper("import socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0to' + str(os.getpid())); s.listen()")
    a(f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0to{keeper.pid}'); "
      "socket.send_fds(s, [b'x'], [fd])")
    assert keeper("(fds := socket.recv_fds(s.accept()[0], 1, 1)[1]) and len(fds)") == 1
    a.kill()
    assert not can(b)
    assert not can(keeper)
    keeper("give(fds[0])")
    wait_until(lambda: can(keeper))
    gets(b)
