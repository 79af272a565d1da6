"""Facts of the cluster: parsed once, with what the server does not offer as its own value."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.health.fake_pipeline import ISM, FakeCluster, make_policy, make_template, refusal
from worker.errors import SetupError
from worker.health.cluster_facts import ClusterFacts
from worker.health.retention_snapshot import RetentionState
from worker.health.snapshot import (
    ClusterState,
    DiskUsage,
    ServerVersion,
    TemplateState,
    Unobserved,
    Unreachable,
)
from worker.opensearch.client import Client
from worker.opensearch.policy_steps import PolicyStep
from worker.opensearch.template_content import differing_fields
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opensearchpy import OpenSearch

POLICY = f"{ISM}/policies/trailsink-cloudtrail"
NO_HANDLER = (400, {"error": "no handler found for uri [x] and method [GET]"})


@contextmanager
def facts(changed: dict[str, tuple[int, Any]] | None = None, **settings: Any) -> Iterator[ClusterFacts]:
    with FakeCluster(changed or {}).serving() as url:
        client = Client(url, sign_in=lambda: None, ca_file=None, seconds=60).connect()
        known = ClusterFacts(Settings(**({"opensearch_url": url, "retention_days": 90} | settings)), lambda: client)
        yield known
        known.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {"version": {"distribution": "opensearch", "number": "3.4.0"}}), ServerVersion("opensearch", "3.4.0")),
        ((200, {"version": {"number": "7.10.2"}}), ServerVersion("", "7.10.2")),
        ((200, {"version": "1.0"}), ServerVersion()),
        ((200, "hello"), ServerVersion()),
        ((403, {"error": "security_exception"}), ServerVersion()),
    ],
)
def test_whatever_answers_has_a_version_perhaps(answer: tuple[int, Any], expected: ServerVersion) -> None:
    """A role that may not ask for it has still reached the cluster."""
    with facts({"/": answer}) as known:
        assert known.version == expected


def test_health_and_disk_are_parsed() -> None:
    """The fullest node counts; the row of unassigned shards has no disk."""
    with facts() as known:
        assert known.cluster == ClusterState("opensearch 3.4.0", "green", 3, 0, 20, 2)
        assert known.disk == DiskUsage(41.0, 59 << 30)


def test_serverless_offers_neither_health_nor_disk_nor_policies() -> None:
    """A collection has its own lifecycle policies."""
    with facts(opensearch_service="aoss") as known:
        assert known.cluster == ClusterState("OpenSearch Serverless", None, None, None)
        assert known.disk is None
        assert known.retention is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (make_template(), (2, ())),
        (make_template(_meta={"owner": "trailsink", "version": 3}), (3, ())),
        (make_template(_meta={"owner": "trailsink", "version": None}), (0, ())),
        (make_template(_meta={"owner": "ops", "version": 1}), (None, ())),
        (make_template(_meta=None), (None, ())),
        ({"index_templates": []}, (None, ())),
        ({}, (None, ())),
    ],
)
def test_a_template_has_a_version_when_it_is_trailsinks(answer: Any, expected: tuple[int | None, Any]) -> None:
    """Somebody else's under this name is none."""
    with facts({"/_index_template": (200, answer)}) as known:
        template = known.template

    assert isinstance(template, TemplateState)
    assert (template.version, tuple(template.changed)) == expected


DESCRIPTION = "Delete indices of trailsink after {} days"


def steps(days: int) -> tuple[PolicyStep, ...]:
    return PolicyStep("kept", (), "deleted", f"{days + 1}d"), PolicyStep("deleted", ("delete",))


def asked(policy: str, **changes: Any) -> RetentionState:
    return RetentionState(90, policy, DESCRIPTION.format(90), expected_steps=steps(90), **changes)


@pytest.mark.parametrize(
    ("answer", "days", "expected"),
    [
        ((200, make_policy(90)), 90, asked(DESCRIPTION.format(90), steps=steps(90))),
        ((200, make_policy(30)), 90, asked(DESCRIPTION.format(30), steps=steps(30))),
        ((404, {}), 90, asked("")),
        (NO_HANDLER, 90, asked("", has_ism=False)),
        ((200, make_policy(30)), 0, RetentionState(0, DESCRIPTION.format(30), steps=steps(30))),
        (NO_HANDLER, 0, RetentionState(0, "", has_ism=False)),
        (refusal("ism"), 0, RetentionState(0, None)),
    ],
)
def test_a_policy_is_read_with_its_steps(answer: tuple[int, Any], days: int, expected: RetentionState) -> None:
    """A description is what somebody wrote."""
    with facts({POLICY: answer}, retention_days=days) as known:
        assert known.retention == expected


@pytest.mark.parametrize("answer", [refusal("cluster:admin/opendistro/ism/policy/get"), (503, "busy")])
def test_a_policy_that_may_not_be_read_is_not_observed(answer: tuple[int, Any]) -> None:
    """Where days were asked for, that matters."""
    with facts({POLICY: answer}) as known:
        assert isinstance(known.retention, Unobserved)
        assert not isinstance(known.retention, Unreachable)


def test_a_client_that_cannot_be_opened_is_unreachable() -> None:
    """Nothing else has to be tried."""

    def connect() -> OpenSearch:
        raise SetupError("TRAILSINK_OPENSEARCH_URL is not set.")

    known = ClusterFacts(Settings(), connect)
    known.close()

    assert isinstance(known.version, Unreachable)
    assert known.cluster == known.version == Unreachable("TRAILSINK_OPENSEARCH_URL is not set")
    assert known.template == Unobserved("the cluster cannot be checked")


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ({"a": {"type": "date"}, "b": {"properties": {"c": {"type": "keyword"}}}, "more": {}}, []),
        ({"a": {"type": "text"}, "b": {"properties": {}}}, ["a", "b.c"]),
        ({"b": {"type": "object", "properties": {"c": {"type": "keyword"}}}}, ["a"]),
        (None, ["a", "b"]),
    ],
)
def test_missing_fields_and_other_types_are_differences(actual: Any, expected: list[str]) -> None:
    """By their path; additional fields are the user's own."""
    fields = {"a": {"type": "date"}, "b": {"properties": {"c": {"type": "keyword"}}}}

    assert differing_fields(fields, actual) == expected
