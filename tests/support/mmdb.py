"""Databases of addresses in MaxMind's format, made for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

if TYPE_CHECKING:
    from pathlib import Path


def write_database(path: Path, records: dict[str, dict[str, Any]], *, ip_version: int = 6) -> Path:
    """Write a database with a record for each network."""
    writer = MMDBWriter(ip_version, ipv4_compatible=ip_version == 6, database_type="Test")
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path
