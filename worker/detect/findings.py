"""Findings as documents: their form, their ids, and the index that holds them, each exactly once."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import TransportError

from worker.errors import SetupError
from worker.humanize import iso_seconds
from worker.opensearch.errors import translate_errors
from worker.opensearch.index_names import public_name
from worker.opensearch.own_index import create_own_index
from worker.opensearch.retry import retry_while_busy
from worker.opensearch.security import detection_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.detect.correlation import EventGroup
    from worker.detect.rules import RuleInfo
    from worker.opensearch.search import Hit

    Finding = dict[str, Any]

_ATTEMPTS = 6
_PER_REQUEST = 500
_CREATED, _SUCCESS = 201, 299
_BUSY = (429, 503)

_KEYWORD = {"type": "keyword", "ignore_above": 8191}
_DATE = {"type": "date", "ignore_malformed": True}
_FINDINGS = {
    "@timestamp": {"type": "date"},
    "announced_at": {"type": "date"},
    "rule": {
        "properties": dict.fromkeys(("id", "title", "level", "tags", "file"), _KEYWORD),
    },
    "events": {
        "properties": {
            "count": {"type": "long"},
            "first": _DATE,
            "last": _DATE,
            **dict.fromkeys(("ids", "documents", "indices", "names", "sources", "regions", "errors"), _KEYWORD),
            **dict.fromkeys(("accounts", "callers", "addresses"), _KEYWORD),
        }
    },
    "group": {"type": "object", "enabled": False},
}
_PROGRESS = {"until": {"type": "date"}, "title": _KEYWORD}


def event_finding(rule: RuleInfo, hit: Hit, now: datetime) -> tuple[str, Finding]:
    """Return the id and the document of a finding of one event. The id is the same each time."""
    return _digest(rule.key, hit.id), _finding(rule, [hit], now, hit.value("eventTime"), hit.value("eventTime"))


def group_finding(rule: RuleInfo, group: EventGroup, now: datetime) -> tuple[str, Finding]:
    """Return the id and the document of a finding of a group of events."""
    finding = _finding(rule, group.hits, now, iso_seconds(group.first), iso_seconds(group.last))
    key = json.dumps(group.values, sort_keys=True)
    return _digest(rule.key, key, str(group.period)), finding | {"group": group.values}


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:32]


def _finding(rule: RuleInfo, hits: Sequence[Hit], now: datetime, first: object, last: object) -> Finding:
    return {
        "@timestamp": iso_seconds(now),
        "rule": {
            "id": rule.key,
            "title": rule.title,
            "level": rule.level,
            "tags": list(rule.tags),
            "file": rule.file,
        },
        "events": {
            "count": len(hits),
            "first": first,
            "last": last,
            "documents": _values(hits, "_id"),
            "indices": list(dict.fromkeys(public_name(name) for name in _values(hits, "_index"))),
            "ids": _values(hits, "eventID"),
            "names": _values(hits, "eventName"),
            "sources": _values(hits, "eventSource"),
            "regions": _values(hits, "awsRegion"),
            "errors": _values(hits, "errorCode"),
            "accounts": _values(hits, "recipientAccountId"),
            "callers": list(dict.fromkeys(filter(None, map(caller, hits)))),
            "addresses": _values(hits, "sourceIPAddress"),
        },
    }


def _values(hits: Iterable[Hit], path: str) -> list[str]:
    """Return the different values of a field, in their order."""
    return list(dict.fromkeys(str(value) for hit in hits if (value := hit.value(path)) is not None))


def caller(hit: Hit) -> str:
    """Return who made a call, "" where the event does not say."""
    for path in ("userIdentity.arn", "userIdentity.invokedBy", "userIdentity.accountId", "userIdentity.type"):
        if value := hit.value(path):
            return str(value)
    return ""


class FindingsStore:
    """The findings of a prefix, and how far each rule has come; raises SetupError."""

    def __init__(self, client: OpenSearch, prefix: str) -> None:
        self._client = client
        self._findings, self._progress = detection_indices(prefix)
        for name in (self._findings, self._progress):
            if fnmatchcase(name, f"{prefix}-*"):
                raise SetupError(
                    f"The index {name} would be among the events of {prefix}-*: choose another TRAILSINK_INDEX_PREFIX."
                )

    def prepare(self) -> None:
        """Create the indices where they do not exist."""
        for name, properties in ((self._findings, _FINDINGS), (self._progress, _PROGRESS)):
            with translate_errors(f"The index {name} cannot be created"):
                if not self._client.indices.exists(index=name):
                    create_own_index(self._client, name, properties)

    def progress(self, keys: Sequence[str]) -> dict[str, str]:
        """Return until when the events were examined, for each rule that was run before."""
        if not keys:
            return {}
        with translate_errors():
            response: Any = retry_while_busy(
                lambda: self._client.mget(index=self._progress, body={"ids": list(keys)}), _ATTEMPTS
            )
        return {document["_id"]: document["_source"]["until"] for document in response["docs"] if document.get("found")}

    def save_progress(self, rules: Iterable[RuleInfo], until: datetime) -> None:
        """Note until when the events of some rules were examined."""
        self._send(
            ({"index": {"_index": self._progress, "_id": rule.key}}, {"title": rule.title, "until": until.isoformat()})
            for rule in rules
        )

    def create(self, findings: dict[str, Finding]) -> dict[str, Finding]:
        """Write findings, and return those that were not there."""
        actions = (({"create": {"_index": self._findings, "_id": id_}}, finding) for id_, finding in findings.items())
        statuses = self._send(actions, accepted=(HTTPStatus.CONFLICT,))
        return {id_: finding for id_, finding in findings.items() if statuses[id_] == _CREATED}

    def mark_announced(self, ids: Iterable[str], now: datetime) -> None:
        """Note that findings were announced."""
        document = {"doc": {"announced_at": iso_seconds(now)}}
        actions = (({"update": {"_index": self._findings, "_id": id_}}, document) for id_ in ids)
        self._send(actions, accepted=(HTTPStatus.NOT_FOUND,))  # somebody may have deleted it since

    def unannounced(self) -> Iterator[dict[str, Finding]]:
        """Yield findings that an earlier run wrote and did not announce, page by page."""
        body: dict[str, Any] = {
            "query": {"bool": {"must_not": [{"exists": {"field": "announced_at"}}]}},
            "sort": [{"@timestamp": "asc"}, {"rule.id": "asc"}, {"events.documents": "asc"}],
            "size": _PER_REQUEST,
        }
        while True:
            with translate_errors():
                response: Any = retry_while_busy(
                    lambda: self._client.search(index=self._findings, body=body), _ATTEMPTS
                )
            hits = response["hits"]["hits"]
            if not hits:
                return
            yield {hit["_id"]: hit["_source"] for hit in hits}
            body["search_after"] = hits[-1]["sort"]

    def _send(
        self, actions: Iterable[tuple[dict[str, Any], dict[str, Any]]], accepted: tuple[int, ...] = ()
    ) -> dict[str, int]:
        """Send actions in bulk requests, and return the status by id; raises SetupError for one that fails."""
        statuses: dict[str, int] = {}
        pending = list(actions)
        for start in range(0, len(pending), _PER_REQUEST):
            lines = (json.dumps(line) for action in pending[start : start + _PER_REQUEST] for line in action)
            request = partial(self._send_once, "\n".join([*lines, ""]), statuses)
            with translate_errors("Findings cannot be written"):
                retry_while_busy(request, _ATTEMPTS)
        for id_, status in statuses.items():
            if status > _SUCCESS and status not in accepted:
                raise SetupError(f"OpenSearch did not take a document of a finding, {id_}: status {status}.")
        return statuses

    def _send_once(self, body: str, statuses: dict[str, int]) -> None:
        response: Any = self._client.bulk(body=body)
        for entry in response["items"]:
            for item in entry.values():
                # What an attempt created, the next one finds there: the smaller status is the true one.
                statuses[item["_id"]] = min(statuses.get(item["_id"], item["status"]), item["status"])
        if any(status in _BUSY for status in statuses.values()):
            raise TransportError(HTTPStatus.TOO_MANY_REQUESTS, "some documents were rejected", response)
