"""The operator's door to OpenSearch Dashboards: `trailsink dashboards`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from worker.cli.options import examples
from worker.cli.output import escape_control_characters
from worker.errors import SetupError
from worker.opensearch.dashboards import install, ndjson, saved_objects
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from pathlib import Path


@click.group(
    short_help="Bring panels and dashboards into OpenSearch Dashboards.",
    epilog=examples("trailsink dashboards install --url http://dashboards.example.com:5601"),
)
def dashboards() -> None:
    """Bring index pattern, panels and dashboards into OpenSearch Dashboards.

    An overview of the events, and one of how late they come; all for indices TRAILSINK_INDEX_PREFIX-*.
    """


def install_dashboards(*, url: str | None, tenant: str | None) -> None:
    """Import index pattern, panels and dashboards into a running OpenSearch Dashboards.

    Signs in as for the cluster (TRAILSINK_OPENSEARCH_AUTH). Running it again replaces what an earlier run made, and
    nothing else. For indices TRAILSINK_INDEX_PREFIX-*.
    """
    settings = load_settings()
    address = (url or _address(settings.required("opensearch_url"))).rstrip("/")
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise click.UsageError(f"--url is an address like https://host/_dashboards, not {address}.")
    client = make_client(settings.model_copy(update={"opensearch_url": address})).connect()
    for title in install(client, settings.index_prefix, tenant or ""):
        click.echo(f"Dashboard {escape_control_characters(title)} is there, at {address}/app/dashboards.")


def _address(cluster: str) -> str:
    if (urlsplit(cluster).hostname or "").endswith(".amazonaws.com"):
        return f"{cluster.rstrip('/')}/_dashboards"
    raise SetupError("Where Dashboards is cannot be told from TRAILSINK_OPENSEARCH_URL: give --url.")


def export(*, file: Path) -> None:
    """Write index pattern, panels and dashboards into FILE, for an import by hand; - is standard output.

    In Dashboards: Management, Saved objects, Import. A FILE that is there is written anew.
    """
    prefix = load_settings().index_prefix
    text = ndjson(prefix)
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{file} cannot be written: {error.strerror}.") from error
    click.echo(f"{len(saved_objects(prefix))} saved objects for {prefix}-* are in {file}.")
