"""What can be said of a file and of a chain of digests: the worst first, each with what to do."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

# Examples of each state that are kept for people; the report has all.
_MAX_EXAMPLES = 10


class ProofState(StrEnum):
    """What was found, the worst first."""

    LOST = "lost"
    ALTERED = "altered"
    ALTERED_IN_INDEX = "altered_in_index"
    DIGEST_ALTERED = "digest_altered"
    DIGEST_MISSING = "digest_missing"
    MISSING = "missing"
    INCOMPLETE = "incomplete"
    DELETED = "deleted"
    PLANTED = "planted"
    DEAD_LETTER = "dead_letter"
    DISCARDED = "discarded"
    VALIDATION_OFF = "validation_off"
    UNSIGNED = "unsigned"
    NOT_JUDGED = "not_judged"
    NOT_COVERED = "not_covered"
    UNNAMED = "unnamed"
    VERIFIED = "verified"


class Meaning(NamedTuple):
    """What a state means, in the singular and in the plural, and what to do about it."""

    one: str
    many: str
    advice: str


MEANINGS = {
    ProofState.LOST: Meaning(
        "file is lost: signed, neither in S3 nor in the index",
        "files are lost: signed, neither in S3 nor in the index",
        "look for older versions in the bucket, or for a replica",
    ),
    ProofState.ALTERED: Meaning(
        "file was altered in S3",
        "files were altered in S3",
        "restore the version that CloudTrail delivered; the index may still hold the true records",
    ),
    ProofState.ALTERED_IN_INDEX: Meaning(
        "file has documents in the index that differ from its records",
        "files have documents in the index that differ from their records",
        "find out who may write to the index, delete the documents, and load the files again",
    ),
    ProofState.DIGEST_ALTERED: Meaning(
        "digest is not CloudTrail's", "digests are not CloudTrail's", "restore the version that CloudTrail delivered"
    ),
    ProofState.DIGEST_MISSING: Meaning(
        "digest is missing",
        "digests are missing",
        "look for older versions in the bucket; ask CloudTrail who stopped logging or deleted them",
    ),
    ProofState.MISSING: Meaning(
        "signed file is not in the index", "signed files are not in the index", "load them: trailsink verify --load"
    ),
    ProofState.INCOMPLETE: Meaning(
        "signed file is not wholly in the index",
        "signed files are not wholly in the index",
        "load them: trailsink verify --load",
    ),
    ProofState.DELETED: Meaning(
        "file is gone from S3, and in the index",
        "files are gone from S3, and in the index",
        "the index is the surviving copy: keep it, and find out who deleted them",
    ),
    ProofState.PLANTED: Meaning(
        "planted file: in a signed hour, and in no digest",
        "planted files: in signed hours, and in no digest",
        "find out who wrote them; a second trail without validation in this bucket writes such files, too",
    ),
    ProofState.DEAD_LETTER: Meaning(
        "signed file is a dead letter", "signed files are dead letters", "see trailsink dlq list"
    ),
    ProofState.DISCARDED: Meaning(
        "signed file was discarded: it could not be indexed",
        "signed files were discarded: they could not be indexed",
        "nothing; trailsink backfill without --missing loads them again",
    ),
    ProofState.VALIDATION_OFF: Meaning(
        "hour without log file validation",
        "hours without log file validation",
        "nothing can prove their files; ask CloudTrail who switched it off",
    ),
    ProofState.UNSIGNED: Meaning(
        "file is in no digest: validation was off, or its digest is missing",
        "files are in no digest: validation was off, or their digests are missing",
        "nothing can prove them; switch log file validation on",
    ),
    ProofState.NOT_JUDGED: Meaning(
        "part could not be judged", "parts could not be judged", "grant the rights, or pass --keys, and run it again"
    ),
    ProofState.NOT_COVERED: Meaning(
        "file is younger than the newest digest", "files are younger than the newest digest", "run it again later"
    ),
    ProofState.UNNAMED: Meaning(
        "file is of a kind that no digest names", "files are of a kind that no digest names", "nothing"
    ),
}

# None proves that something is wrong. What was discarded, the operator decided on.
NOTES = frozenset({ProofState.DISCARDED, ProofState.NOT_COVERED, ProofState.UNNAMED, ProofState.VERIFIED})


class VerifyFinding(msgspec.Struct, frozen=True):
    """One thing that was found: what it is about (an address, or a chain), and a detail for people.

    `number` is how many it stands for: of digests that are missing in a row.
    """

    state: ProofState
    subject: str
    detail: str = ""
    number: int = 1

    @property
    def text(self) -> str:
        """The finding on one line."""
        return f"{self.subject}: {self.detail}" if self.detail else self.subject


class VerifyTotals(msgspec.Struct):
    """What a run has counted. Its size does not grow with the number of files."""

    states: dict[str, int] = msgspec.field(default_factory=lambda: {state.value: 0 for state in ProofState})
    examples: dict[str, list[str]] = msgspec.field(default_factory=dict)
    files: int = 0
    events: int = 0
    filtered: int = 0
    digests: int = 0
    chains: int = 0
    signed_until: str = ""
    first_signature: str = ""
    last_signature: str = ""
    fingerprints: list[str] = msgspec.field(default_factory=list)

    def add(self, finding: VerifyFinding) -> None:
        """Count a finding, and keep it as an example if there are few."""
        self.states[finding.state] += finding.number
        if finding.state is ProofState.VERIFIED:
            return
        examples = self.examples.setdefault(finding.state, [])
        if len(examples) < _MAX_EXAMPLES:
            examples.append(finding.text)

    @property
    def hours_unsigned(self) -> int:
        """The hours that no digest covers."""
        return self.states[ProofState.VALIDATION_OFF] + self.states[ProofState.DIGEST_MISSING]

    @property
    def faults(self) -> list[ProofState]:
        """The states that are wrong, the worst first."""
        return [state for state in ProofState if self.states[state] and state not in NOTES]
