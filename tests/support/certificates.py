"""Certificates for tests of TLS: an authority, and what it signs. By openssl(1)."""

import os
import subprocess


def openssl(*argv):
    subprocess.run(["openssl", *map(str, argv)], check=True, stdin=subprocess.DEVNULL, capture_output=True)


class Authority:
    def __init__(self, folder, name="authority"):
        self.folder, self.name = folder, name
        self.cert, self.key = self._path(name + ".crt"), self._path(name + ".key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
                "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.cert)

    def _path(self, name):
        return os.path.join(self.folder, name)

    def sign(self, name, hosts="DNS:localhost,IP:127.0.0.1", days=1):
        """(certificate, key): two files, of somebody who is these hosts. Over already for days < 0."""
        cert, key, request, more = (self._path(f"{self.name}-{name}.{end}") for end in ("crt", "key", "csr", "ext"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", key, "-out", request)
        with open(more, "w", encoding="utf-8") as f:
            f.write(f"subjectAltName={hosts}\n")
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", days,
                "-extfile", more, "-out", cert)
        return cert, key
