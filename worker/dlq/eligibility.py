"""Whether moving a dead letter back could end better than the first time: judged by its reason and by S3."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.dlq.reasons import MAX_RECEIVES
from worker.errors import Reason
from worker.pipeline.notifications import s3_notification
from worker.pipeline.objects import ObjectHead

if TYPE_CHECKING:
    from worker.dlq.letters import Letter
    from worker.pipeline.objects import ObjectRef


# The fault lies in the object's own bytes: read again, they say the same again.
_IN_THE_BYTES = frozenset(
    {Reason.EMPTY, Reason.TRUNCATED, Reason.CORRUPT, Reason.NOT_JSON, Reason.NO_RECORDS, Reason.RECORDS_REJECTED}
)


# A limit that the operator can raise; nothing tells from here whether that was done.
_BY_A_LIMIT = frozenset({Reason.TOO_LARGE, Reason.TOO_SCATTERED})


# The rejection that no setting and no mapping can change.
_NO_RECORD = "not_a_json_object"


@dataclass(frozen=True, slots=True)
class StoreError:
    """S3 could not be asked, and why."""

    cause: str


class RedriveAction(StrEnum):
    """What a redrive does with a letter."""

    AS_IT_IS = "as_it_is"
    NEWEST = "newest"  # announcing the object as it is now: the letter names a version, or an eTag, that is past
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class Assessment:
    """A verdict, and why, as a part of a sentence."""

    verdict: RedriveAction
    why: str
    body: str  # what goes to the source queue


def depends_on_s3(letter: Letter) -> ObjectRef | None:
    """Return the object whose state in S3 decides about a letter, None where there is none."""
    asked = letter.reason in _IN_THE_BYTES | _BY_A_LIMIT | {Reason.NOT_FOUND, Reason.ARCHIVED}
    return letter.objects[0] if asked and len(letter.objects) == 1 else None


def assess(letter: Letter, found: ObjectHead | StoreError | None, *, force: bool = False) -> Assessment:
    """Judge a letter, given what S3 holds now under the key that it names; None when nothing is there.

    With `force` nothing stays; an object that was written anew is announced anew all the same.
    """
    ref = depends_on_s3(letter)
    judged = _by_reason(letter) if ref is None else _by_object(letter, ref, found)
    if force and judged.verdict is RedriveAction.STAYS:
        return replace(judged, verdict=RedriveAction.AS_IT_IS, why="forced")
    return judged


def announce_latest_version(letter: Letter) -> Assessment:
    """Have a letter announce the newest version of its object, whatever that is."""
    refs = letter.objects
    if len(refs) != 1:
        return Assessment(RedriveAction.AS_IT_IS, "forced", letter.body)
    bare = replace(refs[0], version_id=None, size=None, etag=None)
    return Assessment(RedriveAction.NEWEST, "newest version asked for", s3_notification(bare))


def _by_reason(letter: Letter) -> Assessment:
    if letter.reason == MAX_RECEIVES:
        return Assessment(RedriveAction.AS_IT_IS, "what kept it from ending may be over", letter.body)
    if letter.reason != Reason.MALFORMED_MESSAGE and letter.objects:
        return Assessment(RedriveAction.AS_IT_IS, "nothing speaks against it", letter.body)
    return Assessment(RedriveAction.STAYS, "it is no notice that can be read", letter.body)


def _by_object(letter: Letter, ref: ObjectRef, found: ObjectHead | StoreError | None) -> Assessment:
    if isinstance(found, ObjectHead) and found.readable:
        return _by_bytes(letter, ref, found)
    if isinstance(found, StoreError) and letter.reason in (Reason.NOT_FOUND, Reason.ARCHIVED):
        return Assessment(RedriveAction.AS_IT_IS, f"S3 cannot be asked ({found.cause})", letter.body)
    if isinstance(found, StoreError):
        judged = _unchanged(letter)
        return (
            replace(judged, why=f"S3 cannot be asked ({found.cause})")
            if judged.verdict is RedriveAction.STAYS
            else judged
        )
    missing = "the object is not there" if found is None else "the object is archived"
    return Assessment(RedriveAction.STAYS, missing, letter.body)


def _by_bytes(letter: Letter, ref: ObjectRef, now: ObjectHead) -> Assessment:
    as_now = s3_notification(replace(ref, version_id=now.version_id, size=now.size, etag=now.etag))
    if _is_another(letter, ref, now):
        return Assessment(RedriveAction.NEWEST, "the object was written anew", as_now)
    if letter.reason == Reason.NOT_FOUND and ref.version_id not in (None, now.version_id):
        return Assessment(RedriveAction.NEWEST, "the object is there, in another version", as_now)
    if letter.reason in (Reason.NOT_FOUND, Reason.ARCHIVED):
        return Assessment(RedriveAction.AS_IT_IS, "the object can be read now", letter.body)
    return _unchanged(letter)


def _unchanged(letter: Letter) -> Assessment:
    if letter.reason in _BY_A_LIMIT:
        return Assessment(RedriveAction.AS_IT_IS, "a limit may have been raised", letter.body)
    if letter.reason == Reason.RECORDS_REJECTED and any(why != _NO_RECORD for _, why in letter.rejected):
        return Assessment(RedriveAction.AS_IT_IS, "what refused its records may be mended", letter.body)
    return Assessment(RedriveAction.STAYS, "the object has not changed", letter.body)


def _is_another(letter: Letter, ref: ObjectRef, now: ObjectHead) -> bool:
    """Say whether the object has other bytes than those that the letter is about.

    An eTag decides where the letter names one; else the time, of which S3 tells whole seconds only.
    docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    if ref.etag:
        return ref.etag != now.etag
    if ref.version_id and now.version_id not in (None, ref.version_id):
        return True
    if ref.size is not None and ref.size != now.size:
        return True
    return now.modified_at.timestamp() >= int(letter.sent_at)
