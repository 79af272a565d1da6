"""Promises about reason codes."""

from __future__ import annotations

from worker.dlq.reasons import MEANINGS, REASONS
from worker.errors import Reason


def test_every_reason_has_a_meaning() -> None:
    """`dlq show` explains each."""
    assert (
        set(MEANINGS)
        == set(REASONS)
        == {reason.value for reason in Reason} | {"max_receives", "undelivered", "unknown"}
    )
