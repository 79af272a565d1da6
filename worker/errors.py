"""What can go wrong, arranged by what to do next.

TrailsinkError
├── MalformedMessage      not a notification we know; redelivery will not help: dead letter, body verbatim
├── UnreadableObject      the object is not what its key promises, here and everywhere: dead letter with a reason
├── NoEvents              the object is no log file, by its content: ignored, and counted by name
├── Unavailable           a service does not answer, or refuses for now: hand the message back, try again
│   ├── StoreUnavailable  S3
│   ├── IndexUnavailable  OpenSearch
│   ├── QueueUnavailable  SQS
│   └── OutOfTime         the invocation's clock
└── SetupError            the operator must change something; the text is one sentence that says what
    └── UnsafeAddress     credentials would leave this machine in clear text
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something is in the dead-letter queue: stable codes, the `reason` attribute of a dead letter."""

    MALFORMED_MESSAGE = "malformed_message"
    NOT_FOUND = "not_found"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NO_RECORDS = "no_records"
    RECORDS_REJECTED = "records_rejected"
    UNINDEXABLE = "unindexable"
    TOO_SCATTERED = "too_scattered"
    ARCHIVED = "archived"
    FOREIGN_BUCKET = "foreign_bucket"


# A second look at the object decides: a proxy, or a store that is not S3, may have changed its bytes on the way.
DOUBTFUL = frozenset({Reason.EMPTY, Reason.TRUNCATED, Reason.CORRUPT, Reason.NOT_JSON, Reason.NO_RECORDS})


class TrailsinkError(Exception):
    """Root of every error that trailsink raises on purpose."""


class MalformedMessage(TrailsinkError):  # noqa: N818 - named for what it is, as in the tree above
    """A message body that is no notification of any known shape."""


class UnreadableObject(TrailsinkError):  # noqa: N818
    """An object that will never be readable as it is.

    `reason` is the dead letter's code, `detail` one line for people.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class NoEvents(TrailsinkError):  # noqa: N818
    """An object whose content shows that it holds no events; `name` is what it is counted as."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Unavailable(TrailsinkError):  # noqa: N818
    """A service did not answer, or answered that it cannot now."""


class StoreUnavailable(Unavailable):
    """S3 did not return the object, for a cause that can pass or be fixed."""


class IndexUnavailable(Unavailable):
    """OpenSearch did not accept a request, for a cause that can pass or be fixed."""


class QueueUnavailable(Unavailable):
    """SQS did not carry out a request."""


class OutOfTime(Unavailable):
    """The invocation has no time left for this."""


class SetupError(TrailsinkError):
    """Something the operator has to change; the text is one sentence and says what."""


class UnsafeAddress(SetupError):  # noqa: N818
    """An address to which credentials would be sent in clear text: why, and what to do."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(f"{why}: {fix}.")
        self.why, self.fix = why, fix
