"""Holds indices: takes the retention policy from them, and lets the cluster refuse to delete or change them.

The block `index.blocks.read_only` refuses writes, changes of settings and mappings, and deletions of an index, by
wildcards as well. Who may change settings can lift it.
docs.opensearch.org/latest/install-and-configure/configuring-opensearch/index-settings/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from opensearchpy.exceptions import RequestError

from worker.opensearch.complete_search import search_all_shards
from worker.opensearch.index_names import is_own_name, period_of, public_name
from worker.opensearch.managed_indices import (
    attach_existing_policy,
    detach_indices,
    managed_pattern,
    read_attached_policies,
)
from worker.opensearch.schema import ledger_name, name_of
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.opensearch.holds import Hold, HoldList

BLOCK = "index.blocks.read_only"

# A message may wait so long for another attempt, and a dead letter as long again only by hand: until then an index must
# take events. docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
WRITABLE = timedelta(days=14)

_MAX_INDICES = 10_000


@dataclass(frozen=True, slots=True)
class Period:
    """The days of an index: `first`, and `end`, the one after the last. An index of undated events has none."""

    first: date | None
    end: date | None

    def overlaps(self, hold: Hold) -> bool:
        """Return whether a hold covers one of the days; undated events may be of any."""
        if self.first is None or self.end is None:
            return True
        return (hold.until is None or self.first < hold.until) and (hold.since is None or hold.since < self.end)

    def is_over(self, now: datetime) -> bool:
        """Return whether no more events are to come."""
        return self.end is not None and now.date() >= self.end + WRITABLE


def days_of(index: str, stem: str) -> Period | None:
    """Return the days of an index whose name starts with a stem, None for an index of somebody else."""
    if not is_own_name(index, stem):
        return None
    if index.startswith(f"{stem}-undated"):  # the events claim impossible times, and a name has that of their delivery
        return Period(None, None)
    text = period_of(index, stem)
    is_day = len(text) == len("2026-01-31")
    try:
        first = date.fromisoformat(text if is_day else f"{text}-01")
    except ValueError:
        return None
    return Period(first, first + timedelta(days=1) if is_day else _next_month(first))


def _next_month(first: date) -> date:
    return (first.replace(day=1) + timedelta(days=31)).replace(day=1)


@dataclass(frozen=True, slots=True)
class HoldState:
    """What has become of a hold: indices that are blocked, that are not yet, and that were held and are gone.

    `open` indices may still get events. Only their retention policy is taken. `pending` ones are not held yet.
    """

    hold: Hold
    blocked: tuple[str, ...]
    open: tuple[str, ...]
    pending: tuple[str, ...]
    gone: tuple[str, ...]

    @property
    def indices(self) -> tuple[str, ...]:
        """All indices that the hold covers now."""
        return tuple(sorted((*self.blocked, *self.open, *self.pending)))


class IndexHolder:
    """Places and lifts the holds of one prefix, on its indices and its ledger's; lets errors of the client pass."""

    def __init__(self, client: OpenSearch, prefix: str, holds: HoldList, now: datetime) -> None:
        self._client, self._prefix, self._holds, self._now = client, prefix, holds, now

    def states(self, holds: Iterable[Hold]) -> list[HoldState]:
        """Compare holds with what the cluster has; a hold that was not placed yet may be among them."""
        blocked, managed = self._blocks(), self._managed()
        return [self._state(hold, blocked, managed) for hold in holds]

    def apply(self, hold: Hold) -> HoldState:
        """Hold every index that a hold covers, and remember their names; what is held already is left alone."""
        (state,) = self.states([hold])
        # The list first: whoever looks at it must not attach a policy to these.
        names = tuple(sorted({*hold.indices, *state.indices}))
        if names != hold.indices:
            hold = msgspec.structs.replace(hold, indices=names)
            self._holds.replace(hold)
        for name in state.pending:
            detach_indices(self._client, [name])
            if self._is_over(name):
                self._put_block(name, value=True)
        return self.states([hold])[0]

    def release(self, hold: Hold) -> list[str]:
        """End a hold, and give back what no other holds; returns the names of those."""
        others = {index for other in self._holds.read() if other.name != hold.name for index in other.indices}
        blocked = self._blocks()
        released = [index for index in hold.indices if index in blocked and index not in others]
        for name in released:
            if blocked[name]:
                self._put_block(name, value=None)
        self._holds.remove(hold.name)
        for name in released:
            policy = ledger_name(self._prefix) if self._is_ledger(name) else name_of(self._prefix)
            attach_existing_policy(self._client, policy, name)
        return released

    def _state(self, hold: Hold, blocks: dict[str, bool], managed: set[str]) -> HoldState:
        covered = set(self._covered(hold, blocks)) | (set(hold.indices) & set(blocks))
        held = {
            name
            for name in covered & set(hold.indices)
            if name not in managed and (blocks[name] or not self._is_over(name))
        }
        return HoldState(
            hold,
            blocked=tuple(sorted(name for name in held if blocks[name])),
            open=tuple(sorted(name for name in held if not blocks[name])),
            pending=tuple(sorted(covered - held)),
            gone=tuple(sorted(set(hold.indices) - set(blocks))),
        )

    def _covered(self, hold: Hold, indices: Iterable[str]) -> Iterator[str]:
        names = [name for name in indices if (period := self._period(name)) and period.overlaps(hold)]
        if not hold.accounts:
            yield from names
            return
        # The ledger has files of all accounts in an index of a month.
        with_events = self._with_events_of(hold.accounts)
        yield from (name for name in names if name in with_events or self._is_ledger(name))

    def _with_events_of(self, accounts: Sequence[str]) -> set[str]:
        body = {
            "size": 0,
            "query": {"terms": {"recipientAccountId": list(accounts)}},
            "aggs": {"indices": {"terms": {"field": "_index", "size": _MAX_INDICES}}},
        }
        response = search_all_shards(self._client, f"{self._prefix}-*", body)
        buckets = response.get("aggregations", {}).get("indices", {}).get("buckets", [])
        return {bucket["key"] for bucket in buckets}

    def _is_ledger(self, name: str) -> bool:
        return days_of(name, ledger_name(self._prefix)) is not None

    def _period(self, name: str) -> Period | None:
        return days_of(public_name(name), self._prefix) or days_of(name, ledger_name(self._prefix))

    def _is_over(self, name: str) -> bool:
        period = self._period(name)
        return period is not None and period.is_over(self._now)

    def _blocks(self) -> dict[str, bool]:
        """Return our indices by name, and whether each is blocked; those of another tool are not among them."""
        response: Any = self._client.indices.get_settings(
            index=f"{self._prefix}-*,{ledger_pattern(self._prefix)}",
            params={"flat_settings": "true", "expand_wildcards": "all"},
        )
        return {
            name: str(index["settings"].get(BLOCK, "")).lower() == "true"
            for name, index in sorted(response.items())
            if self._period(name)
        }

    def _managed(self) -> set[str]:
        """Return the indices that a policy of ISM manages; none on a server without it."""
        pattern = f"{managed_pattern(self._prefix)},{ledger_pattern(self._prefix)}"
        try:
            policies = read_attached_policies(self._client, pattern)
        except RequestError:
            return set()
        return {name for name, policy in policies.items() if policy.name}

    def _put_block(self, index: str, *, value: bool | None) -> None:
        self._client.indices.put_settings(index=index, body={BLOCK: value})
