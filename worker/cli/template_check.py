"""The check that every command makes before it loads events: the cluster's index template is that of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.output import print_line
from worker.opensearch.setup import check_template

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from worker.settings import Settings


def check_own_template(client: OpenSearch, settings: Settings) -> None:
    """Warn of a template of another version; raises what `check_template` does, as for another partition."""
    if warning := check_template(client, settings.index_prefix, settings.index_partition):
        print_line(f"Warning: {warning}", err=True)
