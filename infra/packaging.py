"""The Lambda bundle: `python -m infra.packaging [--arch arm64|x86_64] [--python 3.13] [--output FILE]`.

A zip of the doors that Lambda calls and of hash-pinned wheels, for one Python and one architecture. Same inputs, same
bytes: wheels by their hashes, `worker/` as it is, the patch release of the Python that compiles, and zlib's.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, Self, get_args

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

Arch = Literal["arm64", "x86_64"]

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements" / "lambda.txt"
WHEELS = ROOT / ".local" / "wheels"  # kept between builds, so that the next one needs no network

# Not the newest that Lambda has: 3.14 is supported just as long, to June 2029, and on this one the bundle was run.
PYTHON = "3.13"
# Which minor release of glibc 2 each runtime has: Amazon Linux 2, then 2023.
# docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
GLIBC = {"3.11": 26, "3.12": 34, "3.13": 34, "3.14": 34}
MACHINES: dict[Arch, str] = {"arm64": "aarch64", "x86_64": "x86_64"}

# What Lambda, and CloudFormation through it, calls. The rest of worker/ comes along as far as these import it.
DOORS = ("worker.handler", "worker.deploy.notification_handler", "worker.deploy.cluster_handler")

# Lambda's own limit for a direct upload is 50 MB; a cold start has to fetch and unpack it all.
MAX_ZIPPED = 15_000_000

# Patterns over paths, by the reason. Whatever is here is imported by nothing that is in: test_bundle.py proves it.
LEFT_OUT = {
    "tests": ("*/tests/*", "*/test_cases.py", "opensearchpy/*helpers/test.py"),
    "type stubs, documents, and tools for developers": (
        "*.pyi",
        "*/py.typed",
        "*.p[xy][dx]",  # sources of compiled modules
        "pydantic/mypy.py",
        "isal/isa-l/[!L]*",  # all but its licence
        "dateutil/zoneinfo/rebuild.py",
    ),
    "command lines": ("*/__main__.py", "*/cli/*", "idna/cli.py"),
    "the asynchronous client: it needs aiohttp, without which opensearchpy goes on": (
        "opensearchpy/_async/client/*",
        "opensearchpy/_async/plugins/*",
        "opensearchpy/_async/[!c]*.py",  # all but its __init__ and compat, see KEPT
        "opensearchpy/_async/helpers/*",
        "opensearchpy/connection/*async*.py",
    ),
    "pydantic's version 1: asked for only by a field whose type has __get_validators__": ("pydantic/v1/*",),
    "of the wheels' metadata all but name, version and licence, by which scanners know them": ("*.dist-info/*",),
}
# opensearchpy.helpers imports these whatever is installed.
KEPT = ("opensearchpy/_async/__init__.py", "opensearchpy/_async/helpers/__init__.py", "*/_async/helpers/actions.py")
COMMANDS = "modules of worker/ that only the command line needs"
LICENCES = re.compile(r"\.dist-info/(METADATA$|licenses/|(LICEN[CS]E|COPYING|NOTICE))")


class PackagingError(RuntimeError):
    """The bundle cannot be built; the text says why, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the bundle is to run on."""

    python: str = PYTHON
    arch: Arch = "arm64"

    @classmethod
    def here(cls) -> Self:
        """Return this interpreter on this machine, for tests and the local stack; raises PackagingError."""
        python, machine = f"3.{sys.version_info.minor}", platform.machine()
        for arch, name in MACHINES.items():
            if sys.platform == "linux" and machine == name and python in GLIBC:
                return cls(python, arch)
        raise PackagingError(f"Lambda runs no Python {python} on {sys.platform} and {machine}.")

    @property
    def runtime(self) -> str:
        """Lambda's name of the runtime."""
        return f"python{self.python}"

    @property
    def name(self) -> str:
        """The bundle's file name."""
        return f"trailsink-{self.arch}-py{self.python.replace('.', '')}.zip"

    @property
    def platforms(self) -> list[str]:
        """The platform tags whose wheels run there, the best first."""
        machine = MACHINES[self.arch]
        older = [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]  # 2_17, 2_12, 2_5
        return [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC[self.python], 4, -1)] + older


@dataclass(frozen=True, slots=True)
class Share:
    """What one package takes of the bundle, in bytes."""

    package: str
    files: int
    zipped: int
    unzipped: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as it was built. `compiled_by` is the Python that made its bytecode, "" for none."""

    path: Path
    target: Target
    sha256: str
    shares: tuple[Share, ...]
    left_out: Mapping[str, Mapping[str, int]]  # reason: path: bytes
    compiled_by: str

    @property
    def zipped(self) -> int:
        """Size of the file, in bytes."""
        return self.path.stat().st_size


def build(target: Target, output: Path, *, bytecode: bool = True, wheels: Path = WHEELS) -> Bundle:
    """Build the bundle into the file `output`; raises PackagingError, and leaves no file then.

    Compiled if a Python of the target's version is at hand; wheels are taken from the folder `wheels` as far as they
    are there, and from the package index otherwise.
    """
    everything = _unpacked(_wheels(target, wheels))
    contents, left_out = _sorted_out(everything)
    ours = _worker_files()
    contents |= ours
    left_out[COMMANDS] = {path: len(text) for path, text in _all_of_worker().items() if path not in ours}
    compiler = _compiler(target) if bytecode else None
    if compiler:
        contents |= _compiled(contents, compiler[0])
    packed = _packed(contents)
    if len(packed) > MAX_ZIPPED:
        raise PackagingError(f"The bundle has {len(packed):,} bytes, and may have {MAX_ZIPPED:,}.")
    output.parent.mkdir(parents=True, exist_ok=True)
    _replace(output, packed)
    sha256, compiled_by = hashlib.sha256(packed).hexdigest(), compiler[1] if compiler else ""
    return Bundle(output, target, sha256, tuple(_shares(packed)), left_out, compiled_by)


# Wheels


def _wheels(target: Target, kept: Path) -> list[bytes]:
    """Return the wheels that the pins ask for, each with the hash that it must have."""
    if ";" in PINS.read_text(encoding="utf-8"):
        raise PackagingError(
            f"{PINS.name} has environment markers, which pip would judge by this Python, not by Lambda's."
        )
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        local = ["--no-index", "--find-links", str(kept), "--dest", folder]
        if _pip(target, *local):
            if complaint := _pip(target, "--dest", str(kept)):
                raise PackagingError(f"pip could not fetch the wheels; the end of what it said:\n{complaint}")
            if complaint := _pip(target, *local):
                raise PackagingError(f"pip does not find the wheels that it fetched:\n{complaint}")
        return [path.read_bytes() for path in sorted(Path(folder).glob("*.whl"))]


def _pip(target: Target, *options: str) -> str:
    """Run `pip download`; returns "", or the end of its complaint."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", target.python]
    for tag in target.platforms:
        command += ["--platform", tag]
    command += ["--requirement", str(PINS), *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    return "" if ran.returncode == 0 else "\n".join((ran.stderr or ran.stdout or "no word").splitlines()[-5:])


def _unpacked(wheels: Sequence[bytes]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for wheel in wheels:
        with zipfile.ZipFile(io.BytesIO(wheel)) as packed:
            for name in packed.namelist():
                if not name.endswith("/"):
                    contents[_place(name)] = packed.read(name)
    return contents


def _place(name: str) -> str:
    """Return where a wheel's file is installed, in a folder of modules; scripts and headers have no place there."""
    folder, _, rest = name.partition("/")
    if not folder.endswith(".data"):
        return name
    scheme, _, inner = rest.partition("/")
    if scheme not in ("purelib", "platlib"):
        raise PackagingError(f"A wheel has {name}, and there is no place for that in the bundle.")
    return inner


def _sorted_out(everything: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, dict[str, int]]]:
    """Part what goes in from what is left out, by reason."""
    contents: dict[str, bytes] = {}
    left_out: dict[str, dict[str, int]] = {reason: {} for reason in LEFT_OUT}
    for path, text in everything.items():
        reason = next((reason for reason, patterns in LEFT_OUT.items() if _matches(path, patterns)), None)
        if LICENCES.search(path):
            contents[path] = _heading(text) if path.endswith("METADATA") else text
        elif reason is None or _matches(path, KEPT):
            contents[path] = text
        else:
            left_out[reason][path] = len(text)
    return contents, left_out


def _matches(path: str, patterns: Collection[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def _heading(metadata: bytes) -> bytes:
    """Cut the project's description off, which is most of the file."""
    return metadata.replace(b"\r\n", b"\n").partition(b"\n\n")[0] + b"\n"


# Our own modules


def _worker_files() -> dict[str, bytes]:
    """Return what the doors import of worker/, and the data of those packages."""
    everything = _all_of_worker()
    found: dict[str, bytes] = {}
    waiting = [parent for door in DOORS for parent in _with_parents(door)]
    while waiting:
        path = module_path(waiting.pop(), everything)
        if path is None or path in found:
            continue
        found[path] = everything[path]
        waiting += imported(path, everything[path])
    if missing := [door for door in DOORS if module_path(door, found) is None]:
        raise PackagingError(f"There is no {missing[0]} in {ROOT}: is this a whole checkout?")
    packages = {PurePosixPath(path).parent for path in found if path.endswith("__init__.py")}
    data = {path: text for path, text in everything.items() if not path.endswith(".py")}
    return found | {path: text for path, text in data.items() if PurePosixPath(path).parent in packages}


def _with_parents(module: str) -> list[str]:
    """Return a module and the packages that hold it: `a.b.c` gives `a`, `a.b` and `a.b.c`."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _all_of_worker() -> dict[str, bytes]:
    found = sorted((*(ROOT / "worker").rglob("*.py"), *(ROOT / "worker").rglob("*.json")))
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in found}


def module_path(module: str, contents: Collection[str]) -> str | None:
    """Return the path of a module among these paths, None if it is not there."""
    stem = module.replace(".", "/")
    return next((path for path in (f"{stem}.py", f"{stem}/__init__.py") if path in contents), None)


def imported(path: str, source: bytes) -> set[str]:
    """Return every module that this one could import by a statement, in functions too, and names that may be none."""
    found: set[str] = set()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        else:
            start = ".".join(PurePosixPath(path).parts[: -node.level]) if node.level else ""
            origin = ".".join(part for part in (start, node.module) if part)
            found |= {origin} | {f"{origin}.{name.name}" for name in node.names}
    parts = [name.split(".") for name in found]
    return {".".join(name[:end]) for name in parts for end in range(1, len(name) + 1)}  # a.b.c imports a and a.b


def _statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from (found for other in node.orelse for found in _statements(ast.Module([other], [])))
        else:
            yield from _statements(node)


# Bytecode


def _compiler(target: Target) -> tuple[str, str] | None:
    """Find a Python whose bytecode the target reads, this one or one on the PATH: where it is, and its version."""
    for python in (sys.executable, shutil.which(target.runtime)):
        if python and (version := _version(python)).startswith(f"CPython {target.python}."):
            return python, version
    return None


def _version(python: str) -> str:
    """Return a Python's name and version, "" where it does not run: a version manager's stand-in may not."""
    asked = [python, "-c", "import platform; print(platform.python_implementation(), platform.python_version())"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - found above


def _compiled(contents: Mapping[str, bytes], python: str) -> dict[str, bytes]:
    """Return the bytecode of all modules: a cold start takes less than half of the time, as Lambda's disk keeps none.

    It is not checked against the source when it is loaded, for which the zip's dates would have to be true.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in contents.items():
            if path.endswith(".py"):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(text)
        command = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", name, name]
        # The order of a set's members in bytecode follows the hash of strings, and paths in it are the zip's.
        mine = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        ran = subprocess.run(command, env=mine | {"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False)  # noqa: S603
        if ran.returncode:
            raise PackagingError(f"{python} cannot compile the bundle: {(ran.stdout + ran.stderr)[-500:]}")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.pyc"))}


# The zip


def _packed(contents: Mapping[str, bytes]) -> bytes:
    """Write the zip: names in order, one date, one set of permissions, one compression."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        for path in sorted(contents):
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = 0o100644 << 16  # Lambda's user is neither the owner nor of the group
            packed.writestr(entry, contents[path], zipfile.ZIP_DEFLATED, compresslevel=9)
    return made.getvalue()


def _replace(output: Path, packed: bytes) -> None:
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    partial.write_bytes(packed)
    partial.replace(output)


def _shares(packed: bytes) -> Iterator[Share]:
    files: Counter[str] = Counter()
    zipped: Counter[str] = Counter()
    unzipped: Counter[str] = Counter()
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        for entry in opened.infolist():
            package = _package(entry.filename)
            files[package] += 1
            zipped[package] += entry.compress_size
            unzipped[package] += entry.file_size
    for package, size in zipped.most_common():
        yield Share(package, files[package], size, unzipped[package])


def _package(path: str) -> str:
    parts = PurePosixPath(path).parts
    first = parts[1] if parts[0] == "__pycache__" else parts[0]
    return "names, versions, licences" if first.endswith(".dist-info") else first.partition(".")[0]


# The command


def _say(bundle: Bundle, console: Console) -> None:
    console.print(f"{bundle.path}: {bundle.target.runtime} on {bundle.target.arch}")
    table = figures("package", "files", "zipped", "unzipped")
    for share in bundle.shares:
        table.add_row(share.package, f"{share.files:,}", f"{share.zipped:,}", f"{share.unzipped:,}")
    totals = (
        sum(share.files for share in bundle.shares),
        bundle.zipped,
        sum(share.unzipped for share in bundle.shares),
    )
    table.add_row("all", *(f"{total:,}" for total in totals))
    console.print(table)
    table = figures("left out", "files", "unzipped")
    table.add_row("boto3 and what it needs: the runtime brings them", "", "")
    for reason, paths in bundle.left_out.items():
        table.add_row(reason, f"{len(paths):,}", f"{sum(paths.values()):,}")
    console.print(table)
    if bundle.compiled_by:
        console.print(f"Byte-compiled by {bundle.compiled_by}, packed with zlib {zlib.ZLIB_RUNTIME_VERSION}.")
    else:
        console.print(
            f"Not byte-compiled, packed with zlib {zlib.ZLIB_RUNTIME_VERSION}: every cold start compiles what it"
            f" imports, which takes more than twice as long. A {bundle.target.runtime} on the PATH would do it here."
        )
    console.print(f"SHA-256 {bundle.sha256}")


def figures(first: str, *others: str) -> Table:
    """Return an empty table: a name in each row, and figures beside it."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def main(words: Sequence[str] | None = None) -> int:
    """Build, and say what was built."""
    parser = argparse.ArgumentParser(prog="python -m infra.packaging", description="Build the Lambda bundle.")
    parser.add_argument("--arch", choices=get_args(Arch), default="arm64", help="of the function (arm64)")
    parser.add_argument("--python", choices=GLIBC, default=PYTHON, help=f"of the runtime ({PYTHON})")
    parser.add_argument("--output", type=Path, help="the file to write (build/trailsink-ARCH-pyXY.zip)")
    parser.add_argument("--no-bytecode", action="store_true", help="sources only: no Python but Lambda's matters then")
    asked = parser.parse_args(words)
    target = Target(asked.python, asked.arch)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    try:
        bundle = build(target, asked.output or Path("build") / target.name, bytecode=not asked.no_bytecode)
    except PackagingError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), markup=False)
        return 1
    _say(bundle, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
