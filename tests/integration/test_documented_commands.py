"""What the documents tell a newcomer to type, typed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from infra.demo.page import PAGE, comparable, run_demo
from infra.local.stack import SERVER_VARIABLE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# The steps are the same; what a process does with files and messages, other tests of CI show.
LONG_FORM = pytest.mark.skipif("TRAILSINK_TEST_LONG" not in os.environ, reason="make test LONG=1 runs it")


@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("mode", ["function", pytest.param("process", marks=LONG_FORM)])
def test_the_demo_runs_and_every_count_is_right(mode: str) -> None:
    """`make demo` exits non-zero when one is wrong; in a pipe it prints plain lines."""
    demo = run_demo(mode)

    assert demo.returncode == 0, demo.stdout
    assert "2,901 events uploaded, 2,901 found, 0 missing, 0 twice." in demo.stdout
    assert "\x1b" not in demo.stdout
    if mode == "function":
        shown, printed = comparable(PAGE.read_text(encoding="utf-8")), comparable(demo.stdout)
        assert (shown - printed, printed - shown) == ({}, {}), "run `python -m infra.demo.page`"


@pytest.mark.parametrize("name", ["README.md", *sorted(path.name for path in PAGE.parent.glob("*.md"))])
def test_what_a_document_shows_is_what_the_demo_printed(name: str) -> None:
    """An excerpt that somebody wrote by hand would soon be fiction."""
    path = ROOT / name if name == "README.md" else PAGE.parent / name
    parts = path.read_text(encoding="utf-8").split("```")  # text and code, in turn
    blocks = [block.partition("\n")[2] for block in parts[1::2]]
    shown = [line for block in blocks if "$ trailsink" in block for line in block.splitlines() if line != "..."]

    assert set(shown) - set(PAGE.read_text(encoding="utf-8").splitlines()) <= {""}


@pytest.mark.timeout(900)
def test_the_commands_to_try_things_work_as_they_stand() -> None:
    """The README's block of shell is run line by line, from the stack's start to its end."""
    if (ROOT / ".local" / "stack.json").exists():
        pytest.skip("a stack of yours is up here (make down)")
    if list((ROOT / ".local" / "run").glob("up-*")):
        pytest.skip("data of yours is kept here (make down CLEAN=1)")
    if SERVER_VARIABLE in os.environ:
        pytest.skip(f"{SERVER_VARIABLE} is set: the commands would write into a server of others")
    (script,) = (block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "make up" in block)

    try:
        shell = subprocess.run(
            ["sh", "-e", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=840, check=False
        )
    finally:
        subprocess.run(["make", "down", "CLEAN=1"], cwd=ROOT, capture_output=True, timeout=240, check=False)

    assert shell.returncode == 0, shell.stdout + shell.stderr
    assert "No dead letters." in shell.stdout
    assert not (ROOT / ".local" / "env").exists()
    assert not list((ROOT / ".local" / "run").glob("up-*"))
