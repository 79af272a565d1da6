"""Results of health checks: the statuses of both commands, judgements of facts, and the doctor's findings."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class CheckStatus(StrEnum):
    """How a check ended, or the state of a part of the pipeline."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    NOT_CHECKED = "not checked"  # the doctor could not check it
    UNKNOWN = "unknown"  # the same in `trailsink status`, for a part that the pipeline does without


class Judgement(NamedTuple):
    """What one fact means: its status, the evidence, and how to fix it ("" when there is nothing to fix)."""

    status: CheckStatus
    evidence: str
    fix: str = ""

    @classmethod
    def ok(cls, evidence: str) -> Judgement:
        """Return that it is as it should be."""
        return cls(CheckStatus.OK, evidence)

    @classmethod
    def warning(cls, evidence: str, fix: str) -> Judgement:
        """Return that it works, but perhaps not for long, or not for everything."""
        return cls(CheckStatus.WARNING, evidence, fix)

    @classmethod
    def fault(cls, evidence: str, fix: str) -> Judgement:
        """Return that it does not work, or loses something."""
        return cls(CheckStatus.FAULT, evidence, fix)

    @classmethod
    def not_checked(cls, evidence: str, fix: str = "") -> Judgement:
        """Return that it could not be checked; `fix` says how it could be."""
        return cls(CheckStatus.NOT_CHECKED, evidence, fix)


# From the worst: what is not known outweighs only what is well.
_BY_SEVERITY = (CheckStatus.FAULT, CheckStatus.WARNING, CheckStatus.NOT_CHECKED, CheckStatus.UNKNOWN, CheckStatus.OK)


def worst(statuses: Iterable[CheckStatus]) -> CheckStatus:
    """Return the worst of statuses, OK for none."""
    return min(statuses, key=_BY_SEVERITY.index, default=CheckStatus.OK)


class Finding(msgspec.Struct, frozen=True, rename={"status": "verdict"}):
    """One check of the doctor: what was checked, the evidence, and how to fix it ("" when there is nothing to fix)."""

    status: CheckStatus
    check: str
    evidence: str
    fix: str = ""
