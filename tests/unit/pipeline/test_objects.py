"""Promises about how an object is named: by address and version, whatever else its notification said."""

from __future__ import annotations

from datetime import UTC, datetime

from worker.pipeline.objects import ObjectRef


def test_an_object_is_the_same_whatever_its_notification_said_of_it() -> None:
    """Announced twice, with and without a size, it is read once."""
    moment = datetime(2026, 3, 1, tzinfo=UTC)

    assert ObjectRef("b", "k", size=1, etag="x", notified_at=moment) == ObjectRef("b", "k")
    assert ObjectRef("b", "k", "v1") != ObjectRef("b", "k", "v2")
    assert len({ObjectRef("b", "k"), ObjectRef("b", "k", size=7)}) == 1


def test_people_read_the_version_and_documents_do_not_hold_it() -> None:
    """A document's address must be the same for every delivery of the object."""
    ref = ObjectRef("b", "a b/k", "v1")

    assert ref.uri == "s3://b/a b/k"
    assert str(ref) == "s3://b/a b/k (version v1)"
    assert str(ObjectRef("b", "k")) == "s3://b/k"
