"""Promises about the options of `trailsink backfill`: contradictions are refused before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from worker.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def invoke(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["backfill", *words])
    return done.exit_code, done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--last", "30d", "--since", "2025-01-01"), "--last stands alone"),
        (("--since", "2025-02-01", "--until", "2025-01-01"), "--since must be earlier"),
        (("--local", "."), "--local needs --direct"),
        (("--retry-failed", "x"), "--retry-failed needs --direct"),
        (("--retry-failed", "x", "--direct", "--missing"), "exactly what the report names"),
        ((), "no terminal to ask on: give --yes"),
        (("--account", "12345"), "is not an account id of 12 digits"),
        (("--org", "acme"), "is not an organisation id"),
        (("--kind", "digest"), "'digest' is not one of"),
        (("--last", "30"), "30d"),
        (("--rate", "0"), "1<=x<=10000"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: tuple[str, ...], sentence: str) -> None:
    """With exit code 2, before a neighbour is asked."""
    code, said = invoke(*words)

    assert code == 2
    assert sentence in said


def test_prefixes_inside_each_other_are_refused(tmp_path: Path) -> None:
    """Their files would not be in order, and an interrupted run would go on at the wrong place."""
    prefixes = ("--prefix", "", "--prefix", "AWSLogs/copy")

    code, said = invoke("--local", str(tmp_path), "--direct", "--dry-run", *prefixes)

    assert code == 2
    assert "--prefix AWSLogs/copy/ lies below the AWSLogs/ of another one" in said
