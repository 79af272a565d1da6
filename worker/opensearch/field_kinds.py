"""What the fields of the indices are: which questions each can answer depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import TransportError

from worker.opensearch.profiles import VALUES, root_of_values, values_field
from worker.opensearch.schema import index_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opensearchpy import OpenSearch


class Kind(Enum):
    """What a field is to a search."""

    KEYWORD = auto()
    TEXT = auto()
    DATE = auto()
    IP = auto()
    BOOLEAN = auto()
    NUMBER = auto()
    FREE_FORM = auto()  # the root of a free-form member, or a path in one
    OBJECT = auto()
    STORED = auto()  # below an object that is mapped, but not mapped itself
    UNKNOWN = auto()


# docs.opensearch.org/latest/field-types/supported-field-types/index/
_KINDS = {
    **dict.fromkeys(("keyword", "constant_keyword", "wildcard"), Kind.KEYWORD),
    **dict.fromkeys(("text", "match_only_text"), Kind.TEXT),
    **dict.fromkeys(("date", "date_nanos"), Kind.DATE),
    **dict.fromkeys(("byte", "short", "integer", "long", "unsigned_long"), Kind.NUMBER),
    **dict.fromkeys(("half_float", "scaled_float", "float", "double"), Kind.NUMBER),
    "ip": Kind.IP,
    "boolean": Kind.BOOLEAN,
    "flat_object": Kind.FREE_FORM,
    "dynamic_properties": Kind.FREE_FORM,  # our name for an object in which each path is a keyword
    **dict.fromkeys(("object", "nested"), Kind.OBJECT),
}

_FREE_FORM = frozenset(("flat_object", "dynamic_properties"))
_BARE = (Kind.KEYWORD, Kind.TEXT, Kind.FREE_FORM)


@dataclass(frozen=True)
class FieldKinds:
    """The types of fields by name, as the server reports them; `bare` are those that a bare word searches."""

    types: Mapping[str, str]
    bare: tuple[str, ...]

    def kind(self, path: str) -> Kind:
        """Return what a path is."""
        if type_ := self.types.get(path):
            return _KINDS.get(type_, Kind.STORED)
        parents = [self.types[parent] for parent in _parents(path) if parent in self.types]
        if not _FREE_FORM.isdisjoint(parents):
            return Kind.FREE_FORM
        return Kind.STORED if parents else Kind.UNKNOWN

    @property
    def has_free_form(self) -> bool:
        """Whether any free-form member can be searched."""
        return not _FREE_FORM.isdisjoint(self.types.values())

    def is_free_form_root(self, path: str) -> bool:
        """Return whether a path is that of a free-form member itself."""
        return self.types.get(path) in _FREE_FORM

    def has_keyword_paths(self, path: str) -> bool:
        """Return whether an index has each path of a free-form member as a keyword of its own."""
        return values_field(path.partition(".")[0]) in self.types

    def is_flat(self, path: str) -> bool:
        """Return whether an index has a free-form member as a flat_object."""
        return self.types.get(path.partition(".")[0]) == "flat_object"

    def searched(self, path: str) -> list[str]:
        """Return the fields that hold the values of a path: of a free-form root, one for each form it has."""
        if not self.is_free_form_root(path):
            return [path]
        return [
            *([path] if self.is_flat(path) else []),
            *([values_field(path)] if self.has_keyword_paths(path) else []),
        ]

    def leaves(self, path: str) -> list[str]:
        """Return the fields below an object that have values of their own."""
        return [
            name
            for name, type_ in self.types.items()
            if name.startswith(f"{path}.") and _KINDS.get(type_) not in (None, Kind.OBJECT) and not name.endswith(".")
        ]


def _parents(path: str) -> Iterator[str]:
    """Yield the paths that contain this one, the longest first."""
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def read_field_kinds(client: OpenSearch, prefix: str) -> FieldKinds:
    """Return the kinds of the fields of all indices of a prefix.

    Asks the server, because an older index or a server without flat_object differs; where that is not permitted, or
    there is no index yet, the index template answers.
    """
    own = dict(_template_types(index_template(prefix)["template"]["mappings"]["properties"]))
    # A field that no index has finds nothing, so asking for both forms of free-form members is always right.
    own |= {values_field(name): "keyword" for name in own if own[name] in _FREE_FORM}
    bare = tuple(
        name for name, type_ in own.items() if _KINDS.get(type_) in _BARE and not name.startswith("trailsink.")
    )
    try:
        reported: dict[str, dict[str, Any]] = client.field_caps(index=f"{prefix}-*", params={"fields": "*"})["fields"]
    except TransportError as error:
        if not isinstance(error.status_code, int):  # no answer at all: the search would wait for none, too
            raise
        reported = {}
    if "@timestamp" not in reported:
        return FieldKinds(own, bare)
    types = {name: _one_type(list(by_type)) for name, by_type in reported.items() if not name.startswith("_")}
    # The server does not report a root without fields of its own, nor the paths in it.
    for name in [name for name in types if name.startswith(f"{VALUES}.")]:
        root = root_of_values(name)
        types[root] = "flat_object" if types.get(root) == "flat_object" else "dynamic_properties"
    searched = {name for name, type_ in types.items() if _KINDS.get(type_) in _BARE}
    return FieldKinds(types, tuple(name for name in bare if name in searched))


def _one_type(types: list[str]) -> str:
    """Return the type that answers the most, where indices differ."""
    return "flat_object" if "flat_object" in types else types[0]


def _template_types(properties: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and type of each field of a mapping; aliases are left out, because they name other fields."""
    for name, field in properties.items():
        path = f"{parent}{name}"
        if field.get("type") != "alias":
            yield path, field.get("type", "object")
        for below in ("properties", "fields"):
            yield from _template_types(field.get(below, {}), f"{path}.")
