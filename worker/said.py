"""What AWS said, as a part of a sentence: the code and the message, without the end's full stop."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError


def said(error: ClientError | BotoCoreError) -> str:
    """Put an SDK's error into words."""
    if isinstance(error, ClientError):
        given = error.response.get("Error", {})
        return f"{given.get('Code', 'unknown')}: {given.get('Message', '')}".rstrip(".: ")
    if isinstance(error, NoCredentialsError):
        return "no AWS credentials were found"
    return str(error).rstrip(".")


def said_of_queue(error: ClientError | BotoCoreError, url: str, region: str) -> str:
    """Put into words that a queue did not do what was asked; that it is not there is the commonest cause."""
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code.endswith(("NonExistentQueue", "QueueDoesNotExist")):
        return f"There is no queue {url} in {region}"
    return f"The queue {url} cannot be asked: {said(error)}"
