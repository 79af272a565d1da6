"""The CloudFormation template that this version of trailsink goes with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def template_text() -> str:
    """Return the CloudFormation template that this version of trailsink goes with."""
    return files("worker.infra").joinpath("template.yaml").read_text(encoding="utf-8")


def parameter_names(text: str) -> set[str]:
    """Read the names of the template's parameters: two spaces of indentation below `Parameters:`."""
    lines = text.splitlines()
    body = lines[lines.index("Parameters:") + 1 :]
    end = next((at for at, line in enumerate(body) if line[:1].isalpha()), len(body))
    return {line.strip().rstrip(":") for line in body[:end] if line.startswith("  ") and line[2:3].isalpha()}


# Where `trailsink package` puts the bundle, and `trailsink deploy` takes it from.
BUNDLE = Path("build/trailsink-arm64-py313.zip")
