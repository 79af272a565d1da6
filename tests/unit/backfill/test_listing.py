"""Promises about listing: it finds the files that a filter over all keys would find, and lists no more than needed."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake_backfill import ACCOUNTS, START, log_key
from tests.support.fakes import MemoryBucket
from worker.backfill.listing import KeySource, Page, SourceLayout, list_files
from worker.backfill.selection import ALLOWED_LATENESS, Selection
from worker.backfill.sources import LocalTree
from worker.cloudtrail.keys import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from worker.backfill.listing import Lister

ORGS = ("o-aaaaaaaaaa", "o-bbbbbbbbbbbb")
REGIONS = ("ap-southeast-2", "eu-west-1", "us-east-1", "us-east-2", "us-gov-west-1")
ROOTS = ("", "A/", "prod/", "prod/eu/")  # one that comes before AWSLogs/ in order, and others that come after it
DAYS = 60

minutes = st.integers(0, DAYS * 1440).map(lambda minute: START + timedelta(minutes=minute))
log_keys = st.builds(
    log_key,
    st.sampled_from(ROOTS),
    st.sampled_from(("", "", *ORGS)),
    st.sampled_from(ACCOUNTS),
    st.sampled_from(KINDS),
    st.sampled_from(REGIONS),
    minutes,
    st.integers(0, 9),
)
FOREIGN = [
    "AWSLogs/",
    "AWSLogs/111111111111/",
    "AWSLogs/111111111111/CloudTrail/",
    "AWSLogs/111111111111/CloudTrail/eu-west-1/2024/12/01/",
    "AWSLogs/111111111111/CloudTrail/eu-west-1/2024/13/45/a_20241201T0000Z_b.json.gz",
    "AWSLogs/111111111111/CloudTrail/eu-west-1/2024/12/note.txt",
    "AWSLogs/111111111111/CloudTrail/eu-west-1/2024/12/01/named by hand.gz",
    "AWSLogs/111111111111/CloudTrail/eu-west-1/2024/12/01/deeper/a_20241201T0000Z_b.json.gz",
    "AWSLogs/111111111111/CloudTrail-Digest/eu-west-1/2024/12/01/a_20241201T000000Z.json.gz",
    "AWSLogs/111111111111/Config/eu-west-1/2024/12/1/a.json.gz",
    "AWSLogs/111111111111/elasticloadbalancing/eu-west-1/2024/12/01/a.log.gz",
    "AWSLogs/1111/CloudTrail/eu-west-1/2024/12/01/a_20241201T0000Z_b.json.gz",
    "AWSLogs/o-AAAAAAAAAA/111111111111/CloudTrail/eu-west-1/2024/12/01/a_20241201T0000Z_b.json.gz",
    "AWSLogs-copy/111111111111/CloudTrail/eu-west-1/2024/12/01/a_20241201T0000Z_b.json.gz",
    "prod/readme.txt",
    "zzz",
]
keys_of_a_bucket = st.lists(log_keys | st.sampled_from(FOREIGN), max_size=60, unique=True)


def any_of(*values: str) -> st.SearchStrategy[frozenset[str]]:
    """No value, which selects all, or up to two."""
    return st.just(frozenset[str]()) | st.frozensets(st.sampled_from(values), max_size=2)


selections = st.builds(
    Selection,
    minutes,
    st.none() | minutes,
    any_of(*ACCOUNTS, "444444444444"),
    any_of(*ORGS),
    any_of(*REGIONS),
    any_of(*KINDS),
)
selected_roots = st.lists(st.sampled_from((*ROOTS, "none/")), max_size=3, unique=True)

# A second, naive implementation, which the listing is compared with.
NAIVE = re.compile(
    r"AWSLogs/(?:(o-[a-z0-9]{10,32})/)?(\d{12})/(CloudTrail(?:-Insight|-NetworkActivity|-Aggregated)?)/([^/]+)/"
    r"(\d{4})/(\d\d)/(\d\d)/(?:.*/)?([^/]+)"
)


def naive(keys: Iterable[str], roots: Iterable[str], selection: Selection) -> list[str]:
    return sorted(key for key in keys if any(is_selected(key, root, selection) for root in roots))


def is_selected(key: str, root: str, selection: Selection) -> bool:
    match = NAIVE.fullmatch(key.removeprefix(root)) if key.startswith(root) else None
    if match is None:
        return False
    org, account, kind, region, year, month, day, name = match.groups()
    parts = (
        (account, selection.accounts),
        (org, selection.orgs),
        (kind, selection.kinds),
        (region, selection.regions),
    )
    if any(values and value not in values for value, values in parts):
        return False
    try:
        start = datetime(int(year), int(month), int(day), tzinfo=UTC)
    except ValueError:
        return False
    since = selection.since or datetime.min.replace(tzinfo=UTC)
    end, until = start + timedelta(days=1), selection.until + ALLOWED_LATENESS
    minute = re.search(r"_(\d{8}T\d{4})Z_[^/]+$", name)
    if minute:
        delivered = datetime.strptime(minute[1], "%Y%m%dT%H%M").replace(tzinfo=UTC)
        return since < delivered + timedelta(minutes=1) and delivered < until
    return since < end and start < until


def list_keys(lister: Lister, selection: Selection, roots: Iterable[str], cursor: str = "") -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        sources = [KeySource(f"{root}AWSLogs/") for root in roots]
        return [file.key for file in list_files(lister, pool, selection, sources, cursor)]


@given(keys_of_a_bucket, selections, selected_roots)
@settings(max_examples=200)
def test_the_listing_finds_what_a_filter_over_all_keys_finds(
    keys: list[str], selection: Selection, roots: list[str]
) -> None:
    """Three accounts, five regions, two organisations, sixty days, foreign keys between: no more and no fewer."""
    bucket = MemoryBucket(keys, page_size=3)

    assert list_keys(bucket, selection, roots) == naive(keys, roots, selection)


@given(keys_of_a_bucket, selections, selected_roots, st.data())
def test_a_listing_from_a_cursor_finds_what_comes_after_it(
    keys: list[str], selection: Selection, roots: list[str], data: st.DataObject
) -> None:
    """An interrupted run resumes after the last file that is done: it leaves none out, and lists none again."""
    everything = naive(keys, roots, selection)
    cursor = data.draw(st.sampled_from(["", *everything]))

    listed = list_keys(MemoryBucket(keys, page_size=3), selection, roots, cursor)

    assert listed == [key for key in everything if key > cursor]


@given(keys=st.lists(log_keys, max_size=30, unique=True), selection=selections, roots=selected_roots)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_a_folder_tree_is_listed_like_a_bucket(
    keys: list[str], selection: Selection, roots: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Files that were downloaded with their keys as paths are selected by the same rules, in the same order."""
    top = tmp_path_factory.mktemp("tree")
    for key in keys:
        path = top / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert list_keys(LocalTree(top), selection, roots) == naive(keys, roots, selection)


def year_of_files() -> Iterator[str]:
    """One account, one region: 20 files on each of 365 days, 7,300."""
    for day in range(365):
        for number in range(20):
            yield log_key("", "", ACCOUNTS[0], "CloudTrail", "eu-west-1", START + timedelta(days=day), number)


def test_only_prefixes_that_can_hold_selected_files_are_listed() -> None:
    """A week of one region must not cost the listing of a year, nor of other accounts and services."""
    other = [log_key("", "", ACCOUNTS[1], "CloudTrail", "us-east-1", START, number) for number in range(50)]
    bucket = MemoryBucket([*year_of_files(), *other, *FOREIGN], page_size=100)
    selection = Selection(
        datetime(2025, 2, 8, tzinfo=UTC) - ALLOWED_LATENESS,
        datetime(2025, 2, 1, tzinfo=UTC),
        accounts=frozenset(ACCOUNTS[:1]),
    )

    keys = list_keys(bucket, selection, [""])

    assert len(keys) == 7 * 20
    assert bucket.returned <= 2 * 100
    assert len(bucket.requested) < 10
    foreign = (ACCOUNTS[1], "Config", "Digest")
    assert not [prefix for prefix in bucket.requested if any(name in prefix for name in foreign)]


class _AnswersTwoTogether(MemoryBucket):
    """Returns no page but the first before two more are requested."""

    _waiting = 0
    _met = threading.Event()

    def page(self, prefix: str, after: str) -> Page:
        with self._lock:
            self._waiting += 1
            if self._waiting == 3:
                self._met.set()
        if self._waiting > 1:
            assert self._met.wait(60), "a page was waited for before the next one was requested"
        return super().page(prefix, after)


def test_a_long_key_range_is_listed_in_parallel() -> None:
    """A region with a year of files is not a chain of requests, each waiting for the one before."""
    selection = Selection(START + timedelta(days=400))

    keys = list_keys(_AnswersTwoTogether(list(year_of_files()), page_size=100), selection, [""])

    assert len(keys) == 7_300


# Copies that have lost CloudTrail's layout, known by their names

NAMED = re.compile(
    r"(?:.*/)?(\d{12})_(CloudTrail(?:-Insight|-NetworkActivity|-Aggregated)?)_([a-z0-9-]+)_(\d{8})T\d{4}Z_[^/]+"
)
SOURCES = (
    KeySource("AWSLogs/"),
    KeySource("AWSLogs/copy/"),
    KeySource("", SourceLayout.FOLDER),
    KeySource(""),
    KeySource("copies/", SourceLayout.FOLDER),
    KeySource("copies/deep/", SourceLayout.PREFIX),
    KeySource("copies/", SourceLayout.PREFIX),
)
copies = st.builds(
    lambda folder, key: folder + key.rpartition("/")[2],
    st.sampled_from(("", "copies/", "copies/deep/2025/01/", "copies-2/", "AWSLogs/")),
    log_keys,
)
trees = st.builds(
    lambda folder, key: folder + key.partition("AWSLogs/")[2],
    st.sampled_from(("", "AWSLogs/", "AWSLogs/copy/", "AWSLogs//")),
    log_keys,
)


def is_listed(key: str, source: KeySource, selection: Selection) -> bool:
    if source.layout is SourceLayout.TREE:
        in_layout = key.startswith(source.folder) and "AWSLogs/" + key.removeprefix(source.folder)
        return bool(in_layout) and is_selected(str(in_layout), "", selection)
    below = key.removeprefix(source.folder)
    match = NAMED.fullmatch(key)
    if not (key.startswith(source.folder) and match) or (source.layout is SourceLayout.FOLDER and "/" in below):
        return False
    account, kind, region, day = match.groups()
    layout = f"AWSLogs/{account}/{kind}/{region}/{day[:4]}/{day[4:6]}/{day[6:]}/{key.rpartition('/')[2]}"
    return is_selected(layout, "", selection)


@given(
    st.lists(copies | trees | st.sampled_from(FOREIGN), max_size=40, unique=True),
    selections,
    st.lists(st.sampled_from(SOURCES), max_size=4, unique=True),
    st.data(),
)
@settings(max_examples=300)
def test_sources_inside_each_other_are_listed_in_the_order_of_their_keys(
    keys: list[str], selection: Selection, sources: list[KeySource], data: st.DataObject
) -> None:
    """A checkpoint is one key: out of order, a resume would leave files out. A file of two sources comes once."""
    everything = sorted(key for key in keys if any(is_listed(key, source, selection) for source in sources))
    cursor = data.draw(st.sampled_from(["", *everything]))

    with ThreadPoolExecutor(4) as pool:
        files = list_files(MemoryBucket(keys, page_size=3), pool, selection, sources, cursor)
        listed = [file.key for file in files]

    assert listed == [key for key in everything if key > cursor]


@given(keys=st.lists(copies | trees, max_size=20, unique=True), selection=selections)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_copies_in_a_folder_tree_are_listed_like_those_in_a_bucket(
    keys: list[str], selection: Selection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A download of such a bucket is loaded by the same rules."""
    keys = [key for key in keys if "//" not in key]
    top = tmp_path_factory.mktemp("copies")
    for key in keys:
        path = top / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    with ThreadPoolExecutor(4) as pool:
        local, remote = (
            [file.key for file in list_files(lister, pool, selection, SOURCES)]
            for lister in (LocalTree(top), MemoryBucket(keys))
        )

    assert local == remote


def test_sources_beside_each_other_are_not_listed_at_the_same_time() -> None:
    """A bucket with a prefix for each of three hundred accounts would fill the memory with pages."""
    files = list(year_of_files())[:40]
    keys = [f"{number:03d}/{key}" for number in range(300) for key in files]
    bucket = MemoryBucket(keys)
    sources = [KeySource(f"{number:03d}/AWSLogs/") for number in range(300)]

    with ThreadPoolExecutor(4) as pool:
        next(iter(list_files(bucket, pool, Selection(START + timedelta(days=400)), sources)))

    assert {prefix[:3] for prefix in bucket.requested} == {"000"}
