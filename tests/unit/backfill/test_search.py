"""Promises about the search for log files: every tree that the live pipeline reads, within a bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_backfill import ACCOUNTS, START, log_key
from tests.support.fakes import MemoryBucket
from worker.backfill.listing import KeySource, SourceLayout
from worker.backfill.search import find_sources, find_sources_at

KEY = log_key("", "", ACCOUNTS[0], "CloudTrail", "eu-west-1", START, 0)
BELOW = KEY.removeprefix("AWSLogs/")
NAME = KEY.rpartition("/")[2]


def search(*keys: str, start: str = "") -> list[KeySource]:
    return find_sources(MemoryBucket(keys), start).sources


def folder(name: str) -> KeySource:
    return KeySource(name, SourceLayout.FOLDER)


def prefix(name: str) -> KeySource:
    return KeySource(name, SourceLayout.PREFIX)


@pytest.mark.parametrize(
    ("keys", "roots"),
    [
        (["AWSLogs/x"], ["AWSLogs/"]),
        (["prod/AWSLogs/x", "AWSLogs/y", "other/z"], ["AWSLogs/", "prod/AWSLogs/"]),
        (["a/b/c/AWSLogs/x"], ["a/b/c/AWSLogs/"]),
        (["a/b/c/d/AWSLogs/x"], []),
        (["myAWSLogs/x", "AWSLogs"], []),
        ([], []),
        ([f"/{KEY}", f"cloudtrail//{KEY}"], ["/AWSLogs/", "cloudtrail//AWSLogs/"]),
        ([f"o-aaaaaaaaaa/AWSLogs/o-aaaaaaaaaa/{BELOW}"], ["o-aaaaaaaaaa/AWSLogs/"]),
        ([f"AWSLogs/my-suffix/{BELOW}"], ["AWSLogs/", "AWSLogs/my-suffix/"]),
        ([f"AWSLogs/a/b/{BELOW}"], ["AWSLogs/", "AWSLogs/a/b/"]),
        ([f"AWSLogs//{BELOW}"], ["AWSLogs/", "AWSLogs//"]),
        ([BELOW], [""]),
        ([f"copy/o-aaaaaaaaaa/{BELOW}"], ["copy/"]),
        (["202405061200/x", "202405061201/x"], []),
        (["AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/x"], ["AWSLogs/"]),
    ],
)
def test_a_tree_is_found_wherever_its_owner_put_it(keys: list[str], roots: list[str]) -> None:
    """With a prefix, with a folder behind AWSLogs/, with slashes too many, or copied without AWSLogs/."""
    assert search(*keys) == [KeySource(root) for root in roots]


@pytest.mark.parametrize(
    ("keys", "sources"),
    [
        ([NAME], [folder("")]),
        ([f"copies/{NAME}", "copies/readme.txt", "other/readme.txt"], [folder("copies/")]),
        ([f"a/b/c/{NAME}"], [folder("a/b/c/")]),
        ([f"a/b/c/d/{NAME}", "a/b/c/e/x"], [prefix("a/b/c/d/")]),
        ([f"copies/eu/2024/05/06/{NAME}"], [prefix("copies/eu/2024/05/")]),
        ([f"a/b/c/d/e/{KEY}"], [prefix("a/b/c/d/")]),
        ([NAME, KEY], [folder(""), KeySource("AWSLogs/")]),
        ([f"x/{NAME}", f"x/{KEY}"], [folder("x/"), KeySource("x/AWSLogs/")]),
        ([f"AWSLogs/{NAME}"], [KeySource("AWSLogs/"), folder("AWSLogs/")]),
    ],
)
def test_copies_that_lost_the_layout_are_found_by_their_names(keys: list[str], sources: list[KeySource]) -> None:
    """The live pipeline reads them, so a backfill has to find them."""
    assert search(*keys) == sorted(sources)


@given(
    st.lists(st.sampled_from(["", "a", "AWSLogs", "copies", "o-aaaaaaaaaa", "2024", "05"]), max_size=5),
    st.booleans(),
)
def test_a_named_file_is_found_in_any_folder(folders: list[str], in_layout: bool) -> None:  # noqa: FBT001
    """Whatever the folders are called: some source covers it."""
    key = "".join(f"{name}/" for name in folders) + (BELOW if in_layout else NAME)

    assert any(key.startswith(source.folder) for source in search(key))


def test_a_search_below_a_prefix_looks_nowhere_else() -> None:
    """`--prefix` says where."""
    bucket = MemoryBucket([f"a/{KEY}", f"b/{KEY}", f"b/{NAME}"])

    assert find_sources(bucket, "b/").sources == [folder("b/"), KeySource("b/AWSLogs/")]
    assert all(requested.startswith("b/") for requested in bucket.requested)


@pytest.mark.parametrize(
    ("start", "sources"),
    [
        ("a/", [KeySource("a/AWSLogs/")]),
        ("b/", [prefix("b/c/d/e/f/")]),
        ("b/c/d/e/f/g/", [folder("b/c/d/e/f/g/")]),
        (f"AWSLogs/{ACCOUNTS[0]}/mine/", [folder(f"AWSLogs/{ACCOUNTS[0]}/mine/")]),
        ("none/", []),
    ],
)
def test_a_folder_that_is_named_is_searched_before_those_below_it(start: str, sources: list[KeySource]) -> None:
    """`--prefix` is what saves the search in a large bucket."""
    bucket = MemoryBucket([f"a/{KEY}", f"a/x/y/{NAME}", f"b/c/d/e/f/g/{NAME}", f"AWSLogs/{ACCOUNTS[0]}/mine/{NAME}"])

    assert find_sources_at(bucket, start).sources == sources


def test_the_search_ends_in_a_bucket_of_many_folders() -> None:
    """A data lake has a million folders: listing each would take hours, so the search stops, and says so."""
    bucket = MemoryBucket([f"{number:05d}/file" for number in range(2_000)])

    result = find_sources(bucket)

    assert (result.sources, result.complete) == ([], False)
    assert len(bucket.requested) <= 500


def test_partitions_by_minute_do_not_use_up_the_search() -> None:
    """Their names have twelve digits, too: a few are looked into, not one request each."""
    bucket = MemoryBucket([KEY, *(f"lake/{202405060000 + number}/x" for number in range(60))])

    result = find_sources(bucket)

    assert (result.sources, result.complete) == ([KeySource("AWSLogs/")], True)
