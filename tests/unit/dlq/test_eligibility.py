"""Promises about which letters a redrive moves: what can end better than the first time, and what would only loop."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from tests.support.fake_dlq import SENT_AT, letter, notice
from worker.dlq.eligibility import RedriveAction, StoreError, assess, depends_on_s3
from worker.dlq.letters import Attribute
from worker.errors import Reason
from worker.pipeline.objects import ObjectHead

if TYPE_CHECKING:
    from worker.dlq.letters import Letter

SENT = datetime.fromtimestamp(SENT_AT, UTC)
EARLIER = SENT.replace(year=2020)
SAME = ObjectHead("old", 3, None, SENT)
ANEW = ObjectHead("new", 5, None, SENT)
IN_THE_BYTES = ("empty", "truncated", "corrupt", "not_json", "no_records", "records_rejected")
SILENCE = StoreError("s3:403")


@pytest.mark.parametrize("reason", IN_THE_BYTES)
def test_a_fault_in_the_bytes_stays_until_the_bytes_are_others(reason: str) -> None:
    """The same bytes say the same again, however often."""
    one = letter(1, reason)

    assert assess(one, SAME).verdict is RedriveAction.STAYS
    assert assess(one, None).verdict is RedriveAction.STAYS
    assert assess(one, SILENCE).verdict is RedriveAction.STAYS
    assert assess(one, ANEW).verdict is RedriveAction.NEWEST


@pytest.mark.parametrize(
    ("reason", "same", "gone", "silent"),
    [
        ("not_found", RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.AS_IT_IS),
        ("archived", RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.AS_IT_IS),
        ("too_large", RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.AS_IT_IS),
        ("too_scattered", RedriveAction.AS_IT_IS, RedriveAction.STAYS, RedriveAction.AS_IT_IS),
        ("max_receives", RedriveAction.AS_IT_IS, RedriveAction.AS_IT_IS, RedriveAction.AS_IT_IS),
        ("unknown", RedriveAction.AS_IT_IS, RedriveAction.AS_IT_IS, RedriveAction.AS_IT_IS),
        ("malformed_message", RedriveAction.STAYS, RedriveAction.STAYS, RedriveAction.STAYS),
    ],
)
def test_other_reasons_go_by_whether_the_object_can_be_read(
    reason: str, same: RedriveAction, gone: RedriveAction, silent: RedriveAction
) -> None:
    """A limit can have been raised and an object restored; a message that is no notice stays one."""
    one = letter(1, "" if reason == "unknown" else reason, source="arn:q" if reason == "max_receives" else "")

    assert one.reason == reason
    assert [assess(one, state).verdict for state in (SAME, None, SILENCE)] == [same, gone, silent]


def test_every_reason_is_judged() -> None:
    """A reason that is added must be put somewhere on purpose."""
    judged = {*IN_THE_BYTES, "not_found", "archived", "too_large", "too_scattered", "malformed_message"}

    assert judged == {reason.value for reason in Reason}


@pytest.mark.parametrize("found", [SAME, None, SILENCE], ids=["the same", "gone", "silent"])
@pytest.mark.parametrize("reason", [reason.value for reason in Reason])
def test_force_leaves_nothing(reason: str, found: ObjectHead | StoreError | None) -> None:
    """The operator may know better."""
    judged = assess(letter(1, reason), found, force=True)

    assert judged.verdict is RedriveAction.AS_IT_IS
    assert judged.body == letter(1).body


def test_a_letter_that_names_a_broken_version_brings_the_mended_one() -> None:
    """Moved back as it is, it would read the broken version again, for ever."""
    one = letter(1, "truncated", notice("a b.json.gz", version_id="v1", size=3, etag="old"))

    judged = assess(one, structs.replace(ANEW, version_id="v2"))

    assert (judged.verdict, judged.why) == (RedriveAction.NEWEST, "the object was written anew")
    assert judged.body == notice("a b.json.gz", version_id="v2", size=5, etag="new")


def test_a_mended_object_is_announced_anew_even_when_forced_and_without_versions() -> None:
    """If it is broken still, the next letter names the new eTag, and the next redrive sees that nothing has changed."""
    judged = assess(letter(1, "truncated"), ANEW, force=True)
    again = letter(1, "truncated", judged.body)

    assert judged.verdict is RedriveAction.NEWEST
    assert assess(again, ANEW).verdict is RedriveAction.STAYS


def test_the_same_bytes_uploaded_again_mend_nothing() -> None:
    """An eTag tells the bytes, not the upload."""
    one = letter(1, "truncated", notice(version_id="v1", size=3, etag="old"))

    assert assess(one, ObjectHead("old", 3, "v2", SENT)).verdict is RedriveAction.STAYS


@pytest.mark.parametrize(
    ("body", "found", "verdict"),
    [
        (notice(), structs.replace(SAME, modified_at=SENT.replace(year=2030)), RedriveAction.NEWEST),
        (notice(), structs.replace(SAME, modified_at=EARLIER), RedriveAction.STAYS),
        (notice(size=4), structs.replace(SAME, modified_at=EARLIER), RedriveAction.NEWEST),
        (
            notice(version_id="v1"),
            structs.replace(SAME, version_id="v2", modified_at=EARLIER),
            RedriveAction.NEWEST,
        ),
        (
            notice(version_id="v1"),
            structs.replace(SAME, version_id="v1", modified_at=EARLIER),
            RedriveAction.STAYS,
        ),
    ],
)
def test_without_an_etag_version_size_and_time_tell_a_mended_object(
    body: str, found: ObjectHead, verdict: RedriveAction
) -> None:
    """CloudTrail's own notices name the key and nothing else."""
    assert assess(letter(1, "truncated", body), found).verdict is verdict


def test_an_object_that_is_archived_cannot_be_read() -> None:
    """A restore takes hours; until then it would only come back."""
    archived = structs.replace(SAME, readable=False)

    assert assess(letter(1, "archived"), archived).verdict is RedriveAction.STAYS
    assert assess(letter(1, "archived"), archived).why == "the object is archived"


def test_an_object_that_came_back_in_another_version_is_announced_so() -> None:
    """The version that the letter names may be gone for good."""
    one = letter(1, "not_found", notice(version_id="v1", size=3, etag="old"))

    judged = assess(one, ObjectHead("old", 3, "v2", SENT))

    assert (judged.verdict, judged.body) == (RedriveAction.NEWEST, notice(version_id="v2", size=3, etag="old"))


def rejecting(*reasons: str) -> Letter:
    pairs = ",".join(f'[{at},"{why}"]' for at, why in enumerate(reasons))
    one = letter(1, "records_rejected")
    return replace(one, attributes={**one.attributes, "rejected": Attribute("String", f"[{pairs}]")})


def test_records_that_the_cluster_refused_may_be_taken_now() -> None:
    """A mapping and a limit can be changed; a piece that is no JSON object stays none."""
    assert assess(rejecting("not_a_json_object"), SAME).verdict is RedriveAction.STAYS
    assert assess(rejecting("not_a_json_object", "mapper_parsing_exception"), SAME).verdict is RedriveAction.AS_IT_IS
    assert assess(rejecting("too_large"), SAME).verdict is RedriveAction.AS_IT_IS


def test_s3_is_asked_only_where_it_decides() -> None:
    """Thousands of letters that SQS moved need no thousand questions."""
    assert depends_on_s3(letter(1, "", source="arn:q")) is None
    assert depends_on_s3(letter(1, "malformed_message", "garbage")) is None
    assert depends_on_s3(letter(1, "truncated")) == letter(1).objects[0]
