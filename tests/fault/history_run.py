#!/usr/bin/env python3
"""Random clients on several mounts of one backend, random faults, and the check of what the clients saw.

history_run.py SECONDS SEED [redis|file]

Faults come in bursts with a calm after each, so that waits which nobody ends are told from those that a fault explains.
Prints the counts, then every violation with its excerpt; the exit code is 1 if there are any. The seed fixes what is
chosen, not when it happens.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
SUPPORT = os.path.join(os.path.dirname(HERE), "support")
sys.path.insert(0, SUPPORT)

import history  # noqa: E402
from cutproxy import TO_CLIENT, TO_SERVER, CutProxy  # noqa: E402
from history_client import HOMES, LOCKS, SEM  # noqa: E402
from lockclient import process_state, wait_until  # noqa: E402
from plockmount import Mount, sanitizer_logs  # noqa: E402
from redisserver import RedisServer  # noqa: E402

TTL = 1.0
MOUNTS, CLIENTS = 3, 12
BURST, CALM = 7.0, 5.0
PREFIX = "history"
CLIENT_END = 20.0

# How often each is chosen.
REDIS_FAULTS = {"stop_mount": 6, "kill_mount": 3, "kill_client": 6, "partition": 5, "cut_normal": 3, "cut_pubsub": 2,
                "stop_server": 3, "restart_server": 1, "script_flush": 2, "flushall": 1}
FILE_FAULTS = {"stop_mount": 4, "kill_mount": 3, "kill_client": 6}


class ServerDied(Exception):
    pass


class Run:
    def __init__(self, seconds, seed, backend="redis", program=None, often=None):
        self.dice = random.Random(seed)
        self.seed = seed
        self.backend = backend
        self.weights = dict(REDIS_FAULTS if backend == "redis" else FILE_FAULTS, **(often or {}))
        self.until = time.monotonic() + seconds
        self.program = program
        self.work = tempfile.mkdtemp(prefix="plockfs-history-")
        os.chmod(self.work, 0o755)
        self.reports = set(sanitizer_logs())
        self.server = None
        self.mounts = []
        self.proxies = []
        self.clients = {}
        self.logs = []
        self.events = []
        self.undo = []  # (when, target, function)
        self.busy = set()
        self.pool = ThreadPoolExecutor(4)
        self.starting = []

    # --- parts ---

    def set_up(self):
        opts, source = "", os.path.join(self.work, "dir")
        if self.backend == "redis":
            self.server = RedisServer().start()
            self.server.settle(PREFIX, int(TTL * 1000))
            opts = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms,nofail"
        else:
            os.makedirs(source, mode=0o711)
        for i in range(MOUNTS):
            if self.backend == "redis":
                self.proxies.append(CutProxy(self.server.port).start())
                source = self.proxies[i].url()
            m = HistoryMount(source, os.path.join(self.work, f"mnt{i}"), opts)
            m.program = self.program
            self.mounts.append(m.start())
        for i in range(CLIENTS):
            self.start_client(i, 0)

    def start_client(self, number, life):
        ident = f"c{number}.{life}"
        log = os.path.join(self.work, ident + ".log")
        self.logs.append(log)
        open(log, "wb").close()
        argv = [sys.executable, "-S", "-E", os.path.join(SUPPORT, "history_client.py"), log, ident,
                str(self.seed * 100000 + number * 1000 + life), str(self.until), *(m.mnt for m in self.mounts)]
        with open(os.path.join(self.work, ident + ".err"), "wb") as err:
            self.clients[number] = (subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=err), life)

    # --- faults ---

    def fault(self, kind, target, begun, **more):
        self.events.append({"e": "fault", "kind": kind, "target": target, "t": begun, "t1": time.monotonic(), **more})

    def later(self, seconds, target, function):
        self.busy.add(target)
        self.undo.append((time.monotonic() + seconds, target, function))

    def undo_due(self, everything=False):
        for entry in list(self.undo):
            if everything or entry[0] <= time.monotonic():
                self.undo.remove(entry)
                entry[2]()
                self.busy.discard(entry[1])

    def _resume(self, pid, kind, target, begun):
        def resume():
            os.kill(pid, signal.SIGCONT)
            self.fault(kind, target, begun)
        return resume

    def stop_mount(self, i):
        begun = time.monotonic()
        os.kill(self.mounts[i].pid, signal.SIGSTOP)
        longest = self.dice.choice((0.8, 2.5))
        self.later(self.dice.uniform(0.2, longest) * TTL, i, self._resume(self.mounts[i].pid, "stop_mount", i, begun))

    def kill_mount(self, i):
        begun = time.monotonic()
        self.mounts[i].kill()
        self.busy.add(i)

        def start():
            time.sleep(pause)
            self.mounts[i].start_again()
            self.fault("kill_mount", i, begun)
            self.busy.discard(i)

        pause = self.dice.choice((0.0, 0.0, 0.5, 1.5)) * TTL
        self.starting.append(self.pool.submit(start))

    def kill_client(self, i):
        number = self.dice.randrange(CLIENTS)
        proc, life = self.clients[number]
        if proc.poll() is not None:
            return
        begun = time.monotonic()
        proc.kill()
        self.events.append({"e": "killed", "client": f"c{number}.{life}", "t": begun})
        self.fault("kill_client", None, begun)
        # One whose mount is stopped dies when that goes on.
        self.start_client(number, life + 1)

    def partition(self, i):
        """The mount and the server do not hear each other, or one of them the other."""
        key, proxy, begun = ("link", i), self.proxies[i], time.monotonic()
        if key in self.busy:
            return
        proxy.cut(*self.dice.choice(((TO_SERVER,), (TO_CLIENT,), (TO_SERVER, TO_CLIENT))))
        reset = self.dice.random() < 0.5

        def mend():
            proxy.mend(reset)
            self.fault("partition", i, begun)
        self.later(self.dice.uniform(0.1, self.dice.choice((0.6, 2.5))) * TTL, key, mend)

    def cut_normal(self, _):
        self._command("cut_normal", "CLIENT", "KILL", "TYPE", "normal")

    def cut_pubsub(self, _):
        self._command("cut_pubsub", "CLIENT", "KILL", "TYPE", "pubsub")

    def script_flush(self, _):
        self._command("script_flush", "SCRIPT", "FLUSH")

    def flushall(self, _):
        self._command("flushall", "FLUSHALL")

    def _command(self, kind, *words):
        if "server" in self.busy:
            return
        begun = time.monotonic()
        self.server.cli(*words, check=False)
        self.fault(kind, "server", begun)

    def stop_server(self, _):
        if "server" in self.busy:
            return
        begun = time.monotonic()
        self.server.signal(signal.SIGSTOP)
        self.later(self.dice.uniform(0.05, 2.0) * TTL, "server",
                   self._resume(self.server.pid, "stop_server", "server", begun))

    def restart_server(self, _):
        if "server" in self.busy:
            return
        begun = time.monotonic()
        self.server.kill()

        def start():
            self.server.start()
            self.fault("restart_server", "server", begun)

        self.later(self.dice.choice((0.0, 0.3, 1.5)) * TTL, "server", start)

    def one_fault(self):
        kind = self.dice.choices(list(self.weights), self.weights.values())[0]
        target = self.dice.randrange(MOUNTS)
        if kind.endswith("_mount") and target in self.busy:
            return
        getattr(self, kind)(target)

    def burst(self, end):
        while time.monotonic() < end:
            self.undo_due()
            self.one_fault()
            self.check_alive()
            pause = time.monotonic() + self.dice.uniform(0.02, 0.8)
            while time.monotonic() < pause:
                self.undo_due()
                time.sleep(0.01)
        self.undo_due(everything=True)
        for job in self.starting:
            job.result()
        self.starting.clear()

    # --- the whole ---

    def check_alive(self):
        """A server that ended by itself is no fault of this run."""
        for i, m in enumerate(self.mounts):
            if i not in self.busy and m.pid is not None and not m.running:
                raise ServerDied(f"mount {i} ended by itself with {m.wait_end()}:\n{m.log_text()}")

    def go(self):
        self.set_up()
        while time.monotonic() < self.until - CALM:
            self.burst(min(time.monotonic() + BURST, self.until - CALM))
            time.sleep(max(0.0, min(CALM, self.until - time.monotonic())))
            self.check_alive()
        for proc, _ in self.clients.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                proc.wait(max(0.1, self.until + CLIENT_END - time.monotonic()))
        self.check_alive()
        self.events.append({"e": "over", "t": time.monotonic(), "left": self.left_over()})
        for log in self.logs:
            self.events += history.read_log(log)
        return history.check(self.events, TTL)

    def left_over(self):
        """What is still held or waited for when every client has ended."""
        found = []

        def empty():
            found[:] = [(i, name, m.holders(name, kind), m.waiters(name, kind)) for i, m in enumerate(self.mounts)
                        for kind, names in (("locks", LOCKS + HOMES), ("sems", (SEM,))) for name in names
                        if m.holders(name, kind) or m.waiters(name, kind)]
            return not found

        with contextlib.suppress(AssertionError):
            wait_until(empty, 4 * TTL)
        return found

    def client_errors(self):
        texts = (open(log[:-4] + ".err", encoding="utf-8", errors="replace").read() for log in self.logs)
        return "\n".join(t for t in texts if t)

    def end(self):
        wrong = []
        self.undo_due(everything=True)
        for job in self.starting:
            job.result()
        self.pool.shutdown()
        for proc, _ in self.clients.values():
            if proc.poll() is None:
                proc.kill()
        for m in self.mounts:
            wrong.append(m.clean_up())
        for proc, _ in self.clients.values():
            proc.wait()
        for proxy in self.proxies:
            proxy.end()
        if self.server:
            self.server.end()
        shutil.rmtree(self.work)
        wrong += [text[:6000] for path, text in sanitizer_logs().items() if path not in self.reports]
        return [w for w in wrong if w]

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            for event in self.events:
                f.write(json.dumps(event) + "\n")

    def counts(self):
        count = {"steps": 0, "holds": 0, "lost": 0, "faults": 0}
        words = {"ask": "steps", "got": "holds", "lost": "lost", "fault": "faults"}
        for event in self.events:
            if event["e"] in words:
                count[words[event["e"]]] += 1
        return count


def plant(program, into, old, new):
    """A copy of the program whose script, which is plain text in it, has `new` in place of `old`."""
    with open(program, "rb") as f:
        data = f.read()
    assert data.count(old.encode()) == 1, f"in the program {data.count(old.encode())} times: {old}"
    assert len(new) <= len(old)
    with open(into, "wb") as f:
        f.write(data.replace(old.encode(), new.ljust(len(old)).encode()))
    os.chmod(into, 0o755)
    return into


class HistoryMount(Mount):
    program = None

    def argv(self):
        argv = super().argv()
        return [self.program] + argv[1:] if self.program else argv

    def start_again(self):
        """In place of a dead one, whatever state the backend is in."""
        end = time.monotonic() + 20
        while True:
            try:
                return self.start()
            except (AssertionError, OSError):
                if time.monotonic() > end:
                    raise
                if self.running:
                    self.kill()


def run(seconds, seed, backend, program=None, often=None):
    """(violations, counts); fails if a program broke down. often: weights of faults, in place of the usual ones."""
    one = Run(seconds, seed, backend, program, often)
    try:
        violations = one.go()
        errors = one.client_errors()
    finally:
        wrong = one.end()
    counts = one.counts()
    print(f"{backend}, seed {seed}: " + ", ".join(f"{n} {word}" for word, n in counts.items()))
    assert not errors and not wrong, (errors, wrong)
    return violations, counts


def main():
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    one = Run(seconds, seed, sys.argv[3] if len(sys.argv) > 3 else "redis")
    wrong = []
    try:
        violations = one.go()
        print(" ".join(f"{v} {k}" for k, v in one.counts().items()))
        for v in violations[:10]:
            print(v.text())
        print(one.client_errors(), end="")
    finally:
        path = os.path.join(tempfile.gettempdir(), f"plockfs-history-{seed}.jsonl")
        one.save(path)
        wrong = one.end()
    for text in wrong:
        print(text)
    if violations:
        print(f"{len(violations)} violations; the history is in {path}")
    return 1 if violations or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
