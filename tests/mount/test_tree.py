"""A2: what is where, and what it shows."""

import json
import os
import re
import stat
import subprocess
import time

import pytest

from lockclient import fails, wait_until

OTHER = 65534  # nobody


# --- names ---

def test_root_shorthand_is_the_same_lock(mount, clients):
    a, b = clients(2)
    fd = a.hold(mount.path("job"))
    fails("EAGAIN", b.hold, mount.path("with/try/locks/job"))
    fails("EAGAIN", b.hold, mount.path("with/try/job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    a.close(fd)
    b.wait()
    assert os.listdir(mount.path("holders/locks")) == ["job"]


def test_reserved_words_are_locks_below_locks(mount, clients):
    a, b = clients(2)
    for word in ("status", "README", "locks", "with", "sems"):
        fd = a.hold(mount.lock(word))
        fails("EAGAIN", b.hold, mount.path("with/try/locks", word))
        a.close(fd)
    assert os.path.isfile(mount.path("status"))
    assert os.path.isdir(mount.path("with"))


def test_root_listing(mount):
    assert {"locks", "sems", "files", "with", "holders", "waiters", "status", "status.json", "metrics",
            "README"} <= set(os.listdir(mount.mnt))


def test_unused_name_resolves_but_is_not_listed(mount):
    st = os.stat(mount.lock("unused"))
    assert stat.S_ISREG(st.st_mode) and st.st_size == 0
    assert os.listdir(mount.path("locks")) == []


def test_listed_when_held_waited_for_or_with_a_value(mount, clients):
    a, b = clients(2)
    mount.put("value", b"v")
    held = a.hold(mount.lock("held"))
    b.open(mount.lock("held"))
    mount.wait_waiting("held", b)
    assert sorted(os.listdir(mount.path("locks"))) == ["held", "value"]
    a.close(held)
    b.close(b.wait())
    assert sorted(os.listdir(mount.path("locks"))) == ["value"]


def test_listing_shows_owner_since_and_size(shared_mount, client):
    c = client(uid=OTHER)
    shared_mount.put("job", b"12345")
    before = time.time()
    fd = c.hold(shared_mount.lock("job"))
    st = os.stat(shared_mount.lock("job"))
    assert (st.st_uid, st.st_gid) == (OTHER, OTHER)
    assert before - 2 <= st.st_mtime <= time.time() + 2
    assert st.st_size == 5
    c.close(fd)
    wait_until(lambda: os.stat(shared_mount.lock("job")).st_uid == 0, what="owner back to the mount's")


@pytest.mark.parametrize("name", [".hidden", ".git", "..."])
def test_leading_dot(mount, client, name):
    for tree in ("locks", "", "with/try/locks", "sems", "files"):
        fails("ENOENT", os.stat, mount.path(tree, name))
    fails("ENOENT|EACCES|EINVAL|EPERM", client().hold, mount.lock(name), os.O_RDWR | os.O_CREAT)


def test_length_of_names(mount, client):
    c = client()
    long = "n" * 255
    c.close(c.hold(mount.lock(long)))
    mount.put(long, b"x")
    assert mount.get(long) == b"x"
    assert os.listdir(mount.path("locks")) == [long]
    fails("ENAMETOOLONG", c.hold, mount.lock(long + "n"))
    fails("ENAMETOOLONG", os.stat, mount.path(long + "n"))


def test_names_in_utf8_and_with_blanks(mount):
    for name in ("été", "a b", "日本", "-x", "a'b\"c", "100%", "a\\b", "n" + "é" * 127):
        mount.put(name, b"x")
        assert name in os.listdir(mount.path("locks"))
        assert mount.get(name) == b"x"


@pytest.mark.parametrize("byte", [b"\n", b"\t", b"\x01", b"\x1f", b"\x7f"])
def test_control_bytes_are_refused(mount, byte):
    path = os.fsencode(mount.path("locks")) + b"/a" + byte + b"b"
    fails("ENOENT|EINVAL", os.stat, path)
    fails("ENOENT|EINVAL|EPERM|EACCES", os.open, path, os.O_RDWR | os.O_CREAT)


# --- namespaces ---

def test_namespace(mount, clients):
    a, b = clients(2)
    os.mkdir(mount.lock("ops"))
    os.mkdir(mount.lock("ops/db"))
    assert os.path.isdir(mount.lock("ops/db"))
    assert os.listdir(mount.lock("ops")) == ["db"]
    fd = a.hold(mount.lock("ops/db/vacuum"))
    fails("EAGAIN", b.hold, mount.path("with/try/locks/ops/db/vacuum"))
    fails("EAGAIN", b.hold, mount.path("with/try/ops/db/vacuum"))
    b.close(b.hold(mount.path("with/try/locks/vacuum")))
    assert os.listdir(mount.lock("ops/db")) == ["vacuum"]
    assert mount.holder_pids("ops/db/vacuum") == [a.pid]
    a.close(fd)


def test_namespace_survives_remount(mount):
    os.mkdir(mount.lock("ops"), 0o750)
    mount.restart()
    st = os.stat(mount.lock("ops"))
    assert stat.S_ISDIR(st.st_mode) and st.st_mode & 0o777 == 0o750


def test_namespace_errors(mount, client):
    os.mkdir(mount.lock("ops"))
    fails("EEXIST", os.mkdir, mount.lock("ops"))
    fails("ENOENT|ENOTDIR", os.stat, mount.lock("missing/job"))
    fails("ENOENT|ENOTDIR", client().hold, mount.lock("missing/job"))
    mount.put("name", b"x")
    fails("EEXIST", os.mkdir, mount.lock("name"))
    fails("ENOTDIR", os.stat, mount.lock("name/below"))
    fails("ENOTDIR", os.rmdir, mount.lock("name"))
    fails("EISDIR", client().hold, mount.lock("ops"))
    fails("EISDIR|EPERM", os.unlink, mount.lock("ops"))


def test_mkdir_of_a_name_that_was_just_looked_at(mount, client):
    """`test -d ns || mkdir ns`: the kernel remembers that the name resolved."""
    c = client()
    c.close(c.hold(mount.lock("ns")))
    done = subprocess.run(["sh", "-c", f"test -d {mount.lock('ns')} || mkdir {mount.lock('ns')}"], timeout=30,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    subprocess.run(["mkdir", "-p", mount.lock("ns/deep/deeper"), mount.lock("ns")], timeout=30, check=True)
    assert os.listdir(mount.lock("ns/deep")) == ["deeper"]
    c.close(c.hold(mount.lock("ns/deep/deeper/job")))


def test_mkdir_of_a_name_that_is_held(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    fails("EEXIST", os.mkdir, mount.lock("job"))
    c.write(fd, b"v")
    assert c.close(fd) == 0
    fails("EEXIST", os.mkdir, mount.lock("job"))


def test_rmdir(mount, client):
    c = client()
    os.mkdir(mount.lock("ops"))
    mount.put("ops/job", b"x")
    fails("ENOTEMPTY", os.rmdir, mount.lock("ops"))
    os.unlink(mount.lock("ops/job"))
    fd = c.hold(mount.lock("ops/job"))
    fails("ENOTEMPTY|EBUSY", os.rmdir, mount.lock("ops"))
    c.close(fd)
    os.rmdir(mount.lock("ops"))
    assert os.listdir(mount.path("locks")) == []
    fails("EPERM|EBUSY|EACCES|ENOTEMPTY", os.rmdir, mount.path("locks"))
    # The name is a lock's again.
    wait_until(lambda: stat.S_ISREG(os.stat(mount.lock("ops")).st_mode), what="ops is a name again")


def test_who_may_lock_in_a_namespace(shared_mount, client):
    m, c = shared_mount, client(uid=OTHER)
    os.mkdir(m.lock("roots"), 0o700)
    os.mkdir(m.lock("open"), 0o755)
    os.chmod(m.lock("open"), 0o777)
    fails("EACCES", c.hold, m.lock("roots/job"))
    fails("EACCES", c.mkdir, m.lock("roots/sub"))
    c.close(c.hold(m.lock("open/job")))
    os.chmod(m.lock("roots"), 0o755)
    fails("EACCES", c.hold, m.lock("roots/job"))
    os.chmod(m.lock("roots"), 0o777)
    c.close(c.hold(m.lock("roots/job")))
    os.chmod(m.lock("roots"), 0o700)
    fails("EACCES", c.hold, m.lock("roots/job"))
    os.chown(m.lock("roots"), OTHER, OTHER)
    c.close(c.hold(m.lock("roots/job")))


def test_who_may_lock_at_the_top(mounts, client):
    m, c = mounts(opts="allow_other,umask=022"), client(uid=OTHER)
    fails("EACCES", c.hold, m.lock("job"))
    fails("EACCES", c.hold, m.path("job"))
    fails("EACCES", c.mkdir, m.lock("ns"))
    c.close(c.hold(m.path("with/shared/job"), os.O_RDONLY))
    m.stop_cleanly()
    m.opts = f"allow_other,umask=077,uid={OTHER},gid={OTHER}"
    m.start()
    c.close(c.hold(m.path("job")))
    fails("EACCES", client(uid=OTHER - 1).hold, m.path("job"))


def test_sharing_needs_only_to_read_the_namespace(shared_mount, client):
    m, c = shared_mount, client(uid=OTHER)
    os.mkdir(m.lock("ns"), 0o755)
    os.chmod(m.lock("ns"), 0o755)
    fails("EACCES", c.hold, m.lock("ns/job"))
    c.close(c.hold(m.path("with/shared/locks/ns/job"), os.O_RDONLY))


def test_chmod_of_anothers_namespace(shared_mount, client):
    m, c = shared_mount, client(uid=OTHER)
    os.mkdir(m.lock("ns"), 0o755)
    done = subprocess.run(["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups", "chmod", "777",
                           m.lock("ns")], capture_output=True, check=False)
    assert done.returncode != 0
    fails("EACCES", c.hold, m.lock("ns/job"))


def test_sticky_namespace(shared_mount, client):
    """As /tmp: everybody makes namespaces there, and takes away only their own."""
    m, one, other = shared_mount, client(uid=OTHER), client(uid=OTHER - 1)
    os.mkdir(m.lock("all"))
    os.chmod(m.lock("all"), 0o1777)
    one.mkdir(m.lock("all/ones"), 0o700)
    other.mkdir(m.lock("all/others"))
    fails("EPERM", other.rmdir, m.lock("all/ones"))
    fails("EPERM", other.rename, m.lock("all/ones"), m.lock("all/mine"))
    fails("EPERM", other.rename, m.lock("all/others"), m.lock("all/ones"))
    one.rename(m.lock("all/ones"), m.lock("all/still"))
    wait_until(lambda: sorted(os.listdir(m.lock("all"))) == ["others", "still"])
    one.rmdir(m.lock("all/still"))
    os.rmdir(m.lock("all/others"))


def test_namespace_of_another_stays_where_it_is(shared_mount, client):
    """Who may not write to it may rename it, as a folder, but not move it elsewhere."""
    m, other = shared_mount, client(uid=OTHER)
    for name in ("here", "there"):
        os.mkdir(m.lock(name))
        os.chmod(m.lock(name), 0o777)
    os.mkdir(m.lock("here/roots"), 0o700)
    fails("EACCES", other.rename, m.lock("here/roots"), m.lock("there/roots"))
    other.rename(m.lock("here/roots"), m.lock("here/renamed"))
    os.rename(m.lock("here/renamed"), m.lock("there/roots"))


# --- semaphores ---

def test_semaphore_tree(mount, client):
    c = client()
    fd = c.hold(mount.path("sems/pool/3/2"), os.O_RDONLY)
    assert os.listdir(mount.path("sems/pool/3")) == ["2"]
    assert os.listdir(mount.path("sems")) == ["pool"]
    c.close(fd)
    assert os.listdir(mount.path("sems/pool/3")) == []
    for bad in ("sems/pool/0", "sems/pool/x", "sems/pool/-1", "sems/pool/03", "sems/pool/3/3", "sems/pool/3/-1",
                "sems/pool/3/all", "sems/pool/99999999999999999999"):
        fails("ENOENT|EINVAL", os.stat, mount.path(bad))
    fails("EISDIR", c.hold, mount.path("sems/pool/3"))


# --- with ---

def test_with_is_the_whole_tree_again(mount):
    mount.put("job", b"x")
    assert "job" in os.listdir(mount.path("with/try/locks"))
    assert os.path.isdir(mount.path("with/shared,timeout=5s/sems/pool/3"))
    assert mount.read("with/try/status").startswith(mount.read("status")[:7])
    assert os.path.isdir(mount.path("with/try/with/shared/locks"))


@pytest.mark.parametrize("opts", ["tries", "timeout", "timeout=", "timeout=x", "timeout=-1", "lost=SIGNOPE", "lost=",
                                  "try,,x", "shared,frob", "try=1"])
def test_with_bad_options(mount, opts):
    fails("EINVAL", os.stat, mount.path("with", opts))
    fails("EINVAL", os.open, mount.path("with", opts, "locks/job"), os.O_RDWR)


# --- holders and waiters ---

HOLDER_KEYS = {"host", "pid", "uid", "gid", "comm", "mode", "since", "held_for", "token"}


def test_holder_file(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    (name,) = mount.holders("job")
    assert name == f"{os.uname().nodename}:{c.pid}"
    info = mount.holder("job", name)
    assert HOLDER_KEYS <= set(info)
    assert info["host"] == os.uname().nodename
    assert (info["pid"], info["uid"], info["gid"]) == (str(c.pid), "0", "0")
    assert (info["comm"], info["mode"]) == ("lock_client", "exclusive")
    assert int(info["token"]) == mount.token("job") > 0
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", info["since"])
    assert re.match(r"\d+(\.\d)?s$", info["held_for"])
    assert os.stat(mount.path("holders/locks/job", name)).st_uid == 0
    c.close(fd)
    assert mount.holders("job") == []


def test_two_holds_of_one_process_have_two_files(mount, client):
    c = client()
    c.hold(mount.path("with/shared/locks/job"), os.O_RDONLY)
    c.hold(mount.path("with/shared/locks/job"), os.O_RDONLY)
    host = os.uname().nodename
    assert mount.holders("job") == [f"{host}:{c.pid}", f"{host}:{c.pid}:2"]
    assert {mount.holder("job", h)["mode"] for h in mount.holders("job")} == {"shared"}


def test_waiter_files(mount, clients):
    a, b, c = clients(3)
    a.hold(mount.lock("job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    c.open(mount.path("with/shared/locks/job"), os.O_RDONLY)
    mount.wait_waiting("job", b, c)
    host = os.uname().nodename
    assert mount.waiters("job") == [f"0001:{host}:{b.pid}", f"0002:{host}:{c.pid}"]
    assert os.listdir(mount.path("waiters/locks")) == ["job"]
    info = mount.waiter("job", f"0002:{host}:{c.pid}")
    assert {"host", "pid", "uid", "gid", "comm", "mode", "since"} <= set(info)
    assert (info["pid"], info["mode"]) == (str(c.pid), "shared")


def test_semaphore_holder_and_waiter_files(mount, clients):
    a, b = clients(2)
    a.hold(mount.path("sems/pool/1/any"), os.O_RDONLY)
    b.open(mount.path("sems/pool/1/any"), os.O_RDONLY)
    mount.wait_waiting("pool", b, kind="sems")
    (name,) = mount.holders("pool", "sems")
    info = mount.holder("pool", name, "sems")
    assert info["pid"] == str(a.pid) and info["slot"] == "0" and "token" in info
    assert os.listdir(mount.path("holders/sems")) == ["pool"]


def test_holders_in_namespaces(mount, client):
    os.mkdir(mount.lock("ops"))
    c = client()
    c.hold(mount.lock("ops/job"))
    assert os.listdir(mount.path("holders/locks")) == ["ops"]
    assert os.listdir(mount.path("holders/locks/ops")) == ["job"]
    assert mount.holder_pids("ops/job") == [c.pid]


def test_looking_never_blocks_nor_holds(mount, client):
    """ls -R and reading everything but locks/ while a lock is held."""
    c = client()
    c.hold(mount.lock("job"))
    done = subprocess.run(["ls", "-lR", mount.mnt], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0 and str(c.pid) in done.stdout, done.stderr
    done = subprocess.run(["grep", "-r", "pid:", mount.path("holders"), mount.path("waiters")],
                          capture_output=True, text=True, timeout=30, check=False)
    assert f"pid: {c.pid}" in done.stdout
    assert mount.holder_pids("job") == [c.pid]


# --- computed files ---

def test_status(mount, clients):
    a, b = clients(2)
    a.hold(mount.lock("job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    text = mount.read("status")
    assert mount.dir in text
    line = next(line for line in text.splitlines() if "job" in line)
    assert str(a.pid) in text and "job" in line


def test_status_json(mount, clients):
    a, b = clients(2)
    os.mkdir(mount.lock("ops"))
    odd = os.fsencode(mount.lock("ops")) + b"/q\"\xff\\"
    fd = a.hold(odd)
    b.open(mount.lock("job"))
    b.wait()
    text = mount.read("status.json")
    told = json.loads(text)
    assert isinstance(told, dict)
    assert str(a.pid) in text and str(b.pid) in text and "job" in text
    a.close(fd)


METRIC = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (-?[0-9.eE+-]+|\+Inf|NaN)( \d+)?$')


def metrics(mount):
    """Samples by name and labels; asserts the Prometheus text format on the way."""
    text = mount.read("metrics")
    assert text.endswith("\n")
    typed, samples = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in typed
            typed[name] = kind
        elif line.startswith("#") or not line:
            continue
        else:
            found = METRIC.match(line)
            assert found, line
            base = re.sub(r"_(bucket|sum|count)$", "", found[1])
            assert found[1] in typed or typed.get(base) == "histogram", line
            key = found[1] + (found[2] or "")
            assert key not in samples, key
            samples[key] = float(found[3])
    return typed, samples


def total(samples, *words):
    return sum(v for k, v in samples.items() if all(w in k for w in words))


def test_metrics(mount, clients):
    a, b = clients(2)
    _, before = metrics(mount)
    fd = a.hold(mount.lock("secret-name"))
    fails("EAGAIN", b.hold, mount.path("with/try/locks/secret-name"))
    b.open(mount.lock("secret-name"))
    mount.wait_waiting("secret-name", b)
    a.close(fd)
    b.wait()
    typed, after = metrics(mount)
    histograms = [n for n, kind in typed.items() if kind == "histogram"]
    assert len(histograms) >= 1
    wait = next(h for h in histograms if "wait" in h)
    assert total(after, wait + "_count") - total(before, wait + "_count") == 2
    buckets = [v for k, v in after.items() if k.startswith(wait + "_bucket")]
    assert buckets == sorted(buckets) and buckets[-1] == total(after, wait + "_count")
    assert total(after, "acquisitions_total", "exclusive") - total(before, "acquisitions_total", "exclusive") == 2
    assert "secret-name" not in mount.read("metrics")


def test_readme(mount):
    text = mount.read("README")
    assert mount.mnt in text
    for word in ("locks/", "sems/", "with/", "holders/", "waiters/"):
        assert word in text


def test_computed_files_are_read_only(mount):
    for name in ("status", "status.json", "metrics", "README"):
        fails("EACCES|EROFS|EPERM", os.open, mount.path(name), os.O_WRONLY)
        fails("EPERM|EACCES|EROFS", os.unlink, mount.path(name))


# --- attributes ---

def test_attributes_of_a_lock(mount, clients):
    a, b = clients(2)
    assert mount.xattr("locks/job", "mode") == "free"
    assert mount.xattr("locks/job", "holders") == mount.xattr("locks/job", "waiters") == "0"
    fd = a.hold(mount.lock("job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    for get in (lambda w: mount.xattr("locks/job", w), lambda w: mount.xattr("job", w),
                lambda w: a.fgetxattr(fd, "user.plockfs." + w)):
        assert get("mode") == "exclusive"
        assert get("holders") == get("waiters") == "1"
        assert int(get("token")) > 0
        assert re.match(r"\d{4}-\d\d-\d\dT", get("since"))
    assert {f"user.plockfs.{w}" for w in ("mode", "holders", "waiters", "token", "since")} <= set(
        os.listxattr(mount.lock("job")))
    # Asking did not wait.
    assert not b.answered()


def test_attributes_of_shared_holders(mount, clients):
    for c in clients(3):
        c.hold(mount.path("with/shared/job"), os.O_RDONLY)
    assert mount.xattr("locks/job", "mode") == "shared"
    assert mount.xattr("locks/job", "holders") == "3"


def test_attributes_of_a_semaphore(mount, client):
    c = client()
    fd = c.hold(mount.path("sems/pool/3/any"), os.O_RDONLY)
    c.hold(mount.path("sems/pool/5/4"), os.O_RDONLY)
    for path, slots, free in (("sems/pool/3", "3", "2"), ("sems/pool/5", "5", "3"), ("sems/pool/3/any", "3", "2")):
        assert mount.xattr(path, "slots") == slots
        assert mount.xattr(path, "free") == free
    assert c.fgetxattr(fd, "user.plockfs.free") == "2"


@pytest.mark.parametrize("mode", ["exclusive", "free"])
def test_getfattr_tool(mount, client, mode):
    if mode != "free":
        client().hold(mount.lock("job"))
    done = subprocess.run(["getfattr", "-d", "--absolute-names", mount.lock("job")], capture_output=True, text=True,
                          timeout=30, check=True)
    assert f'user.plockfs.mode="{mode}"' in done.stdout
    assert ("user.plockfs.since" in done.stdout) == (mode != "free")
    assert done.stderr == ""


def test_foreign_attributes(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    fails("ENODATA", os.getxattr, mount.lock("job"), "security.capability")
    fails("ENODATA", c.fgetxattr, fd, "security.capability")
    fails("ENODATA", os.getxattr, mount.lock("job"), "user.plockfs.nothing")
    fails("EOPNOTSUPP|EPERM|EACCES|ENOSYS", os.setxattr, mount.lock("job"), "user.x", b"1")
