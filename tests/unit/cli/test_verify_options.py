"""Promises about the options of a verification: contradictions are refused, and a run is known by what it verifies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from worker.cli.verify_options import VerifyOptions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"since": NOW, "last": timedelta(days=1)}, "--last"),
        ({"local": Path("tree")}, "needs --keys"),
        ({"local": Path("tree"), "keys": Path("k"), "deep": 5.0}, "leave out --deep"),
        ({"local": Path("tree"), "keys": Path("k"), "load": True}, "leave out --deep"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], words: str) -> None:
    """Before anything is read."""
    with pytest.raises(click.UsageError, match=words):
        VerifyOptions(**options).check()


def test_only_a_run_over_all_accounts_is_whole() -> None:
    """Its verdict is the pipeline's; that of one account is not."""
    assert VerifyOptions(last=timedelta(days=3), deep=5.0).is_whole
    assert not VerifyOptions(account=("123456789012",)).is_whole
    assert not VerifyOptions(region=("eu-west-1",)).is_whole


def test_a_run_is_known_by_what_it_verifies() -> None:
    """The order of accounts is none of it, nor is the number of workers."""
    one = VerifyOptions(account=("1" * 12, "2" * 12), workers=4).fingerprint("trail")

    assert one == VerifyOptions(account=("2" * 12, "1" * 12)).fingerprint("trail")
    assert one != VerifyOptions(account=("1" * 12,)).fingerprint("trail")
    assert one != VerifyOptions(account=("1" * 12, "2" * 12)).fingerprint("other")


def test_the_time_ends_now_at_the_latest() -> None:
    """Nothing later can be judged."""
    selection = VerifyOptions(last=timedelta(days=3), until=None).selection(NOW)

    assert (selection.since, selection.until) == (NOW - timedelta(days=3), NOW)
