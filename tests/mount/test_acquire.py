"""A3: who gets a lock, when, and what ends a wait."""

import os
import select
import signal
import struct
import subprocess
import time
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN

import pytest

from lockclient import fails, wait_until

SHARED = "with/shared/locks"


def shared(mount, name="job"):
    return mount.path(SHARED, name)


# --- exclusion and order ---

@pytest.mark.parametrize("first", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
@pytest.mark.parametrize("second", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
def test_every_access_mode_is_exclusive(mount, clients, first, second):
    a, b = clients(2)
    fd = a.hold(mount.lock("job"), first)
    fails("EAGAIN", b.hold, mount.lock("job"), second | os.O_NONBLOCK)
    b.open(mount.lock("job"), second)
    mount.wait_waiting("job", b)
    a.close(fd)
    b.wait()
    assert mount.holder_pids("job") == [b.pid]


@pytest.mark.parametrize("flags", [os.O_CREAT, os.O_CREAT | os.O_TRUNC, os.O_APPEND])
def test_flags_of_plain_programs(mount, clients, flags):
    a, b = clients(2)
    a.hold(mount.lock("job"), os.O_RDWR | flags)
    fails("EAGAIN", b.hold, mount.path("with/try/locks/job"), os.O_RDWR | flags)


def test_o_excl_fails_closed(mount, client):
    fails("EEXIST", client().hold, mount.lock("job"), os.O_RDWR | os.O_CREAT | os.O_EXCL)


def test_locks_do_not_disturb_each_other(mount, clients):
    a, b, c = clients(3)
    a.hold(mount.lock("one"))
    b.open(mount.lock("one"))
    mount.wait_waiting("one", b)
    c.close(c.hold(mount.lock("two")))


def test_fifo_of_20(mount, client, clients):
    first, queue = client(), clients(20)
    fd, holder = first.hold(mount.lock("job")), first
    for i, c in enumerate(queue):
        c.open(mount.lock("job"))
        mount.wait_waiting("job", *queue[:i + 1])
    for i, c in enumerate(queue):
        holder.close(fd)
        fd, holder = c.wait(), c
        assert mount.holder_pids("job") == [c.pid]
        mount.wait_waiting("job", *queue[i + 1:])


def test_shared_holders_are_together(mount, clients):
    a, b, c = clients(3)
    a.hold(shared(mount), os.O_RDONLY)
    b.hold(shared(mount), os.O_RDONLY)
    assert mount.holder_pids("job") == sorted([a.pid, b.pid])
    fails("EAGAIN", c.hold, mount.path("with/try/job"))


def test_shared_batch_enters_together(mount, clients):
    writer, r1, r2, r3, writer2, r4 = clients(6)
    fd = writer.hold(mount.lock("job"))
    queue = []
    for c in (r1, r2, r3, writer2, r4):
        c.open(mount.lock("job") if c is writer2 else shared(mount), os.O_RDONLY)
        queue.append(c)
        mount.wait_waiting("job", *queue)
    writer.close(fd)
    fds = [r.wait() for r in (r1, r2, r3)]
    assert mount.holder_pids("job") == sorted(r.pid for r in (r1, r2, r3))
    mount.wait_waiting("job", writer2, r4)
    for r, fd in zip((r1, r2, r3), fds):
        assert not writer2.answered()
        r.close(fd)
    fd = writer2.wait()
    assert mount.holder_pids("job") == [writer2.pid]
    writer2.close(fd)
    r4.wait()


def test_writer_is_not_starved_by_readers(mount, client, clients):
    """Each reader overlaps the one before: without a queue the writer would wait for ever."""
    writer, readers = client(), clients(6)
    fd = readers[0].hold(shared(mount), os.O_RDONLY)
    writer.open(mount.lock("job"))
    mount.wait_waiting("job", writer)
    fails("EAGAIN", readers[1].hold, mount.path("with/try,shared/job"), os.O_RDONLY)
    for i, r in enumerate(readers[1:], 1):
        r.open(shared(mount), os.O_RDONLY)
        mount.wait_waiting("job", writer, *readers[1:i + 1])
    readers[0].close(fd)
    fd = writer.wait()
    assert mount.holder_pids("job") == [writer.pid]
    writer.close(fd)
    for r in readers[1:]:
        r.wait()


def test_waiter_that_leaves_lets_those_behind_it_in(mount, clients):
    """A reader behind a writer behind a reader: the writer gives up, the reader enters at once."""
    r1, writer, r2 = clients(3)
    r1.hold(shared(mount), os.O_RDONLY)
    writer.open(mount.lock("job"))
    mount.wait_waiting("job", writer)
    r2.open(shared(mount), os.O_RDONLY)
    mount.wait_waiting("job", writer, r2)
    writer.kill()
    r2.wait()
    assert mount.holder_pids("job") == sorted([r1.pid, r2.pid])


# --- not waiting, or not for ever ---

@pytest.mark.parametrize("how", ["O_NONBLOCK", "with/try"])
def test_try(mount, clients, how):
    a, b, c = clients(3)
    path = mount.path("with/try/locks/job") if how == "with/try" else mount.lock("job")
    flags = os.O_RDWR | (os.O_NONBLOCK if how == "O_NONBLOCK" else 0)
    fd = a.hold(path, flags)
    fails("EAGAIN", b.hold, path, flags)
    assert mount.waiters("job") == []
    # Also when not held, but waited for.
    c.open(mount.lock("job"))
    mount.wait_waiting("job", c)
    fails("EAGAIN", b.hold, path, flags)
    a.close(fd)
    c.close(c.wait())
    b.close(b.hold(path, flags))


@pytest.mark.parametrize("opts, least", [("timeout=300ms", 0.3), ("timeout=0.2", 0.2), ("timeout=1s", 1.0),
                                         ("timeout=0", 0.0), ("shared,timeout=100ms", 0.1)])
def test_with_timeout(mount, clients, opts, least):
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    start = time.monotonic()
    fails("ETIMEDOUT", b.hold, mount.path("with", opts, "job"), os.O_RDONLY)
    took = time.monotonic() - start
    assert least <= took < least + 2
    assert mount.waiters("job") == []
    a.close(fd)
    b.close(b.hold(mount.path("with", opts, "job"), os.O_RDONLY))


def test_timeout_that_is_not_reached(mount, clients):
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    b.open(mount.path("with/timeout=1h/job"))
    mount.wait_waiting("job", b)
    a.close(fd)
    b.wait()


def test_mount_option_timeout(mounts, clients):
    m = mounts(opts="timeout=200ms")
    a, b = clients(2)
    a.hold(m.lock("job"))
    fails("ETIMEDOUT", b.hold, m.lock("job"))
    # Said nearer to the open, it counts more.
    b.open(m.path("with/timeout=1h/job"))
    start = time.monotonic()
    m.wait_waiting("job", b)
    assert not b.answered(timeout=max(0.0, start + 0.5 - time.monotonic()))


# --- interrupts ---

def test_signal_interrupts_a_wait(mount, clients):
    a, b, c = clients(3)
    fd = a.hold(mount.lock("job"))
    b.catch(signal.SIGUSR1)
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    c.open(mount.lock("job"))
    mount.wait_waiting("job", b, c)
    b.send(signal.SIGUSR1)
    fails("EINTR", b.wait)
    mount.wait_waiting("job", c)
    a.close(fd)
    c.close(c.wait())
    assert mount.holders("job") == mount.waiters("job") == []
    assert b.signals(signal.SIGUSR1) == 1
    b.hold(mount.path("with/try/job"))


def test_sigkill_of_a_waiter(mount, clients):
    a, b, c = clients(3)
    fd = a.hold(mount.lock("job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    c.open(mount.lock("job"))
    mount.wait_waiting("job", b, c)
    b.kill()
    mount.wait_waiting("job", c)
    a.close(fd)
    c.wait()
    assert mount.holder_pids("job") == [c.pid]


def test_sigkill_of_a_holder(mount, clients):
    a, b = clients(2)
    a.hold(mount.lock("job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    a.kill()
    b.wait()
    assert mount.holder_pids("job") == [b.pid]


def test_interrupt_racing_with_the_grant_leaks_nothing(mount, clients):
    a, b = clients(2)
    b.catch(signal.SIGUSR1)
    for i in range(150):
        fd = a.hold(mount.path("with/timeout=10s/job"))
        b.open(mount.lock("job"))
        wait_until(lambda: mount.waiters("job"))
        if i % 2:
            b.send(signal.SIGUSR1)
            a.close(fd)
        else:
            a.start("close", fd)
            b.send(signal.SIGUSR1)
            a.wait()
        try:
            b.close(b.wait())
        except InterruptedError:
            pass
        assert mount.waiters("job") == []
    a.close(a.hold(mount.path("with/try/job")))


def test_kill_racing_with_the_grant_leaks_nothing(mount, client):
    a = client()
    for _ in range(25):
        fd = a.hold(mount.path("with/timeout=10s/job"))
        b = client()
        b.open(mount.lock("job"))
        mount.wait_waiting("job", b)
        a.start("close", fd)
        b.kill()
        a.wait()
    a.close(a.hold(mount.path("with/timeout=10s/job")))
    assert mount.holders("job") == mount.waiters("job") == []


# --- one open file description is one hold ---

def test_dup_keeps_the_hold(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    other = c.dup(fd)
    c.close(fd)
    assert not mount.can_lock("job")
    assert c.read(other) == b""
    c.close(other)
    assert mount.can_lock("job")


def test_fork_keeps_the_hold(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    child = c.fork()
    c.close(fd)
    assert not mount.can_lock("job")
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: mount.can_lock("job"), what="the child's end frees it")


def test_child_outlives_the_opener(mount, client):
    c = client()
    c.hold(mount.lock("job"))
    child = c.fork()
    c.kill()
    assert not mount.can_lock("job")
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: mount.can_lock("job"), what="the child's end frees it")


def test_exit_without_close_releases(mount, client):
    c = client()
    c.hold(mount.lock("job"))
    c.proc.stdin.close()
    assert c.proc.wait(20) == 0
    assert mount.can_lock("job")


@pytest.mark.parametrize("path", ["with/try/locks/job", "with/try/job", "with/try/sems/pool/1/any"])
def test_after_close_the_next_try_sees_it_free(mount, client, path):
    assert client().spin(mount.path(path), os.O_RDONLY, 2000) == 2000


def test_no_two_holders_under_contention(mount, clients, work):
    contend(mount.lock("job"), clients(4), 150, 1, work)
    contend(mount.lock("job"), clients(3), 100, 1, work)


# --- from a shell ---

class Shell:
    """A shell script that says "in" and goes on when told to."""

    def __init__(self, script, *argv):
        self.proc = subprocess.Popen(["bash", "-c", script, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True, bufsize=0, start_new_session=True)

    def said(self, timeout=20.0):
        ready, _, _ = select.select([self.proc.stdout], [], [], timeout)
        assert ready, "the script is silent"
        return self.proc.stdout.readline().strip()

    def end(self):
        _, err = self.proc.communicate("\n", timeout=20)
        return self.proc.returncode, err


def test_exec_9(mount, client):
    sh = Shell(f"exec 9>{mount.lock('job')}; echo in; read x; exec 9>&-; echo out; read x")
    assert sh.said() == "in"
    assert not mount.can_lock("job")
    sh.proc.stdin.write("\n")
    assert sh.said() == "out"
    assert mount.can_lock("job")
    assert sh.end()[0] == 0


def test_script_with_9(mount, work):
    script = os.path.join(work, "backup.sh")
    with open(script, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\necho in\nread x\n")
    os.chmod(script, 0o755)
    sh = Shell(f"{script} 9>{mount.lock('backup')}")
    assert sh.said() == "in"
    assert not mount.can_lock("backup")
    second = subprocess.run(["bash", "-c", f"{script} 9>{mount.path('with/try/locks/backup')}"], capture_output=True,
                            text=True, timeout=20, stdin=subprocess.DEVNULL, check=False)
    assert second.returncode != 0 and second.stdout == ""
    assert "temporarily unavailable" in second.stderr
    assert sh.end()[0] == 0
    assert mount.can_lock("backup")


@pytest.mark.parametrize("flock", ["flock 9", "flock -n 9", "flock -x -n 9", "flock -n -E 5 9"])
def test_flock_9_scripts(mount, flock):
    sh = Shell(f"( {flock} || exit 1; echo in; read x ) 9>{mount.lock('job')}")
    assert sh.said() == "in"
    assert not mount.can_lock("job")
    assert sh.end() == (0, "")
    assert mount.can_lock("job")


def test_flock_program(mount):
    sh = Shell(f"flock {mount.path('job')} sh -c 'echo in; read x; exit 7'")
    assert sh.said() == "in"
    assert not mount.can_lock("job")
    done = subprocess.run(["flock", "-n", mount.path("with/try/job"), "true"], capture_output=True, timeout=20,
                          check=False)
    assert done.returncode != 0
    assert sh.end()[0] == 7
    assert mount.can_lock("job")


def test_flock_program_shared(mount):
    path = mount.path("with/shared/job")
    one, two = (Shell(f"flock -s {path} sh -c 'echo in; read x'") for _ in range(2))
    assert one.said() == two.said() == "in"
    assert len(mount.holders("job")) == 2
    assert one.end()[0] == two.end()[0] == 0


# --- flock(2) on a handle ---

def test_flock_ex_again_is_free_of_cost(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    token = mount.token("job")
    for op in (LOCK_EX, LOCK_EX | LOCK_NB):
        assert c.flock(fd, op) == 0
    assert mount.token("job") == token


def test_flock_down_and_up(mount, clients):
    a, b, c = clients(3)
    fd = a.hold(mount.lock("job"))
    a.flock(fd, LOCK_SH)
    assert mount.xattr("locks/job", "mode") == "shared"
    other = b.hold(shared(mount), os.O_RDONLY)
    # A try that fails leaves the hold as it was.
    fails("EAGAIN", a.flock, fd, LOCK_EX | LOCK_NB)
    assert mount.holder_pids("job") == sorted([a.pid, b.pid])
    a.start("flock", fd, LOCK_EX)
    wait_until(lambda: a.pid in mount.waiter_pids("job"))
    fails("EAGAIN", c.hold, mount.path("with/try,shared/job"), os.O_RDONLY)
    b.close(other)
    a.wait()
    assert mount.xattr("locks/job", "mode") == "exclusive"
    assert mount.holder_pids("job") == [a.pid]


def test_flock_down_lets_waiting_readers_in(mount, clients):
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    b.open(shared(mount), os.O_RDONLY)
    mount.wait_waiting("job", b)
    a.flock(fd, LOCK_SH)
    b.wait()
    assert mount.holder_pids("job") == sorted([a.pid, b.pid])


def test_flock_un_gives_back_early(mount, clients):
    a, b = clients(2)
    mount.put("job", b"old")
    fd = a.hold(mount.lock("job"))
    a.flock(fd, LOCK_UN)
    assert mount.holders("job") == []
    held = b.hold(mount.path("with/try/job"))
    fails("EBUSY", a.write, fd, b"x")
    fails("EAGAIN", a.flock, fd, LOCK_EX | LOCK_NB)
    a.start("flock", fd, LOCK_EX)
    mount.wait_waiting("job", a)
    b.close(held)
    a.wait()
    assert a.read(fd, 10, 0) == b"old"
    a.flock(fd, LOCK_UN)
    a.flock(fd, LOCK_UN)
    assert a.close(fd) == 0


def test_two_processes_wish_to_convert_up(mount, clients):
    """flock(2) gives up the old hold before it waits, so both get it, one after the other."""
    a, b = clients(2)
    fds = {c: c.hold(shared(mount), os.O_RDONLY) for c in (a, b)}
    a.start("flock", fds[a], LOCK_EX)
    wait_until(lambda: a.pid in mount.waiter_pids("job"))
    b.start("flock", fds[b], LOCK_EX)
    first = wait_until(lambda: next((c for c in (a, b) if c.answered()), None), what="one of the two")
    second = b if first is a else a
    first.wait()
    mount.wait_waiting("job", second)
    mount.wait_holding("job", first)
    assert not second.answered()
    first.close(fds[first])
    second.wait()
    mount.wait_holding("job", second)


def test_flock_interrupted(mount, clients):
    a, b = clients(2)
    a.catch(signal.SIGUSR1)
    fd = a.hold(shared(mount), os.O_RDONLY)
    b.hold(shared(mount), os.O_RDONLY)
    a.start("flock", fd, LOCK_EX)
    wait_until(lambda: a.pid in mount.waiter_pids("job"))
    a.send(signal.SIGUSR1)
    fails("EINTR", a.wait)
    assert mount.waiters("job") == []
    assert a.close(fd) == 0


# --- waits that could never end ---

def test_single_threaded_process_waits_for_itself(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    fails("EDEADLK", c.hold, mount.lock("job"))
    fails("EDEADLK", c.hold, shared(mount), os.O_RDONLY)
    fails("EAGAIN", c.hold, mount.path("with/try/job"))
    assert mount.waiters("job") == []
    c.close(fd)
    c.close(c.hold(mount.lock("job")))


def test_process_waits_for_its_own_slots(mount, client):
    c = client()
    c.hold(mount.path("sems/pool/2/any"), os.O_RDONLY)
    c.hold(mount.path("sems/pool/2/any"), os.O_RDONLY)
    fails("EDEADLK", c.hold, mount.path("sems/pool/2/any"), os.O_RDONLY)
    c.hold(mount.path("sems/pool/3/any"), os.O_RDONLY)


def test_cycle_of_two(mount, clients):
    a, b = clients(2)
    a.hold(mount.lock("x"))
    fd = b.hold(mount.lock("y"))
    a.open(mount.lock("y"))
    mount.wait_waiting("y", a)
    fails("EDEADLK", b.hold, mount.lock("x"))
    b.close(fd)
    a.wait()


def test_cycle_of_three(mount, clients):
    a, b, c = clients(3)
    names = {a: "x", b: "y", c: "z"}
    for one, name in names.items():
        one.hold(mount.lock(name))
    a.open(mount.lock("y"))
    mount.wait_waiting("y", a)
    b.open(mount.lock("z"))
    mount.wait_waiting("z", b)
    fails("EDEADLK", c.hold, mount.lock("x"))
    c.kill()
    b.wait()


def test_chain_without_cycle(mount, clients):
    a, b, c = clients(3)
    a.hold(mount.lock("x"))
    b.hold(mount.lock("y"))
    b.open(mount.lock("x"))
    mount.wait_waiting("x", b)
    c.open(mount.lock("y"))
    mount.wait_waiting("y", c)


def test_no_false_deadlock_when_a_child_has_the_descriptor(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    child = c.fork()
    c.close(fd)
    c.open(mount.lock("job"))
    mount.wait_waiting("job", c)
    os.kill(child, signal.SIGTERM)
    c.wait()


def test_no_false_deadlock_in_a_process_with_threads(mount, client):
    c = client()
    c.call("thread")
    fd = c.hold(mount.lock("job"))
    c.call("spawn", "open", mount.lock("job").encode().hex(), os.O_RDWR)
    mount.wait_waiting("job", c)
    c.close(fd)
    assert c.call("join")[0] >= 0


def test_no_false_deadlock_with_a_timeout(mount, clients):
    """A waiter that gives up by itself is no part of a cycle."""
    a, b = clients(2)
    a.hold(mount.lock("x"))
    fd = b.hold(mount.lock("y"))
    a.open(mount.path("with/timeout=1500ms/locks/y"))
    mount.wait_waiting("y", a)
    b.open(mount.path("with/timeout=20s/locks/x"))
    mount.wait_waiting("x", b)
    fails("ETIMEDOUT", a.wait)
    a.kill()
    b.wait()
    b.close(fd)


# --- poll ---

def test_poll_tells_that_someone_waits(mount, clients):
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    assert a.poll(fd, select.POLLPRI | select.POLLIN, 0) & select.POLLPRI == 0
    a.start("poll", fd, select.POLLPRI, 15000)
    b.open(mount.lock("job"))
    assert a.wait() & select.POLLPRI
    b.kill()
    wait_until(lambda: a.poll(fd, select.POLLPRI, 0) == 0, what="nobody waits any more")
    assert a.close(fd) == 0


# --- semaphores ---

def slot(c, fd):
    return int(c.read(fd, 16))


def test_semaphore_counts(mount, clients):
    a, b, c, d = clients(4)
    path = mount.path("sems/pool/3/any")
    fds = [x.hold(path, os.O_RDONLY) for x in (a, b, c)]
    assert sorted(slot(x, fd) for x, fd in zip((a, b, c), fds)) == [0, 1, 2]
    fails("EAGAIN", d.hold, mount.path("with/try/sems/pool/3/any"), os.O_RDONLY)
    d.open(path, os.O_RDONLY)
    mount.wait_waiting("pool", d, kind="sems")
    freed = slot_of(mount, b)
    b.close(fds[1])
    assert slot(d, d.wait()) == freed
    assert sorted(os.listdir(mount.path("sems/pool/3"))) == ["0", "1", "2"]


def slot_of(mount, c, name="pool"):
    entry = next(h for h in mount.holders(name, "sems") if h.split(":")[1] == str(c.pid))
    return int(mount.holder(name, entry, "sems")["slot"])


def test_bounds_3_and_5_on_one_name(mount, clients):
    cs = clients(8)
    for c in cs[:3]:
        c.hold(mount.path("sems/pool/3/any"), os.O_RDONLY)
    fails("EAGAIN", cs[3].hold, mount.path("with/try/sems/pool/3/any"), os.O_RDONLY)
    fds = {c: c.hold(mount.path("with/try/sems/pool/5/any"), os.O_RDONLY) for c in cs[3:5]}
    assert sorted(slot(c, fd) for c, fd in fds.items()) == [3, 4]
    fails("EAGAIN", cs[5].hold, mount.path("with/try/sems/pool/5/any"), os.O_RDONLY)
    # One waits for 0..2, one behind it for 0..4: a free slot 3 is only for the second.
    cs[5].open(mount.path("sems/pool/3/any"), os.O_RDONLY)
    mount.wait_waiting("pool", cs[5], kind="sems")
    cs[6].open(mount.path("sems/pool/5/any"), os.O_RDONLY)
    mount.wait_waiting("pool", cs[5], cs[6], kind="sems")
    freed = slot_of(mount, cs[3])
    cs[3].close(fds[cs[3]])
    assert slot(cs[6], cs[6].wait()) == freed
    mount.wait_waiting("pool", cs[5], kind="sems")
    cs[0].kill()
    assert slot(cs[5], cs[5].wait()) in (0, 1, 2)


def test_one_slot(mount, clients):
    a, b, c = clients(3)
    fd = a.hold(mount.path("sems/pool/3/1"), os.O_RDONLY)
    assert slot(a, fd) == 1
    fails("EAGAIN", b.hold, mount.path("with/try/sems/pool/3/1"), os.O_RDONLY)
    fails("EAGAIN", b.hold, mount.path("with/try/sems/pool/5/1"), os.O_RDONLY)
    assert sorted(slot(x, x.hold(mount.path("with/try/sems/pool/3/any"), os.O_RDONLY)) for x in (b, c)) == [0, 2]


def test_semaphore_and_lock_of_one_name_are_two_things(mount, clients):
    a, b = clients(2)
    a.hold(mount.path("sems/job/1/any"), os.O_RDONLY)
    b.hold(mount.path("with/try/locks/job"))


@pytest.mark.parametrize("bound", [2, 3])
def test_never_more_than_n_under_contention(mount, clients, work, bound):
    contend(mount.path(f"sems/pool/{bound}/any"), clients(6), 80, bound, work)


def contend(path, clients, times, bound, work):
    shared_ints = os.path.join(work, "ints")
    with open(shared_ints, "wb") as f:
        f.write(bytes(4096))
    for c in clients:
        c.start("contend", path.encode().hex(), os.O_RDONLY, times, shared_ints.encode().hex(), bound)
    for c in clients:
        assert c.wait(timeout=60) == times
    with open(shared_ints, "rb") as f:
        inside, most, violations = struct.unpack("3i", f.read(12))
    assert (inside, violations) == (0, 0)
    assert 1 <= most <= bound
