"""The Lambda bundle: a zip of what Lambda calls and of hash-pinned wheels, for one Python and one architecture.

Same inputs, same bytes: wheels by their hashes, `worker` as it is, the patch release of the Python that compiles, and
zlib's.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, Self, cast

from worker import __version__
from worker.atomicfile import write_atomically
from worker.deploy.bundle_sources import all_sources, bundled_sources
from worker.deploy.bundle_wheels import cache_folder, download_wheels, leave_out, unpack
from worker.deploy.manifest import PATH as MANIFEST
from worker.deploy.manifest import BundleManifest
from worker.deploy.template import BUNDLE
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.deploy.manifest import Contents

Architecture = Literal["arm64", "x86_64"]

# Not the newest that Lambda has: 3.14 is supported just as long, to June 2029, and the bundle was run on this one.
PYTHON = "3.13"
# Which minor release of glibc 2 each runtime has: Amazon Linux 2, then 2023.
# docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
GLIBC = {"3.11": 26, "3.12": 34, "3.13": 34, "3.14": 34}
MACHINES: dict[Architecture, str] = {"arm64": "aarch64", "x86_64": "x86_64"}

# Lambda's own limit for a direct upload is 50 MB; a cold start has to fetch and unpack all of it.
MAX_ZIPPED_BYTES: dict[Contents, int] = {"loader": 15_000_000, "scheduled": 30_000_000}

COMMANDS = "modules of worker that only the command line needs"

_PUBLIC = 0o644  # Lambda's user is neither the owner nor of the group


@dataclass(frozen=True, slots=True)
class Target:
    """What the bundle is to run on."""

    python: str = PYTHON
    architecture: Architecture = "arm64"
    contents: Contents = "loader"

    @classmethod
    def of_this_machine(cls) -> Self:
        """Return this interpreter on this machine, for tests and the local stack; raises SetupError."""
        python, machine = f"3.{sys.version_info.minor}", platform.machine()
        for architecture, name in MACHINES.items():
            if sys.platform == "linux" and machine == name and python in GLIBC:
                return cls(python, architecture)
        raise SetupError(f"Lambda has no Python {python} on {sys.platform} and {machine}.")

    @classmethod
    def of_stack(cls, parameters: Mapping[str, str]) -> Self:
        """Return what the functions of a stack with these parameters run on."""
        default = cls()
        runtime = parameters.get("Runtime", default.runtime)
        architecture = cast("Architecture", parameters.get("Architecture", default.architecture))
        return cls(runtime.removeprefix("python"), architecture)

    @property
    def runtime(self) -> str:
        """Lambda's name of the runtime."""
        return f"python{self.python}"

    @property
    def file_name(self) -> str:
        """The bundle's file name."""
        name = "trailsink" if self.contents == "loader" else f"trailsink-{self.contents}"
        return f"{name}-{self.architecture}-py{self.python.replace('.', '')}.zip"

    @property
    def platforms(self) -> list[str]:
        """The platform tags whose wheels run there, the best first."""
        machine = MACHINES[self.architecture]
        older = [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]  # 2_17, 2_12, 2_5
        return [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC[self.python], 4, -1)] + older


def bundle_of(parameters: Mapping[str, str]) -> Path:
    """Return where `trailsink package` writes the bundle for a stack with these parameters."""
    return BUNDLE.with_name(Target.of_stack(parameters).file_name)


@dataclass(frozen=True, slots=True)
class PackageSize:
    """What one package takes of the bundle, in bytes."""

    package: str
    files: int
    zipped: int
    unzipped: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was built. `compiled_by` is the Python that made its bytecode, "" for none."""

    path: Path
    target: Target
    sha256: str
    sizes: tuple[PackageSize, ...]
    left_out: Mapping[str, Mapping[str, int]]  # reason: path: bytes
    compiled_by: str

    @property
    def zipped(self) -> int:
        """Size of the file, in bytes."""
        return self.path.stat().st_size


def build(target: Target, output: Path, *, bytecode: bool = True, wheels: Path | None = None) -> Bundle:
    """Build the bundle into the file `output`; raises SetupError, and leaves no file then.

    It is compiled if a Python of the target's version can be found. Wheels come from the folder `wheels`, by default
    the user's cache, where they are there, and from the package index otherwise.
    """
    contents, left_out = leave_out(unpack(download_wheels(target, wheels or cache_folder())))
    sources = bundled_sources() if target.contents == "loader" else all_sources()
    contents |= sources
    left_out[COMMANDS] = {path: len(content) for path, content in all_sources().items() if path not in sources}
    contents[MANIFEST] = BundleManifest(target.architecture, target.python, __version__, target.contents).encode()
    compiler = _find_compiler(target) if bytecode else None
    if compiler:
        contents |= _compile(contents, compiler[0])
    archive = _zip(contents)
    if len(archive) > (maximum := MAX_ZIPPED_BYTES[target.contents]):
        raise SetupError(f"The bundle has {len(archive):,} bytes; the maximum is {maximum:,}.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(output, mode=_PUBLIC) as file:
        file.write(archive)
    sha256, compiled_by = hashlib.sha256(archive).hexdigest(), compiler[1] if compiler else ""
    return Bundle(output, target, sha256, tuple(_package_sizes(archive)), left_out, compiled_by)


# Bytecode


def _find_compiler(target: Target) -> tuple[str, str] | None:
    """Find a Python whose bytecode the target reads, this one or one on the PATH: its path and its version."""
    for python in (sys.executable, shutil.which(target.runtime)):
        if python and (version := _version(python)).startswith(f"CPython {target.python}."):
            return python, version
    return None


def _version(python: str) -> str:
    """Return a Python's name and version, "" where it does not run: a version manager's shim may not."""
    command = [python, "-c", "import platform; print(platform.python_implementation(), platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - found above


def _compile(contents: Mapping[str, bytes], python: str) -> dict[str, bytes]:
    """Return the bytecode of all modules: a cold start takes less than half of the time, as Lambda's disk keeps none.

    It is not checked against the source when it is loaded: that would need true dates in the zip.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, content in contents.items():
            if path.endswith(".py"):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        command = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", name, name]
        # The order of a set's members in bytecode follows the hash of strings, and paths in it are the zip's.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment["PYTHONHASHSEED"] = "0"
        process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        if process.returncode:
            raise SetupError(f"{python} cannot compile the bundle: {(process.stdout + process.stderr)[-500:]}")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.pyc"))}


# The zip


def _zip(contents: Mapping[str, bytes]) -> bytes:
    """Return the zip: names in order, one date, one set of permissions, one compression."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(contents):
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = (0o100000 | _PUBLIC) << 16
            archive.writestr(entry, contents[path], zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()


def _package_sizes(archive: bytes) -> Iterator[PackageSize]:
    files: Counter[str] = Counter()
    zipped: Counter[str] = Counter()
    unzipped: Counter[str] = Counter()
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for entry in opened.infolist():
            package = _package_of(entry.filename)
            files[package] += 1
            zipped[package] += entry.compress_size
            unzipped[package] += entry.file_size
    for package, size in zipped.most_common():
        yield PackageSize(package, files[package], size, unzipped[package])


def _package_of(path: str) -> str:
    parts = PurePosixPath(path).parts
    first = parts[1] if parts[0] == "__pycache__" else parts[0]
    return "names, versions, licences" if first.endswith(".dist-info") else first.partition(".")[0]
