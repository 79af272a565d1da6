"""Promises about the custom resources' protocol: the response fits, retries end in time, and the log line is stable."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.custom_resources import STACK, environment_of, request, waiting
from tests.support.http_server import serving
from worker.deploy.custom_resource import (
    CustomResourceRequest,
    CustomResourceResponse,
    InvocationClock,
    RetryableFailure,
    WorkResult,
    read_variables,
    serve,
)
from worker.errors import OutOfTime, SetupError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 4096  # docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html


class FakeContext:
    """The context of an invocation in which this many seconds remain."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def response(reason: str) -> CustomResourceResponse:
    return CustomResourceResponse("FAILED", reason, "physical", STACK, "request", "Logical")


def test_the_body_has_the_members_that_cloudformation_reads() -> None:
    """Byte for byte: the names are its protocol."""
    assert response("No.").body() == (
        b'{"Status":"FAILED","Reason":"No.","PhysicalResourceId":"physical",'
        b'"StackId":"%s","RequestId":"request","LogicalResourceId":"Logical"}' % STACK.encode()
    )


@given(st.text(max_size=6000))
def test_a_body_is_below_the_limit_whatever_the_reason(reason: str) -> None:
    """A longer response is refused, and the stack waits an hour. S3's messages can hold anything."""
    body = response(reason).body()

    assert len(body) < LIMIT
    assert json.loads(body)["Status"] == "FAILED"


@pytest.mark.parametrize("character", ["x", "ü", "漢", "\U0001f600"])
def test_a_long_reason_fills_the_body(character: str) -> None:
    """It is cut by bytes, to more than half of the room."""
    assert LIMIT / 2 < len(response(character * 6000).body()) < LIMIT


def test_control_characters_of_a_reason_become_spaces() -> None:
    """The console shows it in one line."""
    assert json.loads(response("a\nb\x1b[2Jc").body())["Reason"] == "a b [2Jc"


class ExampleVariables(msgspec.Struct):
    """Variables as a function's environment has them: all are strings."""

    name: str
    days: int = 7
    enabled: bool = False


def test_an_empty_variable_is_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template has no other way to pass none; numbers and booleans come as strings."""
    for name, value in {"NAME": "a", "DAYS": "", "ENABLED": "true", "OTHER": "x"}.items():
        monkeypatch.setenv(f"TRAILSINK_{name}", value)

    variables = read_variables(ExampleVariables)

    assert (variables.name, variables.days, variables.enabled) == ("a", 7, True)


@pytest.mark.parametrize("variables", [{}, {"NAME": ""}, {"NAME": "a", "DAYS": "seven"}])
def test_an_environment_that_is_wrong_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """It names the variable, since that is what can be changed."""
    for name, value in variables.items():
        monkeypatch.setenv(f"TRAILSINK_{name}", value)

    with pytest.raises(SetupError, match=r"^The function's environment is wrong: .*(`name`|`\$\.days`)"):
        read_variables(ExampleVariables)


@pytest.mark.parametrize(("seconds", "remaining"), [(120, 105), (30, 15), (20, 10), (2, 1), (0, 0)])
def test_time_for_the_response_is_reserved(seconds: float, remaining: float) -> None:
    """15 s, or half of a short invocation."""
    assert InvocationClock(FakeContext(seconds)).remaining() == remaining


def test_nothing_is_started_once_the_clock_is_stopped() -> None:
    """Late work stops by itself: after the response it would undo what CloudFormation does next."""
    clock = InvocationClock(FakeContext(60))
    clock.check()

    clock.stop()

    assert (clock.remaining(), clock.until_end()) == (0, 60)
    with pytest.raises(OutOfTime):
        clock.check()


def failing(*failures: Exception) -> tuple[Callable[[], None], list[int]]:
    """Work that raises these failures, one per attempt, and then succeeds; and the attempts, counted."""
    pending, attempts = list(failures), [0]

    def work() -> None:
        attempts[0] += 1
        if pending:
            raise pending.pop(0)

    return work, attempts


def test_a_retryable_failure_is_retried() -> None:
    """The last one is kept, for the reason of a response that comes from the watchdog."""
    clock = InvocationClock(FakeContext(60))
    work, attempts = failing(RetryableFailure("first"), RetryableFailure("second"))

    clock.retry_until_deadline(work, 60)

    assert (attempts, clock.last_failure) == ([3], "second")


def test_another_failure_is_not_retried() -> None:
    """A permanent failure is reported at once."""
    work, attempts = failing(SetupError("permanent"))

    with pytest.raises(SetupError, match="permanent"):
        InvocationClock(FakeContext(60)).retry_until_deadline(work, 60)

    assert attempts == [1]


@pytest.mark.parametrize(("invocation", "seconds"), [(0.2, 60.0), (60.0, 0.0)])
def test_retries_end_with_the_time(invocation: float, seconds: float) -> None:
    """That of the invocation or that of the work, whichever is shorter; the failure itself is the reason then."""
    work, attempts = failing(*[RetryableFailure("busy")] * 9)

    with pytest.raises(RetryableFailure, match="busy"):
        InvocationClock(FakeContext(invocation)).retry_until_deadline(work, seconds)

    assert attempts == [1]


def served(
    capfd: pytest.CaptureFixture[str],
    work: Callable[[CustomResourceRequest, InvocationClock], WorkResult],
    **event: Any,
) -> tuple[dict[str, str], str]:
    """Serve a request; returns its line in the log, and standard error."""
    with waiting() as cloudformation, environment_of({}):
        serve(request("Create", cloudformation, {}, **event), FakeContext(2), work)
    output, errors = capfd.readouterr()
    line: dict[str, str] = json.loads(output)
    assert [answer["Status"] for answer in cloudformation.answers] == [line["status"]]
    return line, errors


def test_the_log_line_keeps_its_members(capfd: pytest.CaptureFixture[str]) -> None:
    """Log queries are written for them."""
    line, _ = served(capfd, lambda request, _: WorkResult("physical", f"Done: {request.request_type}."))

    assert line == {
        "event": "custom_resource",
        "request": "Create",
        "resource": "Notification",
        "physical_id": "physical",
        "status": "SUCCESS",
        "reason": "Done: Create.",
    }


@pytest.mark.parametrize(("physical_id", "expected"), [("", "trailsink-not-made"), ("earlier", "earlier")])
def test_a_failure_keeps_the_physical_id(capfd: pytest.CaptureFixture[str], physical_id: str, expected: str) -> None:
    """Another one would have CloudFormation delete the old resource."""

    def fail(*_: object) -> WorkResult:
        raise SetupError("No.")

    line, _ = served(capfd, fail, PhysicalResourceId=physical_id)

    assert (line["status"], line["reason"], line["physical_id"]) == ("FAILED", "No.", expected)


def test_an_internal_error_shows_its_place_and_not_its_text(capfd: pytest.CaptureFixture[str]) -> None:
    """The text may quote a signed URL or a password."""

    def fail(*_: object) -> WorkResult:
        raise KeyError("password")

    line, errors = served(capfd, fail)

    assert line["reason"] == "An internal error in trailsink: KeyError. The function's log shows where."
    assert __file__.rpartition("/")[2] in errors
    assert errors.endswith("KeyError\n")
    assert '"password"' not in errors.replace('raise KeyError("password")', "")


def test_work_that_is_late_fails_with_its_last_failure(capfd: pytest.CaptureFixture[str]) -> None:
    """The deadline alone would not say what to change."""

    def wait(_: CustomResourceRequest, clock: InvocationClock) -> WorkResult:
        clock.last_failure = "S3 does not answer."
        while clock.remaining():
            time.sleep(0.01)
        return WorkResult("late", "Done.")

    line, _ = served(capfd, wait)

    assert (line["status"], line["reason"]) == ("FAILED", "The function ran out of time. S3 does not answer.")


def test_an_unknown_request_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is guessed: a Delete for a typing error would be wrong."""
    line, _ = served(capfd, lambda *_: WorkResult("", "Done."), RequestType="Replace")

    assert line["status"] == "FAILED"
    assert line["reason"].startswith("This is not a request of CloudFormation: ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"StackId": STACK.replace("0f5b2c60", "0f5b2c61")}, "The request is of another stack than this function's"),
        ({"StackId": ""}, "The request is of another stack than this function's"),
        ({"RequestId": 7}, "This is not a request of CloudFormation: "),
        ({"LogicalResourceId": None}, "This is not a request of CloudFormation: "),
        ({"PhysicalResourceId": ["x"]}, "This is not a request of CloudFormation: "),
    ],
)
def test_a_forged_member_of_a_request_does_no_work(
    capfd: pytest.CaptureFixture[str], change: dict[str, Any], reason: str
) -> None:
    """Whoever may invoke the function writes all of them."""
    worked: list[object] = []

    def work(request: CustomResourceRequest, _: InvocationClock) -> WorkResult:
        worked.append(request)
        return WorkResult("physical", "Done.")

    with waiting() as cloudformation, environment_of({}):
        serve(request("Create", cloudformation, {}) | change, FakeContext(2), work)

    line = json.loads(capfd.readouterr().out)
    assert (line["status"], worked) == ("FAILED", [])
    assert line["reason"].startswith(reason)


@pytest.mark.parametrize("properties", [None, "text", {"Bucket": ["x"]}, {"OpensearchUrl": "http://evil.example"}])
def test_properties_of_older_and_newer_stacks_are_not_read(
    capfd: pytest.CaptureFixture[str], properties: object
) -> None:
    """An update of a stack that an older version has made sends its old ones."""
    old = {"ResourceProperties": properties, "OldResourceProperties": properties}

    line, _ = served(capfd, lambda *_: WorkResult("physical", "Done."), **old)

    assert line["status"] == "SUCCESS"


@pytest.mark.parametrize("url", ["", None, "http://127.0.0.1.evil.example/x", "https://evil.example/x"])
def test_a_request_that_cloudformation_does_not_wait_for_does_no_work(url: object) -> None:
    """Neither for the answer's sake nor for that of the work."""
    worked: list[object] = []

    def work(request: CustomResourceRequest, _: InvocationClock) -> WorkResult:
        worked.append(request)
        return WorkResult("physical", "Done.")

    with waiting() as cloudformation, environment_of({}), pytest.raises(SetupError, match="so nothing was done"):
        serve(request("Create", cloudformation, {}, ResponseURL=url), FakeContext(2), work)

    assert (worked, cloudformation.seen) == ([], [])


def test_a_response_follows_no_redirect(capfd: pytest.CaptureFixture[str]) -> None:
    """Its URL is a credential, and CloudFormation's own host answers without detours."""
    elsewhere: list[str] = []

    def answer(_method: str, path: str, *_: object) -> tuple[int, bytes, dict[str, str]]:
        elsewhere.append(path)
        return 200, b"", {}

    with (
        serving(answer) as other,
        serving(lambda *_: (307, b"", {"Location": f"{other}/taken"})) as url,
        waiting() as cloudformation,
        environment_of({}),
    ):
        event = request("Create", cloudformation, {}, ResponseURL=f"{url}/answer")
        with pytest.raises(Unavailable, match="307"):
            serve(event, FakeContext(1), lambda *_: WorkResult("x", "done"))

    assert elsewhere == []
    assert capfd.readouterr().out
