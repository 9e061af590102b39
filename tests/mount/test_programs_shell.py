"""files/ and the programs that shell scripts lock with: flock(1) in all its forms, dotlockfile(1)."""

import os
import signal

import pytest

from lockclient import wait_until
from programs import code, count_together, foreign, ok

HOLD = "echo held; exec cat"  # until its input ends


@pytest.fixture
def job(folders):
    """The same file in both folders."""
    paths = [os.path.join(folder, "job") for folder in folders]
    with open(paths[0], "wb"):
        pass
    return paths


@pytest.fixture
def holder(program):
    """A function that starts a flock(1) that holds until told."""
    def make(path, *options, script=HOLD):
        p = program("flock", *options, path, "sh", "-c", script)
        assert p.says() == "held"
        return p
    return make


def sh(script, *args):
    return code("sh", "-c", script, "sh", *args)


def waiters(path):
    """What the mount lists; a plain folder has no such list."""
    folder = os.path.join(os.path.dirname(os.path.dirname(path)), "waiters/locks", os.path.basename(path))
    return os.listdir(folder) if os.path.isdir(folder) else []


def test_n(job, holder):
    for here, there in (job, job[::-1]):
        p = holder(here)
        for path in job:
            assert code("flock", "-n", path, "true") == 1
            assert code("flock", "-n", "-s", path, "true") == 1
        assert p.ends() == 0
        assert ok("flock", "-n", here, "true")
        assert ok("flock", "-w", "20", there, "true")


def test_exit_codes(job, holder):
    """-E is for a lock that is not had; else it is the command's."""
    p = holder(job[0])
    for path in job:
        assert code("flock", "-n", "-E", "42", path, "true") == 42
        assert code("flock", "-w", "0.05", "-E", "43", path, "true") == 43
    p.ends()
    for path in job:
        assert code("flock", "-w", "20", "-E", "42", path, "sh", "-c", "exit 7") == 7


def test_s(job, holder):
    a, b = holder(job[0], "-s"), holder(job[1], "-s", "-n")
    for path in job:
        assert not ok("flock", "-n", path, "true")
        assert not ok("flock", "-n", "-x", path, "true")
    a.ends()
    assert not ok("flock", "-n", job[0], "true")
    assert not ok("flock", "-n", job[1], "true")
    b.ends()
    assert ok("flock", "-w", "20", job[0], "true")


def test_w_is_served(job, holder, program):
    p = holder(job[0])
    q = program("flock", "-w", "20", job[1], "echo", "in").waits()
    p.no_more()
    assert q.says() == "in"
    assert q.ends() == p.ends() == 0


def test_w_times_out_and_leaves_nothing(job, holder):
    p = holder(job[0])
    for path in job:
        assert code("flock", "-w", "0.1", path, "true") == 1
        assert waiters(path) == []
    p.ends()
    assert ok("flock", "-w", "20", job[1], "true")
    assert ok("flock", "-w", "20", job[0], "true")


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_killed_while_it_waits(job, holder, program, signum):
    p = holder(job[0])
    waiting = [program("flock", path, "echo", "in").waits() for path in job for _ in range(2)]
    for w in waiting[1:]:
        assert w.kill(signum) == -signum
    left = [waiting[0].pid]
    wait_until(lambda: [int(w.split(":")[2]) for w in waiters(job[0])] in (left, []))
    p.no_more()
    assert waiting[0].says() == "in"
    assert waiting[0].ends() == p.ends() == 0
    assert [w.says() for w in waiting[1:]] == [""] * 3
    for path in job:
        wait_until(lambda path=path: waiters(path) == [])
        assert ok("flock", "-w", "20", path, "true")


def test_killed_while_it_holds(job, holder, program):
    p = holder(job[0], "--no-fork")
    q = program("flock", job[1], "echo", "in").waits()
    p.kill()
    assert q.says() == "in"
    assert q.ends() == 0


def test_command_outlives_flock(job, holder, program):
    """The command inherits the descriptor: killing flock(1) itself gives nothing back."""
    p = holder(job[0])
    q = program("flock", job[1], "echo", "in").waits()
    p.kill()
    assert not ok("flock", "-n", job[0], "true")
    assert not q.answered()
    p.no_more()
    assert q.says() == "in"


@pytest.mark.parametrize("option, kept", [(None, True), ("-o", False)])
def test_o(job, holder, option, kept):
    """What the command leaves behind keeps the lock, unless -o closed the descriptor for it."""
    behind = "exec 7<&0; { echo held; cat; } <&7 & exit 0"
    p = holder(job[0], *([option] if option else []), script=behind)
    p.proc.wait(20)
    assert ok("flock", "-w", "0.2" if kept else "20", job[0], "true") != kept
    assert ok("flock", "-w", "0.2" if kept else "20", job[1], "true") != kept
    p.no_more()
    assert ok("flock", "-w", "20", job[1], "true")


def test_c(job):
    for path in job:
        assert code("flock", "-w", "20", path, "-c", f"flock -n {job[0]} true || flock -n {job[1]} true || exit 5") == 5
        assert code("flock", "-w", "20", path, "-c", "exit 6") == 6


def test_descriptor(job):
    """flock 9 ... 9>file, with -n, -u, and once more on the same description."""
    script = """
        exec 9>"$1"
        flock -n 9 || exit 10
        flock -n 9 || exit 11
        flock -n "$1" true && exit 12
        flock -n "$2" true && exit 13
        flock -u 9 || exit 14
        flock -n "$1" true || exit 15
        flock -n "$2" true || exit 16
        flock -n 9 || exit 17
        exec 8>"$2"
        flock -n 8 && exit 18
        exec 9>&-
        flock -w 20 8 || exit 19
        (flock -n 8) || exit 20
        exec 7>"$1"
        flock -n 7 && exit 21
        exit 0
    """
    assert sh(script, *job) == 0
    assert sh(script, *job[::-1]) == 0


def test_conversions(job):
    script = """
        exec 8<"$1" 9<"$2"
        flock -s 8 && flock -s 9 || exit 10
        flock -n -x 8 && exit 11
        flock -s -n 9 || exit 12
        flock -u 8 || exit 13
        flock -n -x 9 || exit 14
        flock -n -s 8 && exit 15
        flock -s 9 || exit 16
        flock -n -s 8 || exit 17
        exit 0
    """
    assert sh(script, *job) == 0
    assert sh(script, *job[::-1]) == 0


def test_creates_the_file(folders):
    for i, folder in enumerate(folders):
        path = os.path.join(folder, f"new{i}")
        assert ok("flock", "-n", path, "test", "-f", path)
        assert os.path.isfile(os.path.join(folders[1 - i], f"new{i}"))


def test_counter(folders, program):
    count_together(program, folders, lambda folder, n: ["sh", foreign("counter.sh"), os.path.join(folder, "counter"), n],
                   rounds=15)


def test_read_only_descriptor(job):
    """flock(2) does not care how the file was opened."""
    script = "flock -n 9 || exit 10; flock -n \"$2\" true && exit 11; exit 0"
    assert sh(f"{{ {script}; }} 9<\"$1\"", *job) == 0


# --- dotlockfile(1): a file of its own, link(2), nlink ---

def test_dotlockfile(folders):
    here, there = (os.path.join(folder, "mbox.lock") for folder in folders)
    assert ok("dotlockfile", "-l", "-r", "0", "-p", here)
    assert not ok("dotlockfile", "-l", "-r", "0", there)
    assert not ok("dotlockfile", "-l", "-r", "0", here)
    assert os.listdir(folders[1]) == ["mbox.lock"]  # of the attempts nothing is left
    assert ok("dotlockfile", "-t", there)  # touch
    assert ok("dotlockfile", "-u", there)
    assert os.listdir(folders[0]) == []
    assert ok("dotlockfile", "-l", "-r", "0", there)
    assert not ok("dotlockfile", "-l", "-r", "0", here)
    assert ok("dotlockfile", "-u", here)


def test_dotlockfile_runs_a_command(folders, program):
    here, there = (os.path.join(folder, "mbox.lock") for folder in folders)
    script = f"test -f {there} && echo locked; dotlockfile -l -r 0 {there} || echo busy"
    p = program("dotlockfile", "-l", "-r", "0", here, "sh", "-c", script)
    assert (p.says(), p.says()) == ("locked", "busy")
    assert p.ends() == 0
    assert os.listdir(folders[1]) == []
