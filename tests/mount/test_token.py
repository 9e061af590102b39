"""A5: fencing tokens only ever rise."""

import pytest
import os
import shutil

from lockclient import fails
from fcntl import LOCK_EX, LOCK_SH


def take(mount, client, name="job"):
    """The token of one grant, as holder file and attributes say it."""
    fd = client.hold(mount.lock(name))
    token = mount.token(name)
    (holder,) = mount.holders(name)
    assert int(mount.holder(name, holder)["token"]) == token
    assert client.fgetxattr(fd, "user.plockfs.token") == str(token)
    client.close(fd)
    return token


def rises(tokens):
    return all(a < b for a, b in zip(tokens, tokens[1:]))


def test_rises_with_each_grant(mount, client):
    c = client()
    tokens = [take(mount, c) for _ in range(20)]
    assert tokens[0] > 0 and tokens[-1] < 1 << 64
    assert rises(tokens)


def test_rises_in_a_hand_off(mount, clients):
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    first = mount.token("job")
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    a.close(fd)
    b.wait()
    assert mount.token("job") > first


def test_rises_when_converted_up_again(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    first = mount.token("job")
    c.flock(fd, LOCK_SH)
    c.flock(fd, LOCK_EX)
    assert mount.token("job") > first


def test_rises_through_remounts(mount, client):
    tokens = [take(mount, client())]
    for _ in range(3):
        mount.restart()
        tokens += [take(mount, client()) for _ in range(2)]
    assert rises(tokens)


def test_rises_through_sigkill(mount, client):
    tokens = []
    for _ in range(3):
        c = client()
        c.hold(mount.lock("job"))
        tokens.append(mount.token("job"))
        mount.kill()
        c.kill()
        mount.start()
    tokens.append(take(mount, client()))
    assert rises(tokens)


@pytest.mark.file_only
def test_rises_after_loss_of_everything_kept_beside(mount, client):
    tokens = [take(mount, client()) for _ in range(3)]
    mount.stop_cleanly()
    shutil.rmtree(os.path.join(mount.dir, ".plockfs"))
    mount.start()
    tokens.append(take(mount, client()))
    mount.kill()
    shutil.rmtree(os.path.join(mount.dir, ".plockfs"))
    mount.start()
    tokens.append(take(mount, client()))
    # And under a live mount: what is kept beside is made anew.
    shutil.rmtree(os.path.join(mount.dir, ".plockfs"))
    tokens += [take(mount, client()) for _ in range(2)]
    assert os.path.exists(os.path.join(mount.dir, ".plockfs", "floor"))
    assert rises(tokens)


def test_rises_when_records_are_damaged(mount, client):
    tokens = [take(mount, client()) for _ in range(2)]
    mount.stop_cleanly()
    for folder, _, files in os.walk(os.path.join(mount.dir, ".plockfs")):
        for name in files:
            with open(os.path.join(folder, name), "wb") as f:
                f.write(b"\xff" * 37)
    mount.start()
    tokens.append(take(mount, client()))
    assert rises(tokens)


def test_rises_through_rm_and_rename(mount, client):
    c = client()
    mount.put("job", b"x")
    tokens = [take(mount, c)]
    os.unlink(mount.lock("job"))
    tokens.append(take(mount, c))
    mount.put("other", b"y")
    os.rename(mount.lock("other"), mount.lock("job"))
    tokens.append(take(mount, c))
    assert rises(tokens)


def test_rises_across_mounts_of_one_dir(mounts, client):
    one, two = mounts(), mounts()
    c = client()
    tokens = [take(m, c) for m in (one, two, one, one, two, two, one)]
    assert rises(tokens)


def test_slots_have_tokens(mount, client):
    c, seen = client(), []
    for _ in range(3):
        fd = c.hold(mount.path("sems/pool/1/any"), os.O_RDONLY)
        (holder,) = mount.holders("pool", "sems")
        seen.append(int(mount.holder("pool", holder, "sems")["token"]))
        c.close(fd)
    assert seen[0] > 0 and rises(seen)


def test_cannot_be_written(mount):
    fails("EOPNOTSUPP|EPERM|EACCES|ENOSYS", os.setxattr, mount.lock("job"), "user.plockfs.token", b"1")
