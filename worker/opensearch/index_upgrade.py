"""Brings indices that exist to a newer template, as far as their mapping allows: fields can be added, not changed.

docs.opensearch.org/latest/api-reference/index-apis/put-mapping/
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from worker.opensearch.index_names import is_own_index
from worker.opensearch.profiles import profile_of
from worker.opensearch.template_content import differing_fields, missing_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from opensearchpy import OpenSearch

    Fields = dict[str, Any]


def add_missing_fields(
    client: OpenSearch,
    prefix: str,
    fields_for: Callable[[Mapping[str, Any]], Fields],
    held: AbstractSet[str] = frozenset(),
) -> Iterator[str]:
    """Add the fields that existing indices lack, and yield a line for what was done and what could not be.

    `fields_for` returns the fields that an index with such mappings should have. Those that are `held` stay as they
    are.
    """
    response: Any = client.indices.get_mapping(index=f"{prefix}-*")
    # Indices of another tool may start with the same prefix.
    own = {name: index.get("mappings", {}) for name, index in sorted(response.items()) if is_own_index(name, prefix)}
    mappings = {name: mapping for name, mapping in own.items() if name not in held}
    if skipped := len(own) - len(mappings):
        yield f"Mapping: {skipped} of {len(own)} indices are held, and stay as they are."
    updated, other_types = [], []
    for name, current in mappings.items():
        fields, properties = fields_for(current), current.get("properties")
        if differing_fields(fields, properties, ignore_missing=True):
            other_types.append(name)
        if missing := missing_fields(fields, properties):
            client.indices.put_mapping(index=name, body={"properties": missing})
            updated.append(name)
    if updated:
        yield f"Mapping: fields were added to {len(updated)} of {len(mappings)} indices: {updated[0]} to {updated[-1]}."
        yield "They find the events that are indexed from now on. Older events of these indices do not have them."
    else:
        yield f"Mapping: all {len(mappings)} indices have the template's fields."
    if other_types:
        names = ", ".join(other_types)
        yield f"Fields of another type cannot be changed in {names}: `trailsink doctor` shows how to rebuild them."
    profiles = Counter(str(profile_of(current.get("_meta") or {}) or "flat") for current in mappings.values())
    if len(profiles) > 1:
        shares = ", ".join(f"{count} {profile}" for profile, count in profiles.most_common())
        yield f"Each index keeps its profile ({shares}); trailsink searches all of them."
