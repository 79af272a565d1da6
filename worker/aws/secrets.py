"""Secrets Manager: the user name and password of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.errors import SetupError

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient


def read_secret(client: SecretsManagerClient, arn: str) -> tuple[str, str]:
    """Return user name and password of a secret with the JSON members `username` and `password`; raises SetupError."""
    try:
        text = client.get_secret_value(SecretId=arn).get("SecretString", "")
    except (ClientError, BotoCoreError) as error:
        raise SetupError(f"The secret of the cluster's password cannot be read: {error_text(error)}.") from error
    try:
        secret = msgspec.json.decode(text)
    except msgspec.DecodeError:
        secret = None
    match secret:
        case {"username": str(username), "password": str(password)}:
            return username, password
    raise SetupError("The secret of the cluster's password has no JSON members `username` and `password`.")
