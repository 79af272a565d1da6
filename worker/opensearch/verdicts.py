"""Keeps what each `trailsink verify` found in the cluster: one document a run, which `trailsink status` reads."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.humanize import iso_seconds
from worker.opensearch.errors import translate_errors
from worker.opensearch.own_index import create_own_index
from worker.opensearch.security import verdict_index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opensearchpy import OpenSearch

VERDICT_PROPERTIES = {
    "verified_at": {"type": "date"},
    "complete": {"type": "boolean"},
    "verdict": {"type": "keyword", "ignore_above": 8191},
}


class RecordedVerdict(NamedTuple):
    """The verdict of one run: on one line, and whether everything was complete."""

    verified_at: datetime
    complete: bool
    text: str


def record_verdict(client: OpenSearch, prefix: str, verified_at: datetime, summary: Mapping[str, Any]) -> None:
    """Write the summary of a run that began at a time; the same run writes the same document.

    Raises SetupError when the cluster does not answer or refuses.
    """
    moment = iso_seconds(verified_at)
    with translate_errors("The verdict was not recorded"):
        create_own_index(client, verdict_index(prefix), VERDICT_PROPERTIES)
        client.index(
            index=verdict_index(prefix),
            id=moment,
            body={**summary, "verified_at": moment},
            params={"refresh": "wait_for"},
        )


def last_verdict(client: OpenSearch, prefix: str) -> RecordedVerdict | None:
    """Return the newest verdict, None where there is none; lets errors of the client pass."""
    response: Any = client.search(
        index=verdict_index(prefix),
        body={"size": 1, "sort": [{"verified_at": {"order": "desc", "unmapped_type": "date"}}]},
        params={"ignore_unavailable": "true"},
    )
    for hit in response["hits"]["hits"]:
        source = hit["_source"]
        return RecordedVerdict(
            datetime.fromisoformat(source["verified_at"]), bool(source["complete"]), str(source["verdict"])
        )
    return None
