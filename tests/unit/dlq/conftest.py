"""The dead-letter service on an empty queue in memory."""

from __future__ import annotations

import pytest

from tests.support.fake_dlq import FakeDlq


@pytest.fixture
def dlq() -> FakeDlq:
    return FakeDlq()
