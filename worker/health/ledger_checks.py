"""The doctor's checks of the ledger: whether it can be written as it should be, and whether an account went silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.health.check import check
from worker.health.observe import require
from worker.health.rules import judge_ledger
from worker.health.template_rules import judge_template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from worker.health.findings import Judgement
    from worker.health.ledger_facts import LedgerFacts


class LedgerChecks:
    """The ledger of one prefix."""

    def __init__(self, facts: LedgerFacts, now: datetime) -> None:
        self._facts, self._now = facts, now

    @check("ledger template")
    def template(self) -> Iterator[Judgement]:
        """Check that the ledger's index template is trailsink's, and current."""
        template = require(self._facts.template)
        if template:
            judgement = judge_template(template)
            yield judgement._replace(evidence=f"{template.name}: {judgement.evidence}")

    @check("ledger")
    def accounts(self) -> Iterator[Judgement]:
        """Check when the newest file was delivered, and whether an account's files stopped."""
        state = require(self._facts.state)
        if state:
            yield judge_ledger(state, self._now)
