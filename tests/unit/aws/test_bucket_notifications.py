"""Promises about a bucket's notifications: our entry is added and removed, and no other entry is ever changed."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.aws.bucket_notifications import (
    OwnNotification,
    add_event_bridge,
    add_queue,
    conflicts,
    decode_filter,
    encode_filter,
    entries_for_queue,
    equivalent,
    key_filter,
    normalized,
    remove_queue,
    unencoded_filters,
)

if TYPE_CHECKING:
    from random import Random

QUEUE = "arn:aws:sqs:eu-central-1:111122223333:trailsink"
OWN = OwnNotification("trailsink-main", QUEUE, "AWSLogs/", ".json.gz")

KINDS = {
    "QueueConfigurations": ("QueueArn", "arn:aws:sqs:eu-central-1:111122223333:theirs"),
    "TopicConfigurations": ("TopicArn", "arn:aws:sns:eu-central-1:111122223333:theirs"),
    "LambdaFunctionConfigurations": ("LambdaFunctionArn", "arn:aws:lambda:eu-central-1:111122223333:function:theirs"),
}
EVENTS = ("s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectRemoved:*", "s3:ObjectRestore:Completed", "s3:*")

# Few letters, so that prefixes and suffixes overlap often.
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
    configuration: dict[str, Any] = {}
    for kind in draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True)):
        drawn = draw(st.lists(entries(kind), min_size=1, max_size=3))
        configuration[kind] = [{"Id": f"{kind}-{number}", **entry} for number, entry in enumerate(drawn)]
    if draw(st.booleans()):
        configuration["EventBridgeConfiguration"] = {}
    return configuration


own_notifications = st.builds(
    OwnNotification, st.sampled_from(("trailsink-a", "trailsink-b")), st.just(QUEUE), parts, parts
)


def foreign(configuration: dict[str, Any], *ids: str) -> list[tuple[str, Any]]:
    """Every entry whose id is not one of these, and everything else in the configuration."""
    members: list[tuple[str, Any]] = [(name, value) for name, value in configuration.items() if name not in KINDS]
    for kind in KINDS:
        members += [(kind, entry) for entry in configuration.get(kind, ()) if entry["Id"] not in ids]
    return sorted(members, key=repr)


def filters(entry: dict[str, Any]) -> dict[str, str]:
    rules = entry["Filter"]["Key"]["FilterRules"] if "Filter" in entry else []
    return {"prefix": "", "suffix": ""} | {rule["Name"].lower(): rule["Value"] for rule in rules}


def announces(entry: dict[str, Any], key: str) -> bool:
    filtered = filters(entry)
    return key.startswith(filtered["prefix"]) and key.endswith(filtered["suffix"])


@given(configurations(), own_notifications)
def test_adding_and_removing_restores_the_configuration(existing: dict[str, Any], own: OwnNotification) -> None:
    """A stack that is created and deleted leaves no trace in a bucket that others use."""
    assert remove_queue(add_queue(existing, own), own.id, own.queue_arn) == existing


@given(configurations(), own_notifications)
def test_no_other_entry_is_changed(existing: dict[str, Any], own: OwnNotification) -> None:
    """S3 replaces the whole configuration: an entry that we leave out or change is lost to its owner."""
    before = deepcopy(existing)

    after = add_queue(existing, own)

    assert foreign(after, own.id) == foreign(existing) == foreign(before)
    assert foreign(remove_queue(existing, own.id, own.queue_arn)) == foreign(before)


@given(configurations(), own_notifications, own_notifications)
def test_our_entry_exists_once_and_is_the_last_one_added(
    existing: dict[str, Any], first: OwnNotification, second: OwnNotification
) -> None:
    """An update replaces, and a repeated request changes nothing."""
    second = OwnNotification(first.id, second.queue_arn, second.prefix, second.suffix)

    after = add_queue(add_queue(existing, first), second)

    assert [entry for entry in after["QueueConfigurations"] if entry["Id"] == first.id] == [second.entry]
    assert add_queue(after, second) == after
    assert equivalent(after, add_queue(existing, second))


def test_our_entry_keeps_its_place() -> None:
    """Other entries keep theirs, too: a diff of the configuration shows the one change."""
    older = OwnNotification(OWN.id, "arn:older")
    entries = [{"Id": "first", "QueueArn": "arn:1"}, older.entry, {"QueueArn": "arn:2"}, {"QueueArn": "arn:3"}]

    after = add_queue({"QueueConfigurations": entries}, OWN)

    assert after == {"QueueConfigurations": [entries[0], OWN.entry, *entries[2:]]}


@given(configurations(), own_notifications)
def test_a_conflict_is_a_key_that_both_entries_would_announce(existing: dict[str, Any], own: OwnNotification) -> None:
    """S3 refuses such a pair with a sentence that names no entry; ours names it."""
    descriptions = "\n".join(conflicts(existing, own))

    for entry in (entry for kind in KINDS for entry in existing.get(kind, ())):
        created = any(event.startswith(("s3:ObjectCreated", "s3:*")) for event in entry["Events"])
        # If any key is announced by both, this one is.
        key = max(filters(entry)["prefix"], own.prefix, key=len) + max(filters(entry)["suffix"], own.suffix, key=len)
        assert (entry["Id"] in descriptions) is (created and announces(entry, key) and announces(own.entry, key))


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
    """Same events, overlapping prefixes and overlapping suffixes, all three; an empty one overlaps with any."""
    rules = [{"Name": "Prefix", "Value": prefix}, {"Name": "Suffix", "Value": suffix}]
    entry = {"Id": "theirs", "TopicArn": "arn:t", "Events": events, "Filter": {"Key": {"FilterRules": rules}}}

    descriptions = conflicts({"TopicConfigurations": [entry]}, OWN)

    assert bool(descriptions) is overlap


def test_a_conflict_names_the_other_entry() -> None:
    """The operator has to find it in the console: by id, destination and prefix."""
    rules = [{"Name": "Prefix", "Value": "AWSLogs/1"}]
    entry = {
        "Id": "siem",
        "LambdaFunctionArn": "arn:f",
        "Events": ["s3:ObjectCreated:Put"],
        "Filter": {"Key": {"FilterRules": rules}},
    }

    descriptions = conflicts({"LambdaFunctionConfigurations": [entry]}, OWN)

    start = "configuration siem announces s3:ObjectCreated:Put under prefix 'AWSLogs/1' and any suffix to "
    assert descriptions == [f"{start}Lambda function arn:f"]


def test_our_id_at_another_kind_of_destination_is_a_conflict() -> None:
    """Ids are unique in a bucket, and it is not for us to remove an entry of others."""
    entry = {"Id": OWN.id, "TopicArn": "arn:t", "Events": ["s3:ObjectRemoved:*"]}

    descriptions = conflicts({"TopicConfigurations": [entry]}, OWN)

    assert descriptions == [f"configuration {OWN.id} for topic arn:t uses our id"]


def test_our_own_older_entry_is_no_conflict() -> None:
    """An update replaces it."""
    existing = add_queue({}, OwnNotification(OWN.id, "arn:old", "AWS"))

    assert conflicts(existing, OWN) == []
    assert add_queue(existing, OWN) == {"QueueConfigurations": [OWN.entry]}


def test_our_id_with_another_queue_is_not_removed() -> None:
    """It belongs to a stack that was created later and has replaced our entry."""
    existing = add_queue({}, OWN)

    assert remove_queue(existing, OWN.id, "arn:another") == existing


@pytest.mark.parametrize(
    ("events", "queue", "feeds"),
    [
        (["s3:ObjectCreated:*"], QUEUE, True),
        (["s3:ObjectRemoved:*", "s3:ObjectCreated:Put"], QUEUE, True),
        (["s3:*"], QUEUE, True),
        (["s3:ObjectRemoved:*"], QUEUE, False),
        (["s3:ObjectCreated:*"], "arn:another", False),
    ],
)
def test_an_entry_feeds_a_queue_when_it_announces_new_objects(*, events: list[str], queue: str, feeds: bool) -> None:
    """`trailsink doctor` checks that some entry announces new files to the queue, ours or another."""
    entry = {"Id": "other", "QueueArn": queue, "Events": events}

    assert entries_for_queue({"QueueConfigurations": [entry]}, QUEUE) == ([entry] if feeds else [])


@given(own_notifications)
def test_the_filter_of_an_entry_is_the_one_it_was_made_with(own: OwnNotification) -> None:
    """An empty prefix or suffix is not put, and is read as empty."""
    assert key_filter(own.entry) == (own.prefix, own.suffix)


def test_without_filters_none_is_written() -> None:
    """S3 returns an empty prefix in another form than none, and an entry without filters is for the whole bucket."""
    assert OwnNotification("x", QUEUE).entry == {"Id": "x", "QueueArn": QUEUE, "Events": ["s3:ObjectCreated:*"]}


@given(configurations())
def test_event_bridge_is_enabled_and_nothing_else_changes(existing: dict[str, Any]) -> None:
    """It is one switch for everybody, so it stays on once it is on."""
    after = add_event_bridge(existing)

    assert after["EventBridgeConfiguration"] == {}
    assert {**after, "EventBridgeConfiguration": 0} == {**existing, "EventBridgeConfiguration": 0}
    assert add_event_bridge(after) == after


def test_what_the_sdk_adds_is_not_put() -> None:
    """S3 refuses a put with it."""
    response = {"ResponseMetadata": {"HTTPStatusCode": 200}, "TopicConfigurations": [], "EventBridgeConfiguration": {}}

    assert normalized(response) == {"EventBridgeConfiguration": {}}


@given(configurations(), st.randoms(use_true_random=False))
def test_order_and_case_do_not_matter_but_every_entry_does(existing: dict[str, Any], random: Random) -> None:
    """S3 returns its own order and `Prefix` for `prefix`; a lost entry must still be noticed."""
    returned = deepcopy(existing)
    for kind in set(KINDS) & set(returned):
        random.shuffle(returned[kind])
        for entry in returned[kind]:
            for rule in entry["Filter"]["Key"]["FilterRules"] if "Filter" in entry else ():
                rule["Name"] = rule["Name"].upper()

    assert equivalent(existing, returned)
    for kind in set(KINDS) & set(returned):
        assert not equivalent(existing, returned | {kind: returned[kind][1:]})


# Filters as S3 wants them

ENCODED = [
    ("AWSLogs/", "AWSLogs/"),
    ("org=acme/AWSLogs/", "org%3Dacme/AWSLogs/"),
    ("two words/", "two+words/"),
    ("a+b/", "a%2Bb/"),
    ("100%/", "100%25/"),
    ("Büro/", "B%C3%BCro/"),
    ("漢/", "%E6%BC%A2/"),
    ("a~b:c&d@e,f;g/", "a%7Eb%3Ac%26d%40e%2Cf%3Bg/"),
    ("it's (1)!*_-./", "it's+(1)!*_-./"),
]


@pytest.mark.parametrize(("text", "value"), ENCODED)
def test_a_filter_is_written_as_s3_compares_it(text: str, value: str) -> None:
    """S3 announces no file for a raw one, and says nothing."""
    own = OwnNotification("ours", QUEUE, text, ".json.gz")

    assert encode_filter(text) == value
    assert own.entry["Filter"]["Key"]["FilterRules"][0] == {"Name": "prefix", "Value": value}
    assert key_filter(own.entry) == (text, ".json.gz")
    assert unencoded_filters(own.entry) == []


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20))
def test_every_filter_can_be_read_back(text: str) -> None:
    """The doctor compares it with the trail's prefix."""
    assert decode_filter(encode_filter(text)) == text


def filtered(prefix: str, **members: Any) -> dict[str, Any]:
    rules = [{"Name": "Prefix", "Value": prefix}]
    entry = {"Id": "siem", "QueueArn": "arn:other", "Events": ["s3:ObjectCreated:*"]}
    return entry | {"Filter": {"Key": {"FilterRules": rules}}} | members


@pytest.mark.parametrize(
    ("theirs", "overlaps"),
    [
        ("org%3Dacme/", True),
        ("org%3dacme/AWSLogs/1/", True),
        ("org%3Dother/", False),
        ("org=acme/", False),
        ("", True),
    ],
)
def test_an_entry_of_others_overlaps_by_what_its_filter_means(*, theirs: str, overlaps: bool) -> None:
    """A raw one matches nothing, so S3 does not mind it."""
    own = OwnNotification("ours", QUEUE, "org=acme/AWSLogs/", ".json.gz")

    assert bool(conflicts({"QueueConfigurations": [filtered(theirs)]}, own)) is overlaps


@pytest.mark.parametrize(
    ("other", "same"), [("org%3dacme/", True), ("org=acme/", False), ("org%3Dacme", False), ("org%3Dacme/", True)]
)
def test_a_filter_that_was_put_raw_is_put_again(*, other: str, same: bool) -> None:
    """Both decode to the same prefix, and only one of them announces files."""
    first, second = ({"QueueConfigurations": [filtered(prefix)]} for prefix in ("org%3Dacme/", other))

    assert equivalent(first, second) is same


def test_a_filter_that_matches_no_key_is_named() -> None:
    """As it is written in the bucket, where somebody will look for it."""
    assert unencoded_filters(filtered("org=acme/")) == ["org=acme/"]
    assert unencoded_filters(filtered("Büro/")) == ["Büro/"]
    assert unencoded_filters(filtered("50%/")) == ["50%/"]
