"""Promises about `trailsink template`: it prints a file, so it starts without the SDKs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from worker.cli.main import main
main(["template"], standalone_mode=False)
print(sorted({"boto3", "botocore", "opensearchpy", "pydantic", "rich"} & set(sys.modules)), file=sys.stderr)
"""


def test_the_template_is_printed_without_loading_an_sdk() -> None:
    """A pipeline calls it at each build, and it needs neither AWS nor settings."""
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

    assert printed.stderr == "[]\n"
    assert printed.stdout == (Path(__file__).parents[3] / "infra" / "template.yaml").read_text(encoding="utf-8")
