"""Promises about `trailsink backfill`: contradictions are refused first, and a plan changes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from infra.generate.json_documents import Backfilled, read
from tests.support.fake_backfill import ACCOUNTS, START, log_key
from tests.support.listing_server import serve_keys
from worker.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, ["backfill", *words])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--last", "30d", "--since", "2025-01-01"), "--last cannot be combined with --since or --until"),
        (("--last", "30d", "--until", "2025-01-01"), "--last cannot be combined with --since or --until"),
        (("--since", "2025-02-01", "--until", "2025-01-01"), "--since must be earlier"),
        (("--local", "."), "--local needs --direct"),
        (("--retry-failed", "x"), "--retry-failed needs --direct"),
        (("--retry-failed", "x", "--direct", "--missing"), "exactly the files in the report"),
        (("--retry-failed", "x", "--direct", "--incomplete"), "exactly the files in the report"),
        ((), "no terminal to confirm on: pass --yes"),
        (("--account", "12345"), "is not an account id of 12 digits"),
        (("--org", "acme"), "is not an organisation id"),
        (("--kind", "digest"), "'digest' is not one of"),
        (("--last", "30"), "30d"),
        (("--rate", "0"), "1<=x<=10000"),
        (("--rate", "5", "--direct", "--dry-run"), "--rate is for the queue"),
    ],
)
def test_options_that_make_no_sense_are_refused(words: tuple[str, ...], sentence: str) -> None:
    """With exit code 2, before any service is called."""
    result = invoke(*words)

    assert result.exit_code == 2
    assert sentence in result.stderr


def test_prefixes_inside_each_other_are_refused(tmp_path: Path) -> None:
    """Their files would not be in order, and an interrupted run would resume at the wrong place."""
    prefixes = ("--prefix", "", "--prefix", "AWSLogs/copy")

    result = invoke("--local", str(tmp_path), "--direct", "--dry-run", *prefixes)

    assert result.exit_code == 2
    assert "--prefix AWSLogs/copy/ is below the AWSLogs/ of another prefix" in result.stderr


# A folder tree and --dry-run need no network.


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder tree with two files of 1,500 bytes, and state files of this test only."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", "https://search.example.com")
    top = tmp_path / "copy"
    for number, account in enumerate(ACCOUNTS[:2]):
        path = top / log_key("", "", account, "CloudTrail", "eu-west-1", START, number)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 1_500)
    return top


def plan(tree: Path, *words: str) -> Result:
    return invoke("--local", str(tree), "--direct", "--dry-run", *words)


def test_a_dry_run_shows_the_plan_and_writes_nothing(tree: Path, tmp_path: Path) -> None:
    """Sizes are in the binary units of all commands."""
    result = plan(tree, "--until", "2024-12-01")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"from      {tree}/AWSLogs/",
        "delivered any time to 2024-12-01 01:00 UTC",
        "files     2",
        "size      2.9 KiB",
        "accounts  2",
        "days      1, 2024-11-20 to 2024-11-20",
        "to        https://search.example.com, cloudtrail-*",
        "          with 4 workers",
    ]
    assert not (tmp_path / "state").exists()


def test_a_plan_in_json_counts_bytes(tree: Path) -> None:
    """Scripts get exact numbers, and members that never change."""
    result = plan(tree, "--until", "2024-12-01", "--json")

    read(result.stdout, Backfilled)
    assert list(json.loads(result.stdout).items()) == [
        ("kind", "plan"),
        ("files", 2),
        ("bytes", 3_000),
        ("accounts", 2),
        ("days", 1),
        ("first_day", "2024-11-20"),
        ("last_day", "2024-11-20"),
        ("present", 0),
        ("incomplete", 0),
        ("filtered", 0),
        ("discarded", 0),
        ("since", None),
        ("until", "2024-12-01T00:00:00Z"),
        ("done_before", 0),
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--account", "999999999999"), "Error: Nothing is selected: no CloudTrail log file in {tree}/ matches these"),
        (("--report", "{tree}"), "Error: {tree} already exists and is not overwritten: name another --report."),
        (("--state", "{tree}"), "Error: {tree} cannot be read: Is a directory."),
    ],
)
def test_whatever_keeps_a_run_from_starting_is_one_sentence(tree: Path, words: tuple[str, ...], sentence: str) -> None:
    """The one thing to change, and exit code 1."""
    result = plan(tree, *(word.format(tree=tree) for word in words))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(sentence.format(tree=tree))


def test_a_tree_without_awslogs_names_the_option(tmp_path: Path) -> None:
    """The prefix is too deep for the search."""
    result = plan(tmp_path)

    assert result.exit_code == 1
    assert "pass what comes before it as --prefix" in result.stderr


def test_copies_are_selected_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan names the folder of each, and a resume finds them in its state file."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", "https://search.example.com")
    name = log_key("", "", ACCOUNTS[0], "CloudTrail", "eu-west-1", START).rpartition("/")[2]
    for folder in ("", "copies"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(b"x")

    result = plan(tmp_path, "--until", "2024-12-01")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[:3:2] == [f"from      {tmp_path}/, {tmp_path}/copies/", "files     2"]


def test_a_bucket_that_the_pipeline_does_not_read_is_not_announced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each of its files would become a dead letter."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with serve_keys(10) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TRAILSINK_BUCKET", "acme-trail")

        refused = invoke("--bucket", "many", "--yes")
        monkeypatch.setenv("TRAILSINK_BUCKETS", "acme-trail,many")
        announced = invoke("--bucket", "many", "--yes")

    assert (refused.exit_code, announced.exit_code) == (1, 0)
    assert "The pipeline does not read the bucket many: add it to TRAILSINK_BUCKETS" in refused.stderr


def test_an_interrupted_run_is_resumed_after_its_cursor(tree: Path, tmp_path: Path) -> None:
    """Its time range and its counts are those of the first run."""
    state = tmp_path / "january.json"
    first = log_key("", "", ACCOUNTS[0], "CloudTrail", "eu-west-1", START)
    state.write_text(json.dumps(stored_state(tree, first)), encoding="utf-8")

    resumed = plan(tree, "--state", str(state), "--json")
    restarted = plan(tree, "--state", str(state), "--json", "--restart")

    assert resumed.stderr == "Resuming the run of 2026-01-01 10:00 UTC: 1 file done.\n"
    document = json.loads(resumed.stdout)
    assert (document["files"], document["done_before"], document["until"]) == (1, 1, "2024-12-01T00:00:00Z")
    assert (restarted.stderr, json.loads(restarted.stdout)["files"]) == ("", 2)


def test_a_resumed_run_keeps_its_report(tree: Path, tmp_path: Path) -> None:
    """Failures of one backfill are listed in one file."""
    state = tmp_path / "january.json"
    state.write_text(json.dumps(stored_state(tree, "AWSLogs/")), encoding="utf-8")

    result = plan(tree, "--state", str(state), "--report", str(tmp_path / "other.jsonl"))

    assert result.exit_code == 1
    assert "has its report in /r/failed.jsonl: leave out --report, or pass --restart." in result.stderr


def stored_state(tree: Path, cursor: str) -> dict[str, object]:
    """A state file of an earlier release, which loaded one file."""
    unset = dict.fromkeys(("prefix", "account", "org", "region", "kind", "since", "until", "last"), "")
    fingerprint = {"cluster": "https://search.example.com", "index_prefix": "cloudtrail", "bucket": "local"}
    return {
        "version": 1,
        "asked": fingerprint | unset | {"local": str(tree), "missing": "False False", "way": "direct"},
        "started_at": "2026-01-01T10:00:00Z",
        "since": None,
        "until": "2024-12-01T00:00:00Z",
        "roots": [""],
        "mark": cursor,
        "days": {"2024-11-20": {"loaded": 1}},
        "records": {"read": 2, "indexed": 2},
        "report": "/r/failed.jsonl",
        "report_bytes": 0,
    }
