"""`trailsink setup`: puts index template, retention policy and the loader's role into the cluster."""

from __future__ import annotations

import click

from worker.opensearch.security import grant_loader_access
from worker.opensearch.setup import SetupOptions, install
from worker.settings import load_settings
from worker.wiring import make_client


def setup(*, retention_days: int | None, replicas: int | None, loader_role: str | None) -> None:
    """Set the cluster up; raises SetupError."""
    settings = load_settings()
    days = settings.retention_days if retention_days is None else retention_days
    options = SetupOptions(settings.index_prefix, days, replicas, settings.is_serverless, settings.index_partition)
    address = settings.required("opensearch_url")
    click.echo(f"Connecting to {address} (for up to {settings.request_seconds:.0f} s) ...", err=True)
    client = make_client(settings).connect()
    for line in install(client, options):
        click.echo(line)
    if loader_role:
        for line in grant_loader_access(client, options.prefix, loader_role):
            click.echo(line)
