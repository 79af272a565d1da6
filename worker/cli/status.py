"""`trailsink status`: the state of the pipeline at a glance."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from worker.aws.session import open_session
from worker.cli.options import stack_name
from worker.cli.output import Safe, format_status, join, print_document, print_line
from worker.dlq.letters import LetterFilter
from worker.dlq.service import DeadLetterService
from worker.dlq.sqs import make_dead_letter_queue
from worker.errors import SetupError
from worker.health.findings import CheckStatus
from worker.health.probe import Probe
from worker.health.status import StatusReport, newest_indices, report
from worker.humanize import ascii_json, format_size
from worker.settings import load_settings
from worker.wiring import make_client, make_store, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.settings import Settings

_CLUSTER_SECONDS = 10.0  # for one response of the cluster: a glance must not take a minute
_BAR_WIDTH = 20


def status(*, watch: float | None, as_json: bool, letters: bool, strict: bool) -> None:
    """Print the state of the pipeline, once or at an interval.

    Raises SetupError, for exit code 1, when there is a fault, or with `strict` a warning.
    """
    settings = load_settings()
    probe = _make_probe(settings, letters=letters)
    stack = stack_name()

    def collect() -> StatusReport:
        return report(probe.collect()).for_stack(stack)

    if watch is None:
        current = collect()
        _print(current, as_json=as_json)
    else:
        current = _watch(collect, watch, as_json=as_json)
    names = current.names(CheckStatus.FAULT, *([CheckStatus.WARNING] if strict else []))
    if names:
        raise SetupError(f"{'Not well' if strict else 'At fault'}: {', '.join(names)}.")


def _make_probe(settings: Settings, *, letters: bool) -> Probe:
    quick = settings.model_copy(update={"request_seconds": min(_CLUSTER_SECONDS, settings.request_seconds)})

    @cache
    def service() -> DeadLetterService:
        return DeadLetterService(
            make_dead_letter_queue(settings),
            make_store(settings),
            max_inflated=settings.max_inflated_bytes,
            sleep=time.sleep,
            report_progress=lambda _: None,
        )

    return Probe(
        settings,
        session=open_session,
        connect=lambda: make_client(quick).connect(),
        now=now,
        reasons=(lambda: _count_reasons(service())) if letters else None,
    )


def _count_reasons(service: DeadLetterService) -> dict[str, int]:
    return {group.reason: group.letters for group in service.list_letters(LetterFilter()).groups}


def _watch(collect: Callable[[], StatusReport], seconds: float, *, as_json: bool) -> StatusReport:
    """Print one report after the other until Ctrl-C; returns the last."""
    is_live = not as_json and sys.stdout.isatty()
    current = collect()
    with Live(console=Console(), auto_refresh=False) if is_live else nullcontext() as display:
        try:
            while True:
                if display:
                    display.update(Text.from_ansi("\n".join(_screen(current))), refresh=True)
                else:
                    _print(current, as_json=as_json)
                    if not as_json:
                        print_line()
                time.sleep(seconds)
                current = collect()
        except KeyboardInterrupt:
            return current


def _print(current: StatusReport, *, as_json: bool) -> None:
    if as_json:
        print_document(f"{ascii_json(_format_json(current))}\n")
        return
    for line in _screen(current):
        print_line(line)


def _screen(current: StatusReport) -> Iterator[Safe]:
    head = f"trailsink at {current.observed_at:%Y-%m-%d %H:%M:%S} UTC: "
    yield join(head, format_status(current.status))
    for part in current.parts:
        yield join(f"{part.name:<12}  ", format_status(part.status, 7), f"  {part.text}")
        if part.name == "indices":
            yield from _bars(newest_indices(part))


def _bars(indices: list[Any]) -> Iterator[Safe]:
    maximum = max((index["events"] for index in indices), default=0) or 1
    for index in indices:
        bar = "#" * round(_BAR_WIDTH * index["events"] / maximum)
        size = format_size(index["size_bytes"])
        yield join(f"  {index['name']:<26} {index['events']:>13,}  {size:>10}  {bar}".rstrip())


def _format_json(current: StatusReport) -> str:
    parts = {
        part.name.replace(" ", "_"): {"verdict": part.status, "text": part.text} | dict(part.facts)
        for part in current.parts
    }
    return json.dumps({"at": current.observed_at.isoformat(timespec="seconds"), "verdict": current.status, **parts})
