"""What AWS said, as a part of a sentence: the code and the message, without the end's full stop."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError


def said(error: ClientError | BotoCoreError) -> str:
    """Put an SDK's error into words."""
    if isinstance(error, ClientError):
        given = error.response.get("Error", {})
        return f"{given.get('Code', 'unknown')}: {given.get('Message', '')}".rstrip(".: ")
    return str(error).rstrip(".")
