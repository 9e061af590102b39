"""A client of a mount: a real process (lock_client.c) driven over pipes.

`start` sends an operation and returns at once; `wait` gives its result or
raises the OSError it ended with; the other methods do both.
"""

import errno as errno_names
import os
import select
import signal
import subprocess
import time

ANSWER_DEADLINE = 20.0


def wait_until(condition, deadline=15.0, what=""):
    """Polls until condition() is true and returns its value. Never use sleep to wait for an event."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what or condition}")
        time.sleep(0.004)


def oserror(number):
    return OSError(number, os.strerror(number))


def fails(name, call, *args, **kwargs):
    """Asserts that a call raises the OSError of that name ("EAGAIN"; "EPERM|EACCES")."""
    try:
        value = call(*args, **kwargs)
    except OSError as e:
        wanted = [getattr(errno_names, n) for n in name.split("|")]
        assert e.errno in wanted, f"{errno_names.errorcode.get(e.errno, e.errno)} instead of {name}"
        return e
    raise AssertionError(f"no {name}, but {value!r}")


def hexed(data):
    data = os.fsencode(data)
    return data.hex() or "-"


class Client:
    def __init__(self, program, uid=None, gid=None, nofile=None):
        self.argv = [program]
        if nofile:
            self.argv = ["prlimit", f"--nofile={nofile}:{nofile}", program]
        self.proc = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                     user=uid, group=gid if gid is not None else uid,
                                     extra_groups=[] if uid else None, start_new_session=True)
        self.buffer = b""
        self.pending = None
        self.forked = []

    @property
    def pid(self):
        return self.proc.pid

    # --- the wire ---

    def start(self, *words):
        assert self.pending is None, f"still waiting for {self.pending}"
        self.pending = " ".join(str(w) for w in words)
        self.proc.stdin.write(self.pending.encode() + b"\n")
        return self

    def answered(self, timeout=0.0):
        """True when the pending operation has ended."""
        if b"\n" in self.buffer:
            return True
        ready, _, _ = select.select([self.proc.stdout], [], [], timeout)
        if ready:
            data = os.read(self.proc.stdout.fileno(), 1 << 20)
            if not data:
                raise EOFError(f"client died in: {self.pending}")
            self.buffer += data
        return b"\n" in self.buffer

    def _answer(self, timeout):
        assert self.pending is not None, "nothing was started"
        end = time.monotonic() + timeout
        while not self.answered(max(0.0, end - time.monotonic())):
            assert time.monotonic() < end, f"no answer within {timeout} s: {self.pending[:80]}"
        line, self.buffer = self.buffer.split(b"\n", 1)
        self.pending = None
        words = line.split()
        if words[0] == b"err":
            raise oserror(int(words[1]))
        return int(words[1]), bytes.fromhex(words[2].decode()) if len(words) > 2 else b""

    def wait(self, timeout=ANSWER_DEADLINE):
        return self._answer(timeout)[0]

    def call(self, *words, timeout=ANSWER_DEADLINE):
        self.start(*words)
        return self._answer(timeout)

    # --- operations ---

    def open(self, path, flags=os.O_RDWR, mode=0o666):
        """Starts an open; `wait` gives the descriptor."""
        return self.start("open", hexed(path), flags, mode)

    def hold(self, path, flags=os.O_RDWR, mode=0o666):
        return self.open(path, flags, mode).wait()

    def close(self, fd):
        return self.call("close", fd)[0]

    def read(self, fd, size=4096, offset=None):
        words = ("read", fd, size) if offset is None else ("read", fd, size, offset)
        return self.call(*words)[1]

    def write(self, fd, data, offset=None):
        words = ("write", fd, hexed(data))
        return self.call(*words if offset is None else (*words, offset))[0]

    def fsync(self, fd):
        return self.call("fsync", fd)[0]

    def ftruncate(self, fd, size):
        return self.call("ftruncate", fd, size)[0]

    def flock(self, fd, operation):
        return self.call("flock", fd, operation)[0]

    def fcntl(self, fd, command, kind, start=0, length=0):
        """For F_GETLK and F_OFD_GETLK the lock in the way: (type, start, length, pid)."""
        _, data = self.call("fcntl", fd, command, kind, start, length)
        return tuple(int(n) for n in data.split()) if data else None

    def start_fcntl(self, fd, command, kind, start=0, length=0):
        self.start("fcntl", fd, command, kind, start, length)

    def fstat(self, fd):
        """(inode, links, size)"""
        return tuple(int(n) for n in self.call("fstat", fd)[1].split())

    def poll(self, fd, events, timeout_ms):
        return self.call("poll", fd, events, timeout_ms)[0]

    def dup(self, fd):
        return self.call("dup", fd)[0]

    def fork(self):
        """A child with the same descriptors that does nothing. Its pid."""
        pid = self.call("fork")[0]
        self.forked.append(pid)
        return pid

    def catch(self, signum):
        """From now on signum interrupts system calls instead of ending the process."""
        return self.call("signal", signum)[0]

    def signals(self, signum):
        return self.call("signals", signum)[0]

    def getxattr(self, path, name):
        return self.call("getxattr", hexed(path), name)[1].decode()

    def fgetxattr(self, fd, name):
        return self.call("fgetxattr", fd, name)[1].decode()

    def unlink(self, path):
        return self.call("unlink", hexed(path))[0]

    def mkdir(self, path, mode=0o777):
        return self.call("mkdir", hexed(path), mode)[0]

    def rmdir(self, path):
        return self.call("rmdir", hexed(path))[0]

    def rename(self, path, other):
        return self.call("rename", hexed(path), hexed(other))[0]

    def truncate(self, path, size):
        return self.call("truncate", hexed(path), size)[0]

    def spin(self, path, flags, n):
        """n times open and close; raises the first error."""
        return self.call("spin", hexed(path), flags, n, timeout=60.0)[0]

    # --- the process ---

    def send(self, signum):
        os.kill(self.pid, signum)

    def stop(self):
        self.send(signal.SIGSTOP)
        wait_until(lambda: process_state(self.pid) == "T", what="client stopped")

    def cont(self):
        self.send(signal.SIGCONT)

    def kill(self, signum=signal.SIGKILL):
        """Ends the process and waits until it is gone, its descriptors closed."""
        if self.proc.poll() is None:
            self.send(signum)
        self.proc.wait(ANSWER_DEADLINE)

    def end(self):
        forked, self.forked = self.forked, []
        for pid in forked:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait(ANSWER_DEADLINE)
        self.proc.stdin.close()
        self.proc.stdout.close()


def process_state(pid):
    """The state letter of /proc/PID/stat; "" when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
