"""The list of holds: spans of days, and accounts, whose indices nothing may delete.

It is an index of its own in the cluster, one document for each hold.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, Any

import msgspec
from opensearchpy.exceptions import NotFoundError, OpenSearchException

from worker.errors import SetupError
from worker.opensearch.errors import classify_error
from worker.opensearch.own_index import create_own_index
from worker.opensearch.security import hold_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opensearchpy import OpenSearch

_PROPERTIES: Mapping[str, Any] = {
    "name": {"type": "keyword"},
    "since": {"type": "date"},
    "until": {"type": "date"},
    "accounts": {"type": "keyword"},
    "reason": {"type": "keyword", "index": False, "doc_values": False},
    "placed_at": {"type": "date"},
    "indices": {"type": "keyword"},
}

# Of one search, and more than anybody places: each is a case.
_MAX_HOLDS = 1_000


class Hold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One hold: the days from `since` on and before `until`, all of them where it has none.

    With `accounts`, of the indices of these days only those with events of these accounts. `indices` are those that it
    held when it was last applied.
    """

    name: str
    since: date | None = None
    until: date | None = None
    accounts: tuple[str, ...] = ()
    reason: str = ""
    placed_at: datetime
    indices: tuple[str, ...] = ()

    @property
    def span(self) -> str:
        """The days, as a part of a sentence."""
        since = f"from {self.since}" if self.since else ""
        until = f"before {self.until}" if self.until else ""
        return " and ".join(filter(None, (since, until))) or "all days"


class HoldList:
    """The holds of one prefix. Lets errors of the client pass, except that a missing list is an empty one."""

    def __init__(self, client: OpenSearch, prefix: str) -> None:
        self._client, self._index = client, hold_index(prefix)

    def read(self) -> list[Hold]:
        """Return all holds, by name."""
        body = {"size": _MAX_HOLDS, "sort": [{"name": {"order": "asc", "unmapped_type": "keyword"}}]}
        try:
            response: Any = self._client.search(index=self._index, body=body)
        except NotFoundError:
            return []
        return [msgspec.convert(hit["_source"], Hold) for hit in response["hits"]["hits"]]

    def add(self, hold: Hold) -> None:
        """Write a new hold; raises SetupError when there is one of that name."""
        create_own_index(self._client, self._index, _PROPERTIES)
        if any(other.name == hold.name for other in self.read()):
            raise SetupError(f"There is a hold {hold.name} already: release it first, or choose another name.")
        self.replace(hold)

    def replace(self, hold: Hold) -> None:
        """Write a hold under its name."""
        document = msgspec.to_builtins(hold)
        self._client.index(index=self._index, id=hold.name, body=document, params={"refresh": "wait_for"})

    def remove(self, name: str) -> None:
        """Delete a hold; one that does not exist is no error."""
        try:
            self._client.delete(index=self._index, id=name, params={"refresh": "wait_for"})
        except NotFoundError:
            return


def held_indices(client: OpenSearch, prefix: str) -> frozenset[str]:
    """Return the names of all indices of a prefix that are held, those of the ledger included."""
    return names_in(HoldList(client, prefix).read())


def names_in(holds: Iterable[Hold]) -> frozenset[str]:
    """Return the names of all indices that any of the holds is on."""
    return frozenset(index for hold in holds for index in hold.indices)


def read_holds(client: OpenSearch, prefix: str) -> list[Hold]:
    """Return the holds on the indices of a prefix; raises SetupError and IndexUnavailable."""
    try:
        return HoldList(client, prefix).read()
    except OpenSearchException as error:
        raise classify_error(error) from error


def refuse_deletion(prefix: str, holds: Sequence[Hold]) -> None:
    """Raise SetupError when there is any hold on the indices of a prefix."""
    if holds:
        names = ", ".join(hold.name for hold in holds)
        raise SetupError(f"Nothing was deleted: {prefix}-* is held ({names}). `trailsink hold release` ends a hold.")
