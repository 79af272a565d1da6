"""Writes the lock files of the jars: python -m infra.local.lock_jars opensearch-3.8.0 security-3.4.0 elasticmq-1.7.1.

Resolves what Maven would, in pure Python, downloads each file once, and notes its digest. Whoever runs it trusts the
repository of that day; everybody else trusts the digests.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from .jars import LOCKS, TIMEOUT_SECONDS, LockedFile, resolve_file
from .layout import MODULES

# not among the dependencies of the plugin, and one of its classes needs it
SECURITY_EXTRAS = ("org.apache.commons:commons-collections4:4.4",)


class Resolver:
    """Resolves coordinates to files, by jgo."""

    def __init__(self) -> None:
        from jgo.maven import MavenContext  # noqa: PLC0415

        self._context: Any = MavenContext(timeout=TIMEOUT_SECONDS)

    def resolve(self, roots: Iterable[str]) -> list[str]:
        """Return the coordinates of roots and all that they need at run time."""
        dependencies = [self._context.create_dependency(root) for root in roots]
        inputs, transitive = self._context.resolver.resolve(dependencies)
        return [
            f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
            + (f":jar:{dependency.classifier}" if dependency.classifier else "")
            for dependency in (*inputs, *transitive)
            if dependency.scope in (None, "compile", "runtime")
        ]

    def lock(self, coordinate: str, folder: str) -> LockedFile:
        """Download a file and note what it is."""
        path = resolve_file(self._context, coordinate)
        content = path.read_bytes()
        target = f"{folder}/{path.name}" if folder else path.name
        return LockedFile(target, coordinate, sha256(content).hexdigest(), len(content))


def lock_opensearch(resolver: Resolver, version: str) -> list[LockedFile]:
    """Lock the server and its modules; a module that the repository does not have is left out."""
    roots = [f"org.opensearch:{name}:{version}" for name in ("opensearch", "opensearch-plugin-classloader")]
    if not version.startswith("2."):  # not among the server's own dependencies, and its bootstrap class needs it
        roots.append(f"org.opensearch:opensearch-agent-bootstrap:{version}")
    lib = resolver.resolve(roots)
    log4j = next(coordinate.split(":")[2] for coordinate in lib if ":log4j-api:" in coordinate)
    lib.append(f"org.apache.logging.log4j:log4j-core:{log4j}")  # optional in the server's pom, needed all the same
    files = [resolver.lock(coordinate, "lib") for coordinate in lib]
    shared = {artifact_of(coordinate) for coordinate in lib}
    for name, artifact in MODULES.items():
        try:
            coordinates = resolver.resolve([f"org.opensearch.plugin:{artifact}:{version}"])
        except RuntimeError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        # A class found twice stops the server ("jar hell").
        own = [coordinate for coordinate in coordinates if artifact_of(coordinate) not in shared]
        files += [resolver.lock(coordinate, f"modules/{name}") for coordinate in own]
    return files


def lock_security(resolver: Resolver, version: str) -> list[LockedFile]:
    """Lock the security plugin's zip and what it lacks."""
    plugin = resolver.lock(f"org.opensearch.plugin:opensearch-security:{version}.0:zip", "")
    return [plugin, *(resolver.lock(coordinate, "extras") for coordinate in SECURITY_EXTRAS)]


def lock_elasticmq(resolver: Resolver, version: str) -> list[LockedFile]:
    """Lock the queue server of the tests."""
    coordinates = resolver.resolve([f"org.elasticmq:elasticmq-server_2.13:{version}"])
    return [resolver.lock(coordinate, "") for coordinate in coordinates]


LOCKERS = {"opensearch": lock_opensearch, "security": lock_security, "elasticmq": lock_elasticmq}


def artifact_of(coordinate: str) -> str:
    """Return the group and artifact of a coordinate."""
    return ":".join(coordinate.split(":")[:2])


def write_lock(name: str, files: Sequence[LockedFile]) -> None:
    """Write a lock file, in the order of the paths."""
    LOCKS.mkdir(exist_ok=True)
    lines = [f"{file.path} {file.coordinate} {file.sha256} {file.size}" for file in sorted(files, key=str)]
    (LOCKS / f"{name}.txt").write_text("# path, coordinate, SHA-256, bytes\n" + "\n".join(lines) + "\n")


def main(names: Sequence[str]) -> int:
    """Write the locks of these names."""
    resolver = Resolver()
    for name in names:
        match = re.fullmatch(r"([a-z]+)-(\d[\w.]*)", name)
        if match is None or match[1] not in LOCKERS:
            print(f"{name}: name one of {', '.join(LOCKERS)} and its version, as in opensearch-3.8.0", file=sys.stderr)
            return 1
        files = LOCKERS[match[1]](resolver, match[2])
        write_lock(name, files)
        print(f"{name}: {len(files)} files, {sum(file.size for file in files) / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
