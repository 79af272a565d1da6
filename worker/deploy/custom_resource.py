"""The protocol of CloudFormation's custom resources: one request in, one response out, within the invocation's time.

CloudFormation waits, up to an hour, for one response by HTTP PUT to the request's ResponseURL.
docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html

Whoever may invoke the function can send such a request. So an event says only what CloudFormation wants done with the
resource, and where it waits. With what it is done, the function's own environment says, which the template sets.

The work runs in a thread, and the invocation's own thread is its watchdog. Only the watchdog responds: with the result
of the work or, shortly before the deadline, with FAILED. So every path sends exactly one response. Late work stops by
itself: Lambda freezes it with the process and would resume it in the next invocation, which may be the Delete.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import urllib3
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from worker.aws.partitions import is_response_url
from worker.errors import OutOfTime, SetupError, TrailsinkError, Unavailable
from worker.humanize import ascii_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from tenacity import RetryCallState

    from worker.aws.lambda_context import LambdaContext

    Work: TypeAlias = Callable[["CustomResourceRequest", "InvocationClock"], "WorkResult"]

# Time reserved for the response and its retries; half of what remains when the invocation has less than twice that.
_RESERVE_SECONDS = 15.0
_RESPONSE_PAUSES = (0.0, 0.1, 0.3, 1.0, 3.0, 5.0)
_RESPONSE_TIMEOUT = 5.0
_RESPONSE_BYTES = 4096

WORK_THREAD = "custom-resource"
# Set where a stand-in for CloudFormation waits on the same machine, never by the template.
LOOPBACK_VARIABLE = "TRAILSINK_TEST_LOOPBACK_RESPONSES"
_NOT_CREATED = "trailsink-not-made"  # the physical id of a Create that failed

# At DEBUG it logs each URL with its query, which holds the signature here.
logging.getLogger("urllib3.connectionpool").setLevel(logging.WARNING)

Variables = TypeVar("Variables", bound=msgspec.Struct)


class CustomResourceRequest(msgspec.Struct, frozen=True, rename="pascal"):
    """CloudFormation's request: what to do with which resource. Its properties are not read: they are anybody's."""

    request_type: Literal["Create", "Update", "Delete"]
    stack_id: str
    request_id: str
    logical_resource_id: str
    physical_resource_id: str = ""


class CustomResourceResponse(msgspec.Struct, frozen=True, rename="pascal"):
    """The response that CloudFormation waits for."""

    status: Literal["SUCCESS", "FAILED"]
    reason: str
    physical_resource_id: str
    stack_id: str
    request_id: str
    logical_resource_id: str

    def body(self) -> bytes:
        """Encode the response, with as much of the reason as CloudFormation's limit leaves room for."""
        reason = "".join(character if character.isprintable() else " " for character in self.reason)
        body = msgspec.json.encode(msgspec.structs.replace(self, reason=reason))
        while len(body) >= _RESPONSE_BYTES and reason:
            reason = reason[: len(reason) * 3 // 4]
            body = msgspec.json.encode(msgspec.structs.replace(self, reason=reason))
        return body


@dataclass(frozen=True, slots=True)
class WorkResult:
    """What the work has done, in a sentence; `physical_id` is "" when it does not change."""

    physical_id: str
    reason: str
    failed: bool = False


class RetryableFailure(Unavailable):
    """A failure that may pass within the invocation; its text is the reason if it does not."""


class InvocationClock:
    """The time that remains for the work. When it is over, the work must not start anything more."""

    def __init__(self, context: LambdaContext) -> None:
        self._context = context
        self._reserve = min(_RESERVE_SECONDS, self.until_end() / 2)
        self._stopped = threading.Event()
        self.last_failure = ""

    def until_end(self) -> float:
        """Return the seconds until Lambda ends the invocation."""
        return self._context.get_remaining_time_in_millis() / 1000

    def remaining(self) -> float:
        """Return the seconds for the work."""
        return 0.0 if self._stopped.is_set() else max(0.0, self.until_end() - self._reserve)

    def check(self) -> None:
        """Raise OutOfTime when no time remains; called before everything that changes something."""
        if self.remaining() <= 0:
            raise OutOfTime("The function ran out of time.")

    def stop(self) -> None:
        """End the time for the work."""
        self._stopped.set()

    def retry_until_deadline(self, work: Callable[[], None], seconds: float) -> None:
        """Call `work` until it no longer raises RetryableFailure, for `seconds` or as long as time remains.

        Raises the last failure.
        """

        def attempt() -> None:
            try:
                work()
            except RetryableFailure as failure:
                self.last_failure = str(failure)
                raise

        is_exhausted = stop_after_delay(seconds)

        def is_over(state: RetryCallState) -> bool:
            return is_exhausted(state) or self.remaining() <= state.upcoming_sleep

        retrying = Retrying(
            retry=retry_if_exception_type(RetryableFailure),
            # With jitter, because two stacks that are created at once may share a bucket.
            wait=wait_random_exponential(multiplier=0.5, min=0.2, max=8),
            stop=is_over,
            sleep=self._sleep,
            reraise=True,
        )
        retrying(attempt)

    def _sleep(self, seconds: float) -> None:
        self._stopped.wait(seconds)


def read_variables(kind: type[Variables]) -> Variables:
    """Read the fields of `kind` from the environment variables TRAILSINK_*; raises SetupError when one is wrong.

    An empty variable counts as missing: that is how the template passes "none".
    """
    names = kind.__struct_fields__
    present = {name: value for name in names if (value := os.environ.get(f"TRAILSINK_{name.upper()}"))}
    try:
        return msgspec.convert(present, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SetupError(f"The function's environment is wrong: {error}.") from error


def serve(event: Mapping[str, Any], context: LambdaContext, work: Work) -> None:
    """Do the work that a request asks for, and respond once.

    Raises Unavailable when the response cannot be delivered: then Lambda retries the invocation, twice at most. Raises
    SetupError, and does nothing, when the place for the response is not CloudFormation's.
    """
    _check_response_url(event)
    clock = InvocationClock(context)
    results: list[WorkResult] = []
    thread = threading.Thread(target=lambda: results.append(_run(event, clock, work)), name=WORK_THREAD, daemon=True)
    thread.start()
    thread.join(clock.remaining())
    clock.stop()
    response = _response(event, results[0] if results else _out_of_time(clock))
    _log(event, response)
    _send(event, response, clock)


def _check_response_url(event: Mapping[str, Any]) -> None:
    """Raise SetupError unless CloudFormation waits at the request's ResponseURL; the error must not show the URL."""
    url = event.get("ResponseURL")
    if isinstance(url, str) and (is_response_url(url, os.environ.get("AWS_REGION", "")) or _is_local(url)):
        return
    raise SetupError("The request has no ResponseURL of CloudFormation in this region, so nothing was done.")


def _is_local(url: str) -> bool:
    return bool(os.environ.get(LOOPBACK_VARIABLE)) and url.startswith("http://127.0.0.1:")


def _run(event: Mapping[str, Any], clock: InvocationClock, work: Work) -> WorkResult:
    try:
        return work(_parse_request(event), clock)
    except OutOfTime:
        return _out_of_time(clock)
    except TrailsinkError as error:
        return WorkResult("", str(error), failed=True)
    except Exception as error:  # noqa: BLE001 - otherwise CloudFormation would wait for an hour
        # The log shows where it happened, without the error's text: that may quote a signed URL or a password.
        sys.stderr.write("".join([*traceback.format_tb(error.__traceback__), type(error).__name__, "\n"]))
        reason = f"An internal error in trailsink: {type(error).__name__}. The function's log shows where."
        return WorkResult("", reason, failed=True)


def _parse_request(event: Mapping[str, Any]) -> CustomResourceRequest:
    try:
        request = msgspec.convert(dict(event), CustomResourceRequest)
    except msgspec.ValidationError as error:
        raise SetupError(f"This is not a request of CloudFormation: {error}.") from error
    # The id ends in a UUID, which a caller who may only invoke functions does not learn.
    if request.stack_id != os.environ.get("TRAILSINK_STACK_ID"):
        raise SetupError("The request is of another stack than this function's, so nothing was done.")
    return request


def _out_of_time(clock: InvocationClock) -> WorkResult:
    return WorkResult("", f"The function ran out of time. {clock.last_failure}".rstrip(), failed=True)


def _response(event: Mapping[str, Any], result: WorkResult) -> CustomResourceResponse:
    """Build the response; the request's physical id stays, unless the work returned another."""
    return CustomResourceResponse(
        "FAILED" if result.failed else "SUCCESS",
        result.reason,
        result.physical_id or event.get("PhysicalResourceId") or _NOT_CREATED,
        event.get("StackId", ""),
        event.get("RequestId", ""),
        event.get("LogicalResourceId", ""),
    )


def _log(event: Mapping[str, Any], response: CustomResourceResponse) -> None:
    line = {
        "event": "custom_resource",
        "request": event.get("RequestType", ""),
        "resource": response.logical_resource_id,
        "physical_id": response.physical_resource_id,
        "status": response.status,
        "reason": response.reason,
    }
    sys.stdout.write(ascii_json(msgspec.json.encode(line).decode()) + "\n")


def _send(event: Mapping[str, Any], response: CustomResourceResponse, clock: InvocationClock) -> None:
    """Put the response to its URL, which is a credential and must not appear in any error."""
    body, failure = response.body(), "no time remained"
    with urllib3.PoolManager(maxsize=1) as pool:
        for pause in _RESPONSE_PAUSES:
            time.sleep(min(pause, max(0.0, clock.until_end() - 0.3)))
            timeout = min(_RESPONSE_TIMEOUT, clock.until_end() - 0.1)
            if timeout <= 0:
                break
            failure = _put(pool, event["ResponseURL"], body, timeout)
            if not failure:
                return
    raise Unavailable(f"The response could not be delivered to CloudFormation: {failure}.")


def _put(pool: urllib3.PoolManager, url: str, body: bytes, timeout: float) -> str:
    """Put the response once; returns the status or error with which that failed, "" when it succeeded."""
    try:
        response = pool.request(
            "PUT",
            url,
            body=body,
            headers={"content-type": ""},  # the signature covers an empty content type
            timeout=urllib3.Timeout(total=timeout),
            retries=False,
            redirect=False,
        )
    except urllib3.exceptions.HTTPError as error:
        return type(error).__name__
    return "" if response.status in range(200, 300) else str(response.status)
