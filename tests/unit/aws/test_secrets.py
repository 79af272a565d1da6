"""Promises about the cluster's password: read from the secret, and never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import Stubber

from worker.aws.secrets import read_secret
from worker.errors import SetupError

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient


def test_the_password_comes_from_the_secrets_two_members() -> None:
    """As Secrets Manager's own rotation writes them."""
    client, stub = secrets('{"username":"writer","password":"pass word","engine":"x"}')

    with stub:
        assert read_secret(client, "arn") == ("writer", "pass word")


@pytest.mark.parametrize(
    "text", [None, "{}", "not json", '{"username":"x"}', '{"username":1,"password":"x"}', "[]", b"binary"]
)
def test_a_secret_that_cannot_be_used_is_told_without_its_text(text: str | bytes | None) -> None:
    """One sentence for the operator, and no secret in a log."""
    client, stub = secrets(text)

    with stub, pytest.raises(SetupError, match="secret of the cluster's password") as caught:
        read_secret(client, "arn")

    assert "json" not in str(caught.value)


def secrets(text: str | bytes | None) -> tuple[SecretsManagerClient, Stubber]:
    client: SecretsManagerClient = boto3.client("secretsmanager")
    stub = Stubber(client)
    if text is None:
        stub.add_client_error("get_secret_value", "ResourceNotFoundException", "not there.", http_status_code=400)
    elif isinstance(text, bytes):
        stub.add_response("get_secret_value", {"SecretBinary": text}, {"SecretId": "arn"})
    else:
        stub.add_response("get_secret_value", {"SecretString": text}, {"SecretId": "arn"})
    return client, stub
