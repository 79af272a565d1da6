"""`trailsink doctor`: checks every part of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worker.aws.session import open_session
from worker.cli.deploy_checks import CLUSTER_SECONDS
from worker.cli.output import format_status, print_json, print_line
from worker.deploy.bundle import bundle_of
from worker.deploy.deployed import describe_stack, settings_of
from worker.deploy.function_code import read_function_code
from worker.deploy.template import template_text
from worker.errors import SetupError
from worker.health.doctor import Doctor
from worker.health.findings import CheckStatus
from worker.health.stack_advice import for_stack
from worker.health.stack_drift import StackDrift
from worker.settings import load_settings
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

    from worker.health.findings import Finding
    from worker.settings import Settings


# If these cannot be checked, "no fault found" proves nothing: exit code 1.
_VITAL = ("source queue", "dead-letter queue", "cluster")


def doctor(*, name: str | None, loader_role: str | None, as_json: bool) -> None:
    """Print the findings of every check, of what the settings name or of a stack.

    Raises SetupError, for exit code 1, when there is a fault, or when a queue or the cluster cannot be checked.
    """
    role = loader_role or ""
    findings = _check_stack(name, role) if name else _check(load_settings(), role)
    faults, unchecked = [], []
    for finding in findings:
        if finding.status is CheckStatus.FAULT:
            faults.append(finding.check)
        elif finding.status is CheckStatus.NOT_CHECKED and finding.check in _VITAL:
            unchecked.append(finding.check)
        if as_json:
            print_json(finding)
        else:
            _print(finding)
    if faults:
        raise SetupError(f"At fault: {', '.join(faults)}.")
    if unchecked:
        raise SetupError(f"No fault was found, but these could not be checked: {', '.join(unchecked)}.")


def _print(finding: Finding) -> None:
    print_line(format_status(finding.status, 12), f" {finding.check}: {finding.evidence}")
    if finding.fix:
        print_line(f"{'':<12} {finding.fix}")


def _check_stack(name: str, loader_role: str) -> Iterator[Finding]:
    """Check a stack against this trailsink, and then what it created."""
    session = open_session()
    deployed = describe_stack(session.client("cloudformation"), name)
    built = bundle_of(deployed.values)
    bundle = built.read_bytes() if built.is_file() else None
    try:
        functions = read_function_code(session, name)
    except SetupError:
        functions = {}  # the finding says that it was not checked
    drift = StackDrift(
        deployed.name,
        deployed.template,
        deployed.values.get("CodeKey", ""),
        functions,
        template_text(),
        bundle,
        deployed.status,
        deployed.reason,
    )
    yield from drift.findings()
    if drift.is_usable:
        for finding in _check(settings_of(deployed), loader_role):
            yield msgspec.structs.replace(finding, fix=for_stack(finding.fix, name))


def _check(settings: Settings, loader_role: str) -> Iterator[Finding]:
    bounded = settings.model_copy(update={"request_seconds": min(settings.request_seconds, CLUSTER_SECONDS)})

    def client() -> OpenSearch:
        return make_client(bounded).connect()

    return Doctor(settings, open_session, client, now(), loader_role).findings()
