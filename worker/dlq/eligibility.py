"""Whether moving a dead letter back can succeed this time: decided by its reason and by its object in S3."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from worker.dlq.reasons import MAX_RECEIVES, UNDELIVERED, UNKNOWN
from worker.errors import DOUBTFUL, Reason
from worker.pipeline.buckets import NOT_ALLOWED
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectHead

if TYPE_CHECKING:
    from worker.dlq.letters import Letter
    from worker.pipeline.objects import ObjectRef


# The fault is in the object's own bytes: reading the same bytes again gives the same result.
_FAULT_IN_BYTES = DOUBTFUL | {Reason.RECORDS_REJECTED, Reason.UNINDEXABLE}

# A limit that the operator can raise. Nothing in S3 or in the letter shows whether that happened.
_OVER_A_LIMIT = frozenset({Reason.TOO_LARGE, Reason.TOO_SCATTERED})

_COULD_NOT_BE_READ = frozenset({Reason.NOT_FOUND, Reason.ARCHIVED, Reason.FOREIGN_BUCKET})

_DECIDED_BY_S3 = _FAULT_IN_BYTES | _OVER_A_LIMIT | _COULD_NOT_BE_READ

# The cause of a rejection that no setting and no mapping can change.
_NOT_A_RECORD = "not_a_json_object"

# When a redrive without --force moves the letters of each reason: the rules of this module, for the documentation.
REDRIVE_RULES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (Reason.EMPTY, Reason.TRUNCATED, Reason.CORRUPT, Reason.NOT_JSON, Reason.NO_RECORDS),
        (
            "Moved when the object was replaced (S3 reports another eTag or, for a letter without one, another version,"
            " another size or a later time), or when it was read again and is in order."
        ),
    ),
    (
        (Reason.UNINDEXABLE,),
        "Moved when the object was replaced: its records would cost the cluster its connection again.",
    ),
    (
        (Reason.RECORDS_REJECTED,),
        (
            "Moved when the object was replaced, or when a limit or the cluster rejected some of its records (a cause"
            " other than `not_a_json_object`)."
        ),
    ),
    ((Reason.NOT_FOUND, Reason.ARCHIVED), "Moved when the object can be read now, or cannot be checked in S3."),
    (
        (Reason.TOO_LARGE, Reason.TOO_SCATTERED),
        "Moved when the object can be read, or cannot be checked in S3: the limit may have been raised.",
    ),
    (
        (Reason.FOREIGN_BUCKET,),
        "Moved when the settings of the command allow the bucket and the object exists, or cannot be checked in S3.",
    ),
    ((MAX_RECEIVES,), "Always moved."),
    ((UNDELIVERED, UNKNOWN), "Moved when the body announces an object."),
    ((Reason.MALFORMED_MESSAGE,), "Never moved."),
)


@dataclass(frozen=True, slots=True)
class StoreError:
    """S3 did not describe the object, and why."""

    cause: str


# What S3 holds under a key: None when there is no object.
ObjectState: TypeAlias = ObjectHead | StoreError | None


class RedriveAction(StrEnum):
    """What a redrive does with a letter."""

    AS_IT_IS = "as_it_is"
    NEWEST = "newest"  # announces the object as it is now: the letter names a version or an eTag that was replaced
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a redrive does with a letter, and why, as a part of a sentence. `body` goes to the source queue."""

    action: RedriveAction
    why: str
    body: str


def must_be_read(letter: Letter, state: ObjectState) -> bool:
    """Return whether only another look at the unchanged object can tell if its letter still holds."""
    ref = depends_on_s3(letter)
    if ref is None or letter.reason not in DOUBTFUL or not isinstance(state, ObjectHead):
        return False
    return state.readable and not _was_replaced(letter, ref, state)


def depends_on_s3(letter: Letter) -> ObjectRef | None:
    """Return the object whose state in S3 decides about a letter, None when S3 does not matter."""
    return letter.objects[0] if letter.reason in _DECIDED_BY_S3 and len(letter.objects) == 1 else None


def assess(letter: Letter, state: ObjectState, *, problem: str | None = None, force: bool = False) -> Assessment:
    """Decide what to do with a letter, given what S3 holds now under the key that it names.

    `problem` is why the object cannot be read now, "" when it can, None when it was not read. With `force` no letter
    stays. An object that was replaced is still announced as it is now.
    """
    ref = depends_on_s3(letter)
    assessment = _by_reason(letter) if ref is None else _by_object(letter, ref, state)
    if problem == "":
        assessment = _as_it_is(letter, "the object can be read now")
    elif problem:
        assessment = _stays(letter, f"the object has not changed, and was read again: {problem}")
    if force and assessment.action is RedriveAction.STAYS:
        return replace(assessment, action=RedriveAction.AS_IT_IS, why="forced")
    return assessment


def announce_latest_version(letter: Letter) -> Assessment:
    """Have a letter announce the newest version of its object, whichever that is."""
    refs = letter.objects
    if len(refs) != 1:
        return _as_it_is(letter, "forced")
    bare = replace(refs[0], version_id=None, size=None, etag=None)
    return Assessment(RedriveAction.NEWEST, "newest version requested", s3_notification(bare))


def _as_it_is(letter: Letter, why: str) -> Assessment:
    return Assessment(RedriveAction.AS_IT_IS, why, letter.body)


def _stays(letter: Letter, why: str) -> Assessment:
    return Assessment(RedriveAction.STAYS, why, letter.body)


def _by_reason(letter: Letter) -> Assessment:
    if letter.reason == MAX_RECEIVES:
        return _as_it_is(letter, "the cause may be gone")
    if letter.reason != Reason.MALFORMED_MESSAGE and letter.objects:
        return _as_it_is(letter, "nothing prevents it")
    return _stays(letter, "the message is not a readable notification")


def _by_object(letter: Letter, ref: ObjectRef, state: ObjectState) -> Assessment:
    if isinstance(state, StoreError):
        return _unchecked(letter, state)
    if state is None:
        return _stays(letter, "the object does not exist")
    if not state.readable:
        return _stays(letter, "the object is archived")
    return _by_bytes(letter, ref, state)


def _unchecked(letter: Letter, error: StoreError) -> Assessment:
    """Decide without an answer from S3."""
    if error.cause == NOT_ALLOWED:
        return _stays(letter, "TRAILSINK_BUCKETS does not allow its bucket")
    why = f"the object cannot be checked in S3 ({error.cause})"
    if letter.reason in _COULD_NOT_BE_READ:
        return _as_it_is(letter, why)
    assessment = _unchanged(letter)
    return replace(assessment, why=why) if assessment.action is RedriveAction.STAYS else assessment


def _by_bytes(letter: Letter, ref: ObjectRef, now: ObjectHead) -> Assessment:
    as_now = s3_notification(replace(ref, version_id=now.version_id, size=now.size, etag=now.etag))
    if _was_replaced(letter, ref, now):
        return Assessment(RedriveAction.NEWEST, "the object was replaced", as_now)
    if letter.reason == Reason.NOT_FOUND and ref.version_id not in (None, now.version_id):
        return Assessment(RedriveAction.NEWEST, "the object exists in another version", as_now)
    if letter.reason in _COULD_NOT_BE_READ:
        return _as_it_is(letter, "the object can be read now")
    return _unchanged(letter)


def _unchanged(letter: Letter) -> Assessment:
    if letter.reason in _OVER_A_LIMIT:
        return _as_it_is(letter, "a limit may have been raised")
    if letter.reason == Reason.RECORDS_REJECTED and any(cause != _NOT_A_RECORD for _, cause in letter.rejected):
        return _as_it_is(letter, "what rejected its records may be fixed")
    return _stays(letter, "the object has not changed")


def _was_replaced(letter: Letter, ref: ObjectRef, now: ObjectHead) -> bool:
    """Return whether the object holds other bytes than those that the letter is about.

    The eTag decides when the letter names one. Otherwise another version or size does, and in the end the time, which
    S3 reports in whole seconds.
    docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    if ref.etag:
        return ref.etag != now.etag
    if ref.version_id and now.version_id not in (None, ref.version_id):
        return True
    if ref.size is not None and ref.size != now.size:
        return True
    return now.modified_at.timestamp() >= int(letter.sent_at)
