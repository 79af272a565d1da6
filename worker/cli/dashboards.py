"""What `trailsink dashboards` does: import the saved objects into OpenSearch Dashboards, or write them to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from worker.aws.partitions import is_aws_host
from worker.cli.output import print_line, write_document
from worker.errors import SetupError
from worker.opensearch.dashboards import install, ndjson, saved_objects
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from pathlib import Path


def install_dashboards(*, url: str | None, tenant: str | None) -> None:
    """Import the saved objects into a running OpenSearch Dashboards."""
    settings = load_settings()
    address = (url or _default_address(settings.required("opensearch_url"))).rstrip("/")
    if url and (
        "@" in urlsplit(url).netloc or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname
    ):
        raise click.UsageError("--url must be an address like https://host/_dashboards, without a user or password.")
    client = make_client(settings.model_copy(update={"opensearch_url": address})).connect()
    for title in install(client, settings.index_prefix, tenant or ""):
        print_line(f"Dashboard {title} is available at {address}/app/dashboards.")


def _default_address(cluster_url: str) -> str:
    if is_aws_host(urlsplit(cluster_url).hostname or ""):
        return f"{cluster_url.rstrip('/')}/_dashboards"
    raise SetupError("The address of Dashboards does not follow from TRAILSINK_OPENSEARCH_URL: pass --url.")


def export(*, file: Path) -> None:
    """Write the saved objects to a file, or to standard output for "-"."""
    prefix = load_settings().index_prefix
    text = ndjson(prefix)
    write_document(file, text)
    if str(file) != "-":
        print_line(f"Wrote {len(saved_objects(prefix))} saved objects for {prefix}-* to {file}.")
