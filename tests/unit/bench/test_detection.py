"""Promises about `make bench-detect`, which CI does not run."""

from __future__ import annotations

from tests.bench.cluster import detection


def test_its_rules_are_where_it_looks() -> None:
    """They moved once, and nobody saw it."""
    assert sorted(detection.RULES.glob("*.yml"))
