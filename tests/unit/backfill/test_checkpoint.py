"""Promises about the state file: what an earlier release wrote is resumed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.backfill.checkpoint import Checkpoint, CheckpointFile
from worker.backfill.progress import LoadTally

if TYPE_CHECKING:
    from pathlib import Path

STORED = (
    b'{"version":1,"asked":{"queue":"https://sqs.eu-central-1.amazonaws.com/123456789012/trail","bucket":"acme-trail",'
    b'"missing":"True True","way":"queue"},"started_at":"2026-01-01T10:00:00Z","since":null,'
    b'"until":"2026-01-02T00:00:00Z","roots":["","prod/"],"mark":"AWSLogs/x",'
    b'"days":{"2025-01-31":{"loaded":3,"failed":1}},"records":{"read":8,"indexed":7},"report":"/r/failed.jsonl",'
    b'"report_bytes":120}'
)
FINGERPRINT = {
    "queue": "https://sqs.eu-central-1.amazonaws.com/123456789012/trail",
    "bucket": "acme-trail",
    "missing": "True True",
    "way": "queue",
}


def test_a_state_file_is_written_as_it_always_was(tmp_path: Path) -> None:
    """Byte for byte: an upgrade in the middle of a month of files must not lose the place."""
    file = CheckpointFile(tmp_path / "state.json")
    checkpoint = Checkpoint(
        asked=FINGERPRINT,
        started_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
        since=None,
        until=datetime(2026, 1, 2, tzinfo=UTC),
        roots=["", "prod/"],
        report="/r/failed.jsonl",
    )
    checkpoint.take(
        LoadTally({"2025-01-31": Counter(loaded=3, failed=1)}, Counter(read=8, indexed=7)), "AWSLogs/x", 120
    )

    file.save(checkpoint)

    assert file.path.read_bytes() == STORED


def test_a_state_file_of_an_earlier_release_is_resumed(tmp_path: Path) -> None:
    """Where it was, with what it had counted."""
    (tmp_path / "state.json").write_bytes(STORED)

    checkpoint = CheckpointFile(tmp_path / "state.json").load(FINGERPRINT)

    assert checkpoint
    assert (checkpoint.mark, checkpoint.report, checkpoint.report_bytes) == ("AWSLogs/x", "/r/failed.jsonl", 120)
    assert (checkpoint.since, checkpoint.until) == (None, datetime(2026, 1, 2, tzinfo=UTC))
    assert checkpoint.roots == ["", "prod/"]
    assert checkpoint.tally().days == {"2025-01-31": {"loaded": 3, "failed": 1}}
    assert checkpoint.tally().records == {"read": 8, "indexed": 7}
