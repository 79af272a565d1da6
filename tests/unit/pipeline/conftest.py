"""A consumer with a store, an index and a queue in memory, for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.fakes import FakePipeline, make_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipeline() -> Iterator[FakePipeline]:
    with make_pipeline() as pipeline:
        yield pipeline
