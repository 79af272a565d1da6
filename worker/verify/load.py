"""Loads files that are signed and not in the index, by the way that `trailsink backfill --direct` has."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from worker.backfill.listing import SelectedFile
from worker.backfill.loaders import DirectLoader
from worker.backfill.progress import LoadOutcome, RetryLater
from worker.cloudtrail.keys import parse_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.backfill.loaders import InMemoryDeadLetters
    from worker.pipeline.consumer import Consumer

_ATTEMPTS = 3


class MissingFileLoader:
    """Loads files with consumers like the pipeline's own; they are made when the first file is missing."""

    def __init__(
        self,
        make_consumer: Callable[[InMemoryDeadLetters], Consumer],
        bucket: str,
        *,
        workers: int,
        batch_seconds: float,
        stop: threading.Event,
    ) -> None:
        self._make_loader = partial(
            DirectLoader, make_consumer, bucket, workers=workers, batch_seconds=batch_seconds, stop=stop
        )
        self._loader: DirectLoader | None = None
        self._lock = threading.Lock()
        self.loaded = 0

    def load(self, files: Sequence[tuple[str, int]]) -> Mapping[str, str]:
        """Load files, given by key and size; returns for each why it is not loaded, "" when it is."""
        problems: dict[str, str] = {}
        with self._lock:
            loader = self._loader = self._loader or self._make_loader()
        size = loader.batch_size
        for first in range(0, len(files), size):
            pending = [_selected(key, length) for key, length in files[first : first + size]]
            for _ in range(_ATTEMPTS):
                outcomes = zip(pending, loader.load(pending), strict=True)
                pending = []
                for file, outcome in outcomes:
                    if isinstance(outcome, RetryLater):
                        problems[file.key] = outcome.cause
                        pending.append(file)
                    else:
                        problems[file.key] = outcome.reason if outcome.outcome is LoadOutcome.FAILED else ""
                if not pending:
                    break
        with self._lock:
            self.loaded += sum(not problem for problem in problems.values())
        return problems

    def close(self) -> None:
        """End the consumers' threads."""
        if self._loader:
            self._loader.close()


def _selected(key: str, size: int) -> SelectedFile:
    name = parse_name(key)
    return SelectedFile(key, size, name.account if name else "", name.day.isoformat() if name else "")
