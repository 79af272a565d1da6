"""`trailsink doctor`: checks every part of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.aws.session import open_session
from worker.cli.deploy import CLUSTER_SECONDS
from worker.cli.output import format_status, print_json
from worker.deploy.deployed import describe_stack, settings_of
from worker.deploy.template import BUNDLE, template_text
from worker.errors import SetupError
from worker.health.doctor import Doctor
from worker.health.findings import CheckStatus
from worker.settings import load_settings
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

    from worker.health.findings import Finding
    from worker.settings import Settings


# Who could not look at these knows nothing of the pipeline: no fault found is not "all is well" then.
_VITAL = ("source queue", "dead-letter queue", "cluster")


def doctor(*, name: str | None, loader_role: str | None, as_json: bool) -> None:
    """Check a live pipeline, read-only: each check with its verdict, the evidence and the exact fix.

    Exit code 1 when something is at fault, or a queue or the cluster cannot be looked at. Looks at what
    TRAILSINK_QUEUE_URL, TRAILSINK_DEAD_LETTER_QUEUE_URL, TRAILSINK_BUCKET and TRAILSINK_OPENSEARCH_URL name, or at a
    stack, and works with whatever part can be reached.
    """
    role = loader_role or ""
    findings = _of_stack(name, role) if name else _examine(load_settings(), role)
    faults, unseen = [], []
    for finding in findings:
        if finding.verdict is CheckStatus.FAULT:
            faults.append(finding.check)
        elif finding.verdict is CheckStatus.NOT_CHECKED and finding.check in _VITAL:
            unseen.append(finding.check)
        if as_json:
            print_json(finding)
            continue
        click.echo(f"{format_status(finding.verdict, 12)} {finding.check}: {finding.evidence}")
        if finding.fix:
            click.echo(f"{'':<12} {finding.fix}")
    if faults:
        raise SetupError(f"At fault: {', '.join(faults)}.")
    if unseen:
        raise SetupError(f"Nothing is known to be at fault, but these could not be looked at: {', '.join(unseen)}.")


def _of_stack(name: str, loader_role: str) -> Iterator[Finding]:
    """Examine what a stack made."""
    deployed = describe_stack(open_session().client("cloudformation"), name)
    bundle = BUNDLE.read_bytes() if BUNDLE.is_file() else None
    yield from deployed.differences(template_text(), bundle)
    yield from _examine(settings_of(deployed), loader_role, deployed.trail_prefix)


def _examine(settings: Settings, loader_role: str, trail_prefix: str = "") -> Iterator[Finding]:
    patient = settings.model_copy(update={"request_seconds": min(settings.request_seconds, CLUSTER_SECONDS)})

    def client() -> OpenSearch:
        return make_client(patient).connect()

    physician = Doctor(settings, open_session, client, now(), trail_prefix=trail_prefix, loader_role=loader_role)
    return physician.findings()
