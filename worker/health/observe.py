"""Turns errors of AWS and OpenSearch into values, so that a part that cannot be observed harms no other part."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from opensearchpy.exceptions import OpenSearchException, TransportError

from worker.aws.errors import error_code, error_text
from worker.errors import TrailsinkError
from worker.health.findings import Judgement
from worker.health.snapshot import Observed, Unobserved, Unreachable
from worker.opensearch.errors import describe_error, missing_permission

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Everything that AWS, the cluster or the settings can be expected to answer instead of a fact.
EXPECTED_ERRORS = (ClientError, BotoCoreError, OpenSearchException, TrailsinkError)


# docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException")


class NotObservedError(TrailsinkError):
    """A fact was required that could not be observed."""

    def __init__(self, unobserved: Unobserved) -> None:
        super().__init__(unobserved.why)
        self.unobserved = unobserved


def observe(read: Callable[[], T]) -> Observed[T]:
    """Return what `read` returns, or why it could not."""
    try:
        return read()
    except EXPECTED_ERRORS as error:
        return explain(error)


def fact(read: Callable[[Any], T]) -> cached_property[Observed[T]]:
    """Make a method a property that reads once, and keeps the result or why there is none."""
    return cached_property(lambda facts: observe(lambda: read(facts)))


def require(observed: Observed[T], otherwise: str = "") -> T:
    """Return a fact that was observed; raises NotObservedError, with `otherwise` in place of the fact's own reason."""
    if isinstance(observed, Unobserved):
        raise NotObservedError(Unobserved(otherwise) if otherwise else observed)
    return observed


def explain(error: Exception) -> Unobserved:
    """Return why there is no fact, as a part of a sentence."""
    match error:
        case NotObservedError():
            return error.unobserved
        case ClientError() | BotoCoreError():
            return Unobserved(error_text(error), error)
        case TransportError() if not isinstance(error.status_code, int):
            return Unreachable(describe_error(error), error)
        case OpenSearchException():
            return Unobserved(describe_error(error), error)
    return Unobserved(str(error).rstrip("."), error)


def judge_unobserved(unobserved: Unobserved) -> Judgement:
    """Return that a fact could not be checked, and which permission of the cluster would let it be."""
    error = unobserved.error
    if isinstance(error, ClientError) and error_code(error) in _EXPIRED:
        return Judgement.not_checked(unobserved.why, "sign in to AWS again: aws sso login, or export new credentials")
    permission = missing_permission(error) if isinstance(error, TransportError) else ""
    fix = f"give this user or role {permission}, or run the doctor as an administrator" if permission else ""
    return Judgement.not_checked(unobserved.why, fix)
