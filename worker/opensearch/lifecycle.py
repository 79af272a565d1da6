"""What becomes of an index with age, before it is deleted: it is merged, loses replicas, and goes to warm storage.

docs.opensearch.org/latest/im-plugin/ism/policies/
docs.aws.amazon.com/opensearch-service/latest/developerguide/ism.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    State = dict[str, Any]

_RETRY = {"count": 3, "backoff": "exponential", "delay": "1m"}

# Of an event after all merges, and AWS's overhead and free room: docs/sizing.md.
_GIGABYTES, _OVERHEAD = 0.58, 1.45
# Dollars for a gigabyte a month in us-east-1: gp3, and the managed storage of UltraWarm, which keeps one copy.
_PER_GIGABYTE, _PER_WARM_GIGABYTE = 0.122, 0.024


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """After how many days something is done with an index, counted from its last events; 0 is never.

    `merge_days` merges each shard to one segment, and leaves `merged_replicas` of it (None: as many as there are).
    `warm_days` moves it to UltraWarm, which only a managed domain has.
    """

    merge_days: int = 0
    merged_replicas: int | None = None
    warm_days: int = 0

    @property
    def text(self) -> str:
        """What it does, as the end of a policy's description; "" for nothing."""
        replicas = "" if self.merged_replicas is None else f" with {self.merged_replicas} replicas"
        parts = [f"merged{replicas} after {self.merge_days} days"] if self.merge_days else []
        parts += [f"warm after {self.warm_days} days"] if self.warm_days else []
        return ", ".join(parts)

    def parts(self, retention_days: int, read_only_days: int) -> list[str]:
        """Return what a policy does with these days, each step as a part of a sentence."""
        parts = [f"{retention_days} days"] if retention_days else []
        parts += [f"read-only after {read_only_days} days"] if read_only_days else []
        return parts + ([self.text] if self.text else [])

    @property
    def options(self) -> list[str]:
        """The options of `trailsink setup` for it."""
        options = [f"--merge-after {self.merge_days}"] if self.merge_days else []
        options += [] if self.merged_replicas is None else [f"--merged-replicas {self.merged_replicas}"]
        return options + ([f"--warm-after {self.warm_days}"] if self.warm_days else [])

    def fault(self, retention_days: int) -> str:
        """Return why these days cannot be meant, "" when they can."""
        last = retention_days or 1 << 30
        if self.merged_replicas is not None and not self.merge_days:
            return "replicas change when an index is merged: set the days for that, too"
        if self.merge_days and 0 < self.warm_days <= self.merge_days:
            return "an index is merged before it is warm: UltraWarm takes no changes"
        if max(self.merge_days, self.warm_days) >= last:
            return "deleted indices need no merge and no warm storage: the days must be below those of the retention"
        return ""

    def states(self, index_days: int, *, read_only_age: int = 0) -> Iterator[tuple[int, State]]:
        """Yield the states of a policy and the ages at which an index enters them; an index covers so many days."""
        if self.merge_days:
            age = self.merge_days + index_days
            yield age, {"name": "merged", "actions": self._merge(stays_read_only=0 < read_only_age <= age)}
        if self.warm_days:
            yield self.warm_days + index_days, {"name": "warm", "actions": [_action("warm_migration")]}

    def _merge(self, *, stays_read_only: bool) -> list[dict[str, Any]]:
        actions = []
        if self.merged_replicas is not None:  # first: what is deleted need not be merged
            actions.append(_action("replica_count", number_of_replicas=self.merged_replicas))
        actions.append(_action("force_merge", max_num_segments=1))
        # ISM blocks writes for a merge, and leaves the block. A late file would go back to the queue for ever.
        return actions if stays_read_only else [*actions, _action("read_write")]

    def lines(self, replicas: int, retention_days: int) -> Iterator[str]:
        """Yield what the days of an index cost, for a million events."""
        merged = replicas if self.merged_replicas is None else self.merged_replicas
        stages = [("hot", 0, replicas)]
        stages += [("merged", self.merge_days, merged)] if self.merge_days else []
        parts = [
            _price(name, day, (1 + copies) * _GIGABYTES * _OVERHEAD, _PER_GIGABYTE) for name, day, copies in stages
        ]
        if self.warm_days:
            parts.append(_price("warm", self.warm_days, _GIGABYTES, _PER_WARM_GIGABYTE))
        end = f"; deleted after day {retention_days}" if retention_days else ""
        yield f"Lifecycle: {'; '.join(parts)}{end}."
        yield "These are a million events' disk and its price a month (docs/sizing.md), without nodes."


def _action(name: str, **parameters: object) -> dict[str, Any]:
    return {"retry": _RETRY, name: parameters}


def _price(name: str, day: int, gigabytes: float, price: float) -> str:
    return f"{name} from day {day}, {gigabytes:.2f} GB, ${gigabytes * price:.2f}"
