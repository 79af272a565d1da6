"""The command lines of `trailsink dashboards`."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import examples, implemented_by, option


@click.group(
    short_help="Import boards into OpenSearch Dashboards.",
    epilog=examples("trailsink dashboards install --url http://dashboards.example.com:5601"),
)
def dashboards() -> None:
    """Import index patterns, panels and three boards into OpenSearch Dashboards.

    Overview shows what needs a look, investigate all of one caller, address or resource, and pipeline what was indexed
    when. They are for the indices TRAILSINK_INDEX_PREFIX-*.
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
    """Import index patterns, panels and boards into a running OpenSearch Dashboards, and print where they are.

    Signs in as for the cluster (TRAILSINK_OPENSEARCH_AUTH). Running it again replaces what an earlier run created, and
    nothing else: formats, filters and scripted fields of the index patterns stay.
    """


@dashboards.command(
    "export", short_help="Write them to a file.", epilog=examples("trailsink dashboards export trailsink.ndjson")
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@implemented_by("worker.cli.dashboards:export")
def export() -> None:
    """Write index patterns, panels and boards to FILE, for an import by hand; - is standard output.

    In Dashboards: Management, Saved objects, Import. An existing FILE is overwritten.
    """
