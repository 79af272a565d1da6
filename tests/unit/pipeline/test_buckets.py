"""Promises about which buckets are read: S3's own rule, and the operator's list."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import Reason, UnreadableObject
from worker.pipeline.buckets import AllowedBuckets, is_bucket_name

NAMES = ["abc", "a" * 63, "my.trail-bucket", "1-2", "aws-cloudtrail-logs-123456789012-abcdef01", "1.2.3.4.5.a"]
NO_NAMES = [
    "",
    "ab",
    "a" * 64,
    "Trail",
    "my_trail",
    "-ab",
    "ab-",
    ".ab",
    "ab.",
    "a..b",
    "192.168.5.4",
    "xn--bucket",
    "sthree-bucket",
    "evil-s3alias",
    "evil--ol-s3",
    "evil.mrap",
    "evil--use1-az4--x-s3",
    "evil--table-s3",
    "trail\n",
    "tr\u0430il",
    "s3://trail",
    "arn:aws:s3:::trail",
]


@pytest.mark.parametrize("name", NAMES)
def test_what_s3_allows_is_a_bucket_name(name: str) -> None:
    """A rule that is too strict would lose files of a real bucket."""
    assert is_bucket_name(name)
    assert AllowedBuckets().refusal(name) == AllowedBuckets(frozenset({"*"})).refusal(name) == ""


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_s3_does_not_allow_is_none(name: str) -> None:
    """Each of these would be another request than a GET of an object of a bucket, or none at all."""
    assert not is_bucket_name(name)
    with pytest.raises(UnreadableObject) as caught:
        AllowedBuckets().check(name)
    assert caught.value.reason is Reason.FOREIGN_BUCKET


@given(st.text(max_size=70) | st.text("abz019.-", max_size=70))
def test_a_bucket_name_holds_nothing_but_what_a_host_name_may(name: str) -> None:
    """It becomes a part of an address."""
    if is_bucket_name(name):
        assert re.fullmatch("[a-z0-9.-]{3,63}", name)


def test_a_list_allows_exactly_its_buckets() -> None:
    """Somebody else's bucket has a valid name, too."""
    allowed = AllowedBuckets(frozenset({"trail", "Old_Trail", "own--use1-az4--x-s3"}))

    assert [name for name in ("trail", "Old_Trail", "own--use1-az4--x-s3", "other") if not allowed.refusal(name)] == [
        "trail",
        "Old_Trail",
        "own--use1-az4--x-s3",
    ]
    assert "TRAILSINK_BUCKETS" in allowed.refusal("other")


def test_a_star_allows_every_general_purpose_bucket_and_what_is_named_beside_it() -> None:
    """A directory bucket has to be named."""
    allowed = AllowedBuckets(frozenset({"*", "own--use1-az4--x-s3"}))

    assert allowed.refusal("other") == allowed.refusal("own--use1-az4--x-s3") == ""
    assert allowed.refusal("others--use1-az4--x-s3")
