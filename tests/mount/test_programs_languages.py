"""files/ and programs in other languages, each locking its own way: none of their additions is lost."""

import os
import shutil
import subprocess
import tempfile

import pytest

from programs import count_together, foreign, play

# Of one language: how it is started, before FILE and ROUNDS.
SCRIPTS = {
    "perl flock": ["perl", foreign("counter.pl"), "flock"],
    "perl fcntl": ["perl", foreign("counter.pl"), "fcntl"],
    "ruby": ["ruby", foreign("counter.rb")],
    "lua fcntl": ["lua5.3", foreign("counter.lua")],
    "node mkdir": ["node", foreign("counter.js"), "mkdir"],
    "node O_EXCL": ["node", foreign("counter.js"), "excl"],
}


@pytest.fixture(scope="module")
def compiled():
    """The folder of the programs that are compiled."""
    folder = tempfile.mkdtemp(prefix="plockfs-foreign-")
    subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-o", os.path.join(folder, "records"), foreign("records.c")],
                   check=True)
    env = dict(os.environ, GOCACHE=os.path.join(folder, "cache"), GO111MODULE="off", CGO_ENABLED="0")
    subprocess.run(["go", "build", "-o", os.path.join(folder, "counter"), foreign("counter.go")], check=True, env=env)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("script", SCRIPTS)
def test_script(folders, program, script):
    count_together(program, folders, lambda folder, rounds: [*SCRIPTS[script], os.path.join(folder, "counter"), rounds])


@pytest.mark.parametrize("how", ["flock", "fcntl"])
def test_go(folders, program, compiled, how):
    count_together(program, folders, lambda folder, rounds: [os.path.join(compiled, "counter"), how,
                                                             os.path.join(folder, "counter"), rounds])


def test_c_records(folders, program, compiled):
    """Each record has a lock of its own."""
    paths = [os.path.join(folder, "records") for folder in folders]
    with open(paths[0], "wb") as f:
        f.write(b"0              \n" * 4)
    players = [program(os.path.join(compiled, "records"), paths[i % 2], 20) for i in range(4)]
    play(players)
    for path in paths:
        with open(path, encoding="ascii") as f:
            assert f.read().split() == ["80"] * 4


def test_c_getlk_names_the_holder(folders, program, compiled, consoles):
    a, = consoles(1)
    a("f = open(path, 'wb')")
    a("fcntl.lockf(f, fcntl.LOCK_EX, 16, 16)")

    def holder(start, length, folder=folders[0]):
        return program(os.path.join(compiled, "records"), os.path.join(folder, "job"), "holder", start, length).says()
    assert holder(0, 16) == "free"
    assert holder(0, 17) == str(a.pid)
    assert holder(31, 0) == str(a.pid)
    assert holder(32, 0) == "free"
    # Another mount need not know the pid, but that somebody has it.
    assert holder(0, 16, folders[1]) == "free"
    assert holder(16, 1, folders[1]) in (str(a.pid), "0")
    a("fcntl.lockf(f, fcntl.LOCK_UN)")
    assert holder(0, 0) == "free"
