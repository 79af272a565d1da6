"""What `trailsink dashboards` does: import the saved objects into OpenSearch Dashboards, or write them to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from worker.aws.partitions import is_aws_host
from worker.boards.importer import board_links, install, newest_times
from worker.boards.saved_objects import ndjson, saved_objects
from worker.cli.output import print_line, write_document
from worker.errors import SetupError
from worker.settings import load_settings
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from pathlib import Path


def install_dashboards(*, url: str | None, tenant: str | None) -> None:
    """Import the saved objects into a running OpenSearch Dashboards."""
    settings = load_settings()
    address = _base_address(url or _default_address(settings.required("opensearch_url")))
    if url and (
        "@" in urlsplit(url).netloc or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname
    ):
        raise click.UsageError("--url must be an address like https://host/_dashboards, without a user or password.")
    client = make_client(settings.model_copy(update={"opensearch_url": address})).connect()
    objects = saved_objects(settings.index_prefix, compatible=settings.is_serverless)
    install(client, objects, tenant or "")
    newest = newest_times(make_client(settings).connect(), settings.index_prefix) if settings.opensearch_url else {}
    for title, link in board_links(address, settings.index_prefix, newest, now()):
        print_line(f"{title}  {link}")


def _base_address(address: str) -> str:
    """Return the address of Dashboards itself, of one that was copied from a browser as well."""
    return address.partition("/app/")[0].rstrip("/")


def _default_address(cluster_url: str) -> str:
    if is_aws_host(urlsplit(cluster_url).hostname or ""):
        return f"{cluster_url.rstrip('/')}/_dashboards"
    raise SetupError("The address of Dashboards does not follow from TRAILSINK_OPENSEARCH_URL: pass --url.")


def export(*, file: Path) -> None:
    """Write the saved objects to a file, or to standard output for "-"."""
    settings = load_settings()
    objects = saved_objects(settings.index_prefix, compatible=settings.is_serverless)
    write_document(file, ndjson(objects))
    if str(file) != "-":
        print_line(f"Wrote {len(objects)} saved objects for {settings.index_prefix}-* to {file}.")
