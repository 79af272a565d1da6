"""Promises about the fingerprint of a backfill: state files of earlier runs are found by it, and must be resumed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_backfill import backfill_options
from worker.backfill.checkpoint import state_path
from worker.settings import Settings

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/trail"
SETTINGS = Settings(opensearch_url="https://search.example.com", index_prefix="trail", queue_url=QUEUE)

VIA_QUEUE = {"queue": QUEUE}
DIRECT = {"cluster": "https://search.example.com", "index_prefix": "trail"}
UNSELECTIVE = {
    "bucket": "acme-trail",
    "local": "",
    "prefix": "",
    "account": "",
    "org": "",
    "region": "",
    "kind": "",
    "since": "",
    "until": "",
    "last": "",
    "missing": "False False",
}


@pytest.mark.parametrize(
    ("changes", "expected", "name"),
    [
        ({}, VIA_QUEUE | UNSELECTIVE | {"way": "queue"}, "backfill-476a6118193f9bb7.json"),
        ({"direct": True}, DIRECT | UNSELECTIVE | {"way": "direct"}, "backfill-46167dc0eb3ad0aa.json"),
        (
            {"via": "direct", "local": Path("/srv/trail-copy")},
            DIRECT | UNSELECTIVE | {"local": "/srv/trail-copy", "way": "direct"},
            "backfill-02b8e2136a7bf1e7.json",
        ),
        (
            {
                "direct": True,
                "account": ("222222222222", "111111111111"),
                "region": ("us-east-1", "eu-west-1"),
                "prefix": ("prod/", "A"),
                "org": ("o-a1b2c3d4e5",),
                "kind": ("insight", "events"),
            },
            DIRECT
            | UNSELECTIVE
            | {
                "account": "111111111111 222222222222",
                "region": "eu-west-1 us-east-1",
                "prefix": "A prod/",
                "org": "o-a1b2c3d4e5",
                "kind": "events insight",
                "way": "direct",
            },
            "backfill-01bd3ac6f1676fa4.json",
        ),
        (
            {"since": datetime(2025, 1, 1, tzinfo=UTC), "until": datetime(2025, 2, 1, 10, 30, tzinfo=UTC)},
            VIA_QUEUE
            | UNSELECTIVE
            | {"since": "2025-01-01 00:00:00+00:00", "until": "2025-02-01 10:30:00+00:00", "way": "queue"},
            "backfill-ac2629d26f08451a.json",
        ),
        (
            {"last": timedelta(days=30), "missing": True},
            VIA_QUEUE | UNSELECTIVE | {"last": "30 days, 0:00:00", "missing": "True False", "way": "queue"},
            "backfill-0a8b1dcfdfef2b66.json",
        ),
        (
            {"last": timedelta(hours=36), "incomplete": True},
            VIA_QUEUE | UNSELECTIVE | {"last": "1 day, 12:00:00", "missing": "True True", "way": "queue"},
            "backfill-d8a165a98c43ae85.json",
        ),
        (
            {"missing": True, "incomplete": True},
            VIA_QUEUE | UNSELECTIVE | {"missing": "True True", "way": "queue"},
            "backfill-c5a8e2489c43e2e0.json",
        ),
    ],
)
def test_a_backfill_is_identified_as_it_always_was(
    changes: dict[str, Any], expected: dict[str, str], name: str
) -> None:
    """A run that another release began is found under the same name, with the same members in the same order."""
    fingerprint = backfill_options(**changes).fingerprint(SETTINGS, "acme-trail")

    assert list(fingerprint.items()) == list(expected.items())
    assert state_path({"XDG_STATE_HOME": "/state"}, fingerprint) == Path("/state/trailsink") / name


@pytest.mark.parametrize(
    "changes",
    [
        {"rate": 5, "max_depth": 5, "workers": 8, "patience": timedelta(hours=1)},
        {"report": Path("failed.jsonl"), "state": Path("state.json"), "progress": True, "as_json": True},
    ],
)
def test_how_a_backfill_runs_does_not_identify_it(changes: dict[str, Any]) -> None:
    """An interrupted run may be resumed faster, or slower."""
    fingerprint = backfill_options(**changes).fingerprint(SETTINGS, "acme-trail")

    assert fingerprint == backfill_options().fingerprint(SETTINGS, "acme-trail")


def test_a_fingerprint_without_a_queue_has_an_empty_one() -> None:
    """--dry-run needs no queue, and resumes nothing of a run that has one."""
    assert backfill_options().fingerprint(Settings(), "acme-trail") == {"queue": ""} | UNSELECTIVE | {"way": "queue"}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["queue_url", "dead_letter_queue_url"]),
        ({"missing": True}, ["queue_url", "dead_letter_queue_url", "opensearch_url"]),
        ({"missing": True, "dry_run": True}, ["opensearch_url"]),
        ({"direct": True}, ["opensearch_url"]),
        ({"direct": True, "dry_run": True}, []),
        ({"dry_run": True}, []),
    ],
)
def test_what_a_run_needs_is_asked_for_at_once(changes: dict[str, Any], names: list[str]) -> None:
    """One after the other, each attempt ended with the next."""
    assert backfill_options(**changes).needed_settings == names
