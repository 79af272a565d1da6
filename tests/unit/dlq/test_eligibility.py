"""Promises about which letters a redrive moves: those that can succeed this time, none that would only fail again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from tests.support.fake_dlq import SENT_AT, letter, notification
from worker.dlq.eligibility import (
    REDRIVE_RULES,
    RedriveAction,
    StoreError,
    announce_latest_version,
    assess,
    depends_on_s3,
    must_be_read,
)
from worker.dlq.letters import Attribute
from worker.dlq.reasons import REASONS
from worker.errors import Reason
from worker.pipeline.buckets import NOT_ALLOWED
from worker.pipeline.objects import ObjectHead

if TYPE_CHECKING:
    from worker.dlq.eligibility import ObjectState
    from worker.dlq.letters import Letter

SENT = datetime.fromtimestamp(SENT_AT, UTC)
EARLIER = SENT.replace(year=2020)
UNCHANGED = ObjectHead("old", 3, None, SENT)
REPLACED = ObjectHead("new", 5, None, SENT)
FAULT_IN_BYTES = ("empty", "truncated", "corrupt", "not_json", "no_records", "records_rejected", "unindexable")
UNCHECKED = StoreError("s3:403")


def letter_of(reason: str) -> Letter:
    """A letter with this reason, however that comes about."""
    if reason == "undelivered":
        return replace(letter(1, ""), attributes={"ERROR_CODE": Attribute("String", "NO_PERMISSIONS")})
    return letter(1, "" if reason == "unknown" else reason, source="arn:q" if reason == "max_receives" else "")


@pytest.mark.parametrize("reason", FAULT_IN_BYTES)
def test_a_fault_in_the_bytes_stays_until_the_object_is_replaced(reason: str) -> None:
    """The same bytes give the same result, however often they are read."""
    letter = letter_of(reason)

    assert assess(letter, UNCHANGED).action is RedriveAction.STAYS
    assert assess(letter, None).action is RedriveAction.STAYS
    assert assess(letter, UNCHECKED).action is RedriveAction.STAYS
    assert assess(letter, REPLACED).action is RedriveAction.NEWEST


@pytest.mark.parametrize(
    ("reason", "unchanged", "missing", "unchecked"),
    [
        ("not_found", RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.AS_IT_IS),
        ("archived", RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.AS_IT_IS),
        ("foreign_bucket", RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.AS_IT_IS),
        ("too_large", RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.AS_IT_IS),
        ("too_scattered", RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.AS_IT_IS),
        ("max_receives", RedriveAction.AS_IT_IS, RedriveAction.AS_IT_IS, RedriveAction.AS_IT_IS),
        ("undelivered", RedriveAction.AS_IT_IS, RedriveAction.AS_IT_IS, RedriveAction.AS_IT_IS),
        ("unknown", RedriveAction.AS_IT_IS, RedriveAction.AS_IT_IS, RedriveAction.AS_IT_IS),
        ("malformed_message", RedriveAction.STAYS, RedriveAction.STAYS, RedriveAction.STAYS),
    ],
)
def test_other_reasons_depend_on_whether_the_object_can_be_read(
    reason: str, unchanged: RedriveAction, missing: RedriveAction, unchecked: RedriveAction
) -> None:
    """A limit can have been raised and an object restored; a message that is no notification stays none."""
    letter = letter_of(reason)

    assert letter.reason == reason
    assert [assess(letter, state).action for state in (UNCHANGED, None, UNCHECKED)] == [unchanged, missing, unchecked]


@pytest.mark.parametrize("reason", ["foreign_bucket", "not_found", "archived", "too_large"])
def test_a_letter_about_a_bucket_that_is_not_allowed_stays(reason: str) -> None:
    """The consumer would refuse it again, and S3 must not be asked about a bucket that anybody can name."""
    assessment = assess(letter_of(reason), StoreError(NOT_ALLOWED))

    assert assessment.action is RedriveAction.STAYS
    assert "TRAILSINK_BUCKETS" in assessment.why


def test_every_reason_is_assessed() -> None:
    """A reason that is added must be assigned on purpose."""
    limits = {"too_large", "too_scattered"}
    assessed = {*FAULT_IN_BYTES, *limits, "not_found", "archived", "foreign_bucket", "malformed_message"}

    assert assessed == {reason.value for reason in Reason}


def test_the_documented_rules_name_every_reason_once() -> None:
    """The reference page is printed from them."""
    reasons = [str(reason) for group, _ in REDRIVE_RULES for reason in group]

    assert sorted(reasons) == sorted(REASONS)
    assert all(sentence.endswith(".") for _, sentence in REDRIVE_RULES)


@pytest.mark.parametrize("reasons", [reasons for reasons, _ in REDRIVE_RULES], ids=" ".join)
def test_the_reasons_of_one_documented_rule_are_treated_alike(reasons: tuple[str, ...]) -> None:
    """Otherwise one sentence could not be true of all of them."""
    states: tuple[ObjectState, ...] = (UNCHANGED, REPLACED, structs.replace(UNCHANGED, readable=False), None, UNCHECKED)

    actions = {tuple(assess(letter_of(reason), state).action for state in states) for reason in reasons}

    assert len(actions) == 1


def test_a_letter_of_another_sender_is_moved_only_if_it_announces_an_object() -> None:
    """The consumer could do nothing with any other message."""
    assert assess(letter(1, ""), None).action is RedriveAction.AS_IT_IS
    assert assess(letter(1, "", "garbage"), None).action is RedriveAction.STAYS
    assert assess(letter(1, "", "garbage", source="arn:q"), None).action is RedriveAction.AS_IT_IS


@pytest.mark.parametrize("state", [UNCHANGED, None, UNCHECKED], ids=["unchanged", "missing", "unchecked"])
@pytest.mark.parametrize("reason", [reason.value for reason in Reason])
def test_with_force_no_letter_stays(reason: str, state: ObjectState) -> None:
    """The operator may know better."""
    assessment = assess(letter(1, reason), state, force=True)

    assert assessment.action is RedriveAction.AS_IT_IS
    assert assessment.body == letter(1).body


def test_a_letter_that_names_a_broken_version_brings_the_fixed_one() -> None:
    """Moved back as it is, it would make the consumer read the broken version for ever."""
    truncated = letter(1, "truncated", notification("a b.json.gz", version_id="v1", size=3, etag="old"))

    assessment = assess(truncated, structs.replace(REPLACED, version_id="v2"))

    assert (assessment.action, assessment.why) == (RedriveAction.NEWEST, "the object was replaced")
    assert assessment.body == notification("a b.json.gz", version_id="v2", size=5, etag="new")


def test_an_object_that_was_replaced_is_announced_as_it_is_now_even_with_force_and_without_versions() -> None:
    """If it is still broken, the next letter names the new eTag, and the next redrive sees that nothing has changed."""
    assessment = assess(letter(1, "truncated"), REPLACED, force=True)
    next_letter = letter(1, "truncated", assessment.body)

    assert assessment.action is RedriveAction.NEWEST
    assert assess(next_letter, REPLACED).action is RedriveAction.STAYS


def test_uploading_the_same_bytes_again_fixes_nothing() -> None:
    """An eTag identifies the bytes, not the upload."""
    truncated = letter(1, "truncated", notification(version_id="v1", size=3, etag="old"))

    assert assess(truncated, ObjectHead("old", 3, "v2", SENT)).action is RedriveAction.STAYS


@pytest.mark.parametrize(
    ("body", "state", "action"),
    [
        (notification(), structs.replace(UNCHANGED, modified_at=SENT.replace(year=2030)), RedriveAction.NEWEST),
        (notification(), structs.replace(UNCHANGED, modified_at=EARLIER), RedriveAction.STAYS),
        (notification(size=4), structs.replace(UNCHANGED, modified_at=EARLIER), RedriveAction.NEWEST),
        (
            notification(version_id="v1"),
            structs.replace(UNCHANGED, version_id="v2", modified_at=EARLIER),
            RedriveAction.NEWEST,
        ),
        (
            notification(version_id="v1"),
            structs.replace(UNCHANGED, version_id="v1", modified_at=EARLIER),
            RedriveAction.STAYS,
        ),
    ],
)
def test_without_an_etag_version_size_and_time_show_a_replaced_object(
    body: str, state: ObjectHead, action: RedriveAction
) -> None:
    """CloudTrail's own notifications name the key and nothing else."""
    assert assess(letter(1, "truncated", body), state).action is action


def test_an_archived_object_cannot_be_read() -> None:
    """A restore takes hours; until then the letter would only fail again."""
    archived = structs.replace(UNCHANGED, readable=False)

    assert assess(letter(1, "archived"), archived).action is RedriveAction.STAYS
    assert assess(letter(1, "archived"), archived).why == "the object is archived"


def test_an_object_that_exists_in_another_version_is_announced_in_that_version() -> None:
    """The version that the letter names may be deleted for good."""
    not_found = letter(1, "not_found", notification(version_id="v1", size=3, etag="old"))

    assessment = assess(not_found, ObjectHead("old", 3, "v2", SENT))

    assert assessment.action is RedriveAction.NEWEST
    assert assessment.body == notification(version_id="v2", size=3, etag="old")


def rejecting(*reasons: str) -> Letter:
    """A letter about records that were rejected for these reasons."""
    pairs = ",".join(f'[{position},"{reason}"]' for position, reason in enumerate(reasons))
    records_rejected = letter(1, "records_rejected")
    attributes = {**records_rejected.attributes, "rejected": Attribute("String", f"[{pairs}]")}
    return replace(records_rejected, attributes=attributes)


def test_records_that_the_cluster_rejected_may_be_accepted_now() -> None:
    """A mapping and a limit can be changed; a piece that is not a JSON object stays one."""
    mapping = rejecting("not_a_json_object", "mapper_parsing_exception")

    assert assess(rejecting("not_a_json_object"), UNCHANGED).action is RedriveAction.STAYS
    assert assess(mapping, UNCHANGED).action is RedriveAction.AS_IT_IS
    assert assess(rejecting("too_large"), UNCHANGED).action is RedriveAction.AS_IT_IS


def test_s3_is_checked_only_where_it_decides() -> None:
    """Thousands of letters that SQS moved need no thousand requests."""
    assert depends_on_s3(letter(1, "", source="arn:q")) is None
    assert depends_on_s3(letter(1, "malformed_message", "garbage")) is None
    assert depends_on_s3(letter(1, "truncated")) == letter(1).objects[0]


def test_the_newest_version_is_announced_only_for_exactly_one_object() -> None:
    """The body of any other letter is moved as it is."""
    garbage = letter(1, "malformed_message", "garbage")

    assert announce_latest_version(letter(1)).body == notification("1.json.gz")
    assert announce_latest_version(garbage).action is RedriveAction.AS_IT_IS
    assert announce_latest_version(garbage).body == "garbage"


DOUBTFUL = ("empty", "truncated", "corrupt", "not_json", "no_records")


@pytest.mark.parametrize("reason", DOUBTFUL)
def test_an_unchanged_object_is_read_again_and_moves_if_it_is_in_order(reason: str) -> None:
    """The letter may be a proxy's fault: the same eTag says that the object was good all along."""
    letter = letter_of(reason)

    assert must_be_read(letter, UNCHANGED)
    assert assess(letter, UNCHANGED, problem="").action is RedriveAction.AS_IT_IS
    assert assess(letter, UNCHANGED, problem=reason).action is RedriveAction.STAYS
    assert reason in assess(letter, UNCHANGED, problem=reason).why
    assert assess(letter, UNCHANGED, problem=reason, force=True).action is RedriveAction.AS_IT_IS


@pytest.mark.parametrize("state", [None, UNCHECKED, REPLACED, structs.replace(UNCHANGED, readable=False)])
def test_only_what_can_be_read_and_was_not_replaced_is_read(state: ObjectState) -> None:
    """Each look costs the download of a file."""
    assert not must_be_read(letter_of("truncated"), state)


@pytest.mark.parametrize("reason", ["records_rejected", "unindexable", "too_large", "not_found", "max_receives"])
def test_other_reasons_need_no_second_look(reason: str) -> None:
    """Their letters say what the object holds, or nothing of it."""
    assert not must_be_read(letter_of(reason), UNCHANGED)
