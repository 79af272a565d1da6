"""What `trailsink detect` does: read Sigma rules, and search for what they describe."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from worker.aws.session import config, open_session
from worker.aws.sns import SnsTopic
from worker.cli.options import start_time
from worker.cli.output import print_document, print_json, print_line, print_table, write_document
from worker.detect.announcement import Announcer
from worker.detect.backtest import Backtest, run_backtest
from worker.detect.findings import FindingsStore
from worker.detect.monitors import monitor, put_monitors
from worker.detect.run import DetectionRun, Interval
from worker.detect.webhook import Webhook
from worker.errors import SetupError
from worker.humanize import ascii_json, pluralize
from worker.opensearch.errors import translate_errors
from worker.opensearch.field_kinds import read_field_kinds
from worker.settings import load_settings
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from collections import Counter
    from datetime import datetime, timedelta
    from pathlib import Path

    from opensearchpy import OpenSearch

    from worker.detect.rules import RuleSet

_NEW_FINDINGS = 3  # the exit code
_SHOWN = 5  # values of a line


def open_rules(rules: tuple[Path, ...], level: str | None) -> tuple[OpenSearch, str, RuleSet]:
    """Connect to the cluster, and read the rules for its indices."""
    if find_spec("sigma") is None:
        raise SetupError("Sigma rules are read with pySigma, which is not installed: pip install 'trailsink[detect]'.")
    # Imported when needed: only the extra brings pySigma, and it takes half a second.
    from worker.detect.rule_files import read_rules  # noqa: PLC0415

    settings = load_settings()
    client = make_client(settings).connect()
    with translate_errors():
        kinds = read_field_kinds(client, settings.index_prefix)
    return client, settings.index_prefix, read_rules(rules, kinds).from_level(level or "")


def _describe(rules: RuleSet) -> str:
    """Return how many rules there are, and what became of the others."""
    parts = [pluralize(len(rules.rules), "rule")]
    if rules.refused:
        parts.append(f"{len(rules.refused)} refused (trailsink detect coverage says why)")
    if rules.others:
        parts.append(f"{rules.others} for other sources")
    if rules.copies:
        parts.append(f"{rules.copies} equal to others")
    return ", ".join(parts)


def coverage(*, rules: tuple[Path, ...], level: str | None, as_json: bool) -> None:
    """Print of each rule whether it can be searched for."""
    _, prefix, rule_set = open_rules(rules, level)
    rows = [(rule.info, "") for rule in rule_set.rules] + [(rule.info, rule.reason) for rule in rule_set.refused]
    if as_json:
        for info, reason in rows:
            print_json(
                {
                    "rule": info.key,
                    "title": info.title,
                    "level": info.level,
                    "file": info.file,
                    "reason": reason or None,
                }
            )
    else:
        cells = [("no" if reason else "yes", info.level, info.title, reason) for info, reason in rows]
        print_table(("fires", "level", "rule", "reason"), cells)
    print_line(f"{_describe(rule_set)}, on {prefix}-*.", err=True)


def backtest(  # noqa: PLR0913 - one per option
    *,
    rules: tuple[Path, ...],
    level: str | None,
    last: timedelta | None,
    since: datetime | None,
    until: datetime | None,
    as_json: bool,
) -> None:
    """Print what rules would have found."""
    start = start_time(now(), since, last)
    client, prefix, rule_set = open_rules(rules, level)
    results = list(run_backtest(client, prefix, rule_set.rules, start, until))
    results.sort(key=lambda result: -result.hits)
    for result in results:
        if as_json:
            print_json(_document(result))
        elif result.hits or result.error:
            _print_backtest(result)
    found = sum(bool(result.hits) for result in results)
    hits = sum(result.hits for result in results)
    print_line(f"{_describe(rule_set)}. {pluralize(found, 'rule')} with {pluralize(hits, 'hit')}.", err=True)
    if any(result.error for result in results):
        raise SetupError("Some rules could not be searched for.")


def _document(result: Backtest) -> dict[str, Any]:
    info = result.rule.info
    return {
        "rule": info.key,
        "title": info.title,
        "level": info.level,
        "hits": result.hits,
        "days": dict(sorted(result.days.items())),
        "accounts": dict(result.accounts.most_common()),
        "callers": dict(result.callers.most_common()),
        "error": result.error or None,
    }


def _print_backtest(result: Backtest) -> None:
    info = result.rule.info
    if result.error:
        print_line(f"{info.title}: {result.error}")
        return
    level = f" ({info.level})" if info.level else ""
    print_line(f"{pluralize(result.hits, 'hit')}  {info.title}{level}")
    for name, counts in (("day", result.days), ("account", result.accounts), ("caller", result.callers)):
        print_line(f"  by {name:<8} {_listed(counts, by_name=name == 'day')}")


def _listed(counts: Counter[str], *, by_name: bool) -> str:
    """Return the largest counts on a line; days in their order."""
    shown = counts.most_common(_SHOWN)
    if by_name:
        shown.sort()
    more = f", and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return ", ".join(f"{name} {count:,}" for name, count in shown) + more


def run_rules(  # noqa: PLR0913 - one per option
    *,
    rules: tuple[Path, ...],
    level: str | None,
    since_last: bool,
    last: timedelta | None,
    first: timedelta,
    overlap: timedelta,
    sns: str | None,
    webhook: str | None,
) -> None:
    """Find what is new, and announce it."""
    if since_last and last:
        raise click.UsageError("--since-last and --last exclude each other.")
    if find_new(rules, level, Interval(overlap, first, last), sns=sns, webhook=webhook):
        sys.exit(_NEW_FINDINGS)


def find_new(
    rules: tuple[Path, ...],
    level: str | None,
    interval: Interval,
    *,
    sns: str | None = None,
    webhook: str | None = None,
) -> int:
    """Find what is new, announce it, and return the number of new findings.

    Raises SetupError when a rule could not be searched for.
    """
    client, prefix, rule_set = open_rules(rules, level)
    topic = SnsTopic(open_session().client("sns", config=config(connections=1)), sns) if sns else None
    announce = Announcer(lambda line: print_document(f"{line}\n"), topic, Webhook(webhook) if webhook else None)
    run = DetectionRun(client, prefix, FindingsStore(client, prefix), announce, now)
    result = run.run(rule_set.rules, interval)
    for info, reason in result.failed:
        print_line(f"{info.title}: {reason}", err=True)
    new = sum(result.findings.values())
    print_line(f"{_describe(rule_set)}. {pluralize(new, 'new finding')}.", err=True)
    if result.failed:
        raise SetupError(f"{pluralize(len(result.failed), 'rule')} could not be searched for.")
    return new


def install_monitors(  # noqa: PLR0913 - one per option
    *, rules: tuple[Path, ...], level: str | None, output: Path, put: bool, every: int, channel: str | None
) -> None:
    """Write monitors, or create them in the cluster."""
    client, prefix, rule_set = open_rules(rules, level)
    monitors = [monitor(rule, prefix, every, channel or "") for rule in rule_set.rules if not rule.correlation]
    correlations = len(rule_set.rules) - len(monitors)
    if put:
        for line in put_monitors(client, monitors):
            print_line(line)
    else:
        write_document(output, f"{ascii_json(json.dumps(monitors, indent=2))}\n")
    left_out = f" {pluralize(correlations, 'correlation')} left out: use trailsink detect run." if correlations else ""
    print_line(f"{pluralize(len(monitors), 'monitor')}. {_describe(rule_set)}.{left_out}", err=True)


def print_pipeline() -> None:
    """Print the processing pipeline for pySigma."""
    print_document(files("worker.detect").joinpath("trailsink_pipeline.yml").read_text(encoding="utf-8"))
