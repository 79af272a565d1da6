"""Which modules of `worker` the Lambda bundle holds: what Lambda calls, and everything that those import."""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# What Lambda, and CloudFormation through it, calls.
ENTRY_POINTS = ("worker.handler", "worker.deploy.notification_handler", "worker.deploy.cluster_handler")

WORKER = Path(str(files("worker")))


def bundled_sources() -> dict[str, bytes]:
    """Return the modules that the entry points import, and the data of those packages, by path in the bundle."""
    everything = all_sources()
    bundled: dict[str, bytes] = {}
    waiting = [name for entry_point in ENTRY_POINTS for name in _with_parents(entry_point)]
    while waiting:
        path = module_path(waiting.pop(), everything)
        if path is None or path in bundled:
            continue
        bundled[path] = everything[path]
        waiting += imported_modules(path, everything[path])
    packages = {PurePosixPath(path).parent for path in bundled if path.endswith("__init__.py")}
    data = {path: content for path, content in everything.items() if not path.endswith(".py")}
    return bundled | {path: content for path, content in data.items() if PurePosixPath(path).parent in packages}


def all_sources() -> dict[str, bytes]:
    """Return every module and data file of `worker`, by path below the folder that holds it."""
    paths = sorted((*WORKER.rglob("*.py"), *WORKER.rglob("*.json"), *WORKER.rglob("*.yml")))
    return {path.relative_to(WORKER.parent).as_posix(): path.read_bytes() for path in paths}


def _with_parents(module: str) -> list[str]:
    """Return a module and the packages that hold it: `a.b.c` gives `a`, `a.b` and `a.b.c`."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def module_path(module: str, paths: Collection[str]) -> str | None:
    """Return the path of a module among these paths, None if it is not there."""
    stem = module.replace(".", "/")
    return next((path for path in (f"{stem}.py", f"{stem}/__init__.py") if path in paths), None)


def imported_modules(path: str, source: bytes) -> set[str]:
    """Return every module that this one could import by a statement, in functions too, and names that may be none."""
    names: set[str] = set()
    for node in _import_statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            start = ".".join(PurePosixPath(path).parts[: -node.level]) if node.level else ""
            origin = ".".join(part for part in (start, node.module) if part)
            names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return {parent for name in names for parent in _with_parents(name)}  # a.b.c imports a and a.b


def _import_statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for branch in node.orelse:
                yield from _import_statements(ast.Module([branch], []))
        else:
            yield from _import_statements(node)
