"""The operator's door to the whole at a glance: `trailsink status`."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from worker.aws.session import open_session
from worker.cli.output import escape_control_characters, format_status
from worker.dlq.letters import LetterFilter
from worker.dlq.service import DeadLetterService
from worker.dlq.sqs import make_dead_letter_queue
from worker.errors import SetupError
from worker.health.findings import CheckStatus
from worker.health.probe import Probe
from worker.health.status import Status, judge, newest_indices
from worker.humanize import format_size
from worker.settings import load_settings
from worker.wiring import make_client, make_store, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.settings import Settings

_ANSWER_SECONDS = 10.0  # for one answer of the cluster: a glance must not take a minute
_BAR = 20


def status(*, watch: float | None, as_json: bool, letters: bool, strict: bool) -> None:
    """Show how the pipeline is: queue, dead letters, consumer, throughput, lag, cluster, indices.

    Works with whatever part can be reached and says what cannot: a queue or a cluster that cannot be looked at is a
    fault, anything else is unknown and does not count. Exit code 1 when something is at fault, for cron. Looks only.
    """
    settings = load_settings()
    looker = _looker(settings, letters=letters)
    if watch is None:
        found = judge(looker.look())
        click.echo(_line(found) if as_json else _screen(found))
    else:
        found = _watch(lambda: judge(looker.look()), watch, as_json=as_json)
    bad = found.named(CheckStatus.FAULT, *([CheckStatus.WARNING] if strict else []))
    if bad:
        raise SetupError(f"{'Not well' if strict else 'At fault'}: {', '.join(bad)}.")


def _looker(settings: Settings, *, letters: bool) -> Probe:
    quick = settings.model_copy(update={"request_seconds": min(_ANSWER_SECONDS, settings.request_seconds)})

    @cache
    def desk() -> DeadLetterService:
        return DeadLetterService(
            make_dead_letter_queue(settings), make_store(settings), sleep=time.sleep, report_progress=lambda _: None
        )

    return Probe(
        settings,
        session=open_session,
        connect=lambda: make_client(quick).connect(),
        now=now,
        reasons=(lambda: _reasons(desk())) if letters else None,
    )


def _reasons(desk: DeadLetterService) -> dict[str, int]:
    return {group.reason: group.letters for group in desk.list_letters(LetterFilter()).groups}


def _watch(look: Callable[[], Status], seconds: float, *, as_json: bool) -> Status:
    """Show one look after the other until Ctrl-C; returns the last."""
    live = not as_json and sys.stdout.isatty()
    found = look()
    with Live(console=Console(), auto_refresh=False) if live else nullcontext() as display:
        try:
            while True:
                if display:
                    display.update(Text.from_ansi(_screen(found)), refresh=True)
                else:
                    click.echo(_line(found) if as_json else f"{_screen(found)}\n")
                time.sleep(seconds)
                found = look()
        except KeyboardInterrupt:
            return found


def _screen(found: Status) -> str:
    lines = [f"trailsink at {found.at:%Y-%m-%d %H:%M:%S} UTC: {format_status(found.verdict)}"]
    for part in found.parts:
        lines.append(f"{part.name:<12}  {format_status(part.verdict, 7)}  {escape_control_characters(part.text)}")
        if part.name == "indices":
            lines += _bars(newest_indices(part))
    return "\n".join(lines)


def _bars(indices: list[Any]) -> list[str]:
    most = max((one["events"] for one in indices), default=0) or 1
    return [
        f"  {escape_control_characters(one['name']):<26} {one['events']:>13,}  {format_size(one['size_bytes']):>10}  "
        f"{'#' * round(_BAR * one['events'] / most)}".rstrip()
        for one in indices
    ]


def _line(found: Status) -> str:
    parts = {
        part.name.replace(" ", "_"): {"verdict": part.verdict, "text": part.text} | dict(part.facts)
        for part in found.parts
    }
    return json.dumps({"at": found.at.isoformat(timespec="seconds"), "verdict": found.verdict, **parts})
