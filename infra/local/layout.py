"""Lays out an OpenSearch server from the jars that the project publishes to Maven Central.

The result looks like the unpacked distribution without its bundled plugins. It is made once per version and only read
afterwards, so any number of nodes share it.
"""

import contextlib
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from infra.local.errors import LocalStackError
from infra.local.folders import node_base, only_one

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
# A first run downloads about 70 MB, perhaps slowly.
MAVEN_SECONDS = 900

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
POM = (
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    "<groupId>local</groupId><artifactId>{name}</artifactId><version>1</version><packaging>pom</packaging>{content}"
    "</project>"
)
DEPENDENCY = (
    "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
)


def layout(version: str) -> Path:
    """Return the folder of this version's server; make it first if it is not there yet."""
    return build_once(f"opensearch-{version}", lambda made, scratch: _build(version, made, scratch))


def build_once(name: str, build: Callable[[Path, Path], None]) -> Path:
    """Return the folder of that name; if it is not there yet, have it built, given a place and a scratch folder."""
    home = node_base() / name
    if home.is_dir():
        return home
    # One Maven at a time: two could spoil each other's downloads in the shared local repository.
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


def _build(version: str, home: Path, scratch: Path) -> None:
    _download(version, scratch / "maven")
    _assemble(version, scratch / "maven", home)


def _download(version: str, maven: Path) -> None:
    """Fetch the server and each module with all they depend on, each into a `jars` folder of its own."""
    parts = {name: _dependency("org.opensearch.plugin", artifact, version) for name, artifact in MODULES.items()}
    parts["lib"] = _dependency("org.opensearch", "opensearch", version)
    parts["lib"] += _dependency("org.opensearch", "opensearch-plugin-classloader", version)
    if not version.startswith("2."):  # not among the server's own dependencies, and its bootstrap class needs it
        parts["lib"] += _dependency("org.opensearch", "opensearch-agent-bootstrap", version)
    for name, dependencies in parts.items():
        _write_pom(maven / name, name, f"<dependencies>{dependencies}</dependencies>")
    _write_pom(maven, "all", f"<modules>{''.join(f'<module>{name}</module>' for name in parts)}</modules>")
    run_maven(maven, "dependency:copy-dependencies", "-DoutputDirectory=jars")
    # optional in the server's pom and needed all the same
    log4j = next(re.findall(r"log4j-api-(.+)\.jar", jar.name)[0] for jar in (maven / "lib/jars").glob("log4j-api-*"))
    core = f"-Dartifact=org.apache.logging.log4j:log4j-core:{log4j}"
    run_maven(maven, "dependency:copy", core, "-DoutputDirectory=lib/jars", "--non-recursive")


def _dependency(group: str, artifact: str, version: str) -> str:
    return DEPENDENCY.format(group=group, artifact=artifact, version=version)


def _write_pom(folder: Path, name: str, content: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(POM.format(name=name, content=content))


def run_maven(folder: Path, *arguments: str) -> None:
    """Run Maven in the folder, quietly unless it fails."""
    if shutil.which("mvn") is None:
        raise LocalStackError(
            "OpenSearch is put together with Maven, and there is no mvn on the PATH: install Maven,"
            " or set TRAILSINK_TEST_OPENSEARCH_URL to use a server that is already there."
        )
    ran = subprocess.run(
        # By default, Maven 3 only warns of a jar that does not have its checksum.
        ["mvn", "-q", "-B", "--strict-checksums", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=MAVEN_SECONDS,
    )
    if ran.returncode:
        raise LocalStackError(
            "Maven could not fetch OpenSearch's jars; the end of what it said:\n"
            + "\n".join(ran.stdout.splitlines()[-8:])
        )


def _assemble(version: str, maven: Path, home: Path) -> None:
    """Put the jars where the server looks for them."""
    shutil.copytree(maven / "lib/jars", home / "lib")
    for name in ("bin", "plugins"):  # empty, but the server would make them, and may not where it is not the owner
        (home / name).mkdir()
    for name, artifact in MODULES.items():
        module = home / "modules" / name
        module.mkdir(parents=True)
        _copy_own_jars(maven / name / "jars", home / "lib", module)
        _describe(version, name, artifact, module)


def _copy_own_jars(jars: Path, lib: Path, module: Path) -> None:
    """Copy what the server does not have itself: a class found twice stops it ("jar hell")."""
    shared = {_stem(jar) for jar in lib.iterdir()}
    for jar in jars.iterdir():
        if _stem(jar) not in shared:
            shutil.copy(jar, module)


def _stem(jar: Path) -> str:
    return re.sub(r"-\d[\w.\-]*\.jar$", "", jar.name)


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
