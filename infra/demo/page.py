"""docs/demo.md, the output of `make demo`: `python -m infra.demo.page` runs the demo and writes it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "demo.md"

_INTRODUCTION = """<!-- Written by `python -m infra.demo.page`, which runs the demo. -->

# What `make demo` prints

The demo starts a real OpenSearch node and a stand-in for AWS, and deploys the CloudFormation template. It
loads 55 real files with 2,900 events. One of them is truncated, ten are announced twice, and a 56th file
holds a record that is not a JSON object. The demo fails if a single count is wrong.

"""
_SECONDS = 1_400

# What differs from run to run and from machine to machine.
_VARIABLE_PARTS = (
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"-[0-9A-F]{13}\b", "-SUFFIX"),
    (r"\b(x86_64|arm64)\b", "ARCHITECTURE"),
    (r"\b(py3|python3\.)\d+", "PYTHON"),
    (r"\b\d+\.\d+\.\d+\b(?!\.)", "VERSION"),
    (r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\b", "DATE"),
    (r"\b[\d,.]+ ?(d|h|m|s)\b", "TIME"),
    (r"\b[\d,.]+ [KMG]iB\b", "SIZE"),
    (r"SIZE +[\d,.]+$", "SIZE COST"),  # it follows from sampled sizes
    (r"\b[\d,]+ (events per second|more lines)", r"N \1"),
    (r"/tmp/trailsink-demo-\w+", "/tmp/trailsink-demo"),  # noqa: S108 - as the demo prints it
    (r" +", " "),
)
# The bundle is built once. Of equal search results, any may come first. Disk, throughput and lag are the machine's own,
# and a wait is announced where it is long.
_VARIABLE_LINES = re.compile(
    r"Building the|Waiting for OpenSearch|S3 and the dead letter|\d+ were new|user/"
    r"|(Get|Put|List|Head|Create|Delete)\w+ +\S+ +\d+$|(disk|throughput|lag) +(ok|warning|fault)"
    r"|(ok|warning|fault) +(disk|clock|newest event|files in the bucket):"
)


def run_demo(mode: str) -> subprocess.CompletedProcess[str]:
    """Run the demo, with plain output and both streams in one."""
    command = [sys.executable, "-m", "infra.demo", mode]
    return subprocess.run(
        command, cwd=ROOT, timeout=_SECONDS, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def page(output: str) -> str:
    """Return the page that shows an output."""
    lines = "\n".join(line.rstrip() for line in output.strip().splitlines())
    lines = re.sub(r"/tmp/trailsink-demo-\w+", "/tmp/trailsink-demo", lines)  # noqa: S108 - as the demo prints it
    return f"{_INTRODUCTION}```\n{lines}\n```\n"


def comparable(text: str) -> Counter[str]:
    """Return the lines of an output or a page without what differs from run to run."""
    lines = text.partition("```\n")[2].rpartition("```")[0] if text.startswith("<!--") else text
    stripped = (line.strip() for line in lines.splitlines())
    return Counter(_comparable(line) for line in stripped if line and not _VARIABLE_LINES.match(line))


def _comparable(line: str) -> str:
    for pattern, name in _VARIABLE_PARTS:
        line = re.sub(pattern, name, line)
    return line


if __name__ == "__main__":
    demo = run_demo("function")
    if demo.returncode:
        sys.exit(demo.stdout)
    PAGE.write_text(page(demo.stdout), encoding="utf-8")
