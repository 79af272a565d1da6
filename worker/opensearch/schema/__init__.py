"""Index template and retention policy as JSON, for OpenSearch 2.19 and newer, with a form for other servers."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from worker.opensearch.lifecycle import Lifecycle
from worker.opensearch.profiles import Feature, Profile, apply_profile, leave_out, profile_of
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

# The generation of the mapping. Incremented with each change of the template. `trailsink setup` upgrades an older one
# and leaves a newer one alone.
VERSION = 2

# The fields that a generation of the mapping has otherwise than the current one, by the generation. An index keeps its
# own, which `mappings._meta.generation` names; the first has no such member.
CHANGED_SINCE = {
    1: frozenset({"source.ip", "userIdentity.sessionContext.webIdFederationData.attributes"}),
}

# How much longer than its first events an index gets others.
_DAYS_PER_INDEX = {Partition.DAY: 1, Partition.MONTH: 31}

_NO_LIFECYCLE = Lifecycle()

# docs.opensearch.org/latest/im-plugin/ism/policies/#read_only
_READ_ONLY = {
    "name": "read_only",
    "actions": [{"retry": {"count": 3, "backoff": "exponential", "delay": "1m"}, "read_only": {}}],
}

_SEARCHED = (Profile.FLAT, Profile.DYNAMIC)

POLICIES = "/_plugins/_ism/policies"  # the path of retention policies


def generation_of(mappings: Mapping[str, Any]) -> int:
    """Return the generation of an index's mapping."""
    match mappings:
        case {"_meta": {"generation": int(generation)}}:
            return generation
        case _:
            return 1


def index_profile(mappings: Mapping[str, Any], current: Profile) -> Profile:
    """Return the profile that an index should have: its own where it can be searched as well, else the template's.

    Whoever creates an index chooses its mapping, and must not pass one off as trailsink's that finds less.
    """
    own = profile_of(mappings.get("_meta") or {})
    return own if own in _SEARCHED and current in _SEARCHED else current


def name_of(prefix: str) -> str:
    """Return the name of the index template, which is also the retention policy's, for the indices `{prefix}-*`."""
    return f"trailsink-{prefix}"


def number_in(template: Mapping[str, Any], setting: str) -> int | None:
    """Return a number that a template sets for its indices, so that nobody has to pass it again."""
    settings = template.get("template", {}).get("settings", {}).get("index", {})
    return int(settings[setting]) if setting in settings else None


def index_template(
    prefix: str,
    profile: Profile = Profile.FLAT,
    *,
    without: AbstractSet[Feature] = frozenset(),
    replicas: int | None = None,
) -> dict[str, Any]:
    """Return the body of the index template for the indices `{prefix}-*`, in a profile.

    `without` names what the server refuses, and the template does not use.
    """
    template: dict[str, Any] = msgspec.json.decode(_read("index_template.json").replace("{prefix}", prefix))
    apply_profile(template, profile)
    if without:
        leave_out(template, without)
        template["_meta"]["without"] = sorted(without)
    if replicas is not None:
        template["template"]["settings"]["number_of_replicas"] = replicas
    return template


def ledger_name(prefix: str) -> str:
    """Return the name of the ledger's index template, which is also its retention policy's."""
    return f"trailsink-files-{prefix}"


def ledger_template(prefix: str, *, replicas: int | None = None) -> dict[str, Any]:
    """Return the body of the index template for the ledger; every server can take it."""
    template: dict[str, Any] = msgspec.json.decode(_read("ledger_template.json").replace("{prefix}", prefix))
    if replicas is not None:
        template["template"]["settings"]["number_of_replicas"] = replicas
    return template


def ledger_policy(prefix: str, days: int) -> dict[str, Any] | None:
    """Return the body of the policy that deletes the ledger after `days` days; None for 0, which keeps it."""
    return retention_policy(ledger_name(prefix), days, Partition.MONTH) if days else None


def retention_policy(prefix: str, days: int, partition: Partition = Partition.DAY) -> dict[str, Any]:
    """Return the body of the policy that deletes the indices `{prefix}-*` when their last events are `days` days old.

    ISM counts an index's age from its creation, with its first events. The last ones are as much younger as an index
    covers time. docs.opensearch.org/latest/im-plugin/ism/policies/#conditions
    """
    text = _read("retention_policy.json").replace("{prefix}", prefix).replace("{days}", str(days))
    policy: dict[str, Any] = msgspec.json.decode(text.replace("{age}", str(days + _DAYS_PER_INDEX[partition])))
    if partition is not Partition.DAY:
        policy["policy"]["description"] += f", counted from the end of their {partition}"
    return policy


def index_policy(
    prefix: str,
    retention_days: int,
    read_only_days: int,
    partition: Partition = Partition.DAY,
    lifecycle: Lifecycle = _NO_LIFECYCLE,
) -> dict[str, Any] | None:
    """Return the body of the policy for these numbers of days, of which 0 means never; None when all are 0.

    An index of a month is read-only so many days after its end: before, it still gets events.
    """
    index_days = _DAYS_PER_INDEX[partition]
    read_only_age = read_only_days and read_only_days + (0 if partition is Partition.DAY else index_days)
    steps = [(read_only_age, _READ_ONLY)] if read_only_days else []
    steps += lifecycle.states(index_days, read_only_age=read_only_age)
    if not retention_days and not steps:
        return None
    body = retention_policy(prefix, retention_days, partition)["policy"]
    texts = [body["description"] if retention_days else "Keep indices of trailsink"]
    texts += lifecycle.parts(0, read_only_days)
    first, deleted = body["states"]
    states = _chain(first, sorted(steps, key=lambda step: step[0]), deleted if retention_days else None)
    return {"policy": body | {"description": ", ".join(texts), "states": states}}


def _chain(
    first: dict[str, Any], steps: Sequence[tuple[int, dict[str, Any]]], deleted: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Return states in which each leads to the next one at its age, and the last one to the deletion."""
    states = [first | {"transitions": []}]
    for age, state in steps:
        states[-1]["transitions"] = [{"state_name": state["name"], "conditions": {"min_index_age": f"{age}d"}}]
        states.append(state | {"transitions": []})
    if deleted:
        states[-1]["transitions"] = first["transitions"]
        states.append(deleted)
    return states


def _read(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
