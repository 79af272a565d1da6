"""`trailsink detect install`: rules as monitors of OpenSearch's Alerting plugin.

docs.opensearch.org/latest/observing-your-data/alerting/api/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, RequestError

from worker.errors import SetupError
from worker.opensearch.errors import translate_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opensearchpy import OpenSearch

    from worker.detect.rules import DetectionRule

_MONITORS = "/_plugins/_alerting/monitors"

# Of the plugin, where 1 is the most severe.
_SEVERITIES = {"critical": "1", "high": "2", "medium": "3", "low": "4", "informational": "5"}
_DEFAULT_SEVERITY = "3"

# An event gets its time of indexing before it is sent, and is found after the next refresh.
DELAY_MINUTES = 10


def monitor(rule: DetectionRule, prefix: str, minutes: int, channel: str = "") -> dict[str, Any]:
    """Return a monitor that runs a rule every so many minutes; each event is in the interval of exactly one run.

    Its intervals end some minutes before the run, because a monitor does not look at anything twice.
    """
    bounds = {
        "gte": f"{{{{period_end}}}}||-{minutes + DELAY_MINUTES}m",
        "lt": f"{{{{period_end}}}}||-{DELAY_MINUTES}m",
        "format": "epoch_millis",
    }
    query = {"bool": {"filter": [rule.clause, {"range": {"trailsink.indexed_at": bounds}}]}}
    return {
        "type": "monitor",
        "name": f"trailsink {prefix} {rule.info.key}",
        "monitor_type": "query_level_monitor",
        "enabled": True,
        "schedule": {"period": {"interval": minutes, "unit": "MINUTES"}},
        "inputs": [{"search": {"indices": [f"{prefix}-*"], "query": {"size": 10, "query": query}}}],
        "triggers": [
            {
                "query_level_trigger": {
                    "name": rule.info.title,
                    "severity": _SEVERITIES.get(rule.info.level, _DEFAULT_SEVERITY),
                    "condition": {
                        "script": {"source": "ctx.results[0].hits.total.value > 0", "lang": "painless"},
                    },
                    "actions": [_action(rule, channel)] if channel else [],
                }
            }
        ],
    }


def _action(rule: DetectionRule, channel: str) -> dict[str, Any]:
    message = f"{rule.info.title}: {{{{ctx.results.0.hits.total.value}}}} events since {{{{ctx.periodStart}}}}."
    return {
        "name": "notify",
        "destination_id": channel,
        "subject_template": {"source": f"trailsink: {rule.info.title}", "lang": "mustache"},
        "message_template": {"source": message, "lang": "mustache"},
    }


def put_monitors(client: OpenSearch, monitors: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Create or replace monitors by their names, and yield a line for each; raises SetupError."""
    with translate_errors("The Alerting plugin takes no monitor"):
        for body in monitors:
            id_ = _existing(client, body["name"])
            if id_:
                client.transport.perform_request("PUT", f"{_MONITORS}/{id_}", body=body)
            else:
                client.transport.perform_request("POST", _MONITORS, body=body)
            yield f"Monitor {body['name']} {'replaced' if id_ else 'created'}."


def _existing(client: OpenSearch, name: str) -> str:
    """Return the id of the monitor of a name, "" where there is none."""
    body = {"size": 1, "query": {"term": {"monitor.name.keyword": name}}}
    try:
        response: Any = client.transport.perform_request("POST", f"{_MONITORS}/_search", body=body)
    except NotFoundError:  # no monitor was ever created
        return ""
    except RequestError as error:
        if "no handler found" in str(error.info) or "no handler found" in str(error.error):
            raise SetupError("This server has no Alerting plugin.") from error
        raise
    hits = response["hits"]["hits"]
    return str(hits[0]["_id"]) if hits else ""
