"""What AWS said, as a part of a sentence: the code and the message, without the end's full stop."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError


def code_of(error: ClientError | BotoCoreError) -> str:
    """Return the code of AWS's refusal; "" where it was not even asked, "unknown" where it did not say."""
    return str(error.response.get("Error", {}).get("Code", "unknown")) if isinstance(error, ClientError) else ""


def is_no_queue(error: ClientError | BotoCoreError) -> bool:
    """Say whether SQS has no such queue; what it calls that depends on the protocol."""
    return code_of(error).endswith(("NonExistentQueue", "QueueDoesNotExist"))


def said(error: ClientError | BotoCoreError) -> str:
    """Put an SDK's error into words."""
    if isinstance(error, ClientError):
        return f"{code_of(error)}: {error.response.get('Error', {}).get('Message', '')}".rstrip(".: ")
    if isinstance(error, NoCredentialsError):
        return "no AWS credentials were found"
    return str(error).rstrip(".")


def said_of_queue(error: ClientError | BotoCoreError, url: str, region: str) -> str:
    """Put into words that a queue did not do what was asked; that it is not there is the commonest cause."""
    if is_no_queue(error):
        return f"There is no queue {url} in {region}"
    return f"The queue {url} cannot be asked: {said(error)}"
