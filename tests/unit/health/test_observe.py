"""Errors as values: why a fact could not be observed, and that it is asked for once."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError
from opensearchpy.exceptions import AuthenticationException, ConnectionTimeout, SerializationError, TransportError
from opensearchpy.exceptions import ConnectionError as NoConnection

from tests.unit.health.fake_pipeline import client_error
from worker.errors import IndexUnavailable, SetupError
from worker.health.observe import NotObservedError, explain, fact, observe, require
from worker.health.snapshot import Missing, Unobserved, Unreachable
from worker.opensearch.errors import describe_error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("AccessDenied", "no"), "AccessDenied: no"),
        (NoCredentialsError(), "no AWS credentials were found"),
        (SetupError("No AWS region is set: set AWS_REGION."), "No AWS region is set: set AWS_REGION"),
        (IndexUnavailable("OpenSearch does not answer"), "OpenSearch does not answer"),
    ],
)
def test_an_expected_error_is_why_there_is_no_fact(error: Exception, expected: str) -> None:
    """As a part of a sentence, without a full stop; the cause is kept."""
    unobserved = explain(error)

    assert unobserved == Unobserved(expected)
    assert unobserved.error is error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoConnection("N/A", "refused", OSError()), Unreachable),
        (ConnectionTimeout("TIMEOUT", "slow", OSError()), Unreachable),
        (TransportError(503, "busy", {}), Unobserved),
        (AuthenticationException(401, "no", {}), Unobserved),
        (SerializationError("<html>"), Unobserved),
    ],
)
def test_a_silent_cluster_differs_from_one_that_refuses(error: Any, kind: type[Unobserved]) -> None:
    """One that refuses may answer the next question."""
    assert type(explain(error)) is kind
    assert explain(error).why == describe_error(error)


def test_a_mistake_of_ours_is_raised() -> None:
    """It must be seen, not shown as a state of the pipeline."""
    empty: dict[str, int] = {}

    with pytest.raises(KeyError):
        observe(lambda: empty["x"])


def test_a_required_fact_is_the_fact_or_raises_why() -> None:
    """A dependent fact fails for the reason of the first, or for one that says what it depends on."""
    missing = Missing("there is no queue x")

    assert require(0) == 0
    assert observe(lambda: require(missing)) is missing
    assert observe(lambda: require(missing, "the queue cannot be checked")) == Unobserved("the queue cannot be checked")
    with pytest.raises(NotObservedError, match="there is no queue x"):
        require(missing)


class Facts:
    """Counts how often each fact is read."""

    reads = 0
    refusals = 0

    @fact
    def number(self) -> int:
        """Read it."""
        self.reads += 1
        return 7

    @fact
    def nothing(self) -> int:
        """Fail."""
        self.refusals += 1
        raise SetupError("No.")


def test_a_fact_is_read_once_even_when_it_fails() -> None:
    """Many checks ask for the same, and a refusal can take seconds."""
    facts = Facts()

    assert (facts.number, facts.number, facts.reads) == (7, 7, 1)
    assert (facts.nothing, facts.nothing, facts.refusals) == (Unobserved("No"), Unobserved("No"), 1)
