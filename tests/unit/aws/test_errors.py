"""Promises about how AWS's errors are said: code and message, short for logs, and never a traceback."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, NoCredentialsError

from worker.aws.errors import error_cause, error_code, error_text, is_missing_queue, queue_error_text

DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied."}}, "GetObject")
UNKNOWN = ClientError({}, "GetObject")
GONE: Any = {"Code": "NoSuchBucket", "Message": "The specified bucket does not exist", "BucketName": "acme"}
TIMEOUT = ConnectTimeoutError(endpoint_url="https://s3.example.com")


@pytest.mark.parametrize(
    ("error", "code", "cause", "text"),
    [
        (DENIED, "AccessDenied", "s3:AccessDenied", "AccessDenied: Access Denied"),
        (
            ClientError({"Error": GONE}, "ListObjectsV2"),
            "NoSuchBucket",
            "s3:NoSuchBucket",
            "NoSuchBucket: The specified bucket does not exist (acme)",
        ),
        (UNKNOWN, "unknown", "s3:unknown", "unknown"),
        (TIMEOUT, "", "s3:ConnectTimeoutError", 'Connect timeout on endpoint URL: "https://s3.example.com"'),
        (NoCredentialsError(), "", "s3:NoCredentialsError", "no AWS credentials were found"),
    ],
)
def test_an_error_has_a_code_a_cause_and_a_text(
    error: ClientError | BotoCoreError, code: str, cause: str, text: str
) -> None:
    """The cause goes into accounts and metrics, the text into sentences."""
    assert (error_code(error), error_cause("s3", error), error_text(error)) == (code, cause, text)


@pytest.mark.parametrize("code", ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"])
def test_a_queue_that_does_not_exist_is_named_with_its_region(code: str) -> None:
    """The commonest cause is another region, and its code depends on the protocol."""
    error = ClientError({"Error": {"Code": code, "Message": "x"}}, "ReceiveMessage")

    assert is_missing_queue(error)
    assert queue_error_text(error, "https://q", "eu-west-1") == "There is no queue https://q in eu-west-1"
    assert queue_error_text(DENIED, "https://q", "eu-west-1").startswith(
        "The queue https://q cannot be used: AccessDenied"
    )


def test_a_page_of_html_becomes_one_line_of_bounded_length() -> None:
    """A proxy between us and AWS answers with whatever it likes; the operator reads one sentence."""
    html = "<html>\n" + "<p>sorry</p>\n" * 1_000
    error = ClientError({"Error": {"Code": "500", "Message": html}}, "ReceiveMessage")

    text = error_text(error)

    assert text.startswith("500: <html> <p>sorry</p>")
    assert "\n" not in text
    assert len(text) <= 600
