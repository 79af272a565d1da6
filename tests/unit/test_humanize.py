"""Promises about how times, durations, sizes and counts are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from worker.humanize import format_duration, format_minute, format_size, iso_epoch, iso_seconds, pluralize


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (3600, "1h"),
        (12_000, "3h 20m"),
        (1_051_000, "12d"),
        (540_000, "6d 6h"),
    ],
)
def test_a_length_of_time_is_short(seconds: int, said: str) -> None:
    """Clocks differ: what is from the future is new."""
    assert format_duration(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("octets", "said"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (9 << 50, "9216.0 TiB")]
)
def test_a_size_is_short(octets: int, said: str) -> None:
    """Nobody reads 5368709120."""
    assert format_size(octets) == said


def test_a_moment_is_written_in_utc() -> None:
    """Whoever compares two lines must not have to convert them."""
    moment = datetime(2026, 3, 1, 12, 30, 15, 999, timezone(timedelta(hours=2)))

    assert iso_seconds(moment) == "2026-03-01T10:30:15Z"
    assert iso_epoch(moment.timestamp()) == "2026-03-01T10:30:15Z"
    assert format_minute(moment.astimezone(UTC)) == "2026-03-01 10:30"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 letters"), (1, "1 letter"), (2_000, "2,000 letters"), (-1, "-1 letters")]
)
def test_a_count_has_its_noun(number: int, text: str) -> None:
    """A wrong plural looks careless, and a reader trusts the rest less."""
    assert pluralize(number, "letter") == text


def test_a_plural_can_be_irregular() -> None:
    """Not every noun takes an s."""
    assert pluralize(2, "index", "indices") == "2 indices"
