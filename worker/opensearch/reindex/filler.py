"""What a copy gets its documents from, as the replacement of an index sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from worker.errors import TrailsinkError

if TYPE_CHECKING:
    from collections.abc import Iterator


class DocumentsRefused(TrailsinkError):  # noqa: N818 - named for what it is, as in worker.errors
    """This day cannot be reindexed: the new mapping refuses an event, or a file no longer has all of its events."""


class CopyStopped(TrailsinkError):  # noqa: N818
    """The cluster does not take more documents, or what was copied is not equal."""


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far the copy of a day has come: in writes, as the cluster numbers them, or in files."""

    copied: int
    total: int
    unit: str = "events copied"


class CopyFiller(Protocol):
    """Fills the copy of one index; each method raises CopyStopped and DocumentsRefused."""

    @property
    def memory(self) -> dict[str, Any]:
        """What the copy's mapping stores, for a run that continues after an interruption."""

    def resume(self, memory: dict[str, Any]) -> bool:
        """Continue from what another run stored; returns False where the copy was filled in another way."""

    def fill(self) -> Iterator[CopyProgress]:
        """Copy what is in the index while events arrive, until little is left."""

    def fill_rest(self) -> None:
        """Copy what is left, while writes are blocked."""

    def compare(self) -> int:
        """Compare the copy with the index, and return the number of its documents."""
