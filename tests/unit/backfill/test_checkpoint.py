"""Promises about the state file: an earlier release's is resumed, and another backfill's is refused."""

from __future__ import annotations

import stat
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from worker.backfill.checkpoint import Checkpoint, CheckpointFile, state_path
from worker.backfill.listing import KeySource, SourceLayout
from worker.backfill.progress import LoadTally
from worker.errors import SetupError

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


def new_checkpoint() -> Checkpoint:
    return Checkpoint(
        fingerprint=FINGERPRINT,
        started_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
        since=None,
        until=datetime(2026, 1, 2, tzinfo=UTC),
        roots=["", "prod/"],
        report="/r/failed.jsonl",
    )


def test_a_state_file_is_written_as_it_always_was(tmp_path: Path) -> None:
    """Byte for byte: an upgrade in the middle of a month of files must not lose the place."""
    file, checkpoint = CheckpointFile(tmp_path / "state.json"), new_checkpoint()
    checkpoint.update(
        LoadTally({"2025-01-31": Counter(loaded=3, failed=1)}, Counter(read=8, indexed=7)), "AWSLogs/x", 120
    )

    file.save(checkpoint)

    assert file.path.read_bytes() == STORED


def test_a_state_file_of_an_earlier_release_is_resumed(tmp_path: Path) -> None:
    """Where it was, with what it had counted."""
    (tmp_path / "state.json").write_bytes(STORED)

    checkpoint = CheckpointFile(tmp_path / "state.json").load(FINGERPRINT)

    assert checkpoint
    assert (checkpoint.cursor, checkpoint.report, checkpoint.report_bytes) == ("AWSLogs/x", "/r/failed.jsonl", 120)
    assert (checkpoint.since, checkpoint.until) == (None, datetime(2026, 1, 2, tzinfo=UTC))
    assert checkpoint.roots == ["", "prod/"]
    assert checkpoint.tally().days == {"2025-01-31": {"loaded": 3, "failed": 1}}
    assert checkpoint.tally().records == {"read": 8, "indexed": 7}


def test_sources_of_another_layout_are_resumed(tmp_path: Path) -> None:
    """A resume lists what the first run found, whatever was added since."""
    file, checkpoint = CheckpointFile(tmp_path / "state.json"), new_checkpoint()
    checkpoint.others = [KeySource("copies/", SourceLayout.FOLDER), KeySource("")]
    file.save(checkpoint)

    resumed = file.load(FINGERPRINT)

    assert resumed
    assert resumed.sources == [
        KeySource("AWSLogs/"),
        KeySource("prod/AWSLogs/"),
        KeySource("copies/", SourceLayout.FOLDER),
        KeySource(""),
    ]


def test_a_state_of_another_backfill_is_refused_by_name(tmp_path: Path) -> None:
    """January's state must not say where February's resumes."""
    state = CheckpointFile(tmp_path / "state.json")
    state.save(new_checkpoint())

    with pytest.raises(SetupError, match=r"different: account, bucket\).*--restart"):
        state.load(FINGERPRINT | {"bucket": "other", "account": "123456789012"})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":1}'])
def test_a_file_that_is_not_a_state_is_refused(tmp_path: Path, content: bytes) -> None:
    """Another file under --state is not overwritten without --restart."""
    (tmp_path / "state.json").write_bytes(content)

    with pytest.raises(SetupError, match="is not the state file of a backfill: pass --restart"):
        CheckpointFile(tmp_path / "state.json").load(FINGERPRINT)


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    """Its members may mean something else."""
    (tmp_path / "state.json").write_bytes(STORED.replace(b'"version":1', b'"version":2'))

    with pytest.raises(SetupError, match="another version of trailsink"):
        CheckpointFile(tmp_path / "state.json").load(FINGERPRINT)


def test_a_state_that_does_not_exist_is_none(tmp_path: Path) -> None:
    """The first run starts at the first file; after the last one its state is deleted."""
    state = CheckpointFile(tmp_path / "state.json")
    state.save(new_checkpoint())
    state.delete()

    assert state.load(FINGERPRINT) is None


def test_two_runs_of_the_same_backfill_exclude_each_other(tmp_path: Path) -> None:
    """Each would move the other's cursor."""
    state = CheckpointFile(tmp_path / "deeper" / "state.json")

    with state.lock(), pytest.raises(SetupError, match="Another process"), CheckpointFile(state.path).lock():
        pass
    with state.lock():
        pass


def test_the_same_backfill_has_the_same_state_file_and_another_does_not() -> None:
    """The default file is named by the fingerprint, in whatever order its members are."""
    environment = {"XDG_STATE_HOME": "/state"}

    path = state_path(environment, FINGERPRINT)

    assert state_path(environment, dict(reversed(FINGERPRINT.items()))) == path
    assert state_path(environment, FINGERPRINT | {"account": "1"}) != path
    assert str(path).startswith("/state/trailsink/backfill-")


def test_state_and_lock_are_their_owners_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """The state names accounts, buckets and addresses; whoever may write it decides where a run goes on."""
    file = CheckpointFile(tmp_path / "state" / "trailsink" / "backfill.json")

    with file.lock():
        file.save(new_checkpoint())
        paths = [file.path, file.path.with_name("backfill.json.lock"), file.path.parent, file.path.parent.parent]
        modes = [stat.S_IMODE(path.stat().st_mode) for path in paths]

    assert modes == [0o600, 0o600, 0o700, 0o700]


def test_a_lock_is_no_link(tmp_path: Path) -> None:
    """Opening it would create, or cut off, what the link points to."""
    file, victim = CheckpointFile(tmp_path / "state.json"), tmp_path / "victim"
    victim.write_bytes(b"theirs")
    (tmp_path / "state.json.lock").symlink_to(victim)

    with pytest.raises(SetupError, match=r"state\.json\.lock cannot be used"), file.lock():
        pass

    assert victim.read_bytes() == b"theirs"
