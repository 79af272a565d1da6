"""Promises about the options of a verification: contradictions are refused, and a run is known by what it verifies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from worker.cli.verify_options import VerifyOptions
from worker.settings import Settings

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
    settings, same = Settings(), VerifyOptions(account=("2" * 12, "1" * 12))
    one = VerifyOptions(account=("1" * 12, "2" * 12), workers=4).fingerprint(settings, "trail")

    assert one == same.fingerprint(settings, "trail")
    assert one != VerifyOptions(account=("1" * 12,)).fingerprint(settings, "trail")
    assert one != same.fingerprint(settings, "other")


@pytest.mark.parametrize(
    "changes",
    [{"opensearch_url": "https://other"}, {"index_prefix": "other"}, {"filters": "s3://b/other.json"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_run_is_not_resumed_with_what_another_cluster_holds(changes: dict[str, str]) -> None:
    """One was killed, the shell then pointed at another: half of the verdict would have been the first one's."""
    given = {"opensearch_url": "https://one", "index_prefix": "one", "filters": "s3://b/one.json"}
    options, offline = VerifyOptions(), VerifyOptions(local=Path("tree"), keys=Path("k"))
    one, other = Settings(**given), Settings(**(given | changes))

    assert options.fingerprint(one, "trail") != options.fingerprint(other, "trail")
    assert offline.fingerprint(one, "trail") == offline.fingerprint(other, "trail")


@pytest.mark.parametrize("changes", [{"load": True}, {"filters": ("f.json",)}, {"keys": Path("other")}], ids=str)
def test_a_run_is_not_resumed_in_another_way(changes: dict[str, Any]) -> None:
    """What was already judged would not be loaded, nor judged by these keys and filters."""
    options: dict[str, Any] = {"keys": Path("k")}

    one = VerifyOptions(**options).fingerprint(Settings(), "trail")

    assert one != VerifyOptions(**(options | changes)).fingerprint(Settings(), "trail")


def test_equal_names_in_two_folders_are_two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two analysts, or two incidents: `--local tree` in each."""
    known = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        known.append(VerifyOptions(local=Path("tree"), keys=Path("k")).fingerprint(Settings(), ""))

    assert known[0] != known[1]


def test_the_time_ends_now_at_the_latest() -> None:
    """Nothing later can be judged."""
    selection = VerifyOptions(last=timedelta(days=3), until=None).selection(NOW)

    assert (selection.since, selection.until) == (NOW - timedelta(days=3), NOW)
