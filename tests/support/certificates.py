"""Private certificate authorities for tests, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """A private certificate authority, and the certificate that it gave to 127.0.0.1."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context


def make_authority(folder: Path) -> Authority:
    folder.mkdir()
    new = ["-newkey", "rsa:2048", "-nodes", "-keyout"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl(folder, "req", "-x509", *new, "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=private-ca", *usage)
    openssl(folder, "req", *new, "server.key", "-out", "server.csr", "-subj", "/CN=server")
    (folder / "server.cnf").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    given = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "server.cnf"]
    openssl(folder, "x509", "-req", "-in", "server.csr", *given, "-out", "server.pem")
    return Authority(folder)


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
