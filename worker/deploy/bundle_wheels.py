"""The libraries in the Lambda bundle: hash-pinned wheels, without what nothing in the bundle imports."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from worker.deploy.bundle import Target
    from worker.deploy.manifest import Contents

# The bundles, and the file that pins what each holds.
_PINS = {"loader": "lambda.txt", "scheduled": "scheduled.txt"}

# Patterns over paths, by the reason. Whatever matches is imported by nothing in the bundle: test_bundle.py proves it.
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
    "the asynchronous client: it needs aiohttp, and opensearchpy works without it": (
        "opensearchpy/_async/client/*",
        "opensearchpy/_async/plugins/*",
        "opensearchpy/_async/[!c]*.py",  # all but its __init__ and compat, see KEPT
        "opensearchpy/_async/helpers/*",
        "opensearchpy/connection/*async*.py",
    ),
    "pydantic's version 1: needed only by a field whose type has __get_validators__": ("pydantic/v1/*",),
    "the wheels' metadata, except name, version and licence, by which scanners know them": ("*.dist-info/*",),
}
# opensearchpy.helpers imports these whatever is installed.
KEPT = ("opensearchpy/_async/__init__.py", "opensearchpy/_async/helpers/__init__.py", "*/_async/helpers/actions.py")

_LICENCES = re.compile(r"\.dist-info/(METADATA$|licenses/|(LICEN[CS]E|COPYING|NOTICE))")
_SHOWN_LINES = 5  # of pip's errors


def cache_folder() -> Path:
    """Return where wheels are kept between builds, so that the next one needs no network."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trailsink" / "wheels"


def pins_of(contents: Contents) -> Path:
    """Return the file that pins the libraries of a bundle."""
    return Path(str(files("worker.infra").joinpath(_PINS[contents])))


def download_wheels(target: Target, cache: Path) -> list[bytes]:
    """Return the wheels that the pins name, each with the hash that it must have; raises SetupError."""
    pins = pins_of(target.contents)
    if ";" in pins.read_text(encoding="utf-8"):
        raise SetupError(f"{pins.name} has environment markers: pip would judge them by this Python, not by Lambda's.")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        offline = ["--no-index", "--find-links", str(cache), "--dest", folder]
        if _pip_download(target, *offline):
            if errors := _pip_download(target, "--dest", str(cache)):
                raise SetupError(f"pip could not download the wheels. The end of its output:\n{errors}")
            if errors := _pip_download(target, *offline):
                raise SetupError(f"pip does not find the wheels that it downloaded. The end of its output:\n{errors}")
        return [path.read_bytes() for path in sorted(Path(folder).glob("*.whl"))]


def _pip_download(target: Target, *options: str) -> str:
    """Run `pip download`; returns "", or the end of its errors."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", target.python]
    for tag in target.platforms:
        command += ["--platform", tag]
    command += ["--requirement", str(pins_of(target.contents)), *options]
    process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if process.returncode == 0:
        return ""
    return "\n".join((process.stderr or process.stdout or "no output").splitlines()[-_SHOWN_LINES:])


def unpack(wheels: Sequence[bytes]) -> dict[str, bytes]:
    """Return the files of wheels by the path at which they are installed."""
    contents: dict[str, bytes] = {}
    for wheel in wheels:
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            for name in archive.namelist():
                if not name.endswith("/"):
                    contents[_install_path(name)] = archive.read(name)
    return contents


def _install_path(name: str) -> str:
    """Return where a wheel's file is installed, in a folder of modules; scripts and headers have no place there."""
    folder, _, rest = name.partition("/")
    if not folder.endswith(".data"):
        return name
    scheme, _, inner = rest.partition("/")
    if scheme not in ("purelib", "platlib"):
        raise SetupError(f"A wheel has the file {name}, which has no place in the bundle.")
    return inner


def leave_out(everything: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, dict[str, int]]]:
    """Return the files that go into the bundle, and the sizes of those that are left out, by reason and path."""
    contents: dict[str, bytes] = {}
    left_out: dict[str, dict[str, int]] = {reason: {} for reason in LEFT_OUT}
    for path, content in everything.items():
        reason = next((reason for reason, patterns in LEFT_OUT.items() if _matches(path, patterns)), None)
        if _LICENCES.search(path):
            contents[path] = _without_description(content) if path.endswith("METADATA") else content
        elif reason is None or _matches(path, KEPT):
            contents[path] = content
        else:
            left_out[reason][path] = len(content)
    return contents, left_out


def _matches(path: str, patterns: Collection[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def _without_description(metadata: bytes) -> bytes:
    """Cut the project's description off, which is most of the file."""
    return metadata.replace(b"\r\n", b"\n").partition(b"\n\n")[0] + b"\n"
