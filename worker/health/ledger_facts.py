"""Facts of the ledger for both `trailsink status` and `trailsink doctor`: template, newest file, accounts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from worker.health.flow_snapshot import LedgerState
from worker.health.observe import fact
from worker.health.rules import ACTIVE_ACCOUNT
from worker.health.snapshot import TemplateState
from worker.opensearch.ledger import LedgerReader
from worker.opensearch.schema import ledger_name, ledger_template
from worker.opensearch.template_content import changed_parts, read_templates
from worker.opensearch.verdicts import last_verdict

if TYPE_CHECKING:
    from datetime import datetime

    from worker.health.cluster_facts import ClusterFacts
    from worker.opensearch.verdicts import RecordedVerdict
    from worker.settings import Settings

# An account without a file for this long has gone silent: CloudTrail records something of nearly each one every day.
_SILENT = timedelta(days=1)

_CLOCK = timedelta(minutes=5)  # by which this machine's may be wrong


class LedgerFacts:
    """What the ledger says of the files; None where it is switched off."""

    def __init__(self, settings: Settings, cluster: ClusterFacts, now: datetime) -> None:
        self._settings, self._cluster, self._now = settings, cluster, now

    @fact
    def template(self) -> TemplateState | None:
        """Read the ledger's index template."""
        if not self._settings.ledger:
            return None
        name, expected = ledger_name(self._settings.index_prefix), ledger_template(self._settings.index_prefix)
        template = read_templates(self._cluster.client, name).get(name, {})
        meta, latest = template.get("_meta") or {}, int(expected["_meta"]["version"])
        version = int(meta.get("version") or 0) if meta.get("owner") == "trailsink" else None
        changed = changed_parts(expected, template) if version == latest else []
        return TemplateState(name, version, latest, changed, exists=bool(template))

    @fact
    def last_verdict(self) -> RecordedVerdict | None:
        """Read what `trailsink verify` found last."""
        return last_verdict(self._cluster.client, self._settings.index_prefix)

    @fact
    def state(self) -> LedgerState | None:
        """Read when the newest file of each account was delivered."""
        if not self._settings.ledger:
            return None
        reader = LedgerReader(self._cluster.client, self._settings.index_prefix)
        newest, accounts = reader.activity(self._now - ACTIVE_ACCOUNT, self._now + _CLOCK)
        silent = [activity.account for activity in accounts if activity.newest < self._now - _SILENT]
        return LedgerState(newest, len(accounts), tuple(silent))
