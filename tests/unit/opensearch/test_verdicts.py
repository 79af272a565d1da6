"""Promises about recorded verdicts: each run has one document, and the newest is what status shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.opensearch_server import connected, missing
from worker.errors import SetupError
from worker.opensearch.verdicts import RecordedVerdict, last_verdict, record_verdict

MOMENT = datetime(2026, 3, 1, 6, tzinfo=UTC)
SUMMARY = {"verdict": "complete: 3 files", "complete": True, "files": 3}


@dataclass
class FakeIndex:
    """One index of verdicts; searches give the newest document."""

    exists: bool = False
    refusal: int = 0
    documents: dict[str, Any] = field(default_factory=dict)

    def answer(self, method: str, path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if self.refusal:
            return self.refusal, {"error": {"type": "security_exception", "reason": "no"}}
        match method, path.strip("/").split("/"):
            case "PUT", [_]:
                status = 400 if self.exists else 200
                self.exists = True
                return status, {"error": {"type": "resource_already_exists_exception", "reason": "exists"}}
            case "PUT", [_, "_doc", id_]:
                self.documents[id_.replace("%3A", ":")] = body
                return 201, {}
            case "POST", ["trailsink-verdicts-trail", "_search"]:
                newest = sorted(self.documents.items(), reverse=True)[:1]
                return 200, {"hits": {"hits": [{"_id": id_, "_source": source} for id_, source in newest]}}
        return missing()


def test_the_newest_verdict_is_read_again() -> None:
    """A run that is repeated has one document."""
    index = FakeIndex()

    with connected(index.answer) as client:
        nothing = last_verdict(client, "trail")
        for moment in (MOMENT, MOMENT.replace(hour=9), MOMENT.replace(hour=9)):
            record_verdict(client, "trail", moment, SUMMARY)
        newest = last_verdict(client, "trail")

    assert nothing is None
    assert newest == RecordedVerdict(MOMENT.replace(hour=9), complete=True, text="complete: 3 files")
    assert sorted(index.documents) == ["2026-03-01T06:00:00Z", "2026-03-01T09:00:00Z"]
    assert index.documents["2026-03-01T06:00:00Z"]["files"] == 3


def test_a_verdict_that_cannot_be_written_says_so() -> None:
    """A role that may only read is common, and the verdict itself stands."""
    with connected(FakeIndex(refusal=403).answer) as client, pytest.raises(SetupError, match="was not recorded"):
        record_verdict(client, "trail", MOMENT, SUMMARY)
