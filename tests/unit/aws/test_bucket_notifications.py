"""Promises about a bucket's notifications: exactly ours goes in and out, and nobody else's is ever touched."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.aws.bucket_notifications import (
    OwnNotification,
    add_queue,
    conflicts,
    equivalent,
    normalized,
    remove_queue,
    with_event_bridge,
)

if TYPE_CHECKING:
    from random import Random

QUEUE = "arn:aws:sqs:eu-central-1:111122223333:trailsink"
OURS = OwnNotification("trailsink-main", QUEUE, "AWSLogs/", ".json.gz")

KINDS = {
    "QueueConfigurations": ("QueueArn", "arn:aws:sqs:eu-central-1:111122223333:theirs"),
    "TopicConfigurations": ("TopicArn", "arn:aws:sns:eu-central-1:111122223333:theirs"),
    "LambdaFunctionConfigurations": ("LambdaFunctionArn", "arn:aws:lambda:eu-central-1:111122223333:function:theirs"),
}
EVENTS = ("s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectRemoved:*", "s3:ObjectRestore:Completed", "s3:*")

# Few letters, so that prefixes and suffixes meet often.
parts = st.text(alphabet="ab/", max_size=3)


@st.composite
def entries(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    address, arn = KINDS[kind]
    entry: dict[str, Any] = {address: arn}
    entry["Events"] = draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=3, unique=True))
    rules = [
        {"Name": draw(st.sampled_from((name, name.capitalize()))), "Value": draw(parts)}
        for name in draw(st.lists(st.sampled_from(("prefix", "suffix")), unique=True))
    ]
    return entry | ({"Filter": {"Key": {"FilterRules": rules}}} if rules else {})


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for kind in draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True)):
        several = draw(st.lists(entries(kind), min_size=1, max_size=3))
        made[kind] = [{"Id": f"{kind}-{at}", **entry} for at, entry in enumerate(several)]
    if draw(st.booleans()):
        made["EventBridgeConfiguration"] = {}
    return made


ours = st.builds(OwnNotification, st.sampled_from(("trailsink-a", "trailsink-b")), st.just(QUEUE), parts, parts)


def foreign(there: dict[str, Any], *ids: str) -> list[tuple[str, Any]]:
    """Every entry that is not of these ids, and what else is there."""
    found: list[tuple[str, Any]] = [(name, value) for name, value in there.items() if name not in KINDS]
    for kind in KINDS:
        found += [(kind, entry) for entry in there.get(kind, ()) if entry["Id"] not in ids]
    return sorted(found, key=repr)


def filters(entry: dict[str, Any]) -> dict[str, str]:
    rules = entry["Filter"]["Key"]["FilterRules"] if "Filter" in entry else []
    return {"prefix": "", "suffix": ""} | {rule["Name"].lower(): rule["Value"] for rule in rules}


def announces(entry: dict[str, Any], key: str) -> bool:
    said = filters(entry)
    return key.startswith(said["prefix"]) and key.endswith(said["suffix"])


@given(configurations(), ours)
def test_adding_and_removing_leaves_what_was_there(there: dict[str, Any], one: OwnNotification) -> None:
    """A stack that is made and deleted leaves no trace on somebody's bucket."""
    assert remove_queue(add_queue(there, one), one.id, one.queue_arn) == there


@given(configurations(), ours)
def test_nobody_elses_entry_is_changed(there: dict[str, Any], one: OwnNotification) -> None:
    """S3 replaces the whole, so that what we leave out or alter is lost to its owner."""
    before = deepcopy(there)

    after = add_queue(there, one)

    assert foreign(after, one.id) == foreign(there) == foreign(before)
    assert foreign(remove_queue(there, one.id, one.queue_arn)) == foreign(before)


@given(configurations(), ours, ours)
def test_ours_is_there_once_and_as_it_was_last_wanted(
    there: dict[str, Any], first: OwnNotification, second: OwnNotification
) -> None:
    """An update replaces, and a repeated request changes nothing."""
    second = OwnNotification(first.id, second.queue_arn, second.prefix, second.suffix)

    after = add_queue(add_queue(there, first), second)

    assert [one for one in after["QueueConfigurations"] if one["Id"] == first.id] == [second.entry]
    assert add_queue(after, second) == after
    assert equivalent(after, add_queue(there, second))


@given(configurations(), ours)
def test_a_conflict_is_a_key_that_both_would_announce(there: dict[str, Any], one: OwnNotification) -> None:
    """S3 refuses such a pair with a sentence that does not say who; ours does."""
    told = "\n".join(conflicts(there, one))

    for entry in (entry for kind in KINDS for entry in there.get(kind, ())):
        created = any(event.startswith(("s3:ObjectCreated", "s3:*")) for event in entry["Events"])
        # If any key is for both, this one is.
        key = max(filters(entry)["prefix"], one.prefix, key=len) + max(filters(entry)["suffix"], one.suffix, key=len)
        assert (entry["Id"] in told) is (created and announces(entry, key) and announces(one.entry, key))


@pytest.mark.parametrize(
    ("events", "prefix", "suffix", "overlap"),
    [
        (["s3:ObjectCreated:*"], "", "", True),
        (["s3:ObjectCreated:Put"], "AWSLogs/", "", True),
        (["s3:ObjectRemoved:*", "s3:ObjectCreated:Copy"], "AWSLogs/111122223333/", "", True),
        (["s3:ObjectCreated:*"], "AWS", ".gz", True),
        (["s3:ObjectCreated:*"], "", "0.json.gz", True),
        (["s3:ObjectCreated:*"], "AWSLogs/", ".json", False),
        (["s3:ObjectCreated:*"], "images/", "", False),
        (["s3:ObjectRemoved:*"], "AWSLogs/", ".json.gz", False),
        (["s3:ObjectTagging:*", "s3:ReducedRedundancyLostObject"], "", "", False),
    ],
)
def test_an_overlap_is_what_s3_says_it_is(*, events: list[str], prefix: str, suffix: str, overlap: bool) -> None:
    """Same events, overlapping prefixes, overlapping suffixes: all three; an empty one overlaps everything."""
    rules = [{"Name": "Prefix", "Value": prefix}, {"Name": "Suffix", "Value": suffix}]
    entry = {"Id": "theirs", "TopicArn": "arn:t", "Events": events, "Filter": {"Key": {"FilterRules": rules}}}

    found = conflicts({"TopicConfigurations": [entry]}, OURS)

    assert bool(found) is overlap


def test_a_conflict_names_what_is_in_the_way() -> None:
    """The operator has to find it in the console: by id, by destination, by prefix."""
    rules = [{"Name": "Prefix", "Value": "AWSLogs/1"}]
    entry = {
        "Id": "siem",
        "LambdaFunctionArn": "arn:f",
        "Events": ["s3:ObjectCreated:Put"],
        "Filter": {"Key": {"FilterRules": rules}},
    }

    found = conflicts({"LambdaFunctionConfigurations": [entry]}, OURS)

    said = "configuration siem announces s3:ObjectCreated:Put under prefix 'AWSLogs/1' and any suffix to "
    assert found == [f"{said}Lambda function arn:f"]


def test_our_id_at_another_kind_of_destination_is_a_conflict() -> None:
    """Ids are unique in a bucket; taking theirs out is not for us to decide."""
    entry = {"Id": OURS.id, "TopicArn": "arn:t", "Events": ["s3:ObjectRemoved:*"]}

    found = conflicts({"TopicConfigurations": [entry]}, OURS)

    assert found == [f"configuration {OURS.id} for topic arn:t has the id that is to be ours"]


def test_our_own_older_configuration_is_no_conflict() -> None:
    """An update replaces it."""
    there = add_queue({}, OwnNotification(OURS.id, "arn:old", "AWS"))

    assert conflicts(there, OURS) == []
    assert add_queue(there, OURS) == {"QueueConfigurations": [OURS.entry]}


def test_our_id_with_another_queue_is_not_removed() -> None:
    """It is of a stack that was made later and has taken our place."""
    there = add_queue({}, OURS)

    assert remove_queue(there, OURS.id, "arn:another") == there


def test_without_filters_none_is_written() -> None:
    """S3 answers an empty prefix differently from none, and a configuration without filters is the whole bucket."""
    assert OwnNotification("x", QUEUE).entry == {"Id": "x", "QueueArn": QUEUE, "Events": ["s3:ObjectCreated:*"]}


@given(configurations())
def test_event_bridge_is_switched_on_and_nothing_else_changes(there: dict[str, Any]) -> None:
    """It is one switch for everybody, so on is on."""
    after = with_event_bridge(there)

    assert after["EventBridgeConfiguration"] == {}
    assert {**after, "EventBridgeConfiguration": 0} == {**there, "EventBridgeConfiguration": 0}
    assert with_event_bridge(after) == after


def test_what_the_sdk_adds_is_not_put_again() -> None:
    """A put with it is refused."""
    answer = {"ResponseMetadata": {"HTTPStatusCode": 200}, "TopicConfigurations": [], "EventBridgeConfiguration": {}}

    assert normalized(answer) == {"EventBridgeConfiguration": {}}


@given(configurations(), st.randoms(use_true_random=False))
def test_order_and_case_do_not_matter_but_every_entry_does(there: dict[str, Any], chance: Random) -> None:
    """S3 answers in its own order and writes `Prefix` for `prefix`; a lost entry must be seen all the same."""
    other = deepcopy(there)
    for kind in set(KINDS) & set(other):
        chance.shuffle(other[kind])
        for entry in other[kind]:
            for rule in entry["Filter"]["Key"]["FilterRules"] if "Filter" in entry else ():
                rule["Name"] = rule["Name"].upper()

    assert equivalent(there, other)
    for kind in set(KINDS) & set(other):
        assert not equivalent(there, other | {kind: other[kind][1:]})
