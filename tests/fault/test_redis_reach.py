"""Ways to a server that are slow, wrong or closed, and what a mount shows and does meanwhile."""

import os
import subprocess
import time

import pytest

from faults import check_lost, entry_of, heals
from lockclient import fails, wait_until
from plockmount import parse_keys, server_env

TTL = 2.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"
SUPPORT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support")


# --- names that resolve slowly ---

@pytest.fixture
def slow_names(work):
    """A function that gives the environment in which the name `slow` takes so long."""
    library = os.path.join(work, "slow_names.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-w", "-o", library, os.path.join(SUPPORT, "slow_names.c"), "-ldl"],
                   check=True)
    return lambda seconds: {"LD_PRELOAD": library, "SLOW_NAMES": str(int(seconds * 1000))}


@pytest.mark.parametrize("seconds", [0.5, 3.0, 7.0])
def test_slow_name(server, mounts, clients, slow_names, seconds):
    """The loop goes on meanwhile; what takes longer than an attempt counts for the next one."""
    m = mounts(f"redis://slow:{server.port}", opts=OPTS + ",unavailable=1s,nofail", env=slow_names(seconds), start=False)
    started = time.monotonic()
    m.start()
    a, = clients(1)
    longest = 0.0

    def works():
        nonlocal longest
        for path in ("status", "metrics"):
            begun = time.monotonic()
            assert m.read(path)
            longest = max(longest, time.monotonic() - begun)
        try:
            return (a.hold(m.lock("job")),)
        except OSError as e:
            assert e.strerror == os.strerror(112)
            return None
    fd, = wait_until(works, 25.0)
    assert time.monotonic() - started < seconds + 5.0
    assert longest < 0.5, longest
    a.close(fd)
    # And again, when the connection was lost.
    server.cli("CLIENT", "KILL", "TYPE", "normal")
    fd, = wait_until(works, 25.0)
    a.close(fd)
    assert longest < 0.5, longest


def test_slow_name_at_the_start(server, mounts, slow_names):
    """It says so in time, in one line. (What is left of the program ends when the name is resolved.)"""
    m = mounts(f"redis://slow:{server.port}", opts=OPTS, env=slow_names(8), background=True, start=False)
    os.makedirs(m.mnt)
    started = time.monotonic()
    with open(m.log, "wb") as log:
        code = subprocess.run(m.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=30,
                              env=server_env(**m.env)).returncode
    assert code == 1 and time.monotonic() - started < 5.0
    assert m.log_text().count("\n") == 1 and "redis://slow" in m.log_text()


# --- out of reach ---

def test_what_is_shown_is_marked_as_of_when(server, mounts, clients):
    """And a holder of this mount can still be broken."""
    server.settle("u", 30000)
    m = mounts(server.url(), opts="prefix=u,ttl=30s,unavailable=1s")
    a, b = clients(2)
    fd = a.hold(m.lock("job"))
    b.open(m.lock("job"))
    m.wait_waiting("job", b)
    entry = entry_of(m, a)
    assert "as_of" not in parse_keys(m.read("holders/locks/job", entry))
    assert "known as of" not in m.read("status") and not m.status_json()["partial"]
    server.kill()
    known = time.time()
    wait_until(lambda: "known as of" in m.read("status"))
    assert m.status_json()["partial"]
    for path in (("holders/locks/job", entry), ("waiters/locks/job", m.waiters("job")[0])):
        keys = parse_keys(m.read(*path))
        as_of = time.mktime(time.strptime(keys["as_of"][:19], "%Y-%m-%dT%H:%M:%S"))
        assert abs(as_of - known) < 15, (keys, known)
    os.unlink(m.path("holders/locks/job", entry))
    check_lost(a, fd)
    fails("EHOSTDOWN", os.unlink, m.path("waiters/locks/job", m.waiters("job")[0]))


def test_nofail_and_refused(server, mounts, clients):
    """One that was refused at its start is let in once the reason is gone."""
    first = mounts(server.url(), opts=OPTS)
    m = mounts(server.url(), opts=f"prefix={PREFIX},ttl=3s,unavailable=1s,nofail")
    a, b = clients(2)
    fails("EHOSTDOWN", a.hold, m.lock("job"))
    first.stop_cleanly()

    def works():
        try:
            return (a.hold(m.lock("job")),)
        except OSError:
            return None
    fd, = wait_until(works, 15.0)
    a.close(fd)
    heals(m, m, a, b)
