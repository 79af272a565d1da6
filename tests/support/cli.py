"""The installed command, run as its users do: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TRAILSINK = Path(sys.executable).with_name("trailsink")


def trailsink(*words: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the command in this process's environment, for so long at most."""
    return subprocess.run([TRAILSINK, *words], capture_output=True, text=True, timeout=seconds, check=False)
