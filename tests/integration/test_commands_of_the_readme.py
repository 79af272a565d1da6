"""What the README tells a newcomer to type, typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.stack import SERVER_VARIABLE

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("road", ["function", "container"])
def test_the_demo_shows_the_main_road_and_every_count_is_right(road: str) -> None:
    """`make demo` exits non-zero when one is off; in a pipe it prints plain lines."""
    words = [sys.executable, "-m", "infra.local.demo", road]

    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2,901 events uploaded, 2,901 found, 0 missing, 0 twice." in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.timeout(300)
def test_the_commands_to_try_things_work_as_they_stand() -> None:
    """The README's block of shell is run line by line, from the stack's start to its end."""
    if (ROOT / ".local" / "stack.json").exists():
        pytest.skip("a stack of yours is up here (make down)")
    if SERVER_VARIABLE in os.environ:
        pytest.skip(f"{SERVER_VARIABLE} is set: the commands would write into a server of others")
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (script,) = (block for block in blocks if "make up" in block)

    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Index template trailsink-cloudtrail version 1 created" in done.stdout
    assert "No dead letters." in done.stdout
    assert not (ROOT / ".local" / "env").exists()
