"""Promises about what a server is: its version decides where its features cannot be tried."""

from __future__ import annotations

import pytest

from worker.opensearch.profiles import Profile
from worker.opensearch.server import SERVERLESS, Server, version_number


@pytest.mark.parametrize(
    ("version", "number"),
    [("3.9.0", (3, 9)), ("2.19.1-SNAPSHOT", (2, 19)), ("3.10.2", (3, 10)), ("", ()), ("4", (4,))],
)
def test_versions_are_compared_as_numbers(version: str, number: tuple[int, ...]) -> None:
    """As texts, 3.10 would be below 3.7."""
    assert version_number(version) == number


def test_a_server_without_a_version_is_trusted_with_nothing() -> None:
    """Serverless does not say what it is."""
    assert SERVERLESS.number == ()
    assert SERVERLESS.profile is Profile.COMPATIBILITY
    assert Server("OpenSearch", "3.9.0", False, "").profile is Profile.FLAT
