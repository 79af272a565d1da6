"""The reason codes of dead letters: what each of them means, and what to do about it."""

from __future__ import annotations

from worker.errors import Reason

# Codes that trailsink never writes: SQS moved the letter itself, EventBridge or SNS put it into the queue because the
# source queue did not take it, or another sender did.
MAX_RECEIVES = "max_receives"
UNDELIVERED = "undelivered"
UNKNOWN = "unknown"
REASONS = (*(reason.value for reason in Reason), MAX_RECEIVES, UNDELIVERED, UNKNOWN)

MEANINGS = {
    Reason.MALFORMED_MESSAGE.value: "the message is not a notification of any known kind; find out who sent it",
    Reason.NOT_FOUND.value: "the object does not exist any more; restore it",
    Reason.EMPTY.value: "the object is empty; find out who wrote it",
    Reason.TRUNCATED.value: "the file ends early; its complete records are indexed; upload the complete file",
    Reason.CORRUPT.value: "gzip's checksum does not match; nothing from it is indexed; upload the correct file",
    Reason.TOO_LARGE.value: "the file is over the limit TRAILSINK_MAX_INFLATED_BYTES; raise the limit",
    Reason.NOT_JSON.value: "the file is not JSON, so not CloudTrail's; find out who wrote it",
    Reason.NO_RECORDS.value: "the file is JSON without a list `Records`, so not CloudTrail's; find out who wrote it",
    Reason.RECORDS_REJECTED.value: "records were rejected, by position; the others are indexed; fix the file",
    Reason.UNINDEXABLE.value: "a record costs the cluster its connection, even alone; the others are indexed",
    Reason.TOO_SCATTERED.value: "its records span more days than TRAILSINK_MAX_DAYS_PER_FILE; raise the limit",
    Reason.ARCHIVED.value: "the object is in an archive; restore it",
    Reason.FOREIGN_BUCKET.value: "the bucket is not one that may be read; allow it in TRAILSINK_BUCKETS if it is yours",
    MAX_RECEIVES: "SQS gave up after 60 receives: a long outage, or see the consumer's log; redrive it",
    UNDELIVERED: "EventBridge or SNS could not deliver it to the queue; fix what the detail names, then redrive it",
    UNKNOWN: "trailsink did not send this message; look at it with `trailsink dlq show ID`",
}
