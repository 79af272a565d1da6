"""The CloudFormation template of this version of trailsink, and the bundle that goes with it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

# Where `trailsink package` writes the bundle, and `trailsink deploy` reads it.
BUNDLE = Path("build/trailsink-arm64-py313.zip")


# The parameters that say where the bundles are: whoever uploads them fills these in.
UPLOADED_PARAMETERS = ("CodeBucket", "CodeKey", "ScheduledCodeKey")


def template_text() -> str:
    """Return the CloudFormation template of this version of trailsink."""
    return files("worker.infra").joinpath("template.yaml").read_text(encoding="utf-8")


def parameter_names(text: str) -> set[str]:
    """Return the names of a template's parameters: the lines with two spaces of indentation below `Parameters:`."""
    return {line.strip().rstrip(":") for line in parameter_lines(text) if line[2:3].isalpha()}


def parameter_defaults(text: str) -> dict[str, str]:
    """Return the defaults of a template's parameters: the lines `Default:` below their names."""
    name, defaults = "", {}
    for line in parameter_lines(text):
        if line[2:3].isalpha():
            name = line.strip().rstrip(":")
        elif line.startswith("    Default: "):
            defaults[name] = line.partition(": ")[2].partition(" #")[0].strip().strip('"')
    return defaults


def parameter_lines(text: str) -> list[str]:
    """Return the lines of a template's section of parameters."""
    lines = text.splitlines()
    section = lines[lines.index("Parameters:") + 1 :]
    end = next((number for number, line in enumerate(section) if line[:1].isalpha()), len(section))
    return [line for line in section[:end] if line.startswith("  ")]
