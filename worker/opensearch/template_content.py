"""What an index template holds, compared with what it should hold: the content decides, not a stored digest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from worker.errors import SetupError
from worker.opensearch.profiles import path_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opensearchpy import OpenSearch

# What decides whether a field can be searched: name and the server's default.
_DEFAULTS = {"type": "object", "index": True, "doc_values": True, "enabled": True}

# The operator chooses these, by an option or by hand.
_OWN_CHOICE = frozenset({"index.number_of_replicas", "index.number_of_shards", "index.refresh_interval"})


def read_templates(client: OpenSearch, name: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the index templates of a cluster by name, ours and others, or the one of a name; lets errors pass."""
    response: Any = client.indices.get_index_template(name=name, params={"ignore": HTTPStatus.NOT_FOUND})
    return {entry["name"]: entry["index_template"] for entry in response.get("index_templates", [])}


def seal(body: dict[str, Any]) -> None:
    """Write the digest of a template's body into its `_meta`: a later trailsink sees that it would put the same."""
    body["_meta"]["digest"] = sha256(msgspec.json.encode(body, order="sorted")).hexdigest()


def refuse_newer(name: str, existing: Mapping[str, Any], version: int) -> None:
    """Raise SetupError when the template in the cluster is of a later version than ours."""
    meta = existing.get("_meta") or {}
    if int(meta.get("version", 0)) > version:
        raise SetupError(
            f"The index template {name} was created by a newer trailsink (version {meta['version']}); use that one."
        )


# Every generation of the mapping has these fields. Others may be missing in an index that is older than the template.
_CORE_FIELDS = ("@timestamp", "eventTime", "eventName", "eventSource", "userIdentity", "trailsink")


def missing_core_fields(properties: Mapping[str, Any] | None) -> list[str]:
    """Return the fields that a mapping lacks although every generation of the template has them."""
    return [name for name in _CORE_FIELDS if name not in (properties or {})]


def _is_same_field(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> bool:
    """Return whether a field is searched as the expected one is."""
    return all(
        str(actual.get(name, default)) == str(expected.get(name, default)) for name, default in _DEFAULTS.items()
    )


def differing_fields(
    expected: Mapping[str, Any], actual: Mapping[str, Any] | None, path: str = "", *, ignore_missing: bool = False
) -> list[str]:
    """Return the expected fields that are missing or searched otherwise; additional fields are the user's own."""
    names = []
    for name, field in expected.items():
        other = (actual or {}).get(name)
        if other is None and ignore_missing:
            continue
        if other is None or not _is_same_field(field, other):
            names.append(f"{path}{name}")
        else:
            names += differing_fields(
                field.get("properties", {}), other.get("properties"), f"{path}{name}.", ignore_missing=ignore_missing
            )
    return names


def fields_of(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a template's body."""
    fields: dict[str, Any] = template["template"]["mappings"]["properties"]
    return fields


def missing_fields(expected: Mapping[str, Any], actual: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the part of a mapping that an index lacks, as the body of a request that adds it."""
    missing: dict[str, Any] = {}
    for name, field in expected.items():
        other = (actual or {}).get(name)
        if other is None:
            missing[name] = field
        elif lower := missing_fields(field.get("properties", {}), other.get("properties")):
            missing[name] = {"properties": lower}
    return missing


def changed_parts(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """Return what of a template's content is not as expected: fields by their path, then settings by their name."""
    ours, theirs = _mappings(expected), _mappings(actual)
    fields = differing_fields(ours.get("properties", {}), theirs.get("properties"))
    roots = [name for name in ("dynamic", "enabled") if _root(ours, name) != _root(theirs, name)]
    roots += ["dynamic_properties"] if path_fields(ours) != path_fields(theirs) else []
    required = {name: value for name, value in _settings(expected).items() if name not in _OWN_CHOICE}
    settings = sorted(required.items() - _settings(actual).items())
    patterns = ["index_patterns"] if set(_patterns(expected)) - set(_patterns(actual)) else []
    return [*patterns, *fields, *roots, *(name for name, _ in settings)]


def with_additions(body: dict[str, Any], existing: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template's body with the fields and settings of the existing one that it has no word on."""
    template = body["template"]
    mappings, settings = template["mappings"], template["settings"]
    fields = (_mappings(existing).get("properties") or {}) | mappings["properties"]
    names = {_index_setting(name) for name in settings}
    others = {name: value for name, value in _settings(existing).items() if name not in names}
    return body | {
        "template": template | {"mappings": mappings | {"properties": fields}, "settings": others | settings}
    }


def shadowing_template(
    templates: Mapping[str, Mapping[str, Any]], name: str, prefix: str, priority: int, now: datetime | None = None
) -> tuple[str, int] | None:
    """Return another template that wins over ours for an index to come, and its priority; None where none does."""
    indices = list(_coming_indices(prefix, now or datetime.now(UTC)))
    winners = [
        (int(template.get("priority") or 0), other)
        for other, template in templates.items()
        if other != name
        and int(template.get("priority") or 0) >= priority
        and any(fnmatchcase(index, pattern) for index in indices for pattern in template.get("index_patterns") or ())
    ]
    return max(winners)[::-1] if winners else None


def _coming_indices(prefix: str, now: datetime) -> Iterator[str]:
    """Yield names of indices that may be created next: of this and the next days and months, and of no day."""
    for days in (0, 1, 31, 366):
        yield f"{prefix}-{now + timedelta(days=days):%Y-%m-%d}"
        yield f"{prefix}-{now + timedelta(days=days):%Y-%m}"
    yield f"{prefix}-undated-{now:%Y-%m-%d}"


def _mappings(template: Mapping[str, Any]) -> Mapping[str, Any]:
    mappings: Mapping[str, Any] = (template.get("template") or {}).get("mappings") or {}
    return mappings


def _patterns(template: Mapping[str, Any]) -> Sequence[str]:
    patterns: Sequence[str] = template.get("index_patterns") or ()
    return patterns


def _root(mappings: Mapping[str, Any], name: str) -> str:
    return str(mappings.get(name, True)).lower()


def _settings(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a template by their full names; a server returns nested what was sent flat."""
    return dict(_flatten((template.get("template") or {}).get("settings") or {}))


def _flatten(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{path}{name}.")
        else:
            yield _index_setting(f"{path}{name}"), str(value).lower() if isinstance(value, bool) else str(value)


def _index_setting(name: str) -> str:
    return name if name.startswith("index.") else f"index.{name}"
