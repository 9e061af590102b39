"""A plockfs server under test and its mount, started and ended by events.

Sanitizer builds: with SAN_LOG_DIR set, reports go to files of that prefix
and one report fails the test that caused it.
"""

import ctypes
import errno
import glob
import json
import os
import signal
import subprocess
import time

from lockclient import process_state, wait_until

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PLOCKFS = os.path.abspath(os.environ.get("PLOCKFS", os.path.join(TOP, "build", "plockfs")))
SAN_LOG_DIR = os.environ.get("SAN_LOG_DIR")
START_DEADLINE = 30.0
END_DEADLINE = 30.0

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    """So that a server in the background becomes our child and its exit code ours to see."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def server_env(**more):
    env = dict(os.environ, **more)
    if SAN_LOG_DIR:
        for name, word in (("ASAN_OPTIONS", "asan"), ("UBSAN_OPTIONS", "ubsan")):
            old = env.get(name, "")
            env[name] = f"{old + ':' if old else ''}log_path={SAN_LOG_DIR}/{word}:print_stacktrace=1"
    return env


def sanitizer_logs():
    if not SAN_LOG_DIR:
        return {}
    return {path: open(path, encoding="utf-8", errors="replace").read()
            for path in glob.glob(f"{SAN_LOG_DIR}/*san.*")}


def mountinfo(path):
    """(type, source) of what is mounted on path last, or None."""
    path = os.fspath(path)
    found = None
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        for line in f:
            left, right = line.split(" - ", 1)
            if left.split()[4].encode("latin-1", "surrogateescape").decode("unicode_escape") == path:
                found = tuple(right.split()[:2])
    return found


def parse_keys(text):
    """`key: value` lines as a dict."""
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def find_server(mnt):
    """The pid of the running server whose command line names the mount point."""
    mnt = os.fsencode(mnt)
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                argv = f.read().split(b"\0")
        except OSError:
            continue
        if b"plockfs" in argv[0] and mnt in argv and process_state(int(entry)) not in ("", "Z"):
            return int(entry)
    return None


def unmount_lazily(path):
    subprocess.run(["umount", "-l", os.fspath(path)], check=False, stderr=subprocess.DEVNULL)


def wait_exit(pid, deadline=END_DEADLINE):
    """The wait status of a child or adopted child, made an exit code as Popen has it."""
    def reaped():
        done, status = os.waitpid(pid, os.WNOHANG)
        return (status,) if done else None
    return os.waitstatus_to_exitcode(wait_until(reaped, deadline, f"exit of server {pid}")[0])


class Mount:
    def __init__(self, source, mnt, opts="", background=False, log=None, env=None, user=None, nofile=None):
        self.source = None if source is None else os.fspath(source)
        self.dir = self.source
        self.mnt = os.fspath(mnt)
        self.opts = opts
        self.background = background
        self.log = log or self.mnt + ".log"
        self.env = env or {}
        self.user = user
        self.nofile = nofile
        self.pid = None
        self.exit_code = None
        self._proc = None

    def argv(self):
        argv = ["prlimit", f"--nofile={self.nofile}:{self.nofile}"] if self.nofile else []
        argv += [PLOCKFS] + ([] if self.background else ["-f"])
        argv += ["-o", self.opts] if self.opts else []
        return argv + ([self.source] if self.source is not None else []) + [self.mnt]

    # --- life ---

    def start(self):
        if not os.path.lexists(self.mnt) and mountinfo(self.mnt) is None:
            os.makedirs(self.mnt)
        self.exit_code = None
        with open(self.log, "ab") as log:
            proc = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env=server_env(**self.env), user=self.user, group=self.user,
                                    extra_groups=[] if self.user else None)
        if self.background:
            code = proc.wait(START_DEADLINE)
            assert code == 0, f"plockfs ended with {code}: {self.log_text()}"
            self.pid = find_server(self.mnt)
            assert self.pid, f"no server in the background: {self.log_text()}"
        else:
            self._proc = proc
            self.pid = proc.pid
            wait_until(self._answers, START_DEADLINE, "mount ready")
        return self

    def _answers(self):
        code = self._proc.poll()
        assert code is None, f"plockfs ended with {code}: {self.log_text()}"
        if mountinfo(self.mnt) is None:
            return False
        try:
            with open(self.path("status"), "rb") as f:
                return bool(f.read())
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENOTCONN, errno.ECONNABORTED):
                raise
            return False

    @property
    def running(self):
        return self.pid is not None and process_state(self.pid) not in ("", "Z")

    def wait_end(self):
        """Waits for the server's own end; returns the exit code (negative: signal)."""
        if self._proc:
            self.exit_code = self._proc.wait(END_DEADLINE)
        else:
            self.exit_code = wait_exit(self.pid)
        self._proc = self.pid = None
        return self.exit_code

    def unmount(self):
        """fusermount3 -u; while the kernel still says busy, again. Returns the server's exit code."""
        def unmounted():
            done = subprocess.run(["fusermount3", "-u", self.mnt], capture_output=True, text=True, check=False)
            assert done.returncode == 0 or "busy" in done.stderr, done.stderr
            return done.returncode == 0
        wait_until(unmounted, END_DEADLINE, f"unmount of {self.mnt}")
        return self.wait_end()

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)
        return self.wait_end()

    def kill(self):
        """SIGKILL; leaves the dead mount behind."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait_end()

    def stop_cleanly(self):
        assert self.unmount() == 0, self.log_text()

    def restart(self):
        self.stop_cleanly()
        return self.start()

    def clean_up(self):
        """Whatever state it is in: nothing of it is left. Returns what was wrong, or ""."""
        wrong = ""
        if self.pid is not None:
            if not self.running:
                code = self.wait_end()
                wrong = f"the server ended by itself with {code}: {self.log_text()}"
            else:
                try:
                    code = self.unmount()
                    if code != 0:
                        wrong = f"exit code {code}: {self.log_text()}"
                except AssertionError as e:
                    wrong = f"{e}: {self.log_text()}"
                    self.kill()
        for _ in range(8):
            if mountinfo(self.mnt) is None:
                break
            unmount_lazily(self.mnt)
        return wrong

    def log_text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return f.read()[-4000:]
        except FileNotFoundError:
            return ""

    # --- the tree ---

    def path(self, *parts):
        return os.path.join(self.mnt, *parts)

    def lock(self, name):
        return self.path("locks", name)

    def read(self, *parts):
        with open(self.path(*parts), encoding="utf-8", errors="surrogateescape") as f:
            return f.read()

    def _list(self, *parts):
        try:
            return sorted(os.listdir(self.path(*parts)))
        except FileNotFoundError:
            return []

    def holders(self, name, kind="locks"):
        return self._list("holders", kind, name)

    def waiters(self, name, kind="locks"):
        return self._list("waiters", kind, name)

    def holder_pids(self, name, kind="locks"):
        return sorted(int(h.split(":")[1]) for h in self.holders(name, kind))

    def waiter_pids(self, name, kind="locks"):
        """In queue order."""
        return [int(w.split(":")[2]) for w in self.waiters(name, kind)]

    def holder(self, name, entry, kind="locks"):
        return parse_keys(self.read("holders", kind, name, entry))

    def waiter(self, name, entry, kind="locks"):
        return parse_keys(self.read("waiters", kind, name, entry))

    def wait_waiting(self, name, *clients, kind="locks"):
        """Until exactly these clients wait for the name, in this order."""
        pids = [c.pid for c in clients]
        wait_until(lambda: self.waiter_pids(name, kind) == pids, what=f"waiters of {name}: {pids}")

    def wait_holding(self, name, *clients, kind="locks"):
        pids = sorted(c.pid for c in clients)
        wait_until(lambda: self.holder_pids(name, kind) == pids, what=f"holders of {name}: {pids}")

    def xattr(self, path, word):
        return os.getxattr(self.path(path), "user.plockfs." + word).decode()

    def token(self, name):
        return int(self.xattr("locks/" + name, "token"))

    def status_json(self):
        return json.loads(self.read("status.json"))

    def put(self, name, data, tree="with/try/locks"):
        """Writes the value as one holder of the lock."""
        fd = os.open(self.path(tree, name), os.O_WRONLY | os.O_TRUNC)
        try:
            assert os.write(fd, data) == len(data)
        finally:
            os.close(fd)

    def get(self, name, tree="with/try/locks"):
        fd = os.open(self.path(tree, name), os.O_RDONLY)
        try:
            chunks = iter(lambda: os.read(fd, 1 << 17), b"")
            return b"".join(chunks)
        finally:
            os.close(fd)

    def can_lock(self, name):
        """Whether a try gets it now."""
        try:
            os.close(os.open(self.path("with/try/locks", name), os.O_RDONLY))
        except BlockingIOError:
            return False
        return True

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))


def cpu_share(mount, seconds=0.4):
    """CPU that the server uses in a span of time, as a fraction of one CPU."""
    before, start = mount.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (mount.cpu_seconds() - before) / (time.monotonic() - start)
