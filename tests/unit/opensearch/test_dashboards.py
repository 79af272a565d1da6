"""Promises about the saved objects: every Dashboards can import them, and they refer only to each other."""

from __future__ import annotations

import json

from worker.opensearch.dashboards import ndjson, saved_objects

OBJECTS = saved_objects("cloudtrail")

# The newest that both Kibana 7.10 and OpenSearch Dashboards 2.19 accept without a 422.
NEWEST = {"index-pattern": (7, 6, 0), "visualization": (7, 10, 0), "dashboard": (7, 9, 3), "search": (7, 9, 3)}


def test_each_object_declares_a_version_that_every_dashboards_accepts() -> None:
    """A newer one is refused with 422, and the whole file with it."""
    for saved in OBJECTS:
        (kind, version), *others = saved["migrationVersion"].items()

        assert (kind, others) == (saved["type"], [])
        assert tuple(map(int, version.split("."))) <= NEWEST[kind]


def test_each_reference_is_to_an_earlier_object_of_the_file() -> None:
    """Dashboards refuses a dangling reference, and shows an empty panel for a name that does not match."""
    earlier: set[tuple[str, str]] = set()
    for saved in OBJECTS:
        assert {(target["type"], target["id"]) for target in saved["references"]} <= earlier
        assert (saved["type"], saved["id"]) not in earlier
        earlier.add((saved["type"], saved["id"]))
        text = json.dumps(saved["attributes"])
        names = [target["name"] for target in saved["references"]]
        assert len(set(names)) == len(names)
        assert all(f'"{name}' in text for name in names)
        assert text.count("RefName") == len(names)


def test_json_inside_json_is_text() -> None:
    """An object in place of text is stored, and breaks whatever opens it."""
    texts = ("visState", "uiStateJSON", "panelsJSON", "optionsJSON")
    for saved in OBJECTS:
        for name in texts:
            assert isinstance(json.loads(saved["attributes"].get(name, "{}")), (dict, list))
        meta = saved["attributes"].get("kibanaSavedObjectMeta")
        assert meta is None or isinstance(json.loads(meta["searchSourceJSON"]), dict)


def test_another_prefix_has_objects_of_its_own() -> None:
    """Two pipelines in one Dashboards must not overwrite each other's."""
    first, second = ({saved["id"] for saved in saved_objects(prefix)} for prefix in ("cloudtrail", "audit"))

    assert not first & second
    assert '"audit-*"' in ndjson("audit")
    assert "cloudtrail-*" not in ndjson("audit")
