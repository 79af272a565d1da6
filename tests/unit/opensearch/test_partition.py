"""Promises about the partition: a shell with another one must not index a year a second time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.opensearch_server import connected
from worker.errors import SetupError
from worker.opensearch.partition import check_partition
from worker.pipeline.limits import Partition


def check(current: str, *indices: str, partition: Partition = Partition.MONTH, force: bool = False) -> list[str]:
    rows: list[Any] = [{"index": name} for name in indices]
    with connected(lambda *_: (200, rows)) as client:
        return list(check_partition(client, "trail", partition, current, force=force))


@pytest.mark.parametrize("indices", [[], ["trail-2026-03"], ["trail-undated"], ["trail-2026-03", "trail-2026-03-01"]])
def test_what_does_not_contradict_is_accepted(indices: list[str]) -> None:
    """A first set-up, the same partition, or indices of both kinds after a change on purpose."""
    assert check("", *indices) == []


@pytest.mark.parametrize(("current", "indices"), [("day", []), ("", ["trail-2026-03-01", "trail-undated"])])
def test_another_partition_is_refused(current: str, indices: list[str]) -> None:
    """The template says which one it is; an older one does not, but the indices show it."""
    with pytest.raises(SetupError, match=r"holds a day, .* is month here.* Set TRAILSINK_INDEX_PARTITION=day\."):
        check(current, *indices)


def test_a_change_on_purpose_says_what_it_means() -> None:
    """With --force."""
    (line,) = check("day", force=True)

    assert line.startswith("Replacing the partition day by month")
