"""Human-readable text of AWS errors, as a part of a sentence: code and message, without the final full stop."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

_TEXT_CHARACTERS = 600  # a proxy's error can be a whole page of HTML


def error_code(error: ClientError | BotoCoreError) -> str:
    """Return the code of AWS's error; "" where AWS was not even asked, "unknown" where it did not say."""
    return str(error.response.get("Error", {}).get("Code", "unknown")) if isinstance(error, ClientError) else ""


def error_status(error: ClientError) -> int:
    """Return the HTTP status of AWS's error, 0 where there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def error_cause(service: str, error: ClientError | BotoCoreError) -> str:
    """Return a short cause for logs: the service, and AWS's code or the SDK's class, as in s3:AccessDenied."""
    if is_role_refusal(error):
        service = "sts"
    return f"{service}:{error_code(error) or type(error).__name__}"


def is_role_refusal(error: ClientError | BotoCoreError) -> bool:
    """Return whether a request could not be signed, because its role could not be assumed."""
    return isinstance(error, ClientError) and error.operation_name == "AssumeRole"


def is_missing_queue(error: ClientError | BotoCoreError) -> bool:
    """Return whether SQS has no such queue; the code for that depends on the protocol."""
    return error_code(error).endswith(("NonExistentQueue", "QueueDoesNotExist"))


def error_text(error: ClientError | BotoCoreError) -> str:
    """Describe an SDK's error, on one line."""
    if isinstance(error, NoCredentialsError):
        return "no AWS credentials were found"
    text = str(error)
    if isinstance(error, ClientError):
        details: Any = error.response.get("Error", {})
        named = f" ({details['BucketName']})" if "BucketName" in details else ""
        text = f"{error_code(error)}: {details.get('Message', '').rstrip('.')}{named}"
    return " ".join(text.split())[:_TEXT_CHARACTERS].rstrip(".: ")


def queue_error_text(error: ClientError | BotoCoreError, url: str, region: str) -> str:
    """Describe why a queue did not do what was asked; that it does not exist is the most common cause."""
    if is_missing_queue(error):
        return f"There is no queue {url} in {region}"
    return f"The queue {url} cannot be used: {error_text(error)}"
