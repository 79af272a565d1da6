"""`trailsink roles`: prints or puts a reader role for the accounts of a team."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.cli.output import print_json, print_line
from worker.errors import SetupError
from worker.opensearch.reader_roles import accounts_of_unit, reader_name, reader_role
from worker.opensearch.roles import grant_role
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from pathlib import Path


def roles(*, team: str, accounts: tuple[str, ...], ou: Path | None, put: bool, backend_role: tuple[str, ...]) -> None:
    """Print the role, or put it; raises SetupError."""
    if backend_role and not put:
        raise click.UsageError("--backend-role needs --put.")
    settings = load_settings()
    numbers = [number.strip() for text in accounts for number in text.split(",")]
    numbers += accounts_of_unit(_read(ou)) if ou else []
    name, role = reader_name(settings.index_prefix, team), reader_role(settings.index_prefix, numbers)
    if not put:
        print_line(f"PUT /_plugins/_security/api/roles/{name}", err=True)
        print_json(role)
        return
    for line in grant_role(make_client(settings).connect(), name, role, backend_role):
        print_line(line)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} cannot be read: {error}.") from error
