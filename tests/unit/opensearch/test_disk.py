"""Promises about watermarks: a share, a size, or nothing."""

from __future__ import annotations

import pytest

from worker.opensearch.disk import reserved_bytes


@pytest.mark.parametrize(
    ("watermark", "reserved"),
    [("85%", 150), ("0.85", 150), ("100b", 100), ("1KB", 1024), (" 1.5kb ", 1536), ("", None), ("unset", None)],
)
def test_a_watermark_is_what_must_be_free(watermark: str, reserved: int | None) -> None:
    """A share may be used; a size must be free."""
    assert reserved_bytes(watermark, 1_000) == reserved
