"""Promises about choosing: a walk along prefixes finds what a filter over all keys would, and asks for nothing else."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fakes import MemoryBucket
from worker.backfill.key_ranges import KeyRange
from worker.backfill.listing import Page, files, find_roots
from worker.backfill.selection import LATE, Selection, inside_another, root_of, window
from worker.backfill.sources import LocalTree
from worker.cloudtrail.keys import KINDS, parse_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from worker.backfill.listing import Lister

ACCOUNTS = ("111111111111", "222222222222", "333333333333")
ORGS = ("o-aaaaaaaaaa", "o-bbbbbbbbbbbb")
REGIONS = ("ap-southeast-2", "eu-west-1", "us-east-1", "us-east-2", "us-gov-west-1")
ROOTS = ("", "A/", "prod/", "prod/eu/")  # one that is before AWSLogs/ in order, and others behind
BEGIN = datetime(2024, 11, 20, tzinfo=UTC)
DAYS = 60


def log_key(  # noqa: PLR0913, PLR0917 - the parts of a key
    root: str, org: str, account: str, kind: str, region: str, at: datetime, number: int = 0
) -> str:
    """A log file's key as CloudTrail writes it, delivered at a minute."""
    name = f"{account}_{kind}_{region}_{at:%Y%m%dT%H%M}Z_{number:016d}.json.gz"
    return f"{root}AWSLogs/{org + '/' if org else ''}{account}/{kind}/{region}/{at:%Y/%m/%d}/{name}"


minutes = st.integers(0, DAYS * 1440).map(lambda minute: BEGIN + timedelta(minutes=minute))
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


def some(*values: str) -> st.SearchStrategy[frozenset[str]]:
    return st.just(frozenset[str]()) | st.frozensets(st.sampled_from(values), max_size=2)


selections = st.builds(
    Selection,
    minutes,
    st.none() | minutes,
    some(*ACCOUNTS, "444444444444"),
    some(*ORGS),
    some(*REGIONS),
    some(*KINDS),
)
roots_asked = st.lists(st.sampled_from((*ROOTS, "none/")), max_size=3, unique=True)

# Written anew, and otherwise: the naive way, against which the walk is held.
NAIVE = re.compile(
    r"AWSLogs/(?:(o-[a-z0-9]{10,32})/)?(\d{12})/(CloudTrail(?:-Insight|-NetworkActivity|-Aggregated)?)/([^/]+)/"
    r"(\d{4})/(\d\d)/(\d\d)/(?:.*/)?([^/]+)"
)


def naive(keys: Iterable[str], roots: Iterable[str], asked: Selection) -> list[str]:
    return sorted(key for key in keys if any(is_asked(key, root, asked) for root in roots))


def is_asked(key: str, root: str, asked: Selection) -> bool:
    found = NAIVE.fullmatch(key.removeprefix(root)) if key.startswith(root) else None
    if found is None:
        return False
    org, account, kind, region, year, month, day, name = found.groups()
    wanted = ((account, asked.accounts), (org, asked.orgs), (kind, asked.kinds), (region, asked.regions))
    if any(values and value not in values for value, values in wanted):
        return False
    try:
        begins = datetime(int(year), int(month), int(day), tzinfo=UTC)
    except ValueError:
        return False
    since = asked.since or datetime.min.replace(tzinfo=UTC)
    ends, until = begins + timedelta(days=1), asked.until + LATE
    told = re.search(r"_(\d{8}T\d{4})Z_[^/]+$", name)
    if told:
        at = datetime.strptime(told[1], "%Y%m%dT%H%M").replace(tzinfo=UTC)
        return since < at + timedelta(minutes=1) and at < until
    return since < ends and begins < until


def walked(lister: Lister, asked: Selection, roots: Iterable[str], mark: str = "") -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        return [file.key for file in files(lister, pool, asked, roots, mark)]


@given(keys_of_a_bucket, selections, roots_asked)
@settings(max_examples=200)
def test_the_walk_finds_what_a_filter_over_all_keys_finds(keys: list[str], asked: Selection, roots: list[str]) -> None:
    """Three accounts, five regions, two organisations, sixty days, foreign keys between: none too many, none left."""
    bucket = MemoryBucket(keys, page=3)

    assert walked(bucket, asked, roots) == naive(keys, roots, asked)


@given(keys_of_a_bucket, selections, roots_asked, st.data())
def test_a_walk_from_a_mark_finds_what_comes_after_it(
    keys: list[str], asked: Selection, roots: list[str], data: st.DataObject
) -> None:
    """An interrupted run goes on after the last file that is done: none is left out, and none comes again."""
    everything = naive(keys, roots, asked)
    mark = data.draw(st.sampled_from(["", *everything]))

    assert walked(MemoryBucket(keys, page=3), asked, roots, mark) == [key for key in everything if key > mark]


@given(keys=st.lists(log_keys, max_size=30, unique=True), asked=selections, roots=roots_asked)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_a_folder_tree_is_walked_like_a_bucket(
    keys: list[str], asked: Selection, roots: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What was downloaded with its keys as paths is chosen by the same rules, in the same order."""
    top = tmp_path_factory.mktemp("tree")
    for key in keys:
        path = top / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert walked(LocalTree(top), asked, roots) == naive(keys, roots, asked)


def year_of_files() -> Iterator[str]:
    """One account, one region: 20 files on each of 365 days, 7,300."""
    for day in range(365):
        for number in range(20):
            yield log_key("", "", ACCOUNTS[0], "CloudTrail", "eu-west-1", BEGIN + timedelta(days=day), number)


def test_only_prefixes_that_can_hold_what_is_asked_are_listed() -> None:
    """A week of one region must not cost the listing of a year, nor of other accounts and services."""
    other = [log_key("", "", ACCOUNTS[1], "CloudTrail", "us-east-1", BEGIN, number) for number in range(50)]
    bucket = MemoryBucket([*year_of_files(), *other, *FOREIGN], page=100)
    asked = Selection(
        datetime(2025, 2, 8, tzinfo=UTC) - LATE, datetime(2025, 2, 1, tzinfo=UTC), accounts=frozenset(ACCOUNTS[:1])
    )

    found = walked(bucket, asked, [""])

    assert len(found) == 7 * 20
    assert bucket.listed <= 2 * 100
    assert len(bucket.asked) < 10
    assert not [prefix for prefix in bucket.asked if ACCOUNTS[1] in prefix or "Config" in prefix or "Digest" in prefix]


class _AnswersTwoTogether(MemoryBucket):
    """Answers no page but the first before two more are asked for."""

    _waiting = 0
    _met = threading.Event()

    def page(self, prefix: str, after: str) -> Page:
        with self._lock:
            self._waiting += 1
            if self._waiting == 3:
                self._met.set()
        if self._waiting > 1:
            assert self._met.wait(10), "a page was waited for before the next was asked"
        return super().page(prefix, after)


def test_a_long_stretch_is_listed_in_pieces_side_by_side() -> None:
    """A region with a year of files is no chain of requests, each waiting for the one before."""
    asked = Selection(BEGIN + timedelta(days=400))

    found = walked(_AnswersTwoTogether(list(year_of_files()), page=100), asked, [""])

    assert len(found) == 7_300


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60))
def test_the_pieces_of_a_stretch_are_the_stretch(first: int, span: int, further: int) -> None:
    """Cut anywhere, no key falls between two pieces, and none is in two."""
    folder = "AWSLogs/111111111111/CloudTrail/eu-west-1/"
    days = [f"{folder}{BEGIN + timedelta(days=day):%Y/%m/%d}/" for day in range(150)]
    keys = [day + name for day in days for name in ("a", "m", "z")]
    one, last, before = days[first] + "a", days[first + span] + "m", days[first + span + further]

    pieces = list(KeyRange(folder, "", before).rest(one, last))

    assert [key for piece in pieces for key in keys if piece.after < key < piece.before] == [
        key for key in keys if last < key < before
    ]
    assert all(key.startswith(piece.prefix) for piece in pieces for key in keys if piece.after < key < piece.before)


@pytest.mark.parametrize(
    ("keys", "roots"),
    [
        (["AWSLogs/x"], [""]),
        (["prod/AWSLogs/x", "AWSLogs/y", "other/z"], ["", "prod/"]),
        (["a/b/c/AWSLogs/x"], ["a/b/c/"]),
        (["a/b/c/d/AWSLogs/x"], []),
        (["myAWSLogs/x", "AWSLogs"], []),
        ([], []),
    ],
)
def test_awslogs_is_found_down_to_three_folders(keys: list[str], roots: list[str]) -> None:
    """A trail's prefix is whatever its maker chose; most need not be told."""
    assert find_roots(MemoryBucket(keys)) == roots


def test_the_search_for_awslogs_ends_in_a_bucket_of_many_folders() -> None:
    """A data lake has a million folders: asking each would take hours, so it is given up, and --prefix is asked for."""
    bucket = MemoryBucket([f"{number:05d}/file" for number in range(2_000)])

    assert find_roots(bucket) == []
    assert len(bucket.asked) <= 500


def test_an_event_before_midnight_is_in_the_file_of_the_next_day() -> None:
    """January's last events are delivered on the first of February: asking for January must bring them."""
    january = Selection(datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    late = parse_key(
        log_key("", "", ACCOUNTS[0], "CloudTrail", "eu-west-1", datetime(2025, 2, 1, 0, 5, tzinfo=UTC)), ""
    )
    too_late = parse_key(
        log_key("", "", ACCOUNTS[0], "CloudTrail", "eu-west-1", datetime(2025, 2, 1, 1, tzinfo=UTC)), ""
    )

    assert late
    assert too_late
    assert january.takes(late)
    assert not january.takes(too_late)


def test_a_key_says_who_what_where_and_when() -> None:
    """The parts of a real key of an organisation's trail."""
    key = (
        "sec/AWSLogs/o-exampleorgid/123456789012/CloudTrail-Insight/eu-west-1/2025/01/31/"
        "123456789012_CloudTrail-Insight_eu-west-1_20250131T2355Z_AbCdEf0123456789.json.gz"
    )

    found = parse_key(key, "sec/")

    assert found
    assert (found.org, found.account, found.kind, found.region) == (
        "o-exampleorgid",
        "123456789012",
        "CloudTrail-Insight",
        "eu-west-1",
    )
    assert (found.day, found.delivered_at) == (date(2025, 1, 31), datetime(2025, 1, 31, 23, 55, tzinfo=UTC))


def test_a_folder_tree_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A typing error in --local."""
    with pytest.raises(Exception, match="There is no folder"):
        LocalTree(tmp_path / "none")


@pytest.mark.parametrize(
    ("told", "root"),
    [
        ("", ""),
        ("/", ""),
        ("AWSLogs/", ""),
        ("prod", "prod/"),
        ("/prod/eu/AWSLogs", "prod/eu/"),
        ("myAWSLogs", "myAWSLogs/"),
    ],
)
def test_a_prefix_is_what_stands_before_awslogs_however_it_is_written(told: str, root: str) -> None:
    """People copy it from the console, with slashes and AWSLogs/ at its end, or without."""
    assert root_of(told) == root


def test_a_root_inside_another_is_found() -> None:
    """Their files would not be in order."""
    assert inside_another({"", "AWSLogs/copy/"}) == "AWSLogs/copy/"
    assert inside_another({"prod/", "prod/eu/"}) == ""


@pytest.mark.parametrize(
    ("since", "until", "last", "asked"),
    [
        (None, None, None, (None, BEGIN)),
        (None, None, timedelta(days=7), (BEGIN - timedelta(days=7), BEGIN)),
        (BEGIN - LATE, BEGIN - LATE / 2, None, (BEGIN - LATE, BEGIN - LATE / 2)),
        (None, BEGIN + timedelta(hours=3), None, (None, BEGIN + timedelta(hours=3))),
        (None, BEGIN + timedelta(days=400), None, (None, BEGIN + timedelta(days=1))),
    ],
)
def test_a_window_ends_now_or_at_most_a_day_ahead(
    since: datetime | None, until: datetime | None, last: timedelta | None, asked: tuple[datetime | None, datetime]
) -> None:
    """No file is delivered in the future, so no folder of it is asked for; clocks differ by less than a day."""
    assert window(BEGIN, since=since, until=until, last=last) == asked
