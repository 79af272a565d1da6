"""Promises about a stack: changes read like CloudFormation's own, and a failure names its first cause."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from worker.deploy.stack import Stack, StackChange, StackEvent, is_in_progress
from worker.errors import SetupError

ARN = "arn:aws:cloudformation:eu-central-1:111122223333:stack/trail/1"
CANCELLED = "Resource creation cancelled"


def record(number: int, logical_id: str, status: str, reason: str = "", physical_id: str = "") -> dict[str, Any]:
    return {
        "EventId": str(number),
        "StackId": ARN,
        "LogicalResourceId": logical_id,
        "PhysicalResourceId": physical_id,
        "ResourceType": "AWS::SQS::Queue",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


class FakeCloudFormation:
    """One stack: each poll for its events returns one more part of them, newest first, as CloudFormation does."""

    def __init__(self, *polls: list[dict[str, Any]], status: str = "") -> None:
        self._polls = list(polls)
        self._records: list[dict[str, Any]] = []
        self.status = status
        self.parameters: dict[str, str] = {}
        self.change_set: dict[str, Any] = {"Status": "CREATE_COMPLETE", "Changes": []}
        self.created: dict[str, Any] = {}
        self.deleted: list[str] = []

    def get_paginator(self, _name: str) -> FakeCloudFormation:
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        if self._polls:
            self._records += self._polls.pop(0)
        return [{"StackEvents": self._records[::-1]}]

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        if not self.status:
            raise ClientError(
                {"Error": {"Code": "ValidationError", "Message": "trail does not exist"}}, "DescribeStacks"
            )
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in self.parameters.items()]
        outputs = [{"OutputKey": "QueueUrl", "OutputValue": "https://queue"}]
        return {"Stacks": [{"StackStatus": self.status, "Parameters": parameters, "Outputs": outputs}]}

    def create_change_set(self, **request: Any) -> None:
        self.created = request

    def describe_change_set(self, **_: str) -> dict[str, Any]:
        return self.change_set

    def delete_change_set(self, **_: str) -> None:
        self.deleted.append("change set")

    def delete_stack(self, **_: str) -> None:
        self.deleted.append("stack")


def stack(client: FakeCloudFormation) -> Stack:
    return Stack(cast("Any", client), "trail", sleep=lambda _: None)


@pytest.mark.parametrize(
    ("action", "replaced", "text"),
    [
        ("Add", False, "create Queue (AWS::SQS::Queue)"),
        ("Modify", False, "modify Queue (AWS::SQS::Queue)"),
        ("Modify", True, "modify Queue (AWS::SQS::Queue), replacing it"),
        ("Remove", False, "remove Queue (AWS::SQS::Queue)"),
        ("Import", False, "import Queue (AWS::SQS::Queue)"),
        ("Dynamic", False, "Dynamic Queue (AWS::SQS::Queue)"),
    ],
)
def test_a_change_reads_as_cloudformation_says_it(*, action: str, replaced: bool, text: str) -> None:
    """The operator agrees to these lines, and compares them with the console."""
    assert str(StackChange(action, "Queue", "AWS::SQS::Queue", replaced)) == text


@pytest.mark.parametrize(
    ("status", "in_progress"),
    [("CREATE_IN_PROGRESS", True), ("ROLLBACK_IN_PROGRESS", True), ("CREATE_COMPLETE", False), ("", False)],
)
def test_a_status_says_whether_cloudformation_is_still_working(*, status: str, in_progress: bool) -> None:
    """A command that was interrupted waits for the end of the operation first."""
    assert is_in_progress(status) is in_progress


def test_events_are_followed_to_the_end_of_the_stack() -> None:
    """Oldest first and once each; a resource that starts and ends in one poll is one line."""
    client = FakeCloudFormation(
        [record(1, "trail", "CREATE_IN_PROGRESS", physical_id=ARN), record(2, "Queue", "CREATE_IN_PROGRESS")],
        [
            record(3, "Queue", "CREATE_COMPLETE"),
            record(4, "Topic", "CREATE_IN_PROGRESS"),
            record(5, "Topic", "CREATE_COMPLETE"),
        ],
        [record(6, "trail", "CREATE_COMPLETE", physical_id=ARN)],
    )

    events = [(event.logical_id, event.status) for event in stack(client).follow({"1"})]

    assert events == [
        ("Queue", "CREATE_IN_PROGRESS"),
        ("Queue", "CREATE_COMPLETE"),
        ("Topic", "CREATE_COMPLETE"),
        ("trail", "CREATE_COMPLETE"),
    ]


def test_a_failed_stack_names_the_first_cause() -> None:
    """CloudFormation cancels other resources then, often earlier in its list; those say nothing."""
    client = FakeCloudFormation(
        [
            record(1, "Topic", "CREATE_FAILED", CANCELLED),
            record(2, "Queue", "CREATE_FAILED", "The name is taken."),
            record(3, "Role", "CREATE_FAILED", CANCELLED),
            record(4, "trail", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed: [Queue]", ARN),
            record(5, "trail", "ROLLBACK_COMPLETE", physical_id=ARN),
        ]
    )

    with pytest.raises(SetupError) as failure:
        list(stack(client).follow(set()))

    cause = "The first failure was Queue (AWS::SQS::Queue): The name is taken."
    assert str(failure.value) == f"The stack trail ended as ROLLBACK_COMPLETE. {cause}"


def test_a_failure_without_a_cause_is_reported_as_such() -> None:
    """A sentence that ends in the middle would look like a fault of ours."""
    client = FakeCloudFormation([record(1, "trail", "ROLLBACK_COMPLETE", physical_id=ARN)])

    with pytest.raises(SetupError, match=r"ended as ROLLBACK_COMPLETE\. CloudFormation gave no cause\.$"):
        list(stack(client).follow(set()))


@pytest.mark.parametrize(
    ("status", "kind"), [("", "CREATE"), ("REVIEW_IN_PROGRESS", "CREATE"), ("CREATE_COMPLETE", "UPDATE")]
)
def test_an_update_keeps_the_parameters_that_are_not_passed(status: str, kind: str) -> None:
    """Only those that the template still has: CloudFormation refuses others."""
    client = FakeCloudFormation(status=status)
    client.parameters = {"Kept": "1", "Changed": "1", "Dropped": "1"}

    changes = stack(client).create_change_set("https://template", {"Changed": "2"}, {"Kept", "Changed", "Default"})

    changed = {"ParameterKey": "Changed", "ParameterValue": "2"}
    kept = [{"ParameterKey": "Kept", "UsePreviousValue": True}] if kind == "UPDATE" else []
    assert changes == []
    assert (client.created["ChangeSetType"], client.created["Parameters"]) == (kind, [changed, *kept])


def test_a_change_set_without_changes_is_deleted() -> None:
    """CloudFormation calls it failed; for the operator nothing failed."""
    client = FakeCloudFormation(status="REVIEW_IN_PROGRESS")
    client.change_set = {"Status": "FAILED", "StatusReason": "The submitted information didn't contain changes."}

    assert stack(client).create_change_set("https://template", {}, set()) == []
    assert client.deleted == ["change set", "stack"]


def test_a_change_set_that_failed_says_why() -> None:
    """And it is deleted, too: it would be in the way of the next one."""
    client = FakeCloudFormation(status="CREATE_COMPLETE")
    client.change_set = {"Status": "FAILED", "StatusReason": "Template error: no such resource."}

    with pytest.raises(SetupError, match=r"^The change set failed: Template error: no such resource\.$"):
        stack(client).create_change_set("https://template", {}, set())

    assert client.deleted == ["change set"]


def test_outputs_are_read_by_name() -> None:
    """They are printed at the end of a deployment."""
    assert stack(FakeCloudFormation(status="CREATE_COMPLETE")).outputs() == {"QueueUrl": "https://queue"}


def test_an_event_is_final_when_its_operation_has_ended() -> None:
    """Final events decide when a line is printed and when the command ends."""
    statuses = ["CREATE_IN_PROGRESS", "CREATE_COMPLETE", "CREATE_FAILED"]

    assert [StackEvent("Queue", "", status, "", False).is_final for status in statuses] == [False, True, True]
