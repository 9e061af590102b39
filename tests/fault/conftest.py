"""Fixtures of the fault tests: those of the mount tests, real Redis servers, proxies that cut."""

import importlib.util
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
_spec = importlib.util.spec_from_file_location("mount_conftest", os.path.join(os.path.dirname(HERE), "mount",
                                                                              "conftest.py"))
mount_conftest = importlib.util.module_from_spec(_spec)
sys.modules["mount_conftest"] = mount_conftest
_spec.loader.exec_module(mount_conftest)

from mount_conftest import *  # noqa: E402,F401,F403

from plockmount import PLOCKFS  # noqa: E402
from cutproxy import CutProxy  # noqa: E402
from redisserver import RedisServer  # noqa: E402
from respproxy import RespProxy  # noqa: E402


def pytest_configure(config):
    mount_conftest.pytest_configure(config)
    config.addinivalue_line("markers", "tls: of a build that has it")
    config.addinivalue_line("markers", "no_tls: of a build that has not")


def pytest_collection_modifyitems(config, items):
    """What this build can do decides which tests of TLS there are."""
    mount_conftest.pytest_collection_modifyitems(config, items)
    said = subprocess.run([PLOCKFS, "--version"], capture_output=True, text=True, check=True).stdout
    assert ("without TLS" in said) != ("with TLS" in said), said
    other = "no_tls" if "with TLS" in said else "tls"
    gone = [i for i in items if i.get_closest_marker(other)]
    config.hook.pytest_deselected(items=gone)
    items[:] = [i for i in items if i not in gone]


@pytest.fixture
def redis(request):
    """A function that starts a redis-server of the test's own."""
    servers = []

    def make(start=True, **options):
        server = RedisServer(**options)
        servers.append(server)
        return server.start() if start else server

    yield make
    for server in reversed(servers):
        server.end()


@pytest.fixture
def server(redis, request):
    """One that has long served the PREFIX of the test's module, with its TTL."""
    one = redis()
    one.settle(request.module.PREFIX, int(request.module.TTL * 1000))
    return one


@pytest.fixture
def two(server, mounts, request):
    """Two mounts of one server."""
    opts = request.module.OPTS
    return mounts(server.url(), opts=opts), mounts(server.unix_url(), opts=opts)


@pytest.fixture
def proxies():
    """A function that starts a proxy to a port on loopback."""
    made = []

    def make(port):
        made.append(CutProxy(port).start())
        return made[-1]

    yield make
    for proxy in made:
        proxy.end()


@pytest.fixture
def resp_proxies():
    """A function that starts a proxy that understands what it passes on."""
    made = []

    def make(port):
        made.append(RespProxy(port).start())
        return made[-1]

    yield make
    for proxy in made:
        proxy.end()
