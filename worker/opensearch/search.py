"""Searches for events, page by page, in an order without ties."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, RequestError, TransportError

from worker.errors import SetupError
from worker.opensearch.errors import first_cause, translate_errors
from worker.opensearch.field_kinds import read_field_kinds
from worker.opensearch.retry import retry_while_busy
from worker.opensearch.unsearchable import searched_fields, unsearchable_clause

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from opensearchpy import OpenSearch

PAGE = 500  # documents; of the largest possible ones, 256 KiB each, a page takes 128 MiB

_ATTEMPTS = 4

# A point in time must outlive the reading of one page, and a pager at the other end of a pipe can pause for long.
_KEEP_ALIVE = "5m"

_MAX_COUNTED = 10_000  # beyond it, a server only reports that there are more

# File and position distinguish any two documents of ours, and have doc values. `_id` would cost the cluster memory
# (opensearch.org/docs/latest/field-types/metadata-fields/id: fielddata of _id), `_shard_doc` is new in OpenSearch 3.
_TIEBREAKERS = ("trailsink.object", "trailsink.position")


@dataclass(frozen=True, slots=True)
class Search:
    """A query in Lucene's syntax over `{prefix}-*`, for events from `since` until `until`.

    With `ignore_case`, letters are equal in any case. `fields` are dotted paths of the members to return of each event,
    () for the whole event. `limit` is the maximum number of events, None for all: the newest first, unless
    `oldest_first`.
    """

    prefix: str
    query: str = "*"
    since: datetime | None = None
    until: datetime | None = None
    fields: tuple[str, ...] = ()
    limit: int | None = None
    oldest_first: bool = False
    ignore_case: bool = False

    def clause(self, client: OpenSearch) -> dict[str, Any]:
        """Return the query in the DSL; raises SetupError for one that cannot be answered."""
        if self.query.strip() in ("", "*"):
            return {"match_all": {}}
        # Imported when needed: a grammar takes milliseconds to build, and a search for everything has no use for it.
        from worker.opensearch.query import translate  # noqa: PLC0415

        return translate(self.query, read_field_kinds(client, self.prefix), ignore_case=self.ignore_case)

    def within_time(self, clause: Mapping[str, Any]) -> dict[str, Any]:
        """Return the clause for events of the search's time that also match `clause`."""
        return within(clause, "@timestamp", self.since, self.until)

    def body(self, clause: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of the search for this clause, without paging."""
        return {
            "query": self.within_time(clause),
            "sort": order_by("@timestamp", "asc" if self.oldest_first else "desc"),
            **({"_source": list(self.fields)} if self.fields else {}),
        }


@dataclass(frozen=True, slots=True)
class Hit:
    """A document in a search's response."""

    index: str
    id: str
    source: Mapping[str, Any]

    @classmethod
    def parse(cls, hit: Mapping[str, Any]) -> Hit:
        """Read a hit as OpenSearch returns it."""
        return cls(hit["_index"], hit["_id"], hit.get("_source", {}))

    def value(self, path: str) -> Any:  # noqa: ANN401 - whatever the event holds
        """Return the value at a dotted path, None when it is missing; below a list, a list of values."""
        if path in ("_id", "_index"):
            return self.id if path == "_id" else self.index
        return value_at(self.source, path)


def value_at(node: Any, path: str) -> Any:  # noqa: ANN401
    """Return the value at a dotted path of an event, None when it is missing; below a list, a list of values."""
    if isinstance(node, list):
        values = [value for value in (value_at(element, path) for element in node) if value is not None]
        return values or None
    if not isinstance(node, dict):
        return None
    # The nested member first: a record could hold a member "trailsink.object" beside our own. Keys below
    # requestParameters may contain dots themselves.
    for dot in (match.start() for match in re.finditer(r"\.", path)):
        value = value_at(node.get(path[:dot]), path[dot + 1 :])
        if value is not None:
            return value
    return node.get(path)


@dataclass(slots=True)
class SearchSession:
    """One search in progress. `pages` yields the hits; `total` is their number, known after the first page.

    `is_total_capped` means that the server stopped counting at `total`, `no_index` that the prefix has no index at all.

    With `use_pit`, several pages are read from one point in time. If the server has none, or refuses or loses it, the
    pages are read without. The order has no ties, so that neither loses nor repeats an event that existed at the start.
    """

    client: OpenSearch
    search: Search
    use_pit: bool = True
    total: int = 0
    is_total_capped: bool = False
    no_index: bool = False
    _pit_id: str = field(default="", init=False)
    _clause: dict[str, Any] = field(default_factory=dict, init=False)

    def pages(self) -> Generator[list[Hit]]:
        """Yield pages of hits; close the generator to delete the point in time. Raises SetupError."""
        limit = self.search.limit
        with translate_errors(f"OpenSearch cannot be asked for events of {_indices(self.search.prefix)}"):
            if self.use_pit and (limit is None or limit > PAGE):
                self._open_pit()
            try:
                yield from self._read_pages(limit)
            finally:
                self._delete_pit()

    def count_unsearchable(self) -> int:
        """Return how many events the search could be wrong about, after it: they hold values that no search finds.

        Events in indices of generation 1 of the mapping do not say so.
        """
        fields = searched_fields(self._clause)
        if not fields:
            return 0
        query = self.search.within_time(unsearchable_clause(fields))
        response = search_once(self.client, self.search.prefix, {"size": 0, "track_total_hits": True, "query": query})
        return int(response["hits"]["total"]["value"])

    def _read_pages(self, limit: int | None) -> Generator[list[Hit]]:
        self._clause = self.search.clause(self.client)
        body: dict[str, Any] = self.search.body(self._clause) | {"track_total_hits": _MAX_COUNTED}
        while limit is None or limit > 0:
            body["size"] = PAGE if limit is None else min(PAGE, limit)
            response = self._fetch_page(body)
            hits = response["hits"]["hits"]
            if "search_after" not in body:
                self._note_total(response)
            if hits:
                yield [Hit.parse(hit) for hit in hits]
            if len(hits) < body["size"]:
                return
            body |= {"search_after": hits[-1]["sort"], "track_total_hits": False}
            limit = None if limit is None else limit - len(hits)

    def _note_total(self, response: Any) -> None:  # noqa: ANN401 - a foreign answer
        self.total = response["hits"]["total"]["value"]
        self.is_total_capped = response["hits"]["total"]["relation"] != "eq"
        # Serverless, which has no points in time, may leave out shards as well.
        self.no_index = self.use_pit and response["_shards"]["total"] == 0

    def _open_pit(self) -> None:
        # By default a point in time silently leaves out shards that are not available at the moment.
        options = {"keep_alive": _KEEP_ALIVE, "allow_partial_pit_creation": "false"}
        try:
            response = self.client.create_pit(index=_indices(self.search.prefix), params=options)
            self._pit_id = response["pit_id"]
        except TransportError as error:
            if not isinstance(error.status_code, int):
                raise

    def _delete_pit(self) -> None:
        if not self._pit_id:
            return
        pit_id, self._pit_id = self._pit_id, ""
        try:
            self.client.delete_pit(body={"pit_id": [pit_id]})
        except TransportError:
            return  # it expires by itself

    def _fetch_page(self, body: dict[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
        if self._pit_id:
            pit = {"pit": {"id": self._pit_id, "keep_alive": _KEEP_ALIVE}}
            try:
                response = send_search(lambda: self.client.search(body=body | pit))
                if not (lost_shards(response) or _lost_contexts(response)):
                    return require_complete(response)
            except NotFoundError:
                pass
            # It expired while the reader paused, or an index was reindexed or deleted: continue after the last event.
            self._pit_id = ""
        return search_once(self.client, self.search.prefix, body)


def within(clause: Mapping[str, Any], field: str, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    """Return the clause for events that match `clause`, with a time in `field` from `since` until `until`."""
    bounds = {name: time.isoformat() for name, time in (("gte", since), ("lt", until)) if time}
    return {"bool": {"filter": [clause, *([{"range": {field: bounds}}] if bounds else [])]}}


def order_by(field: str, order: str) -> list[dict[str, Any]]:
    """Return the sort by a time in which no two events tie; `order` is "asc" or "desc"."""
    types = {field: "date"} | dict.fromkeys(_TIEBREAKERS, "keyword")
    return [{name: {"order": order, "unmapped_type": type_}} for name, type_ in types.items()]


def search_once(client: OpenSearch, prefix: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
    """Search all indices of a prefix; raises SetupError for an unreadable query or incomplete results."""
    for _ in range(_ATTEMPTS):
        response = send_search(lambda: client.search(index=_indices(prefix), body=body))
        if not lost_shards(response):
            break
    return require_complete(response)


def send_search(request: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Send a search, again while the cluster is busy; raises SetupError with one sentence for a refused query."""
    try:
        return retry_while_busy(request, _ATTEMPTS)
    except RequestError as error:
        raise SetupError(_refused_query(error)) from error


def lost_shards(response: Any) -> int:  # noqa: ANN401
    """Return how many shards neither answered nor failed: their index was removed while the search was on its way.

    OpenSearch does not count them as failed (AbstractSearchAsyncAction.java: isShardNotAvailableException). After
    `trailsink reindex` has swapped two indices, the same search finds the new one.
    """
    shards = response.get("_shards", {})
    total, failed = shards.get("total", 0), shards.get("failed", 0)
    return int(total - shards.get("successful", total - failed) - failed)


def _lost_contexts(response: Any) -> bool:  # noqa: ANN401
    """Return whether a point in time has lost the state of some shards."""
    failures = response.get("_shards", {}).get("failures") or ()
    return any(failure.get("reason", {}).get("type") == "search_context_missing_exception" for failure in failures)


def require_complete(response: Any) -> Any:  # noqa: ANN401
    """Return a search's response; raises SetupError when it covers only some of the indices."""
    shards = response.get("_shards", {})
    if shards.get("failed"):
        causes = {str(failure.get("reason", {}).get("type")) for failure in shards.get("failures", [])}
        why = f" ({', '.join(sorted(causes))})" if causes else ""
        raise SetupError(f"{shards['failed']} of {shards['total']} shards did not answer{why}; results are incomplete.")
    if lost := lost_shards(response):
        raise SetupError(f"{lost} of {shards['total']} shards were not there; results are incomplete.")
    if response.get("timed_out"):
        raise SetupError("The cluster ran out of time; results are incomplete.")
    return response


def _refused_query(error: RequestError) -> str:
    kind, reason = first_cause(error.info)
    if kind == "illegal_argument_exception" and "sorting" in reason:
        return "The indices were created without trailsink's index template, so their events cannot be sorted."
    return f"The cluster refuses the query: {reason or error.error}."


def _indices(prefix: str) -> str:
    return f"{prefix}-*"


def parse_time(value: Any) -> datetime | None:  # noqa: ANN401
    """Parse a time in a document, to UTC; None when the value is not one."""
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
