"""rediss://: who is trusted, and what is said of a server that is not. Without hiredis_ssl: that it cannot be."""

import os
import shutil
import socket
import threading

import pytest

from certificates import Authority, openssl
from faults import check_lost, heals, record, refused, watch_loss
from lockclient import fails, wait_until
from redisserver import free_port

TTL = 2.0
PREFIX = "t"
OPTS = f"prefix={PREFIX},ttl={TTL * 1000:.0f}ms"
SECRET = "s3cret-" + os.urandom(6).hex()
PASSWORD = {"PLOCKFS_REDIS_PASSWORD": SECRET}

tls = pytest.mark.tls


@pytest.mark.no_tls
def test_no_tls(mounts, work):
    for opts in (OPTS, OPTS + ",nofail", f"{OPTS},tls_ca={work}/none"):
        assert "has no TLS" in refused(mounts("rediss://127.0.0.1", opts=opts, start=False))


@pytest.mark.parametrize("source", ["redis://127.0.0.1", "unix:///none", "redis+sentinel://127.0.0.1/main"])
def test_not_without_the_scheme(mounts, source):
    """Who names an authority must not get a connection without TLS."""
    line = refused(mounts(source, opts=OPTS + ",tls_ca=/none", start=False))
    assert "tls_ca" in line and "rediss://" in line, line


# --- with TLS ---

@pytest.fixture
def authority(work):
    return Authority(work)


def serve(redis, cert, authority, clients="no", **more):
    """A server that speaks TLS on one port, and without on another."""
    server = redis(tls_port=free_port(), tls_cert_file=cert[0], tls_key_file=cert[1], tls_ca_cert_file=authority.cert,
                   tls_auth_clients=clients, **more)
    server.settle(PREFIX, int(TTL * 1000))
    return server


def url(server, host="localhost"):
    return f"rediss://{host}:{server.options['tls_port']}"


@pytest.fixture
def server(redis, authority):
    return serve(redis, authority.sign("server"), authority)


def trusting(authority, *more):
    return ",".join([OPTS, f"tls_ca={authority.cert}", *more])


def check_works(one, other, clients):
    a, b = clients(2)
    heals(one, other, a, b)
    heals(other, one, b, a)
    # Many records in each direction.
    data = os.urandom(1 << 20)
    one.put("big", data, "locks")
    assert other.get("big", "locks") == data
    other.put("big", data[::-1], "locks")
    assert one.get("big", "locks") == data[::-1]


@tls
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_with_another_that_has_no_tls(server, authority, mounts, clients, host):
    one = mounts(url(server, host), opts=trusting(authority))
    check_works(one, mounts(server.unix_url(), opts=OPTS), clients)
    assert one.status_json()["source"].startswith("rediss://")


@tls
def test_whom_the_system_trusts(server, authority, mounts, clients):
    one = mounts(url(server), opts=OPTS, env={"SSL_CERT_FILE": authority.cert})
    check_works(one, mounts(url(server), opts=trusting(authority)), clients)


@tls
def test_password_and_database(redis, authority, mounts, clients):
    server = redis(tls_port=free_port(), requirepass=SECRET, tls_ca_cert_file=authority.cert, tls_auth_clients="no",
                   **dict(zip(("tls_cert_file", "tls_key_file"), authority.sign("server"))))
    one = mounts(url(server) + "/3", opts=trusting(authority), env=PASSWORD)
    check_works(one, mounts(url(server) + "/3", opts=trusting(authority), env=PASSWORD), clients)
    assert SECRET not in one.log_text()


@tls
def test_client_certificate(redis, authority, mounts, clients, work):
    """In two files, or both in one."""
    server = serve(redis, authority.sign("server"), authority, clients="yes")
    cert, key = authority.sign("mount", "DNS:mount")
    both = os.path.join(work, "both.pem")
    with open(both, "wb") as out:
        for path in (cert, key):
            with open(path, "rb") as f:
                shutil.copyfileobj(f, out)
    one = mounts(url(server), opts=trusting(authority, f"tls_cert={cert}", f"tls_key={key}"))
    check_works(one, mounts(url(server), opts=trusting(authority, f"tls_cert={both}")), clients)
    line = refused(mounts(url(server), opts=trusting(authority), start=False))
    assert "refuses TLS" in line, line


# --- not trusted ---

def check_refused(mounts, source, opts, word):
    line = refused(mounts(source, opts=opts, env=PASSWORD, start=False))
    assert word in line and SECRET not in line, line


@tls
def test_authority_is_not_trusted(server, authority, mounts, work):
    other = Authority(work, "other")
    check_refused(mounts, url(server), trusting(other), "not trusted")
    check_refused(mounts, url(server), OPTS, "not trusted")
    assert authority.cert != other.cert


@tls
@pytest.mark.parametrize("hosts, asked", [("DNS:other.example", "localhost"), ("DNS:localhost", "127.0.0.1"),
                                          ("IP:127.0.0.1", "localhost"), ("DNS:*", "localhost"),
                                          ("IP:127.0.0.2", "127.0.0.1")])
def test_certificate_of_another_host(redis, authority, mounts, hosts, asked):
    server = serve(redis, authority.sign("server", hosts), authority)
    check_refused(mounts, url(server, asked), trusting(authority), "another host")


@tls
def test_certificate_is_over(redis, authority, mounts):
    server = serve(redis, authority.sign("server", days=-1), authority)
    check_refused(mounts, url(server), trusting(authority), "expired")


@tls
def test_server_without_tls(server, authority, mounts):
    check_refused(mounts, f"rediss://localhost:{server.port}", trusting(authority), "may not speak TLS")


class Listener:
    """A server that keeps what it hears. answer: what it says to that; it stays silent, or hangs up (b"")."""

    def __init__(self, answer=None):
        self.answer, self.heard, self.open = answer, b"", []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                one = self.socket.accept()[0]
            except OSError:
                return
            self.open.append(one)
            threading.Thread(target=self._hear, args=(one,), daemon=True).start()

    def _hear(self, one):
        while True:
            try:
                data = one.recv(1 << 16)
                self.heard += data
                if data and self.answer:
                    one.sendall(self.answer)
            except OSError:
                return
            if not data or self.answer == b"":
                one.close()
                return

    def end(self):
        self.socket.close()
        for one in self.open:
            one.close()


@tls
@pytest.mark.parametrize("answer, word", [(None, "no answer in the TLS handshake"), (b"", "handshake"), (b"+OK\r\n", "does not speak TLS"),
                                          (b"\x15\x03\x03\x00\x02\x02\x28", "refuses TLS")],
                         ids=["silent", "hangs up", "plain", "alert"])
def test_server_that_is_none(authority, mounts, answer, word):
    listener = Listener(answer)
    try:
        check_refused(mounts, f"rediss://localhost:{listener.port}", trusting(authority), word)
        assert listener.heard and SECRET.encode() not in listener.heard
    finally:
        listener.end()


@tls
def test_files_that_cannot_be_used(server, authority, mounts, work):
    cert, key = authority.sign("mount", "DNS:mount")
    closed, nothing = os.path.join(work, "closed.key"), os.path.join(work, "nothing")
    openssl("ec", "-in", key, "-aes128", "-passout", "pass:" + SECRET, "-out", closed)
    with open(nothing, "w", encoding="utf-8") as f:
        f.write("nothing\n")
    for more, word in ((f"tls_ca={work}/none", f"tls_ca={work}/none: No such file"),
                       (f"tls_ca={nothing}", "tls_ca"),
                       (f"tls_cert={work}/none", f"tls_cert={work}/none: No such file"),
                       (f"tls_cert={cert}", f"tls_cert={cert}"),
                       (f"tls_cert={cert},tls_key={nothing}", f"tls_key={nothing}"),
                       (f"tls_cert={cert},tls_key={authority.key}", "mismatch"),
                       (f"tls_cert={cert},tls_key={closed}", f"tls_key={closed}"),
                       (f"tls_key={key}", "tls_cert")):
        for nofail in ("", ",nofail"):
            check_refused(mounts, url(server), trusting(authority, more) + nofail, word)


# --- while mounted ---

@tls
def test_certificates_are_renewed(redis, authority, mounts, clients, work):
    """What stands in the files is read again for each attempt."""
    old, new = serve(redis, authority.sign("server"), authority), Authority(work, "new")
    ca = os.path.join(work, "ca.crt")
    shutil.copy(authority.cert, ca)
    m = mounts(url(old), opts=f"{OPTS},unavailable=1s,tls_ca={ca}")
    a, b = clients(2)
    fd = a.hold(m.lock("job"))
    watch_loss(a, fd)
    cert = new.sign("server")
    shutil.copy(cert[0], old.options["tls_cert_file"])
    shutil.copy(cert[1], old.options["tls_key_file"])
    old.restart()
    record([a], [a])
    a.wait()
    check_lost(a, fd)
    fails("EHOSTDOWN", b.hold, m.lock("job"))
    wait_until(lambda: "not trusted" in m.log_text())
    os.unlink(ca)
    wait_until(lambda: f"tls_ca={ca}" in m.log_text())
    shutil.copy(new.cert, ca)

    def works():
        try:
            return (b.hold(m.lock("job")),)
        except OSError:
            return None
    fd, = wait_until(works, 20.0)
    b.close(fd)
    assert m.log_text().count("not trusted") == 1


@tls
def test_cut(server, authority, mounts, clients, proxies):
    """The holder behind it loses the lock before the next one has it, and the mount heals."""
    proxy = proxies(server.options["tls_port"])
    one = mounts(f"rediss://localhost:{proxy.port}", opts=trusting(authority))
    other = mounts(server.unix_url(), opts=OPTS)
    a, b = clients(2)
    fd = a.hold(one.lock("job"))
    b.open(other.lock("job"))
    other.wait_waiting("job", b)
    watch_loss(a, fd)
    proxy.cut()
    found = record([a, b], [a, b])
    assert found[a] < found[b]
    a.wait()
    check_lost(a, fd)
    b.close(b.wait())
    proxy.mend(reset=True)
    heals(one, other, a, b)
