"""What a look comes to: the verdicts of doctor and status, and the doctor's findings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    """How a check ended, or how a part of the pipeline is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    NOT_CHECKED = "not checked"  # a check that could not look
    UNKNOWN = "unknown"  # a part that could not be looked at, and that the pipeline does without


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, what was seen, and what to do about it ("" when nothing)."""

    verdict: CheckStatus
    check: str
    evidence: str
    fix: str = ""


def ok(check: str, evidence: str) -> Finding:
    """Say that all is as it should be."""
    return Finding(CheckStatus.OK, check, evidence)


def warning(check: str, evidence: str, fix: str) -> Finding:
    """Say that it works, and may not for long, or not for all."""
    return Finding(CheckStatus.WARNING, check, evidence, fix)


def fault(check: str, evidence: str, fix: str) -> Finding:
    """Say that it does not work, or loses something."""
    return Finding(CheckStatus.FAULT, check, evidence, fix)


def not_checked(check: str, evidence: str, fix: str = "") -> Finding:
    """Say that it cannot be seen from here; `fix` is how it could be."""
    return Finding(CheckStatus.NOT_CHECKED, check, evidence, fix)
