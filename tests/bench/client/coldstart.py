"""`python -m tests.bench.client.coldstart`: what a cold start of the function costs, by package, in the bundle itself.

Each figure is the median over fresh interpreters that see the bundle, boto3 and the standard library, and nothing else.
The disk's cache is warm, as it is after Lambda has unpacked the zip. Read the ratios: this is no Lambda's CPU.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tests.bench.support.ratios import Ratio, figures, in_turn
from worker.deploy.bundle import Target, build
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

HANDLER = "worker.handler"
LIBRARIES = "boto3, pydantic, opensearchpy"  # what any function must import that does this work with these
IN_USE = "boto3, pydantic.main, opensearchpy"  # pydantic alone loads next to nothing before its BaseModel is asked for
MOST = 1.5  # times LIBRARIES

_SPENT = "import time; began = time.process_time(); import {}; print(time.process_time() - began)"
_IMPORTED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)")


@dataclass(frozen=True)
class Room:
    """All that the function has beside the standard library: the zip's content, and boto3 with what that needs."""

    code: Path
    runtime: Path

    @classmethod
    def make(cls, bundle: Path, folder: Path) -> Room:
        """Unpack a bundle into this folder, and put links to boto3 beside it."""
        made = cls(folder / "task", folder / "runtime")
        with zipfile.ZipFile(bundle) as packed:
            packed.extractall(made.code)
        made.runtime.mkdir()
        for name in _needed("boto3"):
            for file in metadata.files(name) or ():
                top = file.parts[0]
                if top not in ("..", "__pycache__") and not (made.runtime / top).exists():
                    (made.runtime / top).symlink_to(Path(str(metadata.distribution(name).locate_file(top))))
        return made

    def command(self, script: str, *flags: str) -> list[str]:
        """Return the command that runs a script in here: no environment, no site-packages, nothing written."""
        path = f"import sys; sys.path[:0] = [{str(self.code)!r}, {str(self.runtime)!r}]\n"  # as on Lambda, ours first
        return [sys.executable, "-I", "-S", "-B", *flags, "-c", path + script]

    def run(self, script: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Run a script in here."""
        return subprocess.run(
            self.command(script, *flags), capture_output=True, text=True, check=True, cwd=self.code, timeout=60
        )


def _needed(name: str) -> set[str]:
    """The distributions that this one needs, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            wanted = (line for line in metadata.requires(one) or () if "extra ==" not in line)
            waiting += [re.split(r"[^\w.-]", line)[0] for line in wanted]
    return found


def seconds(room: Room, modules: str) -> float:
    """The CPU time of importing modules in a fresh interpreter."""
    return float(room.run(_SPENT.format(modules)).stdout)


def by_module(room: Room) -> dict[str, float]:
    """Wall seconds of each module that the handler imports, without what that imports in turn."""
    said = room.run(f"import {HANDLER}", "-X", "importtime").stderr
    return {name: int(spent) / 1e6 for spent, name in _IMPORTED.findall(said)}


def cold_start(rounds: int) -> Ratio:
    """Importing the handler, in the bundle as it is deployed, beside importing the libraries alone.

    The least of five in a round counts: what others do on the machine only ever adds, even to CPU time.
    """
    with tempfile.TemporaryDirectory() as name:
        room = _room(Path(name), bytecode=True)
        jobs = {what: partial(seconds, room, what) for what in (HANDLER, LIBRARIES)}
        several = [in_turn(jobs, 5) for _ in range(rounds)]
    ratios = tuple(min(spent[HANDLER]) / min(spent[LIBRARIES]) for spent in several)
    return Ratio("handler import, CPU", f"importing {LIBRARIES}", ratios, at_most=MOST)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.client.coldstart", description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="each thing is measured so often, in turn")
    parser.add_argument("--largest", type=int, default=12, help="so many packages and modules are shown")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            rooms = {how: _room(folder, bytecode=how == "bytecode") for how in ("bytecode", "sources")}
        except SetupError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        spent: dict[tuple[str, str], list[float]] = defaultdict(list)
        modules: dict[str, list[float]] = defaultdict(list)
        for _ in range(asked.runs):
            for how, room in rooms.items():
                for what in (HANDLER, LIBRARIES, IN_USE):
                    spent[how, what].append(seconds(room, what))
            for module, one in by_module(rooms["bytecode"]).items():
                modules[module].append(one)
    _print(spent, {module: statistics.median(several) for module, several in modules.items()}, asked.largest)
    return 0


def _room(folder: Path, *, bytecode: bool) -> Room:
    place = folder / f"bytecode-{bytecode}"
    place.mkdir()
    return Room.make(build(Target.of_this_machine(), place / "bundle.zip", bytecode=bytecode).path, place)


def _print(spent: Mapping[tuple[str, str], list[float]], modules: Mapping[str, float], largest: int) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = figures("CPU milliseconds to import", "median", "spread", "of the libraries")
    for (how, what), several in spent.items():
        middle, libraries = statistics.median(several), statistics.median(spent[how, LIBRARIES])
        spread = f"{min(several) * 1e3:.0f} to {max(several) * 1e3:.0f}"
        table.add_row(f"{what}, {how}", f"{middle * 1e3:.0f}", spread, f"{middle / libraries:.2f} x")
    console.print(table)
    ratio = statistics.median(spent["bytecode", HANDLER]) / statistics.median(spent["bytecode", LIBRARIES])
    console.print(
        f"The target of {MOST} x is {'met' if ratio <= MOST else 'missed'} in the bundle as it is deployed.\n"
    )
    packages: Counter[str] = Counter()
    for module, one in modules.items():
        packages[module.partition(".")[0]] += round(one * 1e6)
    _print_largest(console, "package, all its modules", packages, largest)
    _print_largest(console, "module", Counter({name: round(one * 1e6) for name, one in modules.items()}), largest)


def _print_largest(console: Console, what: str, spent: Counter[str], largest: int) -> None:
    total = spent.total()
    table = figures(what, "milliseconds", "share")
    for name, one in spent.most_common(largest):
        table.add_row(name, f"{one / 1e3:.1f}", f"{one / total:.0%}")
    console.print(table, "")


if __name__ == "__main__":
    sys.exit(main())
