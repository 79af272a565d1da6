"""A JSON schema of ISM policies, as OpenSearch's and AWS's documentation describe their members.

docs.opensearch.org/latest/im-plugin/ism/policies/, docs.opensearch.org/latest/im-plugin/ism/policies-operations/
docs.aws.amazon.com/opensearch-service/latest/developerguide/ism.html: `warm_migration`
"""

from __future__ import annotations

from typing import Any

_AGE = {"type": "string", "pattern": "^[1-9][0-9]*(d|h|m|s|ms|micros|nanos)$"}
_COUNT = {"type": "integer", "minimum": 0}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


_OPERATIONS = {
    "force_merge": _object(["max_num_segments"], max_num_segments={"type": "integer", "minimum": 1}),
    "replica_count": _object(["number_of_replicas"], number_of_replicas=_COUNT),
    "read_only": _object([]),
    "read_write": _object([]),
    "warm_migration": _object([]),
    "delete": _object([]),
}
_RETRY = _object(["count"], count=_COUNT, backoff={"enum": ["exponential", "constant", "linear"]}, delay=_AGE)
# Exactly one operation, beside what every action may have.
_ACTION = {"oneOf": [_object([name], **{name: body}, retry=_RETRY, timeout=_AGE) for name, body in _OPERATIONS.items()]}
_TRANSITION = _object(
    ["state_name"],
    state_name={"type": "string"},
    conditions=_object([], min_index_age=_AGE) | {"minProperties": 1, "maxProperties": 1},
)
_STATE = _object(
    ["name", "actions", "transitions"],
    name={"type": "string", "minLength": 1},
    actions={"type": "array", "items": _ACTION},
    transitions={"type": "array", "items": _TRANSITION},
)
_TEMPLATE = _object(
    ["index_patterns", "priority"],
    index_patterns={"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
    priority=_COUNT,
)

ISM_POLICY = _object(
    ["policy"],
    policy=_object(
        ["description", "default_state", "states"],
        description={"type": "string"},
        default_state={"type": "string"},
        states={"type": "array", "minItems": 1, "items": _STATE},
        ism_template={"type": "array", "items": _TEMPLATE},
    ),
)
