"""The doctor's check of holds: what nothing may delete is there, and cannot be deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.health.check import check
from worker.health.findings import Judgement
from worker.health.observe import require
from worker.health.rules import first_names
from worker.humanize import pluralize
from worker.opensearch.hold_indices import IndexHolder
from worker.opensearch.holds import HoldList

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from worker.health.cluster_facts import ClusterFacts
    from worker.health.index_facts import IndexFacts
    from worker.settings import Settings


class HoldChecks:
    """The holds on the indices of one prefix."""

    def __init__(self, settings: Settings, cluster: ClusterFacts, indices: IndexFacts, now: datetime) -> None:
        self._settings, self._cluster, self._indices, self._now = settings, cluster, indices, now

    @check("holds")
    def holds(self) -> Iterator[Judgement]:
        """Check that each index which a hold covers is held, and that none is gone."""
        holds = require(self._indices.holds)
        if not holds:
            return
        client, prefix = self._cluster.client, self._settings.index_prefix
        states = IndexHolder(client, prefix, HoldList(client, prefix), self._now).states(holds)
        if gone := sorted({name for state in states for name in state.gone}):
            fix = "load these days again: `trailsink backfill --since ... --until ...`"
            yield Judgement.fault(f"held, and gone: {first_names(gone)}", fix)
        elif pending := sorted({name for state in states for name in state.pending}):
            yield Judgement.warning(f"not held yet: {first_names(pending)}", "run `trailsink hold apply`")
        else:
            held = {name for state in states for name in (*state.blocked, *state.open)}
            indices = pluralize(len(held), "index", "indices")
            yield Judgement.ok(f"{pluralize(len(states), 'hold')} on {indices}")
