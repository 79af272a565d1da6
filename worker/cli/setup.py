"""`trailsink setup`: puts index template, retention policy and the loader's role into the cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from worker.cli.output import confirm, print_line
from worker.errors import SetupError
from worker.humanize import pluralize
from worker.opensearch.lifecycle import Lifecycle
from worker.opensearch.managed_indices import index_ages
from worker.opensearch.profiles import Profile
from worker.opensearch.roles import AccessFor, grant_access
from worker.opensearch.setup import SetupOptions, install
from worker.settings import load_settings
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

# As the security plugin gets it: of a role, or of one that was assumed.
_ROLE_ARN = re.compile(r"arn:[a-z-]+:(?:iam|sts)::[0-9]{12}:(?:assumed-)?role/[!-~]+")


def setup(  # noqa: PLR0913 - one per option
    *,
    retention_days: int | None,
    read_only_after: int | None,
    merge_after: int | None,
    merged_replicas: int | None,
    warm_after: int | None,
    replicas: int | None,
    shards: int | None,
    profile: str | None,
    write_once: bool | None,
    loader_role: str | None,
    verify_role: str | None,
    detect_role: str | None,
    force: bool,
    existing: bool,
    yes: bool,
) -> None:
    """Set the cluster up; raises SetupError."""
    asked = {AccessFor.LOADER: loader_role, AccessFor.VERIFY: verify_role, AccessFor.DETECT: detect_role}
    roles = {purpose: arn for purpose, arn in asked.items() if arn}
    for purpose, arn in roles.items():
        if not _ROLE_ARN.fullmatch(arn):
            raise click.UsageError(f"--{purpose}-role takes the ARN of an IAM role, not {arn}.")
    settings = load_settings()
    days = settings.retention_days if retention_days is None else retention_days
    read_only_days = settings.read_only_days if read_only_after is None else read_only_after
    if 0 < days <= read_only_days:
        raise click.UsageError("--read-only-after must be below --retention-days: deleted indices need no block.")
    lifecycle = Lifecycle(
        settings.merge_days if merge_after is None else merge_after,
        settings.merged_replicas if merged_replicas is None else merged_replicas,
        settings.warm_days if warm_after is None else warm_after,
    )
    if fault := lifecycle.fault(days):
        raise click.UsageError(f"--merge-after, --merged-replicas, --warm-after: {fault}.")
    is_set = {"retention_days", "read_only_days", "merge_days", "warm_days"} & settings.model_fields_set
    is_asked = any(value is not None for value in (retention_days, read_only_after, merge_after, warm_after))
    options = SetupOptions(
        settings.index_prefix,
        days,
        replicas,
        settings.is_serverless,
        settings.index_partition,
        read_only_days,
        settings.ledger,
        settings.ledger_retention_days,
        leaves_policy=not is_asked and not is_set,
        leaves_ledger_policy="ledger_retention_days" not in settings.model_fields_set,
        shards=shards,
        force=force,
        existing=existing,
        profile=Profile(profile) if profile else None,
        write_once=write_once,
        lifecycle=lifecycle,
    )
    address = settings.required("opensearch_url")
    print_line(f"Connecting to {address} (for up to {settings.request_seconds:.0f} s) ...", err=True)
    client = make_client(settings).connect()
    if existing and days:
        _confirm_deletion(client, options, yes=yes)
    for line in install(client, options):
        print_line(line)
    for purpose, arn in roles.items():
        for line in grant_access(client, options.prefix, purpose, arn):
            print_line(line)


def _confirm_deletion(client: OpenSearch, options: SetupOptions, *, yes: bool) -> None:
    """Ask before the policy is attached to indices that it deletes at once."""
    old = [name for name, age in index_ages(client, options.prefix, now()) if age.days >= options.retention_days]
    if not old:
        return
    print_line(f"{pluralize(len(old), 'index', 'indices')} of {options.prefix}-* will be deleted for their age:")
    print_line(f"  {old[0]} to {old[-1]}, created at least {options.retention_days} days ago.")
    if not confirm("Go on?", yes=yes):
        raise SetupError("Nothing was changed.")
