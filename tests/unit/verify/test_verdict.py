"""Promises about the verdict: one line, the worst first, and an exit code that is 0 only when complete."""

from __future__ import annotations

import pytest

from worker.verify.states import MEANINGS, NOTES, ProofState, VerifyFinding, VerifyTotals
from worker.verify.verdict import exit_code, explanation, group_text, summary, verdict_line


def totals(*states: ProofState) -> VerifyTotals:
    made = VerifyTotals(files=1_234, events=56_789, chains=3, signed_until="2026-11-29 16:49")
    for state in states:
        made.add(VerifyFinding(state, f"s3://b/{state}"))
    return made


def test_complete_says_what_was_proven() -> None:
    """The line that an auditor copies."""
    made = totals(ProofState.VERIFIED, ProofState.NOT_COVERED)

    assert verdict_line(made) == "complete: 1,234 files, 56,789 events, 3 chains, signed until 2026-11-29 16:49 UTC"
    assert exit_code(made) == 0
    assert summary(made)["complete"] is True


@pytest.mark.parametrize("state", [state for state in ProofState if state not in NOTES])
def test_nothing_that_is_wrong_exits_with_0(state: ProofState) -> None:
    """A cron line reads only the exit code."""
    made = totals(state)

    assert exit_code(made) == (3 if state is ProofState.NOT_JUDGED else 1)
    assert group_text(made, state).partition(":")[0] in verdict_line(made)


def test_the_worst_comes_first_and_each_says_what_to_do() -> None:
    """Whoever reads one line reads the worst."""
    made = totals(ProofState.PLANTED, ProofState.LOST, ProofState.MISSING)

    assert verdict_line(made).startswith("not complete: 1 file is lost")
    assert [state for state, *_ in explanation(made)] == [ProofState.LOST, ProofState.MISSING, ProofState.PLANTED]
    assert all(advice for _, _, _, advice in explanation(made))


def test_what_is_wrong_outweighs_what_was_not_judged() -> None:
    """Exit code 3 would say that nothing is known."""
    assert exit_code(totals(ProofState.NOT_JUDGED, ProofState.LOST)) == 1


def test_without_any_digest_nothing_is_judged() -> None:
    """An empty bucket is no complete one."""
    assert exit_code(VerifyTotals()) == 3
    assert verdict_line(VerifyTotals()) == "not judged: no digest was found"


def test_each_state_has_a_meaning_and_few_examples_are_kept() -> None:
    """Memory does not grow with the number of files."""
    made = VerifyTotals()
    for number in range(1_000):
        made.add(VerifyFinding(ProofState.LOST, str(number), "detail"))

    assert set(MEANINGS) == set(ProofState) - {ProofState.VERIFIED}
    assert made.states[ProofState.LOST] == 1_000
    assert len(made.examples[ProofState.LOST]) == 10
    assert made.examples[ProofState.LOST][0] == "0: detail"
