"""A node with the security plugin: TLS, passwords and roles, as on a real domain.

    with SecureNode(roles={"loader": {"cluster_permissions": [...], "index_permissions": [...]}}) as node:
        log_in("loader", node.passwords["loader"], node.certificate_authority)

Its plugin is on Maven Central for 2.19.1 and 3.4.0 only.
"""

import base64
import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import zipfile
from pathlib import Path
from typing import Any

from .errors import LocalStackError
from .jars import fetch_files
from .java import find_java
from .layout import build_once, layout, say
from .node import Node, Setting
from .polling import fetch
from .ports import LOOPBACK

DEFAULT_VERSION = "3.4.0"
PLUGIN = "plugins/opensearch-security"
ADMIN = "admin"

SETTINGS: dict[str, Setting | list[str]] = {
    "plugins.security.ssl.transport.pemcert_filepath": "node.pem",
    "plugins.security.ssl.transport.pemkey_filepath": "node.key",
    "plugins.security.ssl.transport.pemtrustedcas_filepath": "ca.pem",
    "plugins.security.ssl.transport.enforce_hostname_verification": False,
    "plugins.security.ssl.http.enabled": True,
    "plugins.security.ssl.http.pemcert_filepath": "node.pem",
    "plugins.security.ssl.http.pemkey_filepath": "node.key",
    "plugins.security.ssl.http.pemtrustedcas_filepath": "ca.pem",
    "plugins.security.nodes_dn": ["CN=node"],
    "plugins.security.authcz.admin_dn": ["CN=admin"],
    "plugins.security.allow_default_init_securityindex": True,
}
EXTENSIONS = f"subjectAltName=DNS:localhost,IP:{LOOPBACK}\nextendedKeyUsage=serverAuth,clientAuth\n"


def secure_layout(version: str) -> Path:
    """Return the folder of this version's server with the plugin; make it first if it is not there yet."""
    plain = layout(version)
    return build_once(f"opensearch-{version}-secure", lambda made, scratch: _build(version, plain, made, scratch))


def _build(version: str, plain: Path, home: Path, scratch: Path) -> None:
    shutil.copytree(plain, home, copy_function=os.link)
    fetch_files(f"security-{version}", scratch, say)
    plugin = home / PLUGIN
    with zipfile.ZipFile(scratch / f"opensearch-security-{version}.0.zip") as packed:
        packed.extractall(plugin)
    descriptor = plugin / "plugin-descriptor.properties"
    # 3.x names modules that are not among the published jars; nothing here needs them, but for one jar of theirs.
    descriptor.write_text(re.sub(r"(?m)^extended\.plugins=.*", "extended.plugins=", descriptor.read_text()))
    if not list(plugin.glob("commons-collections4-*")):
        for jar in (scratch / "extras").iterdir():
            shutil.copy(jar, plugin)


class SecureNode(Node):
    """A node that answers over TLS to known users: `admin`, and one of each role's name who has that role only."""

    def __init__(
        self,
        *,
        roles: dict[str, dict[str, Any]] | None = None,
        doorkeepers: tuple[str, ...] = (),
        version: str = DEFAULT_VERSION,
        **options: Any,  # noqa: ANN401 - as Node's
    ) -> None:
        super().__init__(version=version, **options)
        self.roles = roles or {}
        # The roles that may use the security API beside `all_access`; it asks for a role, and not for a permission.
        self.doorkeepers = doorkeepers
        # The plugin's own rules for a strong password ask for a digit and a letter.
        self.passwords = {user: f"7x{secrets.token_hex(16)}" for user in (ADMIN, *self.roles)}

    @property
    def url(self) -> str:
        """Where the node answers."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def certificate_authority(self) -> Path:
        """The certificate to trust."""
        return self.folder / "config/ca.pem"

    def is_healthy(self) -> bool:
        """Say whether the node answers the administrator; at first it answers 503 while it sets security up."""
        token = base64.b64encode(f"{ADMIN}:{self.passwords[ADMIN]}".encode()).decode()
        return (
            fetch(
                f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s",
                headers={"Authorization": f"Basic {token}"},
                trusting=ssl.create_default_context(cafile=self.certificate_authority),
            )
            is not None
        )

    def _server(self) -> Path:
        return secure_layout(self.version)

    def _write_configuration(self) -> None:
        super()._write_configuration()
        config = self.folder / "config"
        settings = SETTINGS | {"plugins.security.restapi.roles_enabled": ["all_access", *self.doorkeepers]}
        with (config / "opensearch.yml").open("a") as lines:
            lines.writelines(f"{name}: {json.dumps(value)}\n" for name, value in settings.items())
        if not self.certificate_authority.exists():  # another start keeps certificates and users
            _certify(config)
            self._write_users(config / "opensearch-security")
        for path in config.rglob("*"):  # the plugin warns of each file that others may read
            path.chmod(0o700 if path.is_dir() else 0o600)

    def _write_users(self, config: Path) -> None:
        """Write the plugin's files; with its own role mapping each user would have `own_index`, and so may _bulk."""
        shutil.copytree(secure_layout(self.version) / PLUGIN / "config", config)
        users: dict[str, Any] = {
            role: {"hash": self._hash(self.passwords[role]), "opendistro_security_roles": [role]} for role in self.roles
        }
        users[ADMIN] = {"hash": self._hash(self.passwords[ADMIN]), "reserved": True, "backend_roles": [ADMIN]}
        mapping = {"all_access": {"backend_roles": [ADMIN]}}
        _write_security(config / "internal_users.yml", "internalusers", users)
        _write_security(config / "roles.yml", "roles", self.roles)
        _write_security(config / "roles_mapping.yml", "rolesmapping", mapping)

    def _hash(self, password: str) -> str:
        home = secure_layout(self.version)
        path = f"{home / PLUGIN}/*:{home}/lib/*"
        java = find_java(self.version).executable
        hashed = subprocess.run(
            [java, "-XX:TieredStopAtLevel=1", "-cp", path, "org.opensearch.security.tools.Hasher", "-env", "PASSWORD"],
            env=os.environ | {"PASSWORD": password},
            capture_output=True,
            text=True,
            check=True,
        )
        return next(line for line in hashed.stdout.splitlines() if line.startswith("$2"))


def _write_security(path: Path, kind: str, content: dict[str, Any]) -> None:
    described = {"_meta": {"type": kind, "config_version": 2}, **content}
    path.write_text(json.dumps(described, indent=1))  # JSON is YAML


def _certify(config: Path) -> None:
    """Make an authority and the certificates of the node and its administrator."""
    if shutil.which("openssl") is None:
        raise LocalStackError("A node with security needs certificates: install the command openssl.")
    (config / "extensions.cnf").write_text(EXTENSIONS)
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout"]
    _openssl(config, "req", "-x509", *key, "ca.key", "-out", "ca.pem", "-days", "365", "-subj", "/CN=local-ca")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "365", "-extfile", "extensions.cnf"]
    for name in ("node", "admin"):
        _openssl(config, "req", *key, f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        _openssl(config, "x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
