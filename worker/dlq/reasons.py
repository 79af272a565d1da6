"""The reason codes of dead letters: what each of them means, and what to do about it."""

from __future__ import annotations

from worker.errors import Reason

# Two codes that trailsink never writes: SQS moved the letter itself, or another sender put it into the queue.
MAX_RECEIVES = "max_receives"
UNKNOWN = "unknown"
REASONS = (*(reason.value for reason in Reason), MAX_RECEIVES, UNKNOWN)

MEANINGS = {
    Reason.MALFORMED_MESSAGE.value: "the message is not a notification of any known kind; find out who sent it",
    Reason.NOT_FOUND.value: "the object is gone; restore it",
    Reason.EMPTY.value: "the object is empty; find out who wrote it",
    Reason.TRUNCATED.value: "the file ends early; its complete records are indexed; upload the whole file",
    Reason.CORRUPT.value: "gzip's checksum does not match; nothing from it is indexed; upload the correct file",
    Reason.TOO_LARGE.value: "the file is over a limit (TRAILSINK_MAX_INFLATED_BYTES); raise it",
    Reason.NOT_JSON.value: "not a CloudTrail file; find out who wrote it",
    Reason.NO_RECORDS.value: "not a CloudTrail file; find out who wrote it",
    Reason.RECORDS_REJECTED.value: "some pieces of the file are not records; the others are indexed",
    Reason.TOO_SCATTERED.value: "its records span too many days (TRAILSINK_MAX_DAYS_PER_FILE)",
    Reason.ARCHIVED.value: "the object is in an archive; restore it",
    MAX_RECEIVES: "SQS gave up on it; look for `crash` or a lasting refusal in the consumer's log",
    UNKNOWN: "another sender put it here",
}
