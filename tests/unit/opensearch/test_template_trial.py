"""Promises about trying a template on a server: nothing is left behind, and why it was refused is known."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy.exceptions import ConnectionError as NoConnection

from tests.support.opensearch_server import connected, disconnected
from tests.support.refusing_server import RefusingServer
from worker.opensearch.profiles import Feature, sample
from worker.opensearch.template_trial import TemplateTrial, TrialResult, innermost_reason


def test_a_simulation_writes_nothing() -> None:
    """An index, even for a moment, is a shard that every node hears of."""
    server = RefusingServer({"alias"})

    with connected(server.answer) as client:
        trial = TemplateTrial(client)
        results = {feature: trial.result(sample(feature)) for feature in Feature}

    assert results == {f: TrialResult.REFUSED if f is Feature.ALIAS else TrialResult.ACCEPTED for f in Feature}
    assert {path for _, path in server.requests} == {"/_index_template/_simulate"}


def test_an_index_that_shows_what_a_server_takes_is_deleted() -> None:
    """And a server that simulates nothing is asked only once whether it does."""
    server = RefusingServer({"alias"}, simulates=False)

    with connected(server.answer) as client:
        trial = TemplateTrial(client)
        results = [trial.result(sample(feature)) for feature in (Feature.ALIAS, Feature.COPY_TO)]

    assert results == [TrialResult.REFUSED, TrialResult.ACCEPTED]
    assert server.indices == set()
    assert [method for method, _ in server.requests] == ["POST", "PUT", "PUT", "DELETE"]


def test_the_reason_is_the_innermost_one() -> None:
    """The outer ones say that something is invalid, and not what."""
    server = RefusingServer({"alias"})

    with connected(server.answer) as client:
        trial = TemplateTrial(client)
        trial.result(sample(Feature.ALIAS))

    assert trial.reason == "No handler for [alias]"


@pytest.mark.parametrize("info", [None, "", {}, {"error": "no"}, {"error": {}}, {"error": {"reason": None}}])
def test_an_answer_of_another_form_has_no_reason(info: Any) -> None:
    """A proxy's page, for example."""
    assert innermost_reason(info) == ""


def test_a_server_that_does_not_answer_is_no_refusal() -> None:
    """It would get a template without everything."""
    with disconnected() as client, pytest.raises(NoConnection):
        TemplateTrial(client).result(sample(Feature.ALIAS))
