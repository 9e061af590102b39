"""Many holders: what is shown stays complete, and a look at them holds up nobody for long."""

import fcntl
import os
import subprocess
import sys
import time

import pytest

from lockclient import wait_until

HOLD = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
fds = [os.open(f"{sys.argv[1]}/n{i}", os.O_RDONLY) for i in range(int(sys.argv[2]))]
print(len(fds), flush=True)
sys.stdin.readline()
"""


class Holder:
    """Another process that holds n locks."""

    def __init__(self, mount, n):
        self.proc = subprocess.Popen([sys.executable, "-c", HOLD, mount.path("locks"), str(n)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.proc.stdout.readline() == f"{n}\n"

    def end(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()


@pytest.fixture
def hold(watched):
    def make(mount, n):
        watched["clients"].append(Holder(mount, n))
        return watched["clients"][-1].proc
    return make


def test_all_of_them_are_seen_by_another_mount(mounts, hold, client):
    """More than mounts tell each other in one piece."""
    one, other = mounts(), mounts()
    p = hold(one, 700)
    waiter = client().open(one.lock("n7"))
    one.wait_waiting("n7", waiter)
    names = sorted(f"n{i}" for i in range(700))
    assert sorted(os.listdir(other.path("locks"))) == names
    assert sorted(os.listdir(other.path("holders/locks"))) == names
    status = other.status_json()
    assert not status["partial"]
    assert sorted(h["name"] for h in status["holders"]) == names
    assert {h["pid"] for h in status["holders"]} == {p.pid}
    assert [(w["name"], w["pid"]) for w in status["waiters"]] == [("n7", waiter.pid)]


@pytest.mark.file_only
def test_a_program_outside_that_has_given_it_up_is_not_shown(mount, hold, client):
    """Though the list that has it is used for a while."""
    hold(mount, 2500)
    c = client()
    mount.put("job", b"value")
    for _ in range(20):
        with open(os.path.join(mount.dir, "locks/job"), "rb") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            c.open(mount.lock("job"))
            mount.wait_waiting("job", c)
            wait_until(lambda: mount.holder_pids("job") == [os.getpid()])
        fd = c.wait()
        assert mount.holder_pids("job") == [c.pid]
        c.close(fd)


@pytest.mark.file_only
def test_a_program_outside_is_found_among_them(mount, hold):
    """Their flocks make the kernel's list so long that it is read beside the loop."""
    hold(mount, 2500)
    mount.put("job", b"value")
    path = os.path.join(mount.dir, "locks/job")
    with subprocess.Popen(["flock", path, "cat"], stdin=subprocess.PIPE) as p:
        wait_until(lambda: len(mount.holders("job")) == 1)
        wait_until(lambda: mount.xattr("locks/job", "mode") == "exclusive")
        assert "job" in os.listdir(mount.path("holders/locks"))
        p.stdin.close()
        p.wait(20)
    wait_until(lambda: mount.xattr("locks/job", "mode") == "free")
    # What the list says of a file that has gone since is not said of the one that got its inode.
    for i in range(30):
        gone = os.path.join(mount.dir, "locks/.gone")
        with open(gone, "wb") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            time.sleep(0.05)  # the list is read anew then, and used for as long as reading takes four times
            mount.xattr("locks/job", "mode")
            os.unlink(gone)
        fd = os.open(mount.lock(f"new{i}"), os.O_RDWR)
        assert mount.xattr(f"locks/new{i}", "holders") == "1"
        os.close(fd)
    # A look that is under way when the server ends is no reason not to end.
    with subprocess.Popen(["sh", "-c", f"while cat {mount.path('status')}; do :; done"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL):
        assert mount.terminate() == 0
