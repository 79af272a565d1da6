"""The state file of a verification: how far it has come, so that a killed run resumes with the same report."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec needs it at runtime
from typing import TYPE_CHECKING

import msgspec

from worker.backfill.checkpoint import StateFile
from worker.errors import SetupError
from worker.verify.run import Progress  # noqa: TC001 - msgspec needs it at runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION = 1


class VerifyState(msgspec.Struct, kw_only=True):
    """What a run judges, and how far it has come. A resume judges by the time at which the first run started."""

    version: int = _VERSION
    fingerprint: dict[str, str]
    started_at: datetime
    trees: list[str]
    progress: Progress


class VerifyStateFile(StateFile):
    """The state on disk."""

    kind = "verification"

    def load(self, fingerprint: Mapping[str, str]) -> VerifyState | None:
        """Read the state of an interrupted run, None where there is none."""
        try:
            state = msgspec.json.decode(self.path.read_bytes(), type=VerifyState)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise SetupError(f"{self.path} cannot be read: delete it, or pass --restart.") from error
        if state.version != _VERSION or state.fingerprint != dict(fingerprint):
            raise SetupError(f"{self.path} is of another verification: delete it, or pass --restart.")
        return state
