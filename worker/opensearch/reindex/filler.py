"""What a copy gets its documents from, as the replacement of an index sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from worker.errors import TrailsinkError

if TYPE_CHECKING:
    from collections.abc import Iterator


class DocumentsRefused(TrailsinkError):  # noqa: N818 - named for what it is, as in worker.errors
    """This day cannot be brought over: the new mapping refuses an event, or a file does not bring all of its own."""


class CopyStopped(TrailsinkError):  # noqa: N818
    """The cluster does not take more documents, or what was copied is not equal."""


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far the copy of a day has come: of so many writes, as the cluster numbers them, or of so many files."""

    copied: int
    total: int
    unit: str = "events copied"


class CopyFiller(Protocol):
    """Fills the copy of one index; each method raises CopyStopped and DocumentsRefused."""

    @property
    def memory(self) -> dict[str, Any]:
        """What the mapping of the copy keeps of it, for the run that goes on after an interruption."""

    def resume(self, memory: dict[str, Any]) -> bool:
        """Go on from what another run remembered; returns False where the copy was filled in another way."""

    def fill(self) -> Iterator[CopyProgress]:
        """Bring what is in the index while events arrive, until little is left."""

    def fill_rest(self) -> None:
        """Bring what is left, behind the write block."""

    def compare(self) -> int:
        """Hold the copy against the index, and return the number of its documents."""
