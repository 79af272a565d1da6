"""The Alerting plugin's per-document monitors copy the mapping of an index; OpenSearch must accept the copy.

The plugin is on no registry, so what it does is done again here: it gives each leaf of the mapping a suffix, and the
end of each alias's path, and stores the result as the mapping of its own index of queries.
github.com/opensearch-project/alerting, DocLevelMonitorQueries.kt, `leafNodeProcessor`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.event_files import event
from tests.support.index_documents import index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Bench

SUFFIX = "_cloudtrail_monitor"


def renamed(properties: dict[str, Any]) -> dict[str, Any]:
    """The mapping as the plugin stores it."""
    copy = {}
    for name, field in properties.items():
        if "properties" in field:
            copy[name] = field | {"properties": renamed(field["properties"])}
        elif field.get("type") == "alias":
            copy[f"{name}{SUFFIX}"] = field | {"path": f"{field['path']}{SUFFIX}"}
        else:
            # Names of other fields in a field, such as that of `copy_to`, stay as they are.
            copy[f"{name}{SUFFIX}"] = field
    return copy


def aliases(properties: dict[str, Any], parent: str = "") -> Iterator[tuple[str, str]]:
    for name, field in properties.items():
        if field.get("type") == "alias":
            yield f"{parent}{name}", field["path"]
        yield from aliases(field.get("properties", {}), f"{parent}{name}.")


def test_a_monitor_can_be_made_on_our_indices(bench: Bench) -> None:
    """An alias to a sub-field has no counterpart in the copy, and the whole monitor was refused for it."""
    index(bench, [event()])
    (mapping,) = bench.opensearch.indices.get_mapping(index=f"{bench.prefix}-*").values()
    copy = {"dynamic": False, "properties": renamed(mapping["mappings"]["properties"])}
    name = f"queries-of-{bench.prefix}"

    try:
        bench.opensearch.indices.create(index=name, body={"mappings": copy})
        stored = bench.opensearch.indices.get_mapping(index=name)[name]["mappings"]["properties"]
    finally:
        bench.opensearch.indices.delete(index=name, params={"ignore_unavailable": "true"})

    assert f"ip{SUFFIX}" in stored["source"]["properties"]
    assert f"bucketName{SUFFIX}" in stored["trailsink"]["properties"]["request"]["properties"]
    assert len(list(aliases(stored))) == len(list(aliases(mapping["mappings"]["properties"])))
