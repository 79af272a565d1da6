"""The index patterns with their fields, made from the index templates.

A pattern without `fields` makes each browser fetch and save them on the first open. These saves conflict with each
other, and before the first event they never end. So a pattern is complete when it is imported.
github.com/opensearch-project/OpenSearch-Dashboards, src/plugins/data/common/index_patterns
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from worker.boards.panels import Pattern
from worker.opensearch.profiles import Profile
from worker.opensearch.schema import index_template, ledger_template
from worker.opensearch.security import verdict_index
from worker.opensearch.verdicts import VERDICT_PROPERTIES
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Field = dict[str, Any]

# What Dashboards calls each type of the mapping: OSD_FIELD_TYPES.
_TYPES = {
    **dict.fromkeys(("keyword", "text"), "string"),
    "date": "date",
    **dict.fromkeys(("integer", "long"), "number"),
    "ip": "ip",
    "boolean": "boolean",
}

_FULL_TEXT = ("text", "match_only_text")

# Fields of every index, as Dashboards itself saves them. `_score` and `_type` have no type of the mapping.
_META_FIELDS = {
    "_id": ("string", ["_id"], True),
    "_index": ("string", ["_index"], True),
    "_score": ("number", None, False),
    "_source": ("_source", ["_source"], False),
    "_type": ("string", None, False),
}

# A user's own settings of a pattern, which live in the saved object and would be lost with it.
_USERS_ATTRIBUTES = ("fieldFormatMap", "sourceFilters")


def pattern_id(prefix: str, pattern: Pattern) -> str:
    """Return the id of a pattern; that of the events is the one that earlier versions used."""
    return f"trailsink-{prefix}" if pattern is Pattern.EVENTS else f"trailsink-{prefix}-{pattern}"


def pattern_attributes(prefix: str, pattern: Pattern, *, compatible: bool = False) -> dict[str, str]:
    """Return the attributes of a pattern; `compatible` is for servers that do not index free-form fields."""
    if pattern is Pattern.FILES:
        # Without a time field, so that the range of a board does not hide the accounts that are silent for longer.
        return {"title": ledger_pattern(prefix), "fields": json.dumps(ledger_fields(prefix))}
    if pattern is Pattern.VERDICTS:
        # With a star, an index that no run has made yet is no error.
        return {"title": f"*{verdict_index(prefix)}", "fields": json.dumps(verdict_fields())}
    fields = json.dumps(event_fields(prefix, compatible=compatible))
    if pattern is Pattern.INDEXED:
        # Two patterns of one title look the same in the picker. Names of days and months begin with the year.
        title = f"{prefix}-2*,{prefix}-undated*"
        return {"title": title, "timeFieldName": "trailsink.indexed_at", "fields": fields}
    formats = json.dumps(_investigate_links(prefix))
    return {"title": f"{prefix}-*", "timeFieldName": "@timestamp", "fields": fields, "fieldFormatMap": formats}


def with_users_settings(attributes: Mapping[str, str], existing: Mapping[str, Any]) -> dict[str, str]:
    """Return a pattern's attributes with what a user set in the existing one: formats, filters, scripted fields."""
    merged = dict(attributes)
    for name in _USERS_ATTRIBUTES:
        if existing.get(name):
            merged[name] = existing[name]
    if "fieldFormatMap" in attributes and existing.get("fieldFormatMap"):
        formats = json.loads(attributes["fieldFormatMap"]) | json.loads(existing["fieldFormatMap"])
        merged["fieldFormatMap"] = json.dumps(formats)
    earlier = {field["name"]: field for field in json.loads(existing.get("fields") or "[]")}
    fields = json.loads(attributes["fields"])
    for field in fields:
        field["count"] = earlier.get(field["name"], {}).get("count", 0)  # how often a user chose the field
    fields += [field for field in earlier.values() if field.get("scripted")]
    return merged | {"fields": json.dumps(fields)}


def event_fields(prefix: str, *, compatible: bool = False) -> list[Field]:
    """Return the fields of the events' indices, by name.

    A `flat_object` is one field to the server, whose values Dashboards shows as a block that nobody can click. Its most
    frequent leaves are declared instead: the server can search them, and cannot group by them.
    """
    profile = Profile.COMPATIBILITY if compatible else Profile.FLAT
    mapped = list(_fields(index_template(prefix, profile)["template"]["mappings"]["properties"]))
    leaves = leaf_names()
    roots = {name.partition(".")[0] for name in leaves}
    declared = [_field(name, "keyword", searchable=not compatible, aggregatable=False) for name in leaves]
    fields = [field for field in mapped if field["name"] not in roots]
    return sorted([*_meta_fields(), *fields, *declared], key=lambda field: str(field["name"]))


def ledger_fields(prefix: str) -> list[Field]:
    """Return the fields of the ledger's indices, by name."""
    mapped = _fields(ledger_template(prefix)["template"]["mappings"]["properties"])
    return sorted([*_meta_fields(), *mapped], key=lambda field: str(field["name"]))


def verdict_fields() -> list[Field]:
    """Return the fields of the index of verdicts, by name."""
    return sorted([*_meta_fields(), *_fields(VERDICT_PROPERTIES)], key=lambda field: str(field["name"]))


def leaf_names() -> list[str]:
    """Return the most frequent leaves of free-form objects in public CloudTrail records, and what can be grouped by."""
    return files(__package__).joinpath("leaves.txt").read_text(encoding="utf-8").split()


def _fields(properties: Mapping[str, Any]) -> Iterator[Field]:
    by_name = dict(_mapped(properties))
    for name, mapping in by_name.items():
        target = by_name[mapping["path"]] if mapping["type"] == "alias" else mapping
        parent = name.rpartition(".")[0]
        multi = {"subType": {"multi": {"parent": parent}}} if parent in by_name else {}
        yield _described(name, target) | multi


def _mapped(properties: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each field that has values, multi-fields among them, by its dotted name."""
    for name, mapping in properties.items():
        full = f"{path}{name}"
        if "properties" in mapping:
            yield from _mapped(mapping["properties"], f"{full}.")
        elif mapping.get("enabled", True):
            yield full, mapping
            yield from _mapped(mapping.get("fields", {}), f"{full}.")


def _described(name: str, mapping: Mapping[str, Any]) -> Field:
    type_ = mapping["type"]
    has_columns = mapping.get("doc_values", True) and type_ not in (*_FULL_TEXT, "flat_object")
    return _field(name, type_, searchable=mapping.get("index", True), aggregatable=has_columns)


def _field(name: str, type_: str, *, searchable: bool, aggregatable: bool) -> Field:
    return {
        "count": 0,
        "name": name,
        "type": _TYPES.get(type_, "unknown"),
        "esTypes": [type_],
        "scripted": False,
        "searchable": searchable,
        "aggregatable": aggregatable,
        "readFromDocValues": aggregatable,
    }


def _meta_fields() -> Iterator[Field]:
    for name, (type_, server_types, usable) in _META_FIELDS.items():
        field = _field(name, "", searchable=usable, aggregatable=usable) | {"type": type_, "readFromDocValues": False}
        del field["esTypes"]
        yield field | ({"esTypes": server_types} if server_types else {})


def _investigate_links(prefix: str) -> dict[str, Any]:
    """Return the formats that make a caller and an address links to the board that shows all of it.

    A resource is no link: whoever chooses an object's key could write a query of his own into the address.
    """
    return {
        name: {
            "id": "url",
            "params": {
                "urlTemplate": f"dashboards#/view/trailsink-{prefix}-investigate"
                f"?_a=(query:(language:lucene,query:'{name}:%22{{{{value}}}}%22'))",
                "labelTemplate": "{{value}}",
                "openLinkInCurrentTab": True,
            },
        }
        for name in ("userIdentity.arn", "sourceIPAddress")
    }
