"""Everything about one dead letter, for whoever has to decide what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worker.dlq.eligibility import Verdict  # noqa: TC001
from worker.dlq.letters import MEANINGS, Shown
from worker.dlq.records import FileNow  # noqa: TC001 - msgspec needs it at runtime

if TYPE_CHECKING:
    from worker.dlq.eligibility import Judgement
    from worker.dlq.letters import Letter


class Detail(msgspec.Struct, frozen=True):
    """A letter as `show --json` prints it; `file` only with --records."""

    letter: Shown
    meaning: str
    source_queue: str | None
    trailsink_version: str | None
    etag: str | None
    size: int | None
    version_id: str | None
    redrive: Verdict
    redrive_why: str
    attributes: dict[str, str]
    body: str
    file: FileNow | None = None

    @classmethod
    def of(cls, letter: Letter, judged: Judgement, now: float, file: FileNow | None) -> Detail:
        """Describe a letter as it is at `now`, in epoch seconds."""
        ref = letter.objects[0] if len(letter.objects) == 1 else None
        return cls(
            Shown.of(letter, now),
            MEANINGS.get(letter.reason, "a reason that this version of trailsink does not know"),
            letter.source or None,
            letter.said("trailsink_version") or None,
            ref.etag if ref else None,
            ref.size if ref else None,
            ref.version_id if ref else None,
            judged.verdict,
            judged.why,
            {name: one.value for name, one in letter.attributes.items()},
            letter.body,
            file,
        )
