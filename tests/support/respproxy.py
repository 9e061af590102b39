"""A proxy on loopback that understands what passes between a mount and its Redis server.

`rule(when, op, raw, link)` is asked about each call ("before" it is passed on) and each answer ("after"), and gives
what passes in its place: bytes, None for nothing, or CLOSE. op is the operation of plockfs for a script ("acq"), the
name of a command in small letters otherwise, "message" for what comes on a subscribed connection by itself. `link` is
the connection: its number, and whether it is the one that is subscribed. It is called from several threads, one at a time.

`cut` and `mend` are those of CutProxy: what is not passed on waits.
"""

import socket
import threading

from cutproxy import TO_CLIENT, TO_SERVER

CLOSE = object()


def passing(_when, _op, raw, _link):
    return raw


class Link:
    def __init__(self, number, client, server):
        self.number, self.client, self.server = number, client, server
        self.asked = []
        self.subscribed = False

    def close(self):
        for s in (self.client, self.server):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def read_raw(f):
    """One value of the protocol, as it came."""
    line = f.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    raw = line
    if line[:1] == b"$" and int(line[1:]) >= 0:
        raw += f.read(int(line[1:]) + 2)
    elif line[:1] == b"*":
        for _ in range(max(0, int(line[1:]))):
            raw += read_raw(f)
    return raw


def words_of(raw):
    """Those of a call."""
    words, at = [], raw.index(b"\r\n") + 2
    while at < len(raw):
        end = raw.index(b"\r\n", at)
        size = int(raw[at + 1:end])
        words.append(raw[end + 2:end + 2 + size])
        at = end + 4 + size
    return words


class RespProxy:
    def __init__(self, port, host="127.0.0.1"):
        self.target = (host, port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.rule = passing
        self.links = []
        self.cut_now = set()
        self.changed = threading.Condition()
        self.asking = threading.RLock()
        self.refusing = False
        self.ending = False

    def start(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    # --- commands ---

    def cut(self, *directions):
        with self.changed:
            self.cut_now |= set(directions or (TO_SERVER, TO_CLIENT))

    def mend(self):
        with self.changed:
            self.cut_now.clear()
            self.changed.notify_all()

    def reset(self):
        for link in list(self.links):
            link.close()

    def end(self):
        self.ending = True
        self.mend()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.reset()

    # --- the threads ---

    def _accept(self):
        while not self.ending:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            try:
                if self.refusing:
                    raise OSError
                server = socket.create_connection(self.target, 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(len(self.links), client, server)
            self.links.append(link)
            for run in (self._calls, self._answers):
                threading.Thread(target=self._guarded, args=(run, link), daemon=True).start()

    def _guarded(self, run, link):
        try:
            run(link)
        except (OSError, EOFError, ValueError):
            pass
        link.close()

    def _pass(self, direction, to, when, op, raw, link):
        """False when the connection is to be closed."""
        with self.asking:
            out = self.rule(when, op, raw, link)
        if out is CLOSE:
            return False
        with self.changed:
            while direction in self.cut_now and not self.ending:
                self.changed.wait()
        if out:
            to.sendall(out)
        return True

    def _calls(self, link):
        f = link.client.makefile("rb")
        while True:
            raw = read_raw(f)
            words = words_of(raw)
            op = words[0].decode().lower()
            if op == "evalsha":
                op = words[4].decode()
            if op == "subscribe":
                link.subscribed = True
            link.asked.append(op)
            if not self._pass(TO_SERVER, link.server, "before", op, raw, link):
                return

    def _answers(self, link):
        f = link.server.makefile("rb")
        while True:
            raw = read_raw(f)
            op = link.asked.pop(0) if link.asked else "message"
            if not self._pass(TO_CLIENT, link.client, "after", op, raw, link):
                return
