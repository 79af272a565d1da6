"""Imports the saved objects into a running Dashboards, and says where the boards are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, OpenSearchException, TransportError

from worker.boards.index_pattern import with_users_settings
from worker.boards.panels import Pattern
from worker.boards.saved_objects import BOARDS, board_id, board_title, ndjson
from worker.errors import SetupError
from worker.humanize import iso_seconds
from worker.opensearch.errors import describe_error
from worker.opensearch.search import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

    from worker.boards.panels import Board

_IMPORT = "/api/saved_objects/_import"
_PATTERN = "/api/saved_objects/index-pattern/"
_BOUNDARY = "trailsink-5f1d9c0e6b"  # occurs in no object, because ids, titles and queries are ours

_MAX_ERRORS_SHOWN = 3

# The range that the boards open with; where it holds nothing, the link names one that does.
_OPENED = {Pattern.EVENTS: timedelta(days=1), Pattern.INDEXED: timedelta(days=7)}
_TIME_FIELDS = {Pattern.EVENTS: "@timestamp", Pattern.INDEXED: "trailsink.indexed_at"}


def install(client: OpenSearch, objects: list[dict[str, Any]], tenant: str) -> None:
    """Import saved objects, replacing earlier ones; `client` must have the address of Dashboards.

    What a user set in an index pattern is kept. Raises SetupError when Dashboards does not answer or refuses any
    object.
    """
    headers = {
        "osd-xsrf": "true",
        "kbn-xsrf": "true",  # for a Kibana 7.10
        **({"securitytenant": tenant} if tenant else {}),
    }
    multipart = headers | {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}
    try:
        for saved in objects:
            if saved["type"] == "index-pattern" and (existing := _existing_pattern(client, saved["id"], headers)):
                saved["attributes"] = with_users_settings(saved["attributes"], existing)
        body = _multipart(ndjson(objects).encode())
        response: Any = client.transport.perform_request(
            "POST", _IMPORT, params={"overwrite": "true"}, headers=multipart, body=body
        )
    except OpenSearchException as error:
        raise SetupError(f"The import into Dashboards failed: {_describe_refusal(error)}.") from error
    _require_all(response, objects)


def _existing_pattern(client: OpenSearch, id_: str, headers: dict[str, str]) -> dict[str, Any]:
    try:
        response: Any = client.transport.perform_request("GET", f"{_PATTERN}{id_}", headers=headers)
    except NotFoundError:
        return {}
    match response:
        case {"attributes": dict(attributes)}:
            return attributes
    return {}


def _require_all(response: Any, objects: list[dict[str, Any]]) -> None:  # noqa: ANN401 - a foreign answer
    match response:
        case {"success": True, "successCount": int(number)} if number == len(objects):
            return
        case {"errors": [dict(), *_] as errors}:
            causes = "; ".join(_object_error(error) for error in errors[:_MAX_ERRORS_SHOWN])
            raise SetupError(f"Dashboards refuses {len(errors)} of {len(objects)} objects: {causes}.")
    raise SetupError("The server at this address is not OpenSearch Dashboards.")


def newest_times(client: OpenSearch, prefix: str) -> dict[Pattern, datetime | None]:
    """Return the newest times of events and of indexing, None for each that the cluster does not tell.

    `client` must have the address of the cluster. The undated index is left out: its events claim impossible times.
    """
    aggregations = {pattern: {"max": {"field": field}} for pattern, field in _TIME_FIELDS.items()}
    try:
        response: Any = client.search(index=f"{prefix}-2*", body={"size": 0, "aggs": aggregations})
    except OpenSearchException:
        return dict.fromkeys(_TIME_FIELDS)
    answers = response.get("aggregations", {})
    return {pattern: parse_time(answers.get(pattern, {}).get("value_as_string")) for pattern in _TIME_FIELDS}


def board_links(
    address: str, prefix: str, newest: dict[Pattern, datetime | None], now: datetime
) -> Iterator[tuple[str, str]]:
    """Yield the title and the address of each board, with a range of time where the board's own would show nothing."""
    for board in BOARDS:
        pattern = _pattern_of(board)
        link = f"{address}/app/dashboards#/view/{board_id(prefix, board)}"
        last, opened = newest.get(pattern), _OPENED[pattern]
        if last and last < now - opened:
            end = (last + timedelta(minutes=1)).astimezone(UTC)
            link += f"?_g=(time:(from:'{iso_seconds(end - opened)}',to:'{iso_seconds(end)}'))"
        yield board_title(prefix, board.title), link


def _pattern_of(board: Board) -> Pattern:
    return Pattern.INDEXED if board.data_panels[0].pattern is Pattern.INDEXED else Pattern.EVENTS


def _multipart(file: bytes) -> bytes:
    # Dashboards checks the extension of the file's name.
    head = (
        'Content-Disposition: form-data; name="file"; filename="trailsink.ndjson"\r\nContent-Type: application/ndjson'
    )
    return f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode() + file + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _describe_refusal(error: OpenSearchException) -> str:
    if not isinstance(error, TransportError):
        return describe_error(error)
    match error.status_code, error.info:
        case 404, _:
            return "it answers 404; a managed domain has Dashboards at /_dashboards, others usually at the root (--url)"
        case 301 | 302 | 303 | 307 | 308 as status, _:
            return f"it redirects with {status}, to a sign-in page or to another path (--url)"
        case 400, {"error": str(text)} if "no handler found" in text:
            return "this is the cluster itself; Dashboards has an address of its own (--url)"
        case int() as status, {"message": str(message)}:
            return f"it answers {status}, {message.rstrip('.')}"
    return describe_error(error)


def _object_error(failure: dict[str, Any]) -> str:
    error = failure.get("error") or {}
    match error:
        case {"type": "missing_references", "references": list(missing)}:
            why = "it refers to missing " + ", ".join(f"{target.get('type')} {target.get('id')}" for target in missing)
        case {"message": str(message)}:
            why = message.rstrip(".")
        case _:
            why = str(error.get("type", "no cause given"))
    return f"{failure.get('type')} {failure.get('id')}: {why}"
