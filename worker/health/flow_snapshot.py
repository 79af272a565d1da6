"""What lets events through, as values: blocks of the cluster, and the processes that consume."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class WriteBlocks:
    """What keeps the cluster from accepting events: blocks of the cluster and of indices, and closed indices.

    Indices are those of events and of the ledger, and trailsink's others. `by_policy` and `held` ones are read-only on
    purpose. `newest` is the newest index of events, `newest_ledger` that of the ledger, "" without any.
    """

    indices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cluster: Sequence[str] = ()
    closed: Sequence[str] = ()
    by_policy: int = 0
    newest: str = ""
    held: int = 0
    newest_ledger: str = ""


@dataclass(frozen=True, slots=True)
class ConsumerProcess:
    """A `trailsink run` by its heartbeat: when it last showed itself, and when it was stopped, if it was."""

    host: str
    pid: int
    version: str
    beat_at: datetime
    stopped_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LedgerState:
    """When the newest file of the ledger was delivered, None for none; its accounts, and those that went silent."""

    newest: datetime | None
    accounts: int
    silent: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class BucketLag:
    """How far the index lags behind the bucket: the newest file, and files newer than the last one indexed, per folder.

    `oldest_unindexed` is the upload of the oldest of those `unindexed` files. `passed_over` files are older than an
    indexed one of their folder, and not in the index. `folders_read` of the bucket's `folders` were looked at.
    `discarded` files count as indexed: an operator discarded their dead letters.
    """

    newest: datetime
    unindexed: int
    oldest_unindexed: datetime | None
    passed_over: int = 0
    folders_read: int = 0
    folders: int = 0
    discarded: int = 0
