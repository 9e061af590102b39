"""A1: command line, start and end."""

import os
import pwd
import shlex
import shutil
import signal
import subprocess

import pytest

from lockclient import fails, wait_until
from plockmount import PLOCKFS, find_server, mountinfo, server_env, unmount_lazily, wait_exit


def run(*argv, env=None, user=None, cwd=None):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL, env=server_env(**(env or {})), user=user, group=user,
                          extra_groups=[] if user else None, cwd=cwd)


def one_line_naming(done, word):
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert word in lines[0]


@pytest.fixture
def dirs(work):
    for name in ("dir", "mnt"):
        os.mkdir(os.path.join(work, name))
    return os.path.join(work, "dir"), os.path.join(work, "mnt")


# --- running ---

def test_background_answers_when_it_returns(dirs):
    source, mnt = dirs
    done = run(PLOCKFS, source, mnt)
    pid = find_server(mnt)
    try:
        assert done.returncode == 0, done.stderr
        # No waiting here: the exit was the promise.
        os.close(os.open(mnt + "/locks/job", os.O_RDWR))
        assert mountinfo(mnt)[0] == "fuse.plockfs"
    finally:
        subprocess.run(["fusermount3", "-u", mnt], check=True)
        assert wait_exit(pid) == 0


def test_background_lets_go_of_terminal_and_folder(mounts):
    m = mounts(background=True)
    stat = open(f"/proc/{m.pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()
    assert int(stat[3]) == m.pid or int(stat[3]) != os.getsid(0)
    assert os.readlink(f"/proc/{m.pid}/cwd") == "/"
    for fd in (0, 1, 2):
        assert os.readlink(f"/proc/{m.pid}/fd/{fd}") == "/dev/null"


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("front", [False, True])
def test_without_stdin_and_the_like(dirs, closed, front):
    """Descriptors 0 to 2 are not taken by files of the server's own."""
    source, mnt = dirs
    args = f"{shlex.quote(PLOCKFS)} {'-f' if front else ''} {shlex.quote(source)} {shlex.quote(mnt)}"
    with subprocess.Popen(["sh", "-c", f"exec {args} {closed}"]) as proc:
        try:
            if not front:
                assert proc.wait(60) == 0
            wait_until(lambda: os.path.exists(mnt + "/status"))
            pid = find_server(mnt)
            assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
            assert "held     0" in open(mnt + "/status", encoding="utf-8").read()
            subprocess.run(["fusermount3", "-u", mnt], check=True)
            assert (proc.wait(60) if front else wait_exit(pid)) == 0
        finally:
            unmount_lazily(mnt)


def test_foreground_stays(mounts):
    m = mounts()
    assert m.running
    assert m.unmount() == 0
    assert mountinfo(m.mnt) is None


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_cleanly(mounts, background, signum):
    m = mounts(background=background)
    os.kill(m.pid, signum)
    assert m.wait_end() == 0
    assert mountinfo(m.mnt) is None


def test_sigterm_with_holders_and_waiters(mount, clients):
    """The mount is busy: it goes all the same, and what waits is told."""
    a, b = clients(2)
    fd = a.hold(mount.lock("job"))
    b.open(mount.lock("job"))
    mount.wait_waiting("job", b)
    assert mount.terminate() == 0
    fails("ECANCELED|ECONNABORTED|ENOTCONN|EINTR", b.wait)
    fails("ENOTCONN|ECONNABORTED|ESTALE|EIO", a.read, fd)


def test_fusermount_in_background(mounts):
    m = mounts(background=True)
    assert m.unmount() == 0
    assert mountinfo(m.mnt) is None


def test_fusermount_is_busy_while_held(mount, client):
    c = client()
    fd = c.hold(mount.lock("job"))
    done = run("fusermount3", "-u", mount.mnt)
    assert done.returncode != 0 and "busy" in done.stderr
    assert mount.running
    assert c.close(fd) == 0


def test_dead_mount_is_replaced(mount):
    mount.put("job", b"kept")
    mount.kill()
    fails("ENOTCONN", os.listdir, mount.mnt)
    mount.start()
    assert mount.get("job") == b"kept"


def test_living_mount_is_not_replaced(mount, work):
    """Only a dead one of ours is cleared away."""
    source = os.path.join(work, "other")
    os.mkdir(source)
    done = run(PLOCKFS, source, mount.mnt)
    try:
        assert mount.running
        assert "status" in os.listdir(mount.mnt)
    finally:
        if done.returncode == 0:
            others = [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != mount.pid]
            pid = next(p for p in others if cmdline_has(p, source))
            subprocess.run(["fusermount3", "-u", mount.mnt], check=True)
            assert wait_exit(pid) == 0


def cmdline_has(pid, word):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return word.encode() in f.read().split(b"\0")
    except OSError:
        return False


def test_proc_mounts_line(mount):
    kind, source = mountinfo(mount.mnt)
    assert kind == "fuse.plockfs"
    assert source == "file:" + mount.dir


def test_options_may_follow_the_operands(dirs):
    source, mnt = dirs
    done = run(PLOCKFS, source, mnt, "-o", "timeout=1s,max_value=64K")
    pid = find_server(mnt)
    assert done.returncode == 0, done.stderr
    subprocess.run(["fusermount3", "-u", mnt], check=True)
    assert wait_exit(pid) == 0


def test_relative_paths(dirs, work):
    done = run(PLOCKFS, "dir", "mnt", cwd=work)
    assert done.returncode == 0, done.stderr
    try:
        os.close(os.open(dirs[1] + "/job", os.O_RDWR))
        assert os.listdir(dirs[0] + "/locks") == ["job"]
    finally:
        pids = [int(p) for p in os.listdir("/proc") if p.isdigit()]
        pid = next(p for p in pids if cmdline_has(p, "mnt") and cmdline_has(p, "dir"))
        subprocess.run(["fusermount3", "-u", dirs[1]], check=True)
        assert wait_exit(pid) == 0


def test_file_prefix_and_spaces_in_paths(mounts, work):
    source, mnt = os.path.join(work, "a dir"), os.path.join(work, "a mnt")
    os.mkdir(source)
    m = mounts(source="file:" + source, mnt=mnt)
    m.put("job", b"x")
    assert os.path.exists(source + "/locks/job")


def test_source_is_made(mounts, work):
    source = os.path.join(work, "new")
    mounts(source=source)
    assert os.path.isdir(source + "/locks")


def test_read_only_mount(mounts, client):
    m = mounts()
    m.put("job", b"old")
    m.stop_cleanly()
    m.opts = "ro"
    m.start()
    c = client()
    fails("EROFS|EACCES", c.hold, m.lock("job"), os.O_RDWR)
    fails("EROFS", os.mkdir, m.lock("ns"))
    assert os.stat(m.lock("job")).st_size == 3


# --- mount(8) ---

@pytest.fixture
def in_path():
    """plockfs where mount.fuse3's shell finds it."""
    link = "/usr/local/bin/plockfs"
    if os.path.lexists(link):
        pytest.skip(f"{link} exists")
    os.symlink(PLOCKFS, link)
    yield link
    os.unlink(link)


@pytest.mark.skipif(not shutil.which("mount.fuse3"), reason="no mount.fuse3")
def test_mount_t_fuse_plockfs(dirs, in_path):
    source, mnt = dirs
    done = run("mount", "-t", "fuse.plockfs", source, mnt, "-o", "nosuid,nodev,timeout=2m")
    try:
        assert done.returncode == 0, done.stderr
        assert mountinfo(mnt) == ("fuse.plockfs", "file:" + source)
        os.close(os.open(mnt + "/job", os.O_RDWR))
        pid = find_server(mnt)
        subprocess.run(["umount", mnt], check=True)
        assert wait_exit(pid) == 0
    finally:
        unmount_lazily(mnt)


def test_mount_plockfs_form(dirs, work):
    source, mnt = dirs
    helper = os.path.join(work, "mount.plockfs")
    os.symlink(PLOCKFS, helper)
    done = run(helper, source, mnt, "-o", "rw,timeout=1s")
    try:
        assert done.returncode == 0, done.stderr
        os.close(os.open(mnt + "/job", os.O_RDWR))
        pid = find_server(mnt)
        subprocess.run(["umount", mnt], check=True)
        assert wait_exit(pid) == 0
    finally:
        unmount_lazily(mnt)


# --- the default source ---

# In a mount namespace of its own: what this machine has in /var/lib/plockfs is neither in the way nor touched. A slave,
# so that it does not keep what other tests unmount meanwhile.
DEFAULT_DIR = """
set -e
mount -t tmpfs none /var/lib
"$@" "$MNT"
echo mounted
read -r go
stat -c %a /var/lib/plockfs
(: 9<>"$MNT/job")
test -e /var/lib/plockfs/locks/job
umount "$MNT"
"""


@pytest.mark.parametrize("argv", [[], ["plockfs"]])
def test_default_dir_as_root(work, argv):
    mnt = os.path.join(work, "mnt")
    os.mkdir(mnt)
    namespace = ["unshare", "--mount", "--propagation", "slave"]
    shell = subprocess.Popen([*namespace, "bash", "-c", DEFAULT_DIR, "bash", PLOCKFS, *argv], text=True,
                             env=server_env(MNT=mnt), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert shell.stdout.readline() == "mounted\n"
        pid = find_server(mnt)
        out, _ = shell.communicate("go\n", 60)
        assert shell.returncode == 0 and out.strip() in ("700", "711"), out
        assert wait_exit(pid) == 0
    finally:
        shell.kill()
        shell.wait()


@pytest.fixture
def fuse_for_all():
    """/dev/fuse with the mode that udev gives it, for the time of a test."""
    mode = os.stat("/dev/fuse").st_mode & 0o777
    os.chmod("/dev/fuse", 0o666)
    yield
    os.chmod("/dev/fuse", mode)


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "HOME"])
def test_default_dir_as_user(work, fuse_for_all, variable):
    nobody = pwd.getpwnam("nobody")
    home, mnt = os.path.join(work, "home"), os.path.join(work, "mnt")
    for path in (home, mnt):
        os.mkdir(path)
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    env = {"HOME": home if variable == "HOME" else "/nonexistent",
           "XDG_STATE_HOME": home + "/state" if variable == "XDG_STATE_HOME" else ""}
    expected = home + ("/state/plockfs" if variable == "XDG_STATE_HOME" else "/.local/state/plockfs")
    done = run(PLOCKFS, mnt, env=env, user=nobody.pw_uid)
    try:
        assert done.returncode == 0, done.stderr
        pid = find_server(mnt)
        used = run("sh", "-c", f"exec 9>{mnt}/locks/job && echo value >&9", user=nobody.pw_uid)
        assert used.returncode == 0, used.stderr
        assert os.stat(expected).st_mode & 0o777 in (0o700, 0o711)
        assert open(expected + "/locks/job", "rb").read() == b"value\n"
        done = run("fusermount3", "-u", mnt, user=nobody.pw_uid)
        assert done.returncode == 0, done.stderr
        assert wait_exit(pid) == 0
    finally:
        unmount_lazily(mnt)


# --- errors ---

@pytest.mark.parametrize("option, word", [
    ("frobnicate", "frobnicate"), ("frobnicate=3", "frobnicate"), ("timeout=soon", "timeout"),
    ("timeout=-1s", "timeout"),
    ("timeout=", "timeout"), ("ttl=1x", "ttl"), ("unavailable=x", "unavailable"), ("lost=SIGWHAT", "lost"),
    ("max_waiters=many", "max_waiters"), ("max_value=1Q", "max_value"), ("umask=9", "umask"), ("uid=-3", "uid"),
])
def test_bad_option(dirs, option, word):
    done = run(PLOCKFS, "-o", option, *dirs)
    assert done.returncode == 2
    one_line_naming(done, word)
    assert mountinfo(dirs[1]) is None


@pytest.mark.parametrize("argv", [[], ["--frobnicate", "/a", "/b"], ["-Z", "/a", "/b"], ["a", "b", "c"], ["-o"]])
def test_bad_command_line(argv):
    done = run(PLOCKFS, *argv)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("background", [False, True])
def test_fuse_that_is_refused(dirs, background):
    """What libfuse says is part of our one line."""
    with_device = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null /dev/fuse && exec "$0" "$@"', PLOCKFS]
    done = run(*with_device, *([] if background else ["-f"]), *dirs)
    assert done.returncode == 1
    one_line_naming(done, dirs[1])
    assert "fuse: " in done.stderr


@pytest.mark.parametrize("background", [False, True])
def test_missing_mount_point(dirs, work, background):
    mnt = os.path.join(work, "missing")
    done = run(PLOCKFS, *([] if background else ["-f"]), dirs[0], mnt)
    assert done.returncode == 1
    assert mnt in done.stderr
    assert mountinfo(mnt) is None


@pytest.mark.parametrize("background", [False, True])
def test_source_is_no_directory(work, background):
    source, mnt = os.path.join(work, "file"), os.path.join(work, "mnt")
    os.mkdir(mnt)
    with open(source, "w", encoding="utf-8") as f:
        f.write("mine")
    done = run(PLOCKFS, *([] if background else ["-f"]), source, mnt)
    assert done.returncode == 1
    one_line_naming(done, source)
    assert mountinfo(mnt) is None
    assert open(source, encoding="utf-8").read() == "mine"


def test_source_in_the_mount_point_is_refused_or_works(work):
    """DIR below MOUNTPOINT: reached by descriptor, so it does not deadlock with itself."""
    mnt = os.path.join(work, "mnt")
    os.makedirs(mnt + "/dir")
    done = run(PLOCKFS, mnt + "/dir", mnt)
    try:
        if done.returncode == 0:
            pid = find_server(mnt)
            os.close(os.open(mnt + "/locks/job", os.O_RDWR))
            subprocess.run(["fusermount3", "-u", mnt], check=True)
            assert wait_exit(pid) == 0
        else:
            assert done.returncode in (1, 2) and mnt in done.stderr
    finally:
        unmount_lazily(mnt)


def test_help_and_version():
    done = run(PLOCKFS, "--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("plockfs", "MOUNTPOINT", "-f", "-o", "timeout=", "lost=", "max_waiters=", "max_value=", "umask="):
        assert word in done.stdout
    done = run(PLOCKFS, "--version")
    assert done.returncode == 0 and done.stdout.startswith("plockfs ")


def test_limit_on_descriptors_is_raised(mounts):
    m = mounts()
    with open(f"/proc/{m.pid}/limits", encoding="utf-8") as f:
        soft, hard = next(line for line in f if line.startswith("Max open files")).split()[3:5]
    assert soft == hard


def test_status_goes_away_with_the_mount(mounts):
    m = mounts()
    assert m.terminate() == 0
    wait_until(lambda: mountinfo(m.mnt) is None)
    assert os.listdir(m.mnt) == []
