"""Holds the alternatives that the mapping's figures rest on to what they say they are."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import msgspec
import pytest

import tests.bench.__main__ as everything
from tests.bench.cluster import mapping, node_profile
from tests.bench.support.alternatives import CHOSEN, FLATTENED, alternatives, flattened_text
from tests.bench.support.workloads import distinct, varied
from tests.support.event_files import event, real_records
from worker.cloudtrail.identity import content_id
from worker.cloudtrail.records import Record
from worker.opensearch.schema import index_template

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.support.alternatives import Alternative


def record(*, position: int = 0, **members: object) -> Record:
    made = event(**members)
    raw = msgspec.Raw(json.dumps(made, indent=1).encode())
    return Record(position, content_id(raw), made["eventTime"], raw)


@pytest.mark.parametrize("alternative", alternatives(), ids=lambda one: one.name)
def test_each_alternative_makes_one_line_of_the_same_event(alternative: Alternative) -> None:
    """A bulk body is lines; and figures of different events could not be held against each other."""
    given = record(position=120)

    line = alternative.document(given)

    assert b"\n" not in line
    assert json.loads(line)["eventID"] == json.loads(bytes(given.raw))["eventID"]


def test_the_first_alternative_is_what_setup_puts_into_a_cluster() -> None:
    """Else the bench would tell of a mapping that nobody has."""
    chosen = alternatives()[0]

    assert chosen.name == CHOSEN
    assert chosen.mappings == index_template("bench")["template"]["mappings"]
    assert json.loads(chosen.document(record(position=120)))["trailsink"]["position"] == 20


def test_the_flattening_keeps_leaves_by_their_last_name_and_the_text() -> None:
    """The bars are held against what people run: https://github.com/chariotsolutions/aws-examples."""
    asked = {"set": {"items": [{"id": "i-1", "n": 1}, {"id": "i-2", "n": 1}]}, "a.b": True, "": "lost", "none": None}
    given = record(requestParameters=asked, responseElements=None, resources=[{"ARN": "x"}, "plain"])

    found = json.loads(flattened_text(given))

    assert found["requestParameters_flattened"] == {"id": ["i-1", "i-2"], "n": ["1"], "a_b": ["True"], "none": ["None"]}
    assert json.loads(found["requestParameters_raw"]) == asked
    assert found["resources_flattened"] == {"ARN": ["x"], "resources": ["plain"]}
    assert not {"requestParameters", "responseElements", "responseElements_raw", "resources"} & set(found)
    assert alternatives()[1].name == FLATTENED


def test_a_folder_of_lines_and_of_files_gives_each_event_once(tmp_path: Path) -> None:
    """Events that come twice would flatter every codec."""
    one, other = event(), event()
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps({"Records": [one, other]}).encode()))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"\n".join(json.dumps(each).encode() for each in (one, one))))

    assert [json.loads(raw) for raw in distinct(tmp_path)] == [one, other]


@pytest.mark.parametrize("command", [everything.main, mapping.main, node_profile.main])
def test_a_folder_without_events_is_said_to_have_none(
    command: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped path would else end in a division by zero, or never."""
    monkeypatch.setattr("sys.argv", ["bench", str(tmp_path)])

    with pytest.raises(SystemExit):
        command()

    assert f"{tmp_path} has no CloudTrail files" in capsys.readouterr().err


def test_a_varied_event_is_another_one_of_the_same_kind() -> None:
    """Repeated ids and addresses would cost the node less than the events of another hour do."""
    raws = [json.dumps(one).encode() for one in real_records()[:200]]

    first, again = list(varied(raws, 1)), list(varied(raws, 1))

    assert first == again
    for raw, other in zip(map(json.loads, raws), map(json.loads, first), strict=True):
        assert raw["eventID"] != other["eventID"]
        assert raw.get("requestID") != other.get("requestID") or not raw.get("requestID")
        assert list(raw) == list(other)
        assert raw["eventName"] == other["eventName"]
