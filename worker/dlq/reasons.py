"""Why a dead letter is there: every reason code, what is wrong, and what to do."""

from __future__ import annotations

from worker.errors import Reason

# Two more than trailsink writes: SQS's own, and a letter that somebody else sent.
MAX_RECEIVES = "max_receives"
UNKNOWN = "unknown"
REASONS = (*(reason.value for reason in Reason), MAX_RECEIVES, UNKNOWN)

MEANINGS = {
    Reason.MALFORMED_MESSAGE.value: "the message is not a notification of any known kind; find out who sent it",
    Reason.NOT_FOUND.value: "the object is gone; restore it",
    Reason.EMPTY.value: "the object holds nothing; find out who wrote it",
    Reason.TRUNCATED.value: "the file ends early; its complete records are indexed; upload the whole file",
    Reason.CORRUPT.value: "gzip's checksum does not match; nothing of it is indexed; upload the true file",
    Reason.TOO_LARGE.value: "the file is over a limit (TRAILSINK_MAX_INFLATED_BYTES); raise it",
    Reason.NOT_JSON.value: "not a CloudTrail file; find out who wrote it",
    Reason.NO_RECORDS.value: "not a CloudTrail file; find out who wrote it",
    Reason.RECORDS_REJECTED.value: "some pieces of the file are not records; the others are indexed",
    Reason.TOO_SCATTERED.value: "its records are of too many days (TRAILSINK_MAX_DAYS_PER_FILE)",
    Reason.ARCHIVED.value: "the object is in an archive; restore it",
    MAX_RECEIVES: "SQS gave up on it; look for `crash` or a lasting refusal in the consumer's log",
    UNKNOWN: "somebody else sent it here",
}
