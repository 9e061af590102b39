"""Fixtures: a work folder, mounts, clients; each test leaves nothing behind."""

import faulthandler
import os
import shutil
import subprocess
import sys
import tempfile
import threading

import pytest

SUPPORT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support")
sys.path.insert(0, SUPPORT)

from lockclient import Client  # noqa: E402
from programs import Console, Program  # noqa: E402
from redisserver import RedisServer  # noqa: E402
from plockmount import PLOCKFS, Mount, become_subreaper, mountinfo, sanitizer_logs, unmount_lazily  # noqa: E402

TEST_DEADLINE = 90.0
# "file", or "redis": where the mounts of tests that do not say otherwise have their locks.
BACKEND = os.environ.get("PLOCKFS_TEST_BACKEND", "file")
# PLOCKFS_TEST_PLAIN=1 runs the same foreign programs in a plain folder, to check the tests themselves.
PLAIN = os.environ.get("PLOCKFS_TEST_PLAIN") == "1"
REDIS_TTL_MS = 4000


def pytest_configure(config):
    config.addinivalue_line("markers", "file_only: about the file backend: looks into DIR, or runs programs there")
    config.addinivalue_line("markers", "mount_only: about what a plain folder has not")


def pytest_collection_modifyitems(config, items):
    """What is about the file backend is not run, rather than skipped, on the other one; likewise in a plain folder."""
    marks = (["file_only"] if BACKEND != "file" else []) + (["mount_only"] if PLAIN else [])
    mine = [i for i in items if not any(i.get_closest_marker(m) for m in marks)]
    config.hook.pytest_deselected(items=[i for i in items if i not in mine])
    items[:] = mine


def pytest_sessionstart(session):
    del session
    if os.geteuid() != 0:
        pytest.exit("the mount tests must run as root", 77)
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.exit("no /dev/fuse here", 77)
    if not os.access(PLOCKFS, os.X_OK):
        pytest.exit(f"not built: {PLOCKFS}", 1)
    become_subreaper()


@pytest.fixture(scope="session")
def client_program():
    folder = tempfile.mkdtemp(prefix="plockfs-client-")
    os.chmod(folder, 0o755)
    program = os.path.join(folder, "lock_client")
    subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread", "-o", program,
                    os.path.join(SUPPORT, "lock_client.c")], check=True)
    yield program
    shutil.rmtree(folder)


@pytest.fixture
def work():
    """A folder that other users can reach, unlike tmp_path."""
    folder = tempfile.mkdtemp(prefix="plockfs-test-")
    os.chmod(folder, 0o755)
    yield folder
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        below = [line.split()[4] for line in f if line.split()[4].startswith(folder + "/")]
    for path in reversed(below):
        unmount_lazily(path)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server():
    server = RedisServer().start()
    yield server
    server.end()


@pytest.fixture
def redis_source(redis_server):
    """(source, options) of a prefix of the test's own."""
    prefix = "t" + os.urandom(6).hex()
    redis_server.settle(prefix, REDIS_TTL_MS)
    return redis_server.unix_url(), f"prefix={prefix},ttl={REDIS_TTL_MS}ms"


@pytest.fixture
def watched():
    """Mounts and clients of the test; when it hangs they are killed, so that it fails instead."""
    things = {"mounts": [], "clients": [], "hung": False}

    def expire():
        things["hung"] = True
        faulthandler.dump_traceback(sys.__stderr__)
        for c in things["clients"]:
            c.proc.kill()
        for m in things["mounts"]:
            if m.pid:
                os.kill(m.pid, 9)

    timer = threading.Timer(TEST_DEADLINE, expire)
    timer.daemon = True
    timer.start()
    yield things
    timer.cancel()


@pytest.fixture
def mounts(work, watched, request):
    """A function that starts a mount: of work/dir (or a Redis prefix) on work/mnt, work/mnt2, ... unless told otherwise."""
    before = set(sanitizer_logs())

    def make(source="", mnt=None, opts="", start=True, **more):
        n = len(watched["mounts"]) + 1
        if source == "" and BACKEND == "redis":
            source, redis_opts = request.getfixturevalue("redis_source")
            opts = ",".join(o for o in (redis_opts, opts) if o)
        elif source == "":
            source = os.path.join(work, "dir")
            os.makedirs(source, mode=0o711, exist_ok=True)
        if mnt is None:
            mnt = os.path.join(work, "mnt" if n == 1 else f"mnt{n}")
        m = Mount(source, mnt, opts, log=os.path.join(work, f"log{n}"), **more)
        watched["mounts"].append(m)
        return m.start() if start else m

    yield make
    for c in watched["clients"]:
        c.end()
    wrong = [w for w in (m.clean_up() for m in reversed(watched["mounts"])) if w]
    wrong += [f"{path}:\n{text[:6000]}" for path, text in sanitizer_logs().items() if path not in before]
    wrong += [f"still mounted: {m.mnt}" for m in watched["mounts"] if mountinfo(m.mnt)]
    if watched["hung"]:
        wrong.append(f"hung for {TEST_DEADLINE} s")
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def mount(mounts):
    return mounts()


@pytest.fixture
def shared_mount(mounts):
    """A mount where other users may lock."""
    return mounts(opts="allow_other,umask=000")


@pytest.fixture
def client(client_program, watched):
    """A function that starts a client process."""
    def make(**how):
        c = Client(client_program, **how)
        watched["clients"].append(c)
        return c
    yield make
    for c in watched["clients"]:
        c.end()


@pytest.fixture
def clients(client):
    """A function that starts n client processes."""
    return lambda n, **how: [client(**how) for _ in range(n)]


@pytest.fixture
def folders(request, work):
    """files/ of two mounts of one store, for programs that lock files."""
    if PLAIN:
        return [work, work]
    make = request.getfixturevalue("mounts")
    # A program that is setgid is another user for FUSE.
    return [make(opts="allow_other").path("files") for _ in range(2)]


@pytest.fixture
def program():
    """A function that starts a foreign program."""
    started = []

    def make(*argv, **how):
        started.append(Program(*argv, **how))
        return started[-1]
    yield make
    for p in started:
        p.end()


@pytest.fixture
def consoles(folders):
    """A function that starts n Pythons to be told what to do, each with `path` in one of the folders by turns."""
    started = []

    def make(n, name="job", **names):
        new = [Console(path=os.path.join(folders[i % 2], name), folder=folders[i % 2], **names) for i in range(n)]
        started.extend(new)
        return new
    yield make
    for c in started:
        c.end()
