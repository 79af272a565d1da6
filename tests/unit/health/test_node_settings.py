"""Promises about the cluster's own limits: its watermark counts, not a percentage of ours."""

from __future__ import annotations

import pytest

from worker.health.node_settings import blocking_bytes, flat_settings

FLOOD = "cluster.routing.allocation.disk.watermark.flood_stage"
ENABLED = "cluster.routing.allocation.disk.threshold_enabled"
TOTAL = 1_000 << 30


@pytest.mark.parametrize(
    ("settings", "managed", "expected"),
    [
        ({FLOOD: "95%"}, False, TOTAL // 20),
        ({FLOOD: "0.95"}, False, TOTAL // 20),
        ({FLOOD: "10gb"}, False, 10 << 30),
        ({FLOOD: "95%", ENABLED: "false"}, False, None),
        ({FLOOD: "x"}, False, None),
        ({}, False, None),
        ({FLOOD: "95%"}, True, 20 << 30),
    ],
)
def test_the_watermark_says_when_writes_are_blocked(
    *, settings: dict[str, str], managed: bool, expected: int | None
) -> None:
    """As a share that may be used, or as a size that must be free; an Amazon domain has a rule of its own."""
    result = blocking_bytes(settings, TOTAL, is_managed=managed)

    assert (result is None) is (expected is None)
    assert expected is None or abs((result or 0) - expected) < 1 << 20


def test_transient_settings_win_over_the_others() -> None:
    """As in the cluster."""
    scopes = {name: {"cluster": {"blocks": {"create_index": name}}} for name in ("defaults", "persistent", "transient")}

    assert flat_settings(scopes) == {"cluster.blocks.create_index": "transient"}
