"""The profiles of the mapping: how free-form fields are indexed, and what of a template a server may lack."""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

# A copy of every value below a free-form root, for searches that name only the root, or no field at all.
VALUES = "trailsink.values"

# The sub-field of each path that makes `_field_names` know it and the objects above it. `setup` gives it a random name:
# a member of that name, in an event that is indexed first, would make the index refuse all later ones with the path.
_PATH = "~"

# Each path makes two fields in Lucene, and the default of 10,000 is meant for as many paths. A document with a path
# beyond the limit is refused, and comes again in degraded form.
_MAX_FIELDS = 20_000


class Profile(StrEnum):
    """How free-form members, such as requestParameters, are indexed."""

    FLAT = "flat"  # each as a flat_object: OpenSearch 2.19
    DYNAMIC = "dynamic"  # each path in one as a keyword, by dynamic_properties: OpenSearch 3.7
    COMPATIBILITY = "compatibility"  # not at all: they are stored and shown


class Feature(StrEnum):
    """What a template needs of a server, and can do without."""

    FLAT_OBJECT = "flat_object"
    DYNAMIC_PROPERTIES = "dynamic_properties"
    MATCH_ONLY_TEXT = "match_only_text"
    ALIAS = "alias"
    COPY_TO = "copy_to"
    CODEC = "index.codec"


def profile_of(meta: Mapping[str, Any]) -> Profile | None:
    """Return the profile that the `_meta` of a template or of a mapping names, None where it names none."""
    name = meta.get("profile") or meta.get("mapping")
    return Profile(name) if name in set(Profile) else None


def left_out(meta: Mapping[str, Any]) -> frozenset[Feature]:
    """Return what the `_meta` of a template says that its server refuses."""
    return frozenset(Feature(name) for name in meta.get("without") or () if name in set(Feature))


def apply_profile(template: dict[str, Any], profile: Profile) -> None:
    """Change a template with `flat_object` fields to a profile."""
    template["_meta"]["mapping"] = str(profile)
    body = template["template"]
    body["mappings"]["_meta"]["profile"] = str(profile)
    match profile:
        case Profile.DYNAMIC:
            _index_paths(body)
        case Profile.COMPATIBILITY:
            leave_out(template, {Feature.FLAT_OBJECT, Feature.MATCH_ONLY_TEXT})


def leave_out(template: dict[str, Any], features: AbstractSet[Feature]) -> None:
    """Change a template to one that needs none of these features."""
    body = template["template"]
    body["mappings"]["properties"] = dict(_reduced(body["mappings"]["properties"], features))
    if Feature.COPY_TO in features:  # a field that nothing is copied to would be searched in vain
        body["mappings"]["properties"].get("source", {}).get("properties", {}).pop("ip", None)
    if Feature.CODEC in features:
        body["settings"].pop("index.codec", None)


def sample(feature: Feature) -> dict[str, Any]:
    """Return a template that needs this feature and nothing else that a server could lack."""
    keyword = {"type": "keyword"}
    settings: dict[str, Any] = {}
    mappings: dict[str, Any] = {"dynamic": False}
    match feature:
        case Feature.FLAT_OBJECT | Feature.MATCH_ONLY_TEXT:
            mappings["properties"] = {"a": {"type": str(feature)}}
        case Feature.DYNAMIC_PROPERTIES:
            mappings["properties"] = {"a": {"type": "flat_object"}}
            _index_paths({"settings": settings, "mappings": mappings})
        case Feature.ALIAS:
            mappings["properties"] = {"a": keyword, "b": {"type": "alias", "path": "a"}}
        case Feature.COPY_TO:
            mappings["properties"] = {"a": keyword | {"copy_to": "b"}, "b": keyword}
        case Feature.CODEC:
            settings["index.codec"] = "best_compression"
    return {"template": {"settings": settings, "mappings": mappings}}


def hide_path_field(template: dict[str, Any], existing: Mapping[str, Any]) -> None:
    """Give the sub-field of each path a name that nobody can guess: that of the existing template, or a new one."""
    fields = template["template"]["mappings"].get("dynamic_properties", {})
    name = next(iter(_path_names(existing)), f"{_PATH}{secrets.token_hex(4)}")
    for field in fields.values():
        field["fields"] = {name: field["fields"][_PATH]}


def path_fields(mappings: Mapping[str, Any]) -> dict[str, Any]:
    """Return how paths below free-form members are indexed, whatever the name of their sub-field."""
    fields = mappings.get("dynamic_properties") or {}
    return {path: field | {"fields": list(field.get("fields", {}).values())} for path, field in fields.items()}


def _path_names(template: Mapping[str, Any]) -> Iterator[str]:
    mappings = template.get("template", {}).get("mappings") or {}
    for field in (mappings.get("dynamic_properties") or {}).values():
        yield from field.get("fields") or ()


def free_form_roots(properties: Mapping[str, Any]) -> list[str]:
    """Return the members that are a `flat_object` of their own."""
    return [name for name, field in properties.items() if field.get("type") == "flat_object"]


def values_field(root: str) -> str:
    """Return the field with every value below a free-form root."""
    return f"{VALUES}.{root}"


def root_of_values(field: str) -> str:
    """Return the free-form root whose values a field has; any other field as it is."""
    return field.removeprefix(f"{VALUES}.")


def _index_paths(body: dict[str, Any]) -> None:
    """Make each path below a free-form member a keyword of its own, which does not grow the mapping.

    Without `ignore_above`: what is too long for a term must be refused, so that it is shortened and marked.
    docs.opensearch.org/latest/mappings/dynamic-properties/
    """
    mappings, settings = body["mappings"], body["settings"]
    roots = free_form_roots(mappings["properties"])
    path = {"type": "keyword", "doc_values": False, "normalizer": "nothing"}
    keyword = {"type": "keyword", "fields": {_PATH: path}}
    mappings["dynamic_properties"] = {f"{root}.*": keyword | {"copy_to": values_field(root)} for root in roots}
    mappings["properties"] |= {root: {"type": "object", "dynamic": True, "disable_objects": True} for root in roots}
    own = mappings["properties"].setdefault("trailsink", {"type": "object", "dynamic": False, "properties": {}})
    values = {root: {"type": "keyword", "doc_values": False} for root in roots}
    own["properties"]["values"] = {"type": "object", "dynamic": False, "properties": values}
    settings["index.mapping.dynamic_properties.lucene_field.limit"] = _MAX_FIELDS
    # `_field_names` has only fields without doc values; what the sub-field holds does not matter.
    settings["index.analysis.char_filter.nothing.type"] = "pattern_replace"
    settings["index.analysis.char_filter.nothing.pattern"] = "(?s).+"
    settings["index.analysis.char_filter.nothing.replacement"] = ""
    settings["index.analysis.normalizer.nothing.type"] = "custom"
    settings["index.analysis.normalizer.nothing.char_filter"] = "nothing"


def _reduced(properties: Mapping[str, Any], features: AbstractSet[Feature]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in properties.items():
        match field:
            case {"type": "flat_object"} if Feature.FLAT_OBJECT in features:
                yield name, {"type": "object", "enabled": False}
            case {"type": "match_only_text"} if Feature.MATCH_ONLY_TEXT in features:  # OpenSearch 2.12
                yield name, field | {"type": "text"}
            case {"type": "alias"} if Feature.ALIAS in features:
                continue
            case {"copy_to": _} if Feature.COPY_TO in features:
                yield name, {member: value for member, value in field.items() if member != "copy_to"}
            case {"properties": below}:
                if lower := dict(_reduced(below, features)):
                    yield name, field | {"properties": lower}
            case _:
                yield name, field
