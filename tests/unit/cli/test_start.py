"""Promises about the first moments of the command."""

from __future__ import annotations

import signal
import subprocess
import sys

# An interrupt at the very moment at which the command line is imported.
INTERRUPTED = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)


class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "worker.cli.main":
            os.kill(os.getpid(), signal.SIGINT)


sys.meta_path.insert(0, Interrupting())
from worker.cli.start import main
main()
"""


def test_an_interrupt_during_the_import_is_no_traceback() -> None:
    """Whoever mistyped a command interrupts it at once."""
    process = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)

    assert (process.returncode, process.stderr) == (-signal.SIGINT, "")
