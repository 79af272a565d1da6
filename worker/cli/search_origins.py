"""Adds to the events of a search where their addresses are: source.country and source.as, which no index has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from worker.boards.geoip import COUNTRY, FIELDS, NETWORK, OriginDatabase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.opensearch.search import Hit

_ADDRESS = "sourceIPAddress"


class SearchOrigins:
    """What `--geoip` adds to each event. Raises UsageError for such a field without a database, and SetupError."""

    def __init__(self, fields: Sequence[str], paths: Sequence[Path]) -> None:
        self._is_needed = any(name in FIELDS for name in fields)
        if self._is_needed and not paths:
            raise click.UsageError(f"{COUNTRY} and {NETWORK} come from a database of yours: pass --geoip FILE.")
        if paths and not self._is_needed:
            raise click.UsageError(f"--geoip adds {COUNTRY} and {NETWORK}: name one in --fields or --count-by.")
        self._database = OriginDatabase(paths) if paths else None

    def fields_to_read(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        """Return what to ask the cluster for."""
        if not self._is_needed:
            return fields
        return (*(name for name in fields if name not in FIELDS), _ADDRESS)

    def add_to(self, hit: Hit) -> Hit:
        """Return an event with the origin of its address."""
        if self._database is None:
            return hit
        origin = self._database.origin(str(hit.value(_ADDRESS)))
        added = {COUNTRY: origin.country or None, NETWORK: origin.network or None}
        return replace(hit, source={**hit.source, **added})
