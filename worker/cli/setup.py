"""`trailsink setup`: puts index template, retention policy and the loader's role into the cluster."""

from __future__ import annotations

import click

from worker.cli.output import print_line
from worker.opensearch.security import grant_loader_access
from worker.opensearch.setup import SetupOptions, install
from worker.settings import load_settings
from worker.wiring import make_client


def setup(
    *, retention_days: int | None, read_only_after: int | None, replicas: int | None, loader_role: str | None
) -> None:
    """Set the cluster up; raises SetupError."""
    settings = load_settings()
    days = settings.retention_days if retention_days is None else retention_days
    read_only_days = settings.read_only_days if read_only_after is None else read_only_after
    if 0 < days <= read_only_days:
        raise click.UsageError("--read-only-after must be below --retention-days: deleted indices need no block.")
    options = SetupOptions(
        settings.index_prefix,
        days,
        replicas,
        settings.is_serverless,
        settings.index_partition,
        read_only_days,
        settings.ledger,
        settings.ledger_retention_days,
    )
    address = settings.required("opensearch_url")
    print_line(f"Connecting to {address} (for up to {settings.request_seconds:.0f} s) ...", err=True)
    client = make_client(settings).connect()
    for line in install(client, options):
        print_line(line)
    if loader_role:
        for line in grant_loader_access(client, options.prefix, loader_role):
            print_line(line)
