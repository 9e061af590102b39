"""Passwords and the permissions that a mount needs at the Redis server."""

import os

import pytest

from faults import entry_of, refused
from lockclient import fails, wait_until
from plockmount import TOP

TTL = 2.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"


def settled(server):
    server.settle(PREFIX, int(TTL * 1000))
    return server


@pytest.fixture
def server(redis):
    return settled(redis())


SECRET = "s3cret-" + os.urandom(6).hex()


def check_hidden(mount):
    """The password is nowhere that others can look."""
    with open(f"/proc/{mount.pid}/cmdline", "rb") as f:
        assert SECRET.encode() not in f.read()
    with open("/proc/self/mounts", encoding="utf-8") as f:
        assert SECRET not in f.read()
    for path in ("status", "status.json", "metrics"):
        assert SECRET not in mount.read(path)
    assert SECRET not in mount.log_text()


@pytest.fixture
def password_file(work):
    def write(text):
        path = os.path.join(work, "password")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text + "\n")
        os.chmod(path, 0o600)
        return path
    return write


def test_password(redis, mounts, password_file):
    server = redis(requirepass=SECRET)
    m = mounts(server.url(), opts=f"{OPTS},password_file={password_file(SECRET)}")
    m.put("job", b"value", "locks")
    check_hidden(m)
    other = mounts(server.unix_url(), opts=OPTS, env={"PLOCKFS_REDIS_PASSWORD": SECRET})
    assert other.get("job", "locks") == b"value"
    check_hidden(other)


def test_wrong_password(redis, mounts, password_file):
    server = redis(requirepass="another")
    for opts, env in ((f"{OPTS},password_file={password_file(SECRET)}", {}),
                      (OPTS, {"PLOCKFS_REDIS_PASSWORD": SECRET}), (OPTS, {})):
        line = refused(mounts(server.url(), opts=opts, env=env, start=False))
        assert SECRET not in line and ("password" in line.lower() or "auth" in line.lower()), line


def test_no_password_file(server, mounts, work):
    assert f"{work}/none" in refused(mounts(server.url(), opts=f"{OPTS},password_file={work}/none", start=False))


def test_password_changed_while_mounted(redis, mounts, clients):
    """The mount stays and goes on once the password is right again."""
    server = redis(requirepass=SECRET)
    m = mounts(server.url(), opts=OPTS + ",unavailable=1s", env={"PLOCKFS_REDIS_PASSWORD": SECRET})
    a, b = clients(2)
    m.put("job", b"value", "locks")
    auth = ("--no-auth-warning", "-a", SECRET)
    server.cli("CONFIG", "SET", "requirepass", "another", auth=auth)
    auth = ("--no-auth-warning", "-a", "another")
    server.cli("CLIENT", "KILL", "TYPE", "normal", auth=auth)
    fails("EHOSTDOWN", a.hold, m.lock("job"))
    assert m.read("status")
    server.cli("CONFIG", "SET", "requirepass", SECRET, auth=auth)

    def works():
        try:
            return a.hold(m.lock("job"))
        except OSError:
            return None
    a.close(wait_until(works, 20.0))
    check_hidden(m)
    b.close(b.hold(m.lock("job")))


def test_log_says_why_the_server_is_out_of_reach(redis, mounts):
    """Also when that changes: first the connection was closed, then the password was wrong."""
    server = redis(requirepass=SECRET)
    m = mounts(server.url(), opts=OPTS, env={"PLOCKFS_REDIS_PASSWORD": SECRET})
    server.cli("CONFIG", "SET", "requirepass", "another", auth=("--no-auth-warning", "-a", SECRET))
    server.cli("CLIENT", "KILL", "TYPE", "normal", auth=("--no-auth-warning", "-a", "another"))
    wait_until(lambda: "WRONGPASS" in m.log_text(), 5.0)
    assert m.log_text().count("WRONGPASS") == 1


# What a mount calls, on the connection or in the script. docs/ tells this list to whoever writes an ACL.
COMMANDS = """auth select info script|load evalsha subscribe time publish exists del rename
    get set strlen getrange setrange hget hmget hset hsetnx hdel hlen hkeys hvals hgetall hscan hexists hincrby
    sadd srem sismember smembers zadd zrem zcard zcount zrange zscore rpush lindex lpop""".split()
ACL_RULES = ["reset", "on", f">{SECRET}", "resetkeys", f"~{{{PREFIX}}}:*", "resetchannels", f"&{{{PREFIX}}}:*",
             *(f"+{c}" for c in COMMANDS)]


def test_rules_in_the_docs():
    """What docs/protocol.md prints is what is tested here."""
    with open(os.path.join(TOP, "docs", "protocol.md"), encoding="utf-8") as f:
        text = f.read()
    words = text[text.index("ACL SETUSER locker"):].split("```")[0].split()[3:]
    assert words == ["on", ">PASSWORD", "resetkeys", "~{plockfs}:*", "resetchannels", "&{plockfs}:*", "-@all",
                     *(f"+{c}" for c in COMMANDS)]


def use_everything(server, mounts, clients):
    """A walk through all that the protocol does."""
    url = server.url().replace("//", "//locker@")
    env = {"PLOCKFS_REDIS_PASSWORD": SECRET}
    mounts(url + "/3", opts=OPTS, env=env).stop_cleanly()
    server.settle(PREFIX, 999)  # another ttl once, but of nobody who still lives
    one, other, dying = (mounts(url, opts=OPTS, env=env) for _ in range(3))
    a, b, c = clients(3)
    # Namespaces.
    os.mkdir(one.path("locks/ns"))
    os.chmod(one.path("locks/ns"), 0o700)
    os.rename(one.path("locks/ns"), one.path("locks/ns2"))
    one.put("ns2/x", b"1", "locks")
    wait_until(lambda: os.path.exists(other.path("locks/ns2/x")))
    os.rename(one.path("locks/ns2"), one.path("locks/ns3"))
    one.put("ns3/x", b"", "locks")
    os.rmdir(one.path("locks/ns3"))
    # Values.
    fd = a.hold(one.lock("job"), os.O_RDWR | os.O_APPEND)
    a.write(fd, b"12345")
    assert a.read(fd, 10, 0) == b"12345" and a.fsync(fd) == 0
    for size in (9, 3):
        a.ftruncate(fd, size)
    assert os.listdir(other.path("locks")) == ["job"] and one.token("job")
    # Shared, converted, waited for, broken, ended.
    b.open(other.lock("job"))
    other.wait_waiting("job", b)
    os.unlink(other.path("waiters/locks/job", other.waiters("job")[0]))
    fails("ECANCELED", b.wait)
    a.close(fd)
    fd = b.hold(other.path("with/shared/job"), os.O_RDONLY)
    b.flock(fd, 2)
    b.flock(fd, 1)
    os.unlink(one.path("holders/locks/job", entry_of(one, b)))
    wait_until(lambda: one.holders("job") == [])
    fails("ESTALE", b.close, fd)
    a.close(a.hold(one.path("sems/pool/2/any"), os.O_RDONLY))
    os.rename(one.lock("job"), one.lock("job2"))
    os.unlink(one.lock("job2"))
    # A mount dies with a holder and a waiter; then the server forgets, and what was is cleaned up.
    c.hold(dying.lock("job"))
    a.open(one.lock("job"))
    one.wait_waiting("job", a)
    dying.kill()
    a.wait()
    key = "{%s}:g" % PREFIX
    server.cli("HSET", key, "inc", "gone:" + server.cli("HGET", key, "e"))
    wait_until(lambda: server.cli("HGET", key, "inc").startswith(server.info("run_id")))
    one.wait_holding("job", a)
    wait_until(lambda: server.cli("EXISTS", "{%s}:old" % PREFIX) == "0")
    b.open(one.lock("job"))
    one.wait_waiting("job", b)


def test_least_permissions(server, mounts, clients):
    """A user that may do only this can do all that plockfs does, and everything in the list is used."""
    server.cli("ACL", "SETUSER", "locker", *ACL_RULES)
    server.cli("CONFIG", "RESETSTAT")
    server.cli("ACL", "LOG", "RESET")
    use_everything(server, mounts, clients)
    assert server.cli("ACL", "LOG") == ""
    used = {line.split(":")[0][len("cmdstat_"):] for line in server.cli("INFO", "commandstats").splitlines()
            if line.startswith("cmdstat_")}
    assert used >= set(COMMANDS), set(COMMANDS) - used


@pytest.mark.parametrize("rule, said", [("-evalsha", "evalsha"), ("-subscribe", "subscribe"), ("-info", "info"),
                                        ("resetkeys", "key"), ("resetchannels", "channel"), ("-zadd", "can't run")])
def test_missing_permission(server, mounts, rule, said):
    """It says so when it starts."""
    server.cli("ACL", "SETUSER", "locker", *ACL_RULES, rule)
    m = mounts(server.url().replace("//", "//locker@"), opts=OPTS, env={"PLOCKFS_REDIS_PASSWORD": SECRET}, start=False)
    line = refused(m)
    assert said in line.lower() and SECRET not in line, line
