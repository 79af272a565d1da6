"""Where the log files of a bucket or a folder are: below the prefixes that somebody named, or searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.backfill.listing import KeySource
from worker.backfill.search import find_sources, find_sources_at
from worker.backfill.selection import nested_root, root_of
from worker.cli.output import print_line
from worker.cloudtrail.keys import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.backfill.listing import Lister


def choose_sources(lister: Lister, prefixes: Iterable[str]) -> set[KeySource]:
    """Return the sources below each prefix, or all that a search finds; warns when it did not look into every folder.

    Raises UsageError for a prefix that lies inside another's tree.
    """
    roots = {root_of(prefix) for prefix in prefixes}
    if nested := nested_root(roots):
        raise click.UsageError(f"--prefix {nested} is below the {ROOT} of another prefix.")
    results = [find_sources_at(lister, root) for root in sorted(roots)] or [find_sources(lister)]
    if not all(result.complete for result in results):
        print_line("Warning: not every folder was searched for files: name the others with --prefix.", err=True)
    sources = {source for result in results for source in result.sources}
    return sources | {KeySource(root + ROOT) for root in roots}
