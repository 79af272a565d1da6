"""Events that a search could miss, because they hold values that no search finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.opensearch.profiles import root_of_values
from worker.pipeline.searchable import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    Clause = dict[str, Any]

UNSEARCHABLE = "trailsink.unsearchable"

FIELD_NAMES = "_field_names"

# The clauses of the DSL that we make, whose only member is the name of a field.
_LEAVES = ("term", "terms", "wildcard", "regexp", "prefix", "match", "match_phrase", "range")


def searched_fields(clause: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the fields that a clause compares with something."""
    return frozenset(map(root_of_values, _fields(clause)))


def _fields(clause: Mapping[str, Any]) -> Iterator[str]:
    for kind, content in clause.items():
        if kind == "term" and FIELD_NAMES in content:  # the value is the name of a field
            yield content[FIELD_NAMES]["value"]
        elif kind in _LEAVES:
            yield from content
        elif kind == "exists":
            yield content["field"]
        elif kind == "bool":
            for group in content.values():
                for inner in group if isinstance(group, list) else ():
                    yield from _fields(inner)


def unsearchable_clause(fields: AbstractSet[str]) -> Clause:
    """Return the clause for events with a value in these fields, above or below them, that no search finds."""
    names = {EVERYTHING}
    for field in fields:
        # A field that is searched by the paths below it, as in `a.b.*`, is the field itself.
        parts = field.removesuffix(".*").split(".")
        names.update(".".join(parts[:length]) for length in range(1, len(parts) + 1))
    below = [{"prefix": {UNSEARCHABLE: {"value": f"{field.removesuffix('.*')}."}}} for field in sorted(fields)]
    return {"bool": {"should": [{"terms": {UNSEARCHABLE: sorted(names)}}, *below], "minimum_should_match": 1}}
