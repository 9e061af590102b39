"""Fixtures of the fault tests: those of the mount tests, real Redis servers, proxies that cut."""

import importlib.util
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
_spec = importlib.util.spec_from_file_location("mount_conftest", os.path.join(os.path.dirname(HERE), "mount",
                                                                              "conftest.py"))
mount_conftest = importlib.util.module_from_spec(_spec)
sys.modules["mount_conftest"] = mount_conftest
_spec.loader.exec_module(mount_conftest)

from mount_conftest import *  # noqa: E402,F401,F403

from cutproxy import CutProxy  # noqa: E402
from redisserver import RedisServer  # noqa: E402
from respproxy import RespProxy  # noqa: E402


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
