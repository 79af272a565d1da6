"""Searches for events, page by page, in an order without ties; and where one event is, with all that is known of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, OpenSearchException, RequestError, TransportError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from worker.errors import SetupError
from worker.opensearch.errors import first_cause, is_busy, translate_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from opensearchpy import OpenSearch


PAGE = 500  # documents; of the largest there are, 256 KiB, a page takes 128 MiB


# A view must outlive the reading of one page, which a pager at the other end of a pipe can draw out.
_KEEP_ALIVE = "5m"


_COUNTED = 10_000  # beyond it, a server only says "more"


# File and position tell any two documents of ours apart, and have doc values; `_id` would cost the cluster memory
# (opensearch.org/docs/latest/field-types/metadata-fields/id: fielddata of _id), `_shard_doc` is new in OpenSearch 3.
_TIES = ("trailsink.object", "trailsink.position")


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


_FIELD = re.compile(r"(?<![\w.:@*\\-])([A-Za-z_@][\w.@-]*)\s*:")


_OPERATORS = ("_exists_",)


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for: a query in OpenSearch's query string syntax, in `{prefix}-*`, from `since` until `until`.

    `fields` are dotted paths of what is wanted of each event, () for all of it. At most `limit` events are found, or
    all with None: newest first, unless `oldest_first`.
    """

    prefix: str
    text: str = "*"
    since: datetime | None = None
    until: datetime | None = None
    fields: tuple[str, ...] = ()
    limit: int | None = None
    oldest_first: bool = False

    def body(self) -> dict[str, Any]:
        """Return the search's body, but for the page."""
        when = {name: at.isoformat() for name, at in (("gte", self.since), ("lt", self.until)) if at}
        filters: list[dict[str, Any]] = [{"query_string": {"query": self.text}}]
        if when:
            filters.append({"range": {"@timestamp": when}})
        order = "asc" if self.oldest_first else "desc"
        kinds = {"@timestamp": "date"} | dict.fromkeys(_TIES, "keyword")
        return {
            "query": {"bool": {"filter": filters}},
            "sort": [{name: {"order": order, "unmapped_type": kind}} for name, kind in kinds.items()],
            **({"_source": list(self.fields)} if self.fields else {}),
        }


@dataclass(frozen=True, slots=True)
class Hit:
    """One document that was found."""

    index: str
    id: str
    source: Mapping[str, Any]

    def value(self, path: str) -> Any:  # noqa: ANN401 - whatever the event holds
        """Return what stands at a dotted path, None where nothing does; below a list, a list."""
        if path in ("_id", "_index"):
            return self.id if path == "_id" else self.index
        return _value(self.source, path)


def _value(node: Any, path: str) -> Any:  # noqa: ANN401
    if isinstance(node, list):
        found = [value for value in (_value(one, path) for one in node) if value is not None]
        return found or None
    if not isinstance(node, dict):
        return None
    if path in node:
        return node[path]
    # Keys below requestParameters may hold dots themselves.
    for at in (found.start() for found in re.finditer(r"\.", path)):
        value = _value(node.get(path[:at]), path[at + 1 :])
        if value is not None:
            return value
    return None


@dataclass(slots=True)
class SearchSession:
    """One search under way: `pages` yields what is found, `total` is how much there is once the first page came.

    `more` says that `total` is where the server stopped counting, `nowhere` that there is no index at all. With
    `views`, several pages are read from one point in time; a server that has none, or refuses one, is asked page after
    page instead: the order has no ties, so that loses and doubles nothing that was there when it began.
    """

    client: OpenSearch
    search: Search
    views: bool = True
    total: int = 0
    more: bool = False
    nowhere: bool = False
    _view: str = field(default="", init=False)

    def pages(self) -> Generator[list[Hit]]:
        """Yield pages of hits; close it to give the point in time back. Raises SetupError."""
        wanted = self.search.limit
        body: dict[str, Any] = self.search.body() | {"track_total_hits": _COUNTED}
        with translate_errors(f"events of {self.search.prefix}-*"):
            if self.views and (wanted is None or wanted > PAGE):
                self._open()
            try:
                while wanted is None or wanted > 0:
                    body["size"] = PAGE if wanted is None else min(PAGE, wanted)
                    answer = self._ask(body)
                    hits = answer["hits"]["hits"]
                    if "search_after" not in body:
                        self.total = answer["hits"]["total"]["value"]
                        self.more = answer["hits"]["total"]["relation"] != "eq"
                        # Serverless, which has no views, need not tell of shards either.
                        self.nowhere = self.views and answer["_shards"]["total"] == 0
                    if hits:
                        yield [Hit(one["_index"], one["_id"], one.get("_source", {})) for one in hits]
                    if len(hits) < body["size"]:
                        return
                    body |= {"search_after": hits[-1]["sort"], "track_total_hits": False}
                    wanted = None if wanted is None else wanted - len(hits)
            finally:
                self._close()

    def _open(self) -> None:
        # By default a view leaves out shards that are not there at the moment, and says nothing.
        options = {"keep_alive": _KEEP_ALIVE, "allow_partial_pit_creation": "false"}
        try:
            answer = self.client.create_pit(index=_indices(self.search.prefix), params=options)
            self._view = answer["pit_id"]
        except TransportError as error:
            if not isinstance(error.status_code, int):
                raise

    def _close(self) -> None:
        if not self._view:
            return
        view, self._view = self._view, ""
        try:
            self.client.delete_pit(body={"pit_id": [view]})
        except TransportError:
            return  # it ends by itself

    def _ask(self, body: dict[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
        if self._view:
            try:
                pit = {"pit": {"id": self._view, "keep_alive": _KEEP_ALIVE}}
                return complete(patiently(lambda: self.client.search(body=body | pit)))
            except NotFoundError:  # it ran out while somebody read: go on where it was
                self._view = ""
        return look(self.client, self.search.prefix, body)


def look(client: OpenSearch, prefix: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
    """Search all indices of a prefix once; raises SetupError for a query that cannot be read or half an answer."""
    return complete(patiently(lambda: client.search(index=_indices(prefix), body=body)))


def patiently(ask: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Ask up to four times while the cluster is busy; a bad query is said in a sentence."""
    try:
        return _PATIENCE(ask)
    except RequestError as error:
        raise SetupError(_refused_query(error)) from error


_PATIENCE = Retrying(
    retry=retry_if_exception(is_busy),
    wait=wait_random_exponential(multiplier=0.5, max=5),
    stop=stop_after_attempt(4),
    reraise=True,
)


def complete(answer: Any) -> Any:  # noqa: ANN401
    """Return a search's answer; raises SetupError when it is of a part of the indices only."""
    shards = answer.get("_shards", {})
    if shards.get("failed"):
        kinds = {str(one.get("reason", {}).get("type")) for one in shards.get("failures", [])}
        why = f" ({', '.join(sorted(kinds))})" if kinds else ""
        raise SetupError(
            f"{shards['failed']} of {shards['total']} shards did not answer{why}; what is there is not all."
        )
    if answer.get("timed_out"):
        raise SetupError("The cluster ran out of time; what it found is not all.")
    return answer


def _refused_query(error: RequestError) -> str:
    kind, reason = first_cause(error.info)
    if kind == "illegal_argument_exception" and "sorting" in reason:
        return "The indices were made without trailsink's index template, so they cannot be read in order."
    if kind in ("query_shard_exception", "parse_exception", "token_mgr_error"):
        return f'The query cannot be read: {reason}. Values that hold : / ( or spaces need quotes, as in arn:"a:b/c".'
    return f"The cluster refuses the query: {reason or error.error}."


def _indices(prefix: str) -> str:
    return f"{prefix}-*"


def unknown_fields(client: OpenSearch, prefix: str, text: str) -> list[str]:
    """Name the fields of a query that no index has: a typing error finds nothing, and says nothing."""
    named = {one for one in _FIELD.findall(_QUOTED.sub('""', text)) if one not in _OPERATORS}
    if not named:
        return []
    try:
        # The time stands in every index of ours: without it there is none, and nothing to say about fields.
        asked = {"fields": ",".join(sorted(named | {"@timestamp"}))}
        known = client.field_caps(index=_indices(prefix), params=asked).get("fields", {})
    except OpenSearchException:  # the answer was there; the hint is a courtesy, and may need a right of its own
        return []
    return sorted(named - known.keys()) if "@timestamp" in known else []


def parse_time(told: Any) -> datetime | None:  # noqa: ANN401
    """Return a moment in UTC; None where a text is none."""
    try:
        moment = datetime.fromisoformat(told)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
