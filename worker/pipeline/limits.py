"""The bounds of one consumer. `settings` takes its defaults from here."""

from __future__ import annotations

from enum import StrEnum

import msgspec

MiB = 1 << 20

# The `maxReceiveCount` of the source queue's redrive policy. With the delays below, so many receives take 40 hours at
# the least: a cluster may be away for a day and a half, and some receives may be lost to a consumer that was killed.
MAX_RECEIVE_COUNT = 60

# A keyword field ignores a longer value, in UTF-16 code units: `ignore_above` of the index template.
MAX_KEYWORD = 8_191


class Partition(StrEnum):
    """How much time one index holds."""

    DAY = "day"
    MONTH = "month"


class Limits(msgspec.Struct, frozen=True):
    """The bounds of one consumer; docs/reference/settings.md says why each number is what it is."""

    index_prefix: str = "cloudtrail"
    index_partition: Partition = Partition.DAY
    max_inflated_bytes: int = 256 * MiB
    max_depth: int = 64
    max_days_per_file: int = 100
    bulk_bytes: int = 5 * MiB
    bulk_max_bytes: int = 19 * MiB // 2
    bulk_actions: int = 2_000
    bulk_in_flight: int = 8
    bulk_in_flight_bytes: int = 24 * MiB
    fetch_ahead: int = 8
    fetch_ahead_bytes: int = 32 * MiB
    reserve_seconds: float = 10.0
    backoff_seconds: int = 30
    backoff_max_seconds: int = 3_600
    ledger: bool = True
