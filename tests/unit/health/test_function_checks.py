"""The doctor on the Lambda function: how the queue feeds it, and by which role the cluster knows it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.health.fake_pipeline import (
    ISM,
    QUEUE_URL,
    ROLE,
    Denied,
    FakeLambda,
    FakePipeline,
    make_mapping,
    make_sqs,
)
from worker.health.findings import CheckStatus
from worker.opensearch.security import API

FUNCTION_CHECKS = ("event source mapping", "ReportBatchItemFailures", "visibility timeout", "reserved concurrency")


def test_each_trap_has_its_exact_fix() -> None:
    """Each of them loses events, or makes letters of healthy ones."""
    mapping = make_mapping("Disabled", 4, FunctionResponseTypes=[])
    sqs = make_sqs({"VisibilityTimeout": "1799"})

    found = FakePipeline({"lambda": FakeLambda([mapping], reserved=2), "sqs": sqs}).findings()

    change = "aws lambda update-event-source-mapping --uuid u-1"
    assert {name: (found[name].status, found[name].fix) for name in FUNCTION_CHECKS} == {
        "event source mapping": ("fault", f"{change} --enabled"),
        "ReportBatchItemFailures": ("fault", f"{change} --function-response-types ReportBatchItemFailures"),
        "visibility timeout": (
            "fault",
            f"""aws sqs set-queue-attributes --queue-url {QUEUE_URL} --attributes '{{"VisibilityTimeout":"1800"}}'""",
        ),
        "reserved concurrency": ("fault", "aws lambda delete-function-concurrency --function-name loader"),
    }


def test_without_a_function_there_is_nothing_to_check_about_it() -> None:
    """`trailsink run` consumes the queue in many places."""
    found = FakePipeline({"lambda": FakeLambda([])}).findings()

    assert found["event source mapping"].status is CheckStatus.NOT_CHECKED
    assert "trailsink run" in found["event source mapping"].evidence
    assert not found.keys() & {*FUNCTION_CHECKS[1:], "way to the endpoint", "data access policy"}


def test_a_function_that_may_not_be_read_is_not_checked() -> None:
    """Most operators have half of the permissions."""
    found = FakePipeline({"lambda": Denied()}).findings()

    assert {found[name].status for name in (*FUNCTION_CHECKS, "way to the endpoint")} == {CheckStatus.NOT_CHECKED}


@pytest.mark.parametrize(
    ("variables", "loader"),
    [
        ({}, ROLE),
        ({"TRAILSINK_OPENSEARCH_AUTH": "sigv4"}, ROLE),
        ({"TRAILSINK_OPENSEARCH_AUTH": "basic"}, "the role trailsink-loader-cloudtrail"),
        ({"TRAILSINK_OPENSEARCH_SECRET_ARN": "arn:s"}, "the role trailsink-loader-cloudtrail"),
        ({"TRAILSINK_OPENSEARCH_USERNAME": "ada"}, "the role trailsink-loader-cloudtrail"),
    ],
)
def test_the_function_loads_by_its_role_unless_it_has_a_password(variables: dict[str, Any], loader: str) -> None:
    """The cluster's side is checked for whoever loads."""
    pipeline = FakePipeline({"lambda": FakeLambda(variables=variables)})

    finding = pipeline.findings(loader_role="")["loader's rights"]

    assert finding.evidence == f"{loader} may load into cloudtrail-*"


def test_a_doctor_only_reads() -> None:
    """A check must not change what it checks."""
    pipeline = FakePipeline()

    pipeline.findings()

    assert {(method, path) for method, path in pipeline.cluster.requests if method != "GET"} == {
        ("POST", "/cloudtrail-*,-cloudtrail-undated*/_search"),
        ("POST", "/cloudtrail-*/_search"),
        ("POST", "/cloudtrail-*/_field_caps"),
        ("POST", "/trailsink-files-cloudtrail-*/_search"),
        ("POST", "/trailsink-holds-cloudtrail/_search"),
    }
    assert {f"{ISM}/policies/trailsink-cloudtrail", f"{API}/roles"} <= {path for _, path in pipeline.cluster.requests}
