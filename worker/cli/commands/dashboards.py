"""The command lines of `trailsink dashboards`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import examples, implemented_by, option


@click.group(
    short_help="Import panels and dashboards into OpenSearch Dashboards.",
    epilog=examples("trailsink dashboards install --url http://dashboards.example.com:5601"),
)
def dashboards() -> None:
    """Import an index pattern, panels and dashboards into OpenSearch Dashboards.

    One gives an overview of the events, the other shows how late they arrive. Both are for the indices
    TRAILSINK_INDEX_PREFIX-*.
    """


@dashboards.command(
    "install",
    short_help="Import them into a running Dashboards.",
    epilog=examples(
        "trailsink dashboards install           # of an Amazon OpenSearch domain",
        "trailsink dashboards install --url http://localhost:5601 --tenant global",
    ),
)
@option(
    "--url",
    metavar="URL",
    example="http://dashboards.example.com:5601",
    default_text="TRAILSINK_OPENSEARCH_URL with /_dashboards, where that is Amazon's",
    help="Address of Dashboards.",
)
@option(
    "--tenant",
    metavar="NAME",
    default_text="the user's own default",
    example="global",
    help="Tenant of the security plugin to import into: global, private or a name.",
)
@implemented_by("worker.cli.dashboards:install_dashboards")
def install_dashboards() -> None:
    """Import index pattern, panels and dashboards into a running OpenSearch Dashboards.

    Signs in as for the cluster (TRAILSINK_OPENSEARCH_AUTH). Running it again replaces what an earlier run created, and
    nothing else. For the indices TRAILSINK_INDEX_PREFIX-*.
    """


@dashboards.command(
    "export", short_help="Write them to a file.", epilog=examples("trailsink dashboards export trailsink.ndjson")
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@implemented_by("worker.cli.dashboards:export")
def export() -> None:
    """Write index pattern, panels and dashboards to FILE, for an import by hand; - is standard output.

    In Dashboards: Management, Saved objects, Import. An existing FILE is overwritten.
    """
