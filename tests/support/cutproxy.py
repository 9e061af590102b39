"""A TCP proxy on loopback that can stop passing bytes, in one direction or both, without closing anything.

A cut is what a network does that drops packets: both ends stay connected and
hear nothing. What arrives during a cut is kept in the kernel's buffers and
passes once it is mended (as TCP sends it again), or is lost with the
connection when `mend(reset=True)` closes those that were cut. `lose` drops messages
of the server, and nobody is told.
"""

import selectors
import socket
import threading

TO_SERVER, TO_CLIENT = "to_server", "to_client"
CHUNK = 1 << 16


class CutProxy:
    def __init__(self, port, host="127.0.0.1"):
        self.target = (host, port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cut_now = set()
        self.bytes = {TO_SERVER: 0, TO_CLIENT: 0}
        self.pairs = {}  # socket: (peer, direction of what it sends us)
        self.waiting = {}  # direction: sockets whose bytes nobody reads now
        self.todo = []
        self.lock = threading.Lock()
        self.wake_r, self.wake_w = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.ending = False
        self.pattern, self.lost = None, 0

    def start(self):
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(self.wake_r, selectors.EVENT_READ)
        self.thread.start()
        return self

    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    # --- commands: done when they return ---

    def _do(self, what):
        done = threading.Event()
        with self.lock:
            self.todo.append((what, done))
        self.wake_w.send(b"x")
        assert done.wait(10), "the proxy's thread is gone"

    def cut(self, *directions):
        """From now on nothing passes in these directions (both, when none is given)."""
        self._do(lambda: self._set_cut(set(directions or (TO_SERVER, TO_CLIENT))))

    def mend(self, reset=False):
        self._do(lambda: self._mend(reset))

    def lose(self, pattern):
        """From now on what comes from the server and has these bytes in it is dropped, and counted in `lost`."""
        self._do(lambda: setattr(self, "pattern", pattern))

    def reset(self):
        """Closes every connection."""
        self._do(self._reset)

    def end(self):
        self.ending = True
        self.wake_w.send(b"x")
        self.thread.join(10)
        self._reset()
        for s in (self.listener, self.wake_r, self.wake_w):
            s.close()
        self.selector.close()

    # --- the thread ---

    def _set_cut(self, directions):
        self.cut_now |= directions
        for s, (_, direction) in list(self.pairs.items()):
            if direction in self.cut_now:
                self._deaf(s)

    def _deaf(self, s):
        if s in self.selector.get_map():
            self.selector.unregister(s)

    def _mend(self, reset):
        self.cut_now.clear()
        if reset:
            self._reset()
        for s in self.pairs:
            if s not in self.selector.get_map():
                self.selector.register(s, selectors.EVENT_READ)

    def _reset(self):
        for s in list(self.pairs):
            self._drop(s)

    def _drop(self, s):
        if s not in self.pairs:
            return
        peer, _ = self.pairs[s]
        for one in (s, peer):
            self._deaf(one)
            self.pairs.pop(one, None)
            one.close()

    def _accept(self):
        client, _ = self.listener.accept()
        try:
            server = socket.create_connection(self.target, 5)
        except OSError:
            client.close()
            return
        for s, peer, direction in ((client, server, TO_SERVER), (server, client, TO_CLIENT)):
            s.settimeout(10)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs[s] = (peer, direction)
            if direction not in self.cut_now:
                self.selector.register(s, selectors.EVENT_READ)

    def _pass_on(self, s):
        if s not in self.pairs:
            return
        peer, direction = self.pairs[s]
        try:
            data = s.recv(CHUNK)
            if data and self.pattern and direction == TO_CLIENT and self.pattern in data:
                self.lost += 1
                return
            if data:
                peer.sendall(data)
                self.bytes[direction] += len(data)
                return
        except OSError:
            pass
        self._drop(s)

    def _commands(self):
        self.wake_r.recv(4096)
        with self.lock:
            todo, self.todo = self.todo, []
        for what, done in todo:
            what()
            done.set()

    def _run(self):
        while not self.ending:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj is self.wake_r:
                    self._commands()
                else:
                    self._pass_on(key.fileobj)
