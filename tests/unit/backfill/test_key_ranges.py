"""Promises about key ranges: split anywhere, they cover the same keys."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_backfill import ACCOUNTS, START
from worker.backfill.key_ranges import KeyRange, account_folders, key_ranges
from worker.backfill.selection import Selection

FOLDER = f"AWSLogs/{ACCOUNTS[0]}/CloudTrail/eu-west-1/"


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60))
def test_the_parts_of_a_key_range_are_the_range(first: int, span: int, further: int) -> None:
    """Split anywhere, no key falls between two parts, and none is in two."""
    days = [f"{FOLDER}{START + timedelta(days=day):%Y/%m/%d}/" for day in range(150)]
    keys = [day + name for day in days for name in ("a", "m", "z")]
    first_key, last_key, before = days[first] + "a", days[first + span] + "m", days[first + span + further]

    parts = list(KeyRange(FOLDER, "", before).split_after_page(first_key, last_key))

    assert [key for part in parts for key in keys if part.after < key < part.before] == [
        key for key in keys if last_key < key < before
    ]
    assert all(key.startswith(part.prefix) for part in parts for key in keys if part.after < key < part.before)


def test_a_range_of_one_day_is_listed_by_its_day() -> None:
    """Without that, the last day of a month would be listed with all days of the year."""
    key_range = KeyRange(FOLDER, f"{FOLDER}2025/01/31/", f"{FOLDER}2025/02/01/")

    assert key_range.prefix == f"{FOLDER}2025/01/31/"


def test_only_folders_that_can_hold_selected_files_are_ranges() -> None:
    """Regions that are named are not listed, and what lies before the cursor is left out."""
    selection = Selection(
        START + timedelta(days=1), START, regions=frozenset({"eu-west-1", "us-east-1"}), kinds=frozenset({"CloudTrail"})
    )
    cursor = FOLDER + "2024/11/20/z"

    ranges = key_ranges(selection, f"AWSLogs/{ACCOUNTS[0]}/", cursor, lambda _prefix: [])

    other = f"AWSLogs/{ACCOUNTS[0]}/CloudTrail/us-east-1/"
    assert ranges == [
        KeyRange(FOLDER, cursor, f"{FOLDER}2024/11/22/"),
        KeyRange(other, f"{other}2024/11/20/", f"{other}2024/11/22/"),
    ]


def test_accounts_before_the_cursor_are_left_out() -> None:
    """A resume does not list what is done."""
    folders = [f"AWSLogs/{account}/" for account in ACCOUNTS]

    accounts = account_folders(Selection(START), "AWSLogs/", f"{folders[1]}CloudTrail/", lambda _prefix: folders)

    assert list(accounts) == folders[1:]
