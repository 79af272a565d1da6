"""Promises about `make setup`: the virtual environment fits the Python that is asked for, or one sentence says why."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with a virtual environment that is ready."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    for name in ("requirements/dev.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    return tmp_path


def write_python(path: Path, version: str) -> Path:
    """A program that answers as a Python of a version does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_old = int(version < "3.11")
    path.write_text(f'#!/bin/sh\ncase "$2" in *exit*) exit {is_old};; esac\necho {version}\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def make(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-C", clone, *words], capture_output=True, text=True, timeout=240, check=False)


def test_an_environment_of_another_python_is_made_anew(clone: Path) -> None:
    """It kept the Python of the first try, and failed in the same way after each repair."""
    write_python(clone / ".venv/bin/python", "3.10")
    (clone / ".venv/.ready").touch()
    newer = write_python(clone / "bin/python3.12", "3.12")

    planned = make(clone, "-n", "setup", f"PYTHON={newer}")

    assert "rm -rf .venv" in planned.stdout
    assert f"{newer} -m venv .venv" in planned.stdout


def test_an_environment_whose_python_is_gone_is_made_anew(clone: Path) -> None:
    """The system's Python was upgraded under it."""
    (clone / ".venv").mkdir()
    (clone / ".venv/.ready").touch()

    assert "rm -rf .venv" in make(clone, "-n", "setup").stdout


def test_an_environment_that_fits_stays(clone: Path) -> None:
    """It takes two minutes to make."""
    write_python(clone / ".venv/bin/python", "3.12")
    (clone / ".venv/.ready").touch()

    assert "venv" not in make(clone, "-n", "setup").stdout


def test_a_python_that_is_too_old_is_one_sentence(clone: Path) -> None:
    """Pip listed all versions of a package that it could not install: 12 KB."""
    old = write_python(clone / "bin/python3.10", "3.10")

    tried = make(clone, "setup", f"PYTHON={old}")

    assert tried.returncode != 0
    assert tried.stderr.splitlines()[0] == "Python 3.11 or newer was not found. Install it, or set PYTHON."
    assert tried.stdout.count("\n") <= 2
