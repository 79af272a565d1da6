"""The verdict of a verification: one line, what is wrong grouped and the worst first, and the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.humanize import pluralize
from worker.verify.states import MEANINGS, NOTES, ProofState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.verify.states import VerifyTotals

COMPLETE, WRONG, NOT_JUDGED = 0, 1, 3

# What says nothing against the signed files: all of them are there.
_BESIDE = frozenset({ProofState.PLANTED})


def exit_code(totals: VerifyTotals) -> int:
    """Return the exit code: 0 only when complete, 3 when it could not be judged."""
    faults = set(totals.faults)
    if faults - {ProofState.NOT_JUDGED}:
        return WRONG
    return NOT_JUDGED if faults or not totals.chains else COMPLETE


def verdict_line(totals: VerifyTotals) -> str:
    """Return the verdict on one line."""
    faults = totals.faults
    if not totals.chains and not set(faults) - {ProofState.NOT_JUDGED}:
        return "not judged: no digest was found" if not faults else f"not judged: {_groups(totals, faults)}"
    filtered = f" ({totals.filtered:,} of them left out by filters)" if totals.filtered else ""
    counts = (
        f"{pluralize(totals.files, 'file')}, {pluralize(totals.events, 'event')}{filtered},"
        f" {pluralize(totals.chains, 'chain')}"
    )
    until = f", signed until {totals.signed_until} UTC" if totals.signed_until else ""
    if discarded := totals.states[ProofState.DISCARDED]:
        counts += f", {discarded:,} discarded"
    if not faults:
        return f"complete: {counts}{until}"
    if set(faults) <= _BESIDE:
        examples = ", ".join(totals.examples.get(ProofState.PLANTED, []))
        planted = pluralize(totals.states[ProofState.PLANTED], "planted file")
        return f"complete: {counts}{until}; but {planted}: {examples}"
    word = "not judged" if faults == [ProofState.NOT_JUDGED] else "not complete"
    return f"{word}: {_groups(totals, faults)}; of {counts}{until}"


def _groups(totals: VerifyTotals, states: list[ProofState]) -> str:
    return ", ".join(group_text(totals, state) for state in states)


def group_text(totals: VerifyTotals, state: ProofState) -> str:
    """Return how many there are of a state, in words."""
    number, meaning = totals.states[state], MEANINGS[state]
    return f"{number:,} {meaning.one if number == 1 else meaning.many}"


def explanation(totals: VerifyTotals) -> Iterator[tuple[ProofState, str, list[str], str]]:
    """Yield each state that was found, the worst first: its text, some examples, and what to do."""
    for state in ProofState:
        if totals.states[state] and state is not ProofState.VERIFIED:
            yield state, group_text(totals, state), totals.examples.get(state, []), MEANINGS[state].advice


def summary(totals: VerifyTotals) -> dict[str, Any]:
    """Return the members of the summary: the last line of a report, and what --json prints."""
    return {
        "verdict": verdict_line(totals),
        "complete": exit_code(totals) == COMPLETE,
        "files": totals.files,
        "events": totals.events,
        "filtered": totals.filtered,
        "digests": totals.digests,
        "chains": totals.chains,
        "signed_until": totals.signed_until,
        "hours_unsigned": totals.hours_unsigned,
        "states": {state.value: totals.states[state] for state in ProofState if totals.states[state]},
        "notes": sorted(state for state in NOTES if totals.states[state] and state is not ProofState.VERIFIED),
        "fingerprints": totals.fingerprints,
        "first_signature": totals.first_signature,
        "last_signature": totals.last_signature,
    }
