"""Promises about the saved objects: every Dashboards can import them, and they refer only to each other."""

from __future__ import annotations

import json
import re

from worker.boards.charts import VISUALIZATIONS
from worker.boards.saved_objects import BOARDS, ndjson, saved_objects

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


def test_another_prefix_has_objects_and_titles_of_its_own() -> None:
    """Two pipelines in one Dashboards must not overwrite each other's, nor look the same in a list."""
    first, second = saved_objects("cloudtrail"), saved_objects("audit")
    text = ndjson(second)

    assert not {saved["id"] for saved in first} & {saved["id"] for saved in second}
    assert not {saved["attributes"]["title"] for saved in first} & {saved["attributes"]["title"] for saved in second}
    assert '"audit-*"' in text
    assert "cloudtrail-" not in text


def test_each_index_pattern_is_complete() -> None:
    """A pattern without fields is fetched and saved by each browser, and these saves conflict without end."""
    patterns = {saved["attributes"]["title"]: saved for saved in OBJECTS if saved["type"] == "index-pattern"}

    assert set(patterns) == {
        "cloudtrail-*",
        "cloudtrail-2*,cloudtrail-undated*",
        "trailsink-files-cloudtrail-*",
        "*trailsink-verdicts-cloudtrail",
    }
    assert all(json.loads(saved["attributes"]["fields"]) for saved in patterns.values())


def test_a_panel_has_a_short_title_on_its_board_and_a_long_one_in_the_library() -> None:
    """The library of a Dashboards holds the panels of everybody."""
    by_id = {saved["id"]: saved["attributes"] for saved in OBJECTS}
    (board,) = (saved for saved in OBJECTS if saved["id"] == "trailsink-cloudtrail-overview")
    names = {target["name"]: target["id"] for target in board["references"]}

    for panel in json.loads(board["attributes"]["panelsJSON"]):
        title = by_id[names[panel["panelRefName"]]]["title"]
        assert title.startswith("CloudTrail: ")
        if short := panel["embeddableConfig"].get("title"):
            assert title == f"CloudTrail: {short}"
            assert panel["title"] == short


def test_the_boards_link_to_each_other() -> None:
    """By the ids that an import creates; a link to nowhere shows an error in Dashboards."""
    ids = {saved["id"] for saved in OBJECTS}
    notes = [saved for saved in OBJECTS if '"type": "markdown"' in saved["attributes"].get("visState", "")]

    assert len(notes) == len(BOARDS)
    for note in notes:
        targets = re.findall(r"#/view/([a-z-]+)", note["attributes"]["visState"])
        assert len(targets) == len(BOARDS) + 1
        assert set(targets) <= ids


def test_a_board_opens_with_its_own_range_or_keeps_the_current_one() -> None:
    """Who comes to a caller by a click wants the same hours there."""
    boards = {saved["id"].rpartition("-")[2]: saved["attributes"] for saved in OBJECTS if saved["type"] == "dashboard"}

    ranges = {name: (board["timeRestore"], board.get("timeFrom")) for name, board in boards.items()}

    assert ranges == {"overview": (True, "now-24h"), "investigate": (False, None), "pipeline": (True, "now-7d")}
    assert boards["pipeline"]["refreshInterval"] == {"pause": False, "value": 60_000}


def test_every_kind_of_visualization_is_known_since_kibana_7() -> None:
    """A type that a server does not have makes an error of its panel."""
    states = [json.loads(saved["attributes"].get("visState", "{}")) for saved in OBJECTS]

    kinds = {state["type"] for state in states if state}

    assert kinds == {*VISUALIZATIONS.values(), "markdown", "input_control_vis"}
