"""Resource policies, as AWS's documentation writes them."""

from __future__ import annotations

from typing import Any

import pytest

from worker.health.iam import allows, parse_statements

SERVICE, ACTION, ARN = "s3.amazonaws.com", "sqs:SendMessage", "arn:aws:s3:::acme-trail"


def statement(**changes: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": ACTION} | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"Effect": "Deny"}, False),
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": ["x", "*"]}}, True),
        ({"Principal": {"AWS": "123456789012"}}, False),
        ({"Principal": {"Service": ["sns.amazonaws.com", SERVICE]}}, True),
        ({"Principal": {"Service": "sns.amazonaws.com"}}, False),
        ({"Action": "SQS:*"}, True),
        ({"Action": ["sqs:ReceiveMessage", "sqs:Send*"]}, True),
        ({"Action": "sqs:ReceiveMessage"}, False),
        ({"Condition": {"ArnLike": {"aws:SourceArn": ARN}}}, True),
        ({"Condition": {"ArnLike": {"AWS:SourceArn": ["x", "arn:aws:s3:*:*:acme-*"]}}}, True),
        ({"Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::another"}}}, False),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}, True),
        (
            {"Condition": {"ArnLike": {"aws:SourceArn": ARN}, "StringLike": {"aws:SourceArn": "arn:aws:s3:::x"}}},
            False,
        ),
    ],
)
def test_a_statement_allows_a_service_an_action_for_a_source(
    changes: dict[str, Any],
    expected: bool,  # noqa: FBT001
) -> None:
    """Policies have one value or a list, in any case, with wildcards."""
    assert allows([statement(**changes)], SERVICE, ACTION, ARN) is expected


def test_without_a_source_conditions_do_not_matter() -> None:
    """The policy of a key is checked for the service alone."""
    assert allows([statement(Condition={"ArnLike": {"aws:SourceArn": "arn:x"}})], SERVICE, ACTION)


def test_one_of_several_statements_is_enough() -> None:
    """They are alternatives."""
    assert allows([statement(Action="sqs:ReceiveMessage"), statement()], SERVICE, ACTION, ARN)
    assert not allows([], SERVICE, ACTION, ARN)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(None, []), ("", []), ("{}", []), ('{"Statement": {"a": 1}}', [{"a": 1}]), ('{"Statement": [{}, {}]}', [{}, {}])],
)
def test_a_policy_has_a_list_of_statements_or_a_single_one(policy: str | None, expected: list[Any]) -> None:
    """AWS accepts both."""
    assert parse_statements(policy) == expected
