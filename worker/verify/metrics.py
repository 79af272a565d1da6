"""What a verification tells CloudWatch: a line of metrics.

docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from worker.telemetry import emf_line
from worker.verify.states import ProofState

if TYPE_CHECKING:
    from datetime import datetime

    from worker.verify.states import VerifyTotals


class ProofMetric(NamedTuple):
    """One metric of a verification, and the states that it counts."""

    name: str
    meaning: str
    states: tuple[ProofState, ...]


VERIFY_METRICS = (
    ProofMetric(
        "FilesMissing",
        "signed files that are not wholly in the index",
        (ProofState.LOST, ProofState.MISSING, ProofState.INCOMPLETE, ProofState.DEAD_LETTER),
    ),
    ProofMetric(
        "FilesAltered",
        "files that were altered in S3 or in the index, or deleted from S3",
        (ProofState.ALTERED, ProofState.ALTERED_IN_INDEX, ProofState.DELETED),
    ),
    ProofMetric("FilesPlanted", "files in a signed hour that are in no digest", (ProofState.PLANTED,)),
    ProofMetric(
        "DigestsMissing",
        "digests that are missing, or not CloudTrail's",
        (ProofState.DIGEST_MISSING, ProofState.DIGEST_ALTERED),
    ),
    ProofMetric("HoursUnsigned", "hours that no digest covers", (ProofState.VALIDATION_OFF, ProofState.DIGEST_MISSING)),
    ProofMetric("NotJudged", "parts that could not be judged", (ProofState.NOT_JUDGED,)),
)


def verify_metrics_line(totals: VerifyTotals, queue: str, moment: datetime) -> str:
    """Return a verification as one EMF document; its dimension is the name of the source queue."""
    values = {metric.name: sum(totals.states[state] for state in metric.states) for metric in VERIFY_METRICS}
    return emf_line(values, dict.fromkeys(values, "Count"), queue, moment)
