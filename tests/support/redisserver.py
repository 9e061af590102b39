"""A redis-server under test: real, on loopback and a unix socket, started and ended by its own pid."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile

from lockclient import wait_until


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class RedisServer:
    """`options` are redis.conf directives: save="", appendonly="yes", ...

    clock: its time of day can be set, by step().
    """

    def __init__(self, port=None, host="127.0.0.1", sentinel=False, conf="", clock=False, **options):
        self.dir = tempfile.mkdtemp(prefix="plockfs-redis-")
        os.chmod(self.dir, 0o755)
        self.port = port or free_port()
        self.host = host
        self.socket = os.path.join(self.dir, "socket")
        self.sentinel = sentinel
        self.options = {"save": '""', **options}
        self.conf = conf
        self.env = self._steppable() if clock else None
        self.proc = None

    # --- life ---

    def _write_conf(self):
        path = os.path.join(self.dir, "redis.conf")
        if os.path.exists(path):  # Sentinel keeps its state there
            return path
        lines = [f"port {self.port}", f"bind {self.host}", f"dir {self.dir}", "daemonize no"]
        if not self.sentinel:
            lines += [f"unixsocket {self.socket}", "unixsocketperm 777"]
            lines += [f"{k.replace('_', '-')} {v}" for k, v in self.options.items()]
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n" + self.conf + "\n")
        return path

    def start(self, ready=True):
        argv = ["redis-server", self._write_conf()] + (["--sentinel"] if self.sentinel else [])
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env=self.env)
        if ready:
            wait_until(self._answers, what=f"redis-server on port {self.port}")
        return self

    def _answers(self):
        assert self.proc.poll() is None, f"redis-server ended: {self.log_text()}"
        return self.cli("PING", check=False) in ("PONG", "NOAUTH Authentication required.")

    def log_text(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()[-3000:]

    @property
    def pid(self):
        return self.proc.pid

    def signal(self, number):
        os.kill(self.proc.pid, number)

    def kill(self):
        """SIGKILL: what is not on disk is lost."""
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
        if self.proc:
            self.proc.wait()

    def restart(self):
        self.kill()
        return self.start()

    def end(self):
        if self.proc and self.proc.poll() is None:
            self.signal(signal.SIGCONT)
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- its clock ---

    def _steppable(self):
        library, path = os.path.join(self.dir, "clock_step.so"), os.path.join(self.dir, "clock")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clock_step.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-w", "-o", library, source, "-ldl"], check=True)
        with open(path, "wb") as f:
            f.write(bytes(8))
        return dict(os.environ, LD_PRELOAD=library, CLOCK_STEP=path)

    def step(self, seconds):
        """From now on its time of day is so far from the right one."""
        with open(self.env["CLOCK_STEP"], "r+b") as f:
            f.write(int(seconds * 1000).to_bytes(8, "little", signed=True))

    # --- use ---

    def url(self):
        return f"redis://{self.host}:{self.port}"

    def unix_url(self):
        return f"unix://{self.socket}"

    def cli(self, *argv, check=True, auth=()):
        done = subprocess.run(["redis-cli", "-h", self.host, "-p", str(self.port), *auth, *map(str, argv)],
                              capture_output=True, text=True, check=False)
        text = done.stdout.strip()
        if check:
            assert done.returncode == 0 and not text.startswith(("ERR", "(error)")), text + done.stderr
        return text

    def info(self, field):
        return next(line.split(":", 1)[1].strip() for line in self.cli("INFO").splitlines()
                    if line.startswith(field + ":"))

    def settle(self, prefix, ttl_ms):
        """Makes it a server that has long served this prefix: no grace as after a loss of memory."""
        self.cli("HSET", f"{{{prefix}}}:g", "inc", self.info("run_id") + ":1", "e", "1", "gr", "0", "f", "0",
                 "ttl", ttl_ms)
