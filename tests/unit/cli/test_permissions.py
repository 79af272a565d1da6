"""Promises about `trailsink permissions`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from worker.cli.main import main

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/audit"


def test_the_policy_is_json_with_the_parts_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is pasted as it is."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("TRAILSINK_QUEUE_URL", QUEUE)
    monkeypatch.setenv("TRAILSINK_DEAD_LETTER_QUEUE_URL", f"{QUEUE}-dead-letters")
    monkeypatch.setenv("TRAILSINK_BUCKET", "acme-trail")

    printed = CliRunner().invoke(main, ["permissions", "dlq"])

    statements = {statement["Sid"]: statement for statement in json.loads(printed.stdout)["Statement"]}
    assert printed.stderr == "Replace DOMAIN, or name a stack with --stack.\n"
    assert statements["SourceQueue"]["Resource"] == "arn:aws:sqs:eu-west-1:123456789012:audit"
    assert statements["DeadLetterQueue"]["Resource"] == "arn:aws:sqs:eu-west-1:123456789012:audit-dead-letters"
    assert statements["BucketObjects"]["Resource"] == "arn:aws:s3:::acme-trail/AWSLogs/*"


def test_what_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pastes it without a look."""
    monkeypatch.delenv("AWS_REGION")

    printed = CliRunner().invoke(main, ["permissions", "status"])

    assert json.loads(printed.stdout)["Version"] == "2012-10-17"
    assert printed.stderr == "Replace REGION, ACCOUNT, BUCKET, DOMAIN, or name a stack with --stack.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["permissions", "template"], "Error: `trailsink template` needs no permission of AWS.\n"),
        (["permissions", "env", "--cluster"], "Error: `trailsink env` does not ask the cluster anything.\n"),
    ],
)
def test_a_command_that_needs_nothing_is_one_sentence(words: list[str], sentence: str) -> None:
    """An empty policy is one that IAM refuses."""
    printed = CliRunner().invoke(main, words)

    assert (printed.exit_code, printed.stderr) == (1, sentence)


def test_the_role_of_the_cluster_is_printed_on_request() -> None:
    """Under fine-grained access control, IAM lets a request in, and the role decides about it."""
    printed = CliRunner().invoke(main, ["permissions", "search", "--cluster"])

    [permission] = json.loads(printed.stdout)["index_permissions"]
    assert "indices:data/read/search" in permission["allowed_actions"]
