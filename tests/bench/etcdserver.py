"""An etcd of one node on loopback, for comparison, with its data in a folder; it writes each change to disk."""

import http.client
import os
import subprocess

from lockclient import wait_until
from redisserver import free_port


class EtcdServer:
    def __init__(self, folder):
        self.folder, self.proc = folder, None
        self.address = f"127.0.0.1:{free_port()}"

    def start(self):
        clients, peers = f"http://{self.address}", f"http://127.0.0.1:{free_port()}"
        self.log = os.path.join(self.folder, "log")
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(
                ["etcd", "--data-dir", os.path.join(self.folder, "data"), "--listen-client-urls", clients,
                 "--advertise-client-urls", clients, "--listen-peer-urls", peers,
                 "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._answers, 20, "etcd")

    def _answers(self):
        if self.proc.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                raise RuntimeError(f"etcd ended: {log.read()[-500:]}")
        try:
            connection = http.client.HTTPConnection(self.address, timeout=2)
            connection.request("GET", "/health")
            return b'"true"' in connection.getresponse().read()
        except OSError:
            return False

    def end(self):
        if self.proc:
            self.proc.terminate()
            self.proc.wait(20)
