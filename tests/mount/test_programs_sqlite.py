"""files/ and SQLite with a rollback journal: fcntl(2) ranges, fsync and unlink, from two mounts."""

import os
import subprocess

import pytest

from programs import DEADLINE

WRITERS = 4
MODES = ["DELETE", "TRUNCATE", "PERSIST"]


def sql(path, text):
    """What the sqlite3 program answers."""
    done = subprocess.run(["sqlite3", "-batch", "-bail", path], input=f".timeout 30000\n{text}\n", capture_output=True,
                          text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def paths(folders):
    return [os.path.join(folder, "data") for folder in folders]


@pytest.fixture
def shells(program, paths):
    """A function that starts n sqlite3 programs, by turns on each mount; each has said `ready`."""
    def make(n, mode="DELETE"):
        started = []
        for i in range(n):
            p = program("sqlite3", "-batch", "-bail", paths[i % 2])
            p.tell(f".timeout 60000\nPRAGMA journal_mode={mode};\n.system echo ready")
            assert (p.says(), p.says()) == (mode.lower(), "ready")
            started.append(p)
        return started
    return make


@pytest.mark.parametrize("mode, rounds", [("DELETE", 50), ("TRUNCATE", 20), ("PERSIST", 20)])
def test_writers(paths, shells, mode, rounds):
    """No addition is lost, and the row that each one writes with it is there too."""
    sql(paths[0], "CREATE TABLE total (n INTEGER); INSERT INTO total VALUES (0); CREATE TABLE log (who, n INTEGER);")
    writers = shells(WRITERS, mode)
    for i, w in enumerate(writers):
        w.tell(f"BEGIN IMMEDIATE; UPDATE total SET n = n + 1; INSERT INTO log SELECT {i}, n FROM total; COMMIT;\n"
               * rounds)
    assert [w.ends(60) for w in writers] == [0] * WRITERS
    n = WRITERS * rounds
    for path in paths:
        assert sql(path, "PRAGMA integrity_check; SELECT n FROM total;") == ["ok", str(n)]
        assert sql(path, "SELECT count(DISTINCT n), min(n), max(n) FROM log;") == [f"{n}|1|{n}"]
        assert sql(path, "SELECT count(*) FROM log GROUP BY who;") == [str(rounds)] * WRITERS


def test_readers_see_what_was_committed(paths, shells):
    """And hold a writer's commit up while they read."""
    sql(paths[0], "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1);")
    writer, reader = shells(2)
    reader.tell("BEGIN; SELECT n FROM t;")
    assert reader.says() == "1"
    writer.tell(".timeout 50\nBEGIN IMMEDIATE; UPDATE t SET n = 2; SELECT n FROM t;")
    assert writer.says() == "2"
    reader.tell("SELECT n FROM t;")
    assert reader.says() == "1"
    reader.tell("COMMIT;\n.system echo done")
    assert reader.says() == "done"
    writer.tell("COMMIT;\n.system echo done")
    assert writer.says() == "done"
    reader.tell("SELECT n FROM t;")
    assert reader.says() == "2"


def test_busy(paths, shells):
    sql(paths[0], "CREATE TABLE t (n INTEGER);")
    a, b = shells(2)
    a.tell("BEGIN EXCLUSIVE;\n.system echo in")
    assert a.says() == "in"
    b.tell(".timeout 50\nSELECT count(*) FROM t;")
    assert b.ends() != 0
    assert a.ends() == 0
    assert sql(paths[1], "SELECT count(*) FROM t;") == ["0"]


@pytest.mark.parametrize("mode", MODES)
def test_killed_in_the_middle(paths, shells, mode):
    """The journal that it leaves is hot: the next one, on the other mount, rolls it back."""
    rows = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 400) " \
           "INSERT INTO t SELECT i, 1, hex(zeroblob(200)) FROM r;"
    sql(paths[0], f"CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, pad TEXT); {rows}")
    with open(paths[0], "rb") as f:
        before = f.read()
    w, = shells(1, mode)
    # With a cache this small the changed pages are in the file before the commit.
    w.tell("PRAGMA cache_size = 5;\nBEGIN IMMEDIATE; UPDATE t SET n = 2, pad = hex(randomblob(200));\n.system echo in")
    assert w.says() == "in"
    w.kill()
    with open(paths[0], "rb") as f:
        assert f.read(len(before)) != before
    journal = paths[1] + "-journal"
    with open(journal, "rb") as f:
        assert f.read(8) == b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
    assert sql(paths[1], "PRAGMA integrity_check; SELECT count(*), sum(n) FROM t;") == ["ok", "400|400"]
    assert sql(paths[0], "PRAGMA integrity_check; SELECT count(*), sum(n) FROM t;") == ["ok", "400|400"]
    with open(paths[1], "rb") as f:
        assert f.read() == before
    for path in paths:
        assert not os.path.exists(path + "-journal")


@pytest.mark.mount_only
def test_no_room(paths):
    """A mount's max_value is SQLite's disk that is full: the transaction fails, what was there stays."""
    sql(paths[0], "CREATE TABLE t (b BLOB); INSERT INTO t VALUES (zeroblob(1000));")
    done = subprocess.run(["sqlite3", "-batch", "-bail", paths[0], "INSERT INTO t VALUES (zeroblob(3000000));"],
                          capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode != 0 and done.stderr
    for path in paths:
        assert sql(path, "PRAGMA integrity_check; SELECT sum(length(b)) FROM t;") == ["ok", "1000"]
