"""Foreign programs: unmodified ones that lock, in files/ of two mounts or in a plain folder.

`Program` is one with its pipes, `Console` a Python that does what it is told, `count_together` the game that a lock of
any kind has to win: N processes add 1 to a number in a file, M times each, and the number is N*M in the end.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time

from lockclient import wait_until

FOREIGN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "foreign")
DEADLINE = 30.0
# Where a process is that waits for a lock: for a mount's answer, or in the kernel's own lock of a plain folder.
WAITING_IN = ("request_wait_answer", "locks_lock_inode_wait", "flock_lock_inode_wait", "posix_lock_inode_wait",
              "fcntl_setlk")


def foreign(name):
    return os.path.join(FOREIGN, name)


class Program:
    """Line-buffered pipes to it; its own process group, which ends with it."""

    def __init__(self, *argv, **how):
        self.argv = [str(a) for a in argv]
        self.proc = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                     start_new_session=True, **how)
        self.buffer = b""

    @property
    def pid(self):
        return self.proc.pid

    def _more(self, timeout):
        ready, _, _ = select.select([self.proc.stdout], [], [], timeout)
        data = os.read(self.proc.stdout.fileno(), 1 << 16) if ready else None
        self.buffer += data or b""
        return data

    def answered(self):
        """Whether a line or its end has come."""
        return b"\n" in self.buffer or self._more(0) is not None

    def says(self, timeout=DEADLINE):
        """The next line; "" when it has ended."""
        end = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            data = self._more(max(0.0, end - time.monotonic()))
            if data == b"":
                break
            assert data or time.monotonic() < end, f"nothing said within {timeout} s: {self.argv}"
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def tell(self, line=""):
        self.proc.stdin.write(line.encode() + b"\n")

    def no_more(self):
        """End of its input."""
        self.proc.stdin.close()

    def waits(self):
        """Until it is blocked in a call for a lock."""
        def blocked():
            with open(f"/proc/{self.pid}/wchan", encoding="ascii") as f:
                return f.read() in WAITING_IN
        wait_until(blocked, what=f"{self.argv} waits")
        return self

    def ends(self, timeout=DEADLINE):
        """Its exit code, once it has ended by itself."""
        if not self.proc.stdin.closed:
            self.proc.stdin.close()
        return self.proc.wait(timeout)

    def kill(self, signum=signal.SIGKILL):
        """The process alone, its children go on."""
        os.kill(self.pid, signum)
        return self.proc.wait(DEADLINE)

    def end(self):
        """With all its children."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.proc.wait(DEADLINE)
        self.proc.stdin.close()
        self.proc.stdout.close()


class Console(Program):
    """Python that runs the statements it is sent: console("lock.acquire()"). Names come with its making."""

    def __init__(self, **names):
        super().__init__(sys.executable, foreign("console.py"))
        self("import errno, fcntl, mmap, os, signal, struct, time")
        for name, value in names.items():
            self(f"{name} = {value!r}")

    def start(self, code):
        self.tell(json.dumps(code))
        return self

    def result(self):
        """Of what was started: its value, or its exception as ConsoleError."""
        line = self.says()
        assert line, f"ended in {self.argv}"
        answer = json.loads(line)
        if "error" in answer:
            raise ConsoleError(answer)
        return answer["value"]

    def __call__(self, code):
        return self.start(code).result()

    def fails(self, error, code=None):
        """Asserts that it raises that class, or an OSError with that name ("EAGAIN"). None: what was started."""
        try:
            value = self.result() if code is None else self(code)
        except ConsoleError as e:
            assert error in e.kinds, e
        else:
            raise AssertionError(f"no {error}, but {value!r}")

    def waits_in(self, code):
        return self.start(code).waits()


class ConsoleError(Exception):
    def __init__(self, answer):
        super().__init__(answer["error"])
        self.kinds = answer["kinds"]


def ok(*argv, **how):
    """Runs it to its end; whether it succeeded."""
    return code(*argv, **how) == 0


def code(*argv, **how):
    argv = [str(a) for a in argv]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=DEADLINE, check=False, **how).returncode


def play(players, timeout=DEADLINE):
    """Once all are ready they begin, and all end well. Reported is the first that does not, not what waits for it."""
    for p in players:
        assert p.says() == "ready"
    for p in players:
        p.no_more()
    codes = []

    def ended():
        codes[:] = [p.proc.poll() for p in players]
        return None not in codes or any(codes)
    wait_until(ended, timeout, f"the end of {players[0].argv}")
    assert codes == [0] * len(players)


def count_together(program, folders, argv, n=4, rounds=20, files=("counter",)):
    """N times argv(folder, rounds), by turns in each folder; all begin when all are ready."""
    for name in files:
        with open(os.path.join(folders[0], name), "w", encoding="ascii") as f:
            f.write("0\n")
    players = [program(*argv(folders[i % len(folders)], rounds)) for i in range(n)]
    play(players)
    for folder in folders:
        numbers = []
        for name in files:
            with open(os.path.join(folder, name), encoding="ascii") as f:
                numbers.append(int(f.read()))
        assert numbers == [n * rounds] * len(files)
