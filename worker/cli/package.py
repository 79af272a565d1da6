"""`trailsink package`: builds the Lambda bundle, and prints what is in it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.output import print_line, print_table
from worker.deploy.bundle import Target, build

if TYPE_CHECKING:
    from worker.deploy.bundle import Architecture, Bundle


def package(*, architecture: Architecture, python: str, output: Path | None, bytecode: bool, scheduled: bool) -> None:
    """Build the bundle; raises SetupError."""
    target = Target(python, architecture, "scheduled" if scheduled else "loader")
    _print(build(target, output or Path("build") / target.file_name, bytecode=bytecode))


def _print(bundle: Bundle) -> None:
    print_line(f"{bundle.path}: {bundle.target.runtime} on {bundle.target.architecture}")
    rows = [(size.package, f"{size.files:,}", f"{size.zipped:,}", f"{size.unzipped:,}") for size in bundle.sizes]
    files, unzipped = sum(size.files for size in bundle.sizes), sum(size.unzipped for size in bundle.sizes)
    rows.append(("all", f"{files:,}", f"{bundle.zipped:,}", f"{unzipped:,}"))
    print_table(("package", "files", "zipped", "unzipped"), rows, right=("files", "zipped", "unzipped"))
    print_line()
    left_out = [("boto3 and its dependencies: the runtime brings them", "", "")]
    left_out += [(reason, f"{len(paths):,}", f"{sum(paths.values()):,}") for reason, paths in bundle.left_out.items()]
    print_table(("left out", "files", "bytes"), left_out, right=("files", "bytes"))
    print_line()
    if bundle.compiled_by:
        print_line(f"Compiled by {bundle.compiled_by}, zipped with zlib {zlib.ZLIB_RUNTIME_VERSION}.")
    else:
        print_line(
            f"Not compiled, zipped with zlib {zlib.ZLIB_RUNTIME_VERSION}: every cold start compiles what it imports,"
            f" which takes more than twice as long. A {bundle.target.runtime} on the PATH would compile it here."
        )
    print_line(f"SHA-256 {bundle.sha256}")
