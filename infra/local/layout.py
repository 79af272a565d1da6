"""Lays out an OpenSearch server from the jars that the project publishes to Maven Central.

The result looks like the unpacked distribution without its bundled plugins. It is made once per version and only read
afterwards, so any number of nodes share it.
"""

import contextlib
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from .errors import LocalStackError
from .folders import node_base, only_one
from .jars import fetch_files

# directory in the distribution -> Maven artifact of the group org.opensearch.plugin
MODULES = {
    "transport-netty4": "transport-netty4-client",
    "analysis-common": "analysis-common",
    "mapper-extras": "mapper-extras-client",
    "reindex": "reindex-client",
    "lang-painless": "lang-painless",
    "ingest-common": "ingest-common",
}
EXTENDS = {"ingest-common": "lang-painless"}

# 2.x runs under the Java security manager, and the published jars lack each module's own policy file.
POLICY_2X = """grant {
  permission java.lang.RuntimePermission "createClassLoader";
  permission java.lang.RuntimePermission "getClassLoader";
  permission java.lang.RuntimePermission "setContextClassLoader";
  permission java.net.SocketPermission "*", "accept,connect";
  permission java.net.NetPermission "getProxySelector";
  permission java.io.FilePermission "/proc/sys/net/core/somaxconn", "read";
  permission java.util.PropertyPermission "sun.nio.ch.bugLevel", "write";
};
"""
DESCRIPTOR = """description={name}
version={version}
name={name}
classname={plugin}
java.version=11
opensearch.version={version}
extended.plugins={extends}
has.native.controller=false
"""


def say(line: str) -> None:
    """Tell the user at once, also through a pipe."""
    print(line, file=sys.stderr, flush=True)


def layout(version: str, report: Callable[[str], None] = say) -> Path:
    """Return the folder of this version's server; make it first if it is not there yet, and report the download."""
    return build_once(f"opensearch-{version}", lambda made, _: _build(version, made, report))


def build_once(name: str, build: Callable[[Path, Path], None]) -> Path:
    """Return the folder of that name; if it is not there yet, have it built, given a place and a scratch folder."""
    home = node_base() / name
    if home.is_dir():
        return home
    # One download at a time: two would fetch the same.
    with only_one(home.parent / "layout.lock"):
        if not home.is_dir():
            _build_aside(home, build)
    return home


def _build_aside(home: Path, build: Callable[[Path, Path], None]) -> None:
    """Build beside the final place and rename: whoever sees the folder sees all of it."""
    for left_behind in home.parent.glob(".layout-*"):  # by a process that was killed: we hold the lock
        shutil.rmtree(left_behind, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".layout-", dir=home.parent) as scratch:
        made = Path(scratch) / "home"
        build(made, Path(scratch))
        _let_all_read(made)
        with contextlib.suppress(OSError):  # somebody without our lock was quicker, which is as good
            made.rename(home)


def _build(version: str, home: Path, report: Callable[[str], None]) -> None:
    fetch_files(f"opensearch-{version}", home, report)
    for name in ("bin", "plugins"):  # empty, but the server would make them, and may not where it is not the owner
        (home / name).mkdir()
    for name, artifact in MODULES.items():
        module = home / "modules" / name
        if module.is_dir():  # 3.9.0 has no ingest-common in the repository
            _describe(version, name, artifact, module)


def _describe(version: str, name: str, artifact: str, module: Path) -> None:
    """Write the files that the distribution's build would have added to the module."""
    plugin = _plugin_class(next(module.glob(f"{artifact}-*.jar")))
    extends = EXTENDS.get(name, "")
    descriptor = DESCRIPTOR.format(name=name, version=version, plugin=plugin, extends=extends)
    (module / "plugin-descriptor.properties").write_text(descriptor)
    if version.startswith("2."):
        (module / "plugin-security.policy").write_text(POLICY_2X)


def _plugin_class(jar: Path) -> str:
    """Return the one class of the jar that is the module's entry."""
    with zipfile.ZipFile(jar) as content:
        found = [name for name in content.namelist() if re.search(r"/\w+Plugin\.class$", name)]
    found = [name for name in found if name.endswith("ModulePlugin.class")] or found
    if len(found) != 1:
        raise LocalStackError(f"{jar.name} should hold one plugin class and holds {found}.")
    return found[0].removesuffix(".class").replace("/", ".")


def _let_all_read(home: Path) -> None:
    """Open the files to the user nobody, as whom the node runs when root starts it."""
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
