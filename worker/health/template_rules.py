"""How the index template is judged: what is in the cluster, not what was asked for.

Pure: values in, judgements out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.health.findings import Judgement
from worker.health.rules import SETUP, first_names

if TYPE_CHECKING:
    from worker.health.snapshot import TemplateState


def judge_template(template: TemplateState) -> Judgement:
    """Judge the index template. Another version works; which side is older decides what to do."""
    return _judge_foreign_template(template) or _judge_own_template(template)


def _judge_foreign_template(template: TemplateState) -> Judgement | None:
    """Judge what makes it another template than ours, or ours of no effect; None where nothing does."""
    version = template.version
    if template.shadow:
        evidence = f"the template {template.shadow} wins over it: the next index gets other fields"
        return Judgement.fault(evidence, f"{SETUP} --force")
    if version is None and template.exists:
        evidence = "not made by trailsink: fields are guessed, and records will be refused"
        return Judgement.fault(evidence, f"{SETUP} --force")
    if version is None:
        return Judgement.fault("missing: fields are guessed, and records will be refused", SETUP)
    if template.partition and template.partition != template.expected_partition:
        evidence = (
            f"each index holds a {template.partition}, and TRAILSINK_INDEX_PARTITION is {template.expected_partition}"
            " here: events would be indexed a second time"
        )
        return Judgement.fault(evidence, f"export TRAILSINK_INDEX_PARTITION={template.partition}")
    return None


def _judge_own_template(template: TemplateState) -> Judgement:
    version, expected = template.version or 0, template.expected
    if version > expected:
        return Judgement.warning(f"version {version}, this trailsink has {expected}", "use the trailsink that made it")
    if version < expected:
        return Judgement.warning(f"version {version}, this trailsink has {expected}", SETUP)
    if template.changed:
        return Judgement.warning(f"version {version}, but it was changed: {first_names(template.changed)}", SETUP)
    return Judgement.ok(f"version {version}")
