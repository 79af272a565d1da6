"""Reads the ledger: the documents of files by their addresses, by account and time, or by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from opensearchpy.exceptions import NotFoundError, OpenSearchException

from worker.humanize import iso_seconds
from worker.opensearch.complete_search import search_all_shards
from worker.opensearch.errors import classify_error
from worker.opensearch.search import parse_time
from worker.pipeline.ledger import LedgerEntry, entry_id, ledger_index, ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from opensearchpy import OpenSearch

# Documents of one search; of one file there are few: one for each content, and one for each reason of a dead letter.
_PAGE = 1_000
_PER_FILE = 4

# Accounts of one answer. An organisation may have some thousand.
# docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html
_MAX_ACCOUNTS = 10_000


@dataclass(frozen=True, slots=True)
class AccountActivity:
    """An account of the ledger, and when its newest file was delivered."""

    account: str
    newest: datetime


class LedgerReader:
    """The ledger of one prefix; needs `indices:data/read/search` and `indices:data/read/get` on it.

    Every method raises SetupError and IndexUnavailable.
    """

    def __init__(self, client: OpenSearch, index_prefix: str) -> None:
        self._client, self._prefix = client, index_prefix
        self._pattern = ledger_pattern(index_prefix)

    def lookup(self, uris: Sequence[str]) -> dict[str, list[LedgerEntry]]:
        """Return the documents of up to 1,000 files, by address; a file without any is missing.

        Finds what is searchable: a file recorded within the last ten seconds may be missing.
        """
        body = {"size": _PER_FILE * _PAGE, "query": {"terms": {"object": list(uris)}}}
        entries: dict[str, list[LedgerEntry]] = {}
        for hit in self._search(body)["hits"]["hits"]:
            entry = _parse(hit["_source"])
            entries.setdefault(entry.object, []).append(entry)
        return entries

    def recorded(self, account: str, region: str, since: datetime, until: datetime) -> Iterator[LedgerEntry]:
        """Yield the documents of an account and region, of files delivered from `since` until `until`, by time."""
        times = {"gte": iso_seconds(since), "lt": iso_seconds(until)}
        filters = [{"term": {"account": account}}, {"term": {"region": region}}, {"range": {"delivered_at": times}}]
        body: dict[str, Any] = {
            "size": _PAGE,
            "query": {"bool": {"filter": filters}},
            "sort": [{"delivered_at": "asc"}, {"object": "asc"}],
        }
        while hits := self._search(body)["hits"]["hits"]:
            yield from (_parse(hit["_source"]) for hit in hits)
            if len(hits) < _PAGE:
                return
            body["search_after"] = hits[-1]["sort"]

    def find(self, uri: str, digest: str, delivered_at: datetime, selectors: str = "") -> LedgerEntry | None:
        """Return the document of a file with this content; a read by id also finds what was written just now.

        `selectors` is the digest of those that may have left records out.
        """
        index = ledger_index(self._prefix, iso_seconds(delivered_at))
        for id_ in dict.fromkeys([entry_id(uri, digest), entry_id(uri, digest, selectors=selectors)]):
            try:
                response: Any = self._client.get(index=index, id=id_)
            except NotFoundError:
                continue
            except OpenSearchException as error:
                raise classify_error(error) from error
            return _parse(response["_source"])
        return None

    def activity(self, since: datetime, before: datetime) -> tuple[datetime | None, list[AccountActivity]]:
        """Return when the newest file was delivered, None for an empty ledger, and the accounts with one after `since`.

        A name can claim any time: files that claim to be delivered after `before` are left out.
        """
        accounts = {
            "terms": {"field": "account", "size": _MAX_ACCOUNTS},
            "aggs": {"newest": {"max": {"field": "delivered_at"}}},
        }
        recent = {"range": {"delivered_at": {"gte": iso_seconds(since)}}}
        body = {
            "size": 0,
            "query": {"range": {"delivered_at": {"lte": iso_seconds(before)}}},
            "aggs": {
                "newest": {"max": {"field": "delivered_at"}},
                "recent": {"filter": recent, "aggs": {"accounts": accounts}},
            },
        }
        aggregations = self._search(body).get("aggregations", {})
        buckets = aggregations.get("recent", {}).get("accounts", {}).get("buckets", [])
        activities = ((bucket["key"], parse_time(bucket["newest"]["value_as_string"])) for bucket in buckets)
        accounts_by_name = sorted(
            (AccountActivity(account, newest) for account, newest in activities if newest),
            key=lambda activity: activity.account,
        )
        return parse_time(aggregations.get("newest", {}).get("value_as_string")), accounts_by_name

    def _search(self, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
        return search_all_shards(self._client, self._pattern, body)


def _parse(source: Any) -> LedgerEntry:  # noqa: ANN401 - a foreign answer
    return msgspec.convert(source, LedgerEntry)
