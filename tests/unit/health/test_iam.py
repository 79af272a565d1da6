"""Resource policies, as AWS's documentation writes them."""

from __future__ import annotations

from typing import Any

import pytest

from worker.health.iam import allows, external_principals, lacks_source_account, parse_statements

OTHER = "arn:aws:iam::222222222222:user/x"
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


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [f"{SERVICE} on behalf of anybody"]),
        ({"Effect": "Deny", "Principal": "*"}, []),
        ({"Action": "sqs:GetQueueUrl"}, []),
        ({"Action": "sqs:*", "Principal": "*"}, ["anybody"]),
        (
            {"Principal": {"AWS": ["111111111111", "arn:aws:iam::222222222222:user/x"]}},
            ["arn:aws:iam::222222222222:user/x"],
        ),
        ({"Principal": {"AWS": "arn:aws:sts::111111111111:assumed-role/x/y"}}, []),
        ({"Principal": {"AWS": "AIDAEXAMPLEOFADELETED"}}, ["AIDAEXAMPLEOFADELETED"]),
        ({"Principal": {"Federated": "accounts.google.com"}}, ["accounts.google.com"]),
        ({"Condition": {"ArnLike": {"aws:SourceArn": ARN}}}, []),
        ({"Condition": {"ForAnyValue:StringLike": {"AWS:SourceOrgPaths": "o-1/*"}}, "Principal": "*"}, []),
        ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}, "Principal": "*"}, []),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}}, [f"{SERVICE} on behalf of anybody"]),
        ({"Condition": {"ArnLike": {"aws:SourceArn": [ARN, "*"]}}}, [f"{SERVICE} on behalf of anybody"]),
        ({"Condition": {"ArnLikeIfExists": {"aws:SourceArn": ARN}}, "Principal": "*"}, ["anybody"]),
        ({"Condition": {"StringNotEquals": {"aws:SourceAccount": "3"}}, "Principal": "*"}, ["anybody"]),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}, "Principal": "*"}, ["anybody"]),
    ],
)
def test_strangers_are_all_that_no_condition_binds(changes: dict[str, Any], expected: list[str]) -> None:
    """A condition counts only if a request without its key does not meet it."""
    assert list(external_principals([statement(**changes)], [ACTION], "111111111111")) == expected


def test_a_statement_for_all_but_some_is_for_external_principals() -> None:
    """`NotPrincipal` and `NotAction` with Allow reach whatever is not named."""
    but_one = {"Effect": "Allow", "NotPrincipal": {"AWS": "111111111111"}, "Action": "sqs:*"}
    all_but = {"Effect": "Allow", "Principal": "*", "NotAction": "sqs:DeleteQueue"}

    assert list(external_principals([but_one], [ACTION], "111111111111")) == [
        "everybody but the principals of NotPrincipal"
    ]
    assert list(external_principals([all_but], [ACTION], "111111111111")) == ["anybody"]


def test_a_buckets_arn_does_not_say_whose_it_is() -> None:
    """Its name can be taken by another account once it is deleted."""
    by_name = statement(Condition={"ArnLike": {"aws:SourceArn": ARN}})
    owned = statement(Condition=by_name["Condition"] | {"StringEquals": {"aws:SourceAccount": "111111111111"}})

    assert lacks_source_account([by_name], SERVICE, ACTION, ARN)
    assert not lacks_source_account([owned], SERVICE, ACTION, ARN)
    assert not lacks_source_account([], SERVICE, ACTION, ARN)
