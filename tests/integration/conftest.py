"""Fixtures of the tests on real parts."""

from __future__ import annotations

import pytest

from worker.cli import output


@pytest.fixture(autouse=True)
def _no_waits_are_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine any answer may take two seconds, and tests compare what is on standard error."""
    monkeypatch.setattr(output, "SILENCE_SECONDS", 3_600.0)
