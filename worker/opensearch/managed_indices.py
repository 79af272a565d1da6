"""Which policy of ISM each index follows, and how one is attached and removed.

docs.opensearch.org/latest/im-plugin/ism/api/#explain-index
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import NotFoundError, RequestError, TransportError

from worker.errors import SetupError
from worker.humanize import from_epoch_milliseconds
from worker.opensearch.errors import translate_errors
from worker.opensearch.index_names import copies_pattern, is_own_index, public_name
from worker.opensearch.policy_steps import PolicyStep, steps_of
from worker.opensearch.schema import POLICIES, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime, timedelta

    from opensearchpy import OpenSearch

ISM = "/_plugins/_ism"

_POLICY_ID = "index.plugins.index_state_management.policy_id"
# Names in one request: an address may have 4 KiB.
NAMES_IN_REQUEST = 40


@dataclass(frozen=True, slots=True)
class AttachedPolicy:
    """The policy that one index follows: its name, "" for none, and its own copy of the policy.

    An index keeps its copy when the policy changes. Where the server does not show the copy, `deletes` is None.
    """

    name: str = ""
    description: str = ""
    deletes: bool | None = None
    steps: tuple[PolicyStep, ...] = ()
    has_failed: bool = False


def managed_pattern(prefix: str) -> str:
    """Return the pattern of a prefix's indices for ISM, which asks for a reindexed day by its own name."""
    return f"{prefix}-*,{copies_pattern(prefix)}"


def read_attached_policies(client: OpenSearch, pattern: str) -> dict[str, AttachedPolicy]:
    """Return what each index of a pattern follows; lets errors of the client pass, as 400 without the plugin."""
    path = f"{ISM}/explain/{pattern}"
    try:
        response: Any = client.transport.perform_request("GET", path, params={"show_policy": "true"})
    except NotFoundError:  # there is no such index yet
        return {}
    # Beside the indices there is the number of those that are managed.
    return {name: _attached(state) for name, state in sorted(response.items()) if isinstance(state, dict)}


def _attached(state: dict[str, Any]) -> AttachedPolicy:
    policy = state.get("policy") or {}
    states = policy.get("states")
    actions = [action for step in states or () for action in step.get("actions") or ()]
    return AttachedPolicy(
        str(state.get(_POLICY_ID) or state.get("policy_id") or ""),
        str(policy.get("description") or ""),
        deletes=None if states is None else any("delete" in action for action in actions),
        steps=steps_of(policy),
        has_failed=bool((state.get("action") or {}).get("failed")),
    )


def attach_policy(client: OpenSearch, prefix: str, held: AbstractSet[str] = frozenset()) -> Iterator[str]:
    """Attach the policy of a prefix, as it is now, to all indices of that prefix but those that are held.

    Another tool's indices may match `{prefix}-*`, too. They stay as they are.
    """
    name = name_of(prefix)
    response: Any = client.indices.get_settings(index=f"{prefix}-*", params={"filter_path": "*.settings.index.uuid"})
    own = {index for index in response if is_own_index(index, prefix)}
    try:
        followed = read_attached_policies(client, managed_pattern(prefix))
    except RequestError:  # without the plugin, and then without a policy
        return
    indices = sorted(own - held)
    managed = [index for index in indices if followed.get(index, AttachedPolicy()).name]
    # What follows another policy, or an older version of this one, changes to it.
    failures = _send(client, "change_policy", managed, {"policy_id": name})
    failures += _send(client, "add", [index for index in indices if index not in managed], {"policy_id": name})
    but = f", but {len(own & held)} that are held" if own & held else ""
    yield f"Retention: policy {name} attached to all indices {prefix}-*{but}. ISM applies it at its next run."
    for failure in failures:
        index, reason = failure.get("index_name", "an index"), failure.get("reason", "no reason")
        yield f"Retention: the policy could not be attached to {index}: {reason}."


def attach_existing_policy(client: OpenSearch, name: str, index: str) -> None:
    """Attach a policy to an index whose name its patterns do not match; do nothing where there is no such policy."""
    try:
        client.transport.perform_request("GET", f"{POLICIES}/{name}")
    except TransportError as error:
        if error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
            return
        raise
    _send(client, "add", [index], {"policy_id": name})


def detach_policy(client: OpenSearch, name: str, pattern: str) -> None:
    """Remove a policy from the indices of a pattern that follow it; raises SetupError when one keeps it."""
    followed = read_attached_policies(client, pattern)
    detach_indices(client, [index for index, policy in followed.items() if policy.name == name])


def detach_indices(client: OpenSearch, indices: Sequence[str]) -> None:
    """Remove the policies from indices, on a server that has any; raises SetupError when one stays."""
    try:
        failures = _send(client, "remove", indices, None)
    except (RequestError, NotFoundError):
        return
    if failures:
        index, reason = failures[0].get("index_name", "an index"), failures[0].get("reason", "no reason")
        raise SetupError(f"The retention policy could not be taken from {index}: {reason}.")


def _send(client: OpenSearch, action: str, indices: Sequence[str], body: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """Send a request about indices, in parts; return those that the server could not do, with its reasons."""
    failures: list[dict[str, Any]] = []
    for start in range(0, len(indices), NAMES_IN_REQUEST):
        path = f"{ISM}/{action}/{','.join(indices[start : start + NAMES_IN_REQUEST])}"
        response: Any = client.transport.perform_request("POST", path, body=body)
        failures += response.get("failed_indices") or []
    return failures


def index_ages(client: OpenSearch, prefix: str, now: datetime) -> list[tuple[str, timedelta]]:
    """Return the indices of a prefix and their ages since creation, by name; ISM counts from there, too."""
    options = {"format": "json", "h": "index,creation.date"}
    with translate_errors(f"The indices {prefix}-* cannot be listed"):
        rows: Any = client.cat.indices(index=f"{prefix}-*", params=options)
    ages = {
        public_name(row["index"]): now - from_epoch_milliseconds(int(row["creation.date"]))
        for row in rows
        if is_own_index(row["index"], prefix)
    }
    return sorted(ages.items())
