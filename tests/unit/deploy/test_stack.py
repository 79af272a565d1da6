"""Promises about a stack: changes read like CloudFormation's own, and a failure names its first cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from worker.deploy.stack import Stack, StackEvent, StackOptions, is_in_progress
from worker.errors import SetupError

if TYPE_CHECKING:
    from worker.deploy.stack_change import StackChange

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
        self.tags: dict[str, str] = {}
        self.change_set: dict[str, Any] = {"Status": "CREATE_COMPLETE", "Changes": []}
        self.created: dict[str, Any] = {}
        self.deleted: list[str] = []
        self.template: object = None

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
        tags = [{"Key": key, "Value": value} for key, value in self.tags.items()]
        return {"Stacks": [{"StackStatus": self.status, "Parameters": parameters, "Outputs": outputs, "Tags": tags}]}

    def create_change_set(self, **request: Any) -> None:
        self.created = request

    def describe_change_set(self, **_: str) -> dict[str, Any]:
        return self.change_set

    def get_template(self, *, StackName: str, ChangeSetName: str, TemplateStage: str) -> dict[str, Any]:  # noqa: N803 - as in boto3
        assert (StackName, ChangeSetName, TemplateStage) == ("trail", self.created["ChangeSetName"], "Original")
        if self.template is None:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetTemplate")
        return {"TemplateBody": self.template}

    def delete_change_set(self, **_: str) -> None:
        self.deleted.append("change set")

    def delete_stack(self, **_: str) -> None:
        self.deleted.append("stack")


def stack(client: FakeCloudFormation) -> Stack:
    return Stack(cast("Any", client), "trail", sleep=lambda _: None)


@pytest.mark.parametrize(
    ("action", "replacement", "text"),
    [
        ("Add", "", "create Queue (AWS::SQS::Queue)"),
        ("Modify", "False", "modify Queue (AWS::SQS::Queue)"),
        ("Modify", "True", "modify Queue (AWS::SQS::Queue), replacing it"),
        ("Modify", "Conditional", "modify Queue (AWS::SQS::Queue), perhaps replacing it"),
        ("Remove", "", "remove Queue (AWS::SQS::Queue)"),
        ("Import", "", "import Queue (AWS::SQS::Queue)"),
        ("Dynamic", "", "Dynamic Queue (AWS::SQS::Queue)"),
    ],
)
def test_a_change_reads_as_cloudformation_says_it(action: str, replacement: str, text: str) -> None:
    """The operator agrees to these lines, and compares them with the console."""
    [change] = changes_of(resource_change(action, "AWS::SQS::Queue", replacement))

    assert str(change) == text


def resource_change(action: str, resource_type: str, replacement: str = "", *properties: str) -> dict[str, Any]:
    """A change as CloudFormation describes it; these properties may require a replacement."""
    details = [{"Target": {"Attribute": "Properties", "Name": "Tags", "RequiresRecreation": "Never"}}]
    details += [{"Target": {"Name": name, "RequiresRecreation": "Conditionally"}} for name in properties]
    change: dict[str, Any] = {"Action": action, "LogicalResourceId": "Queue", "ResourceType": resource_type}
    change |= {"Details": details} | ({"Replacement": replacement} if replacement else {})
    return {"Type": "Resource", "ResourceChange": change}


def changes_of(*changes: dict[str, Any]) -> list[StackChange]:
    client = FakeCloudFormation(status="CREATE_COMPLETE")
    client.change_set = {"Status": "CREATE_COMPLETE", "Changes": list(changes)}
    return stack(client).create_change_set("https://template", {}, set())


@pytest.mark.parametrize(
    ("resource_type", "action", "replacement", "loses_data"),
    [
        ("AWS::OpenSearchService::Domain", "Modify", "Conditional", True),
        ("AWS::OpenSearchService::Domain", "Modify", "True", True),
        ("AWS::OpenSearchService::Domain", "Modify", "False", False),
        ("AWS::OpenSearchService::Domain", "Add", "", False),
        ("AWS::SQS::Queue", "Modify", "True", False),
    ],
)
def test_a_change_that_may_replace_the_domain_is_known(
    *, resource_type: str, action: str, replacement: str, loses_data: bool
) -> None:
    """The new one would be empty. The causes are for the sentence that says no."""
    [change] = changes_of(resource_change(action, resource_type, replacement, "EncryptionAtRestOptions"))

    assert (change.loses_data, change.causes) == (loses_data, ("EncryptionAtRestOptions",))


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


@pytest.mark.parametrize(
    ("status", "options", "request_members"),
    [
        ("", StackOptions(), {}),
        ("CREATE_COMPLETE", StackOptions(), {}),
        ("", StackOptions({"team": "sec"}), {"Tags": [{"Key": "team", "Value": "sec"}]}),
        (
            "CREATE_COMPLETE",
            StackOptions({"team": "sec"}),
            {"Tags": [{"Key": "cost", "Value": "7"}, {"Key": "team", "Value": "sec"}]},
        ),
        ("", StackOptions(service_role="arn:role"), {"RoleARN": "arn:role"}),
    ],
)
def test_tags_are_added_and_a_role_is_passed_on_request(
    status: str, options: StackOptions, request_members: dict[str, Any]
) -> None:
    """CloudFormation removes the tags that an update does not name; without any it keeps them all."""
    client = FakeCloudFormation(status=status)
    client.tags = {"cost": "7"}

    Stack(cast("Any", client), "trail", options=options).create_change_set("https://template", {}, set())

    assert {key: client.created[key] for key in ("Tags", "RoleARN") if key in client.created} == request_members


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


TEMPLATE = "Resources:\n  Queue:\n    Type: AWS::SQS::Queue\n"


@pytest.mark.parametrize("template", [TEMPLATE, TEMPLATE.replace("\n", "\r\n"), TEMPLATE.rstrip()])
def test_a_change_set_from_the_uploaded_template_goes_on(template: str) -> None:
    """CloudFormation may return it with other line endings."""
    client = FakeCloudFormation(status="CREATE_COMPLETE")
    client.template = template
    stack_ = stack(client)
    stack_.create_change_set("https://template", {}, set())

    stack_.check_template(TEMPLATE)

    assert client.deleted == []


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (TEMPLATE + "  Theirs:\n    Type: AWS::IAM::User\n", "CloudFormation has read another template than the one"),
        (TEMPLATE.replace("  Queue", "Queue"), "CloudFormation has read another template than the one"),
        ({"Resources": {}}, "CloudFormation has read another template than the one"),
        ("", "CloudFormation has read another template than the one"),
        (None, "The template of the change set cannot be read: AccessDenied: no."),
    ],
)
def test_a_change_set_from_another_template_is_deleted(template: object, sentence: str) -> None:
    """It would be executed with the deployer's permissions. What cannot be compared is not executed either."""
    client = FakeCloudFormation(status="CREATE_COMPLETE")
    client.template = template
    stack_ = stack(client)
    stack_.create_change_set("https://template", {}, set())

    with pytest.raises(SetupError) as failure:
        stack_.check_template(TEMPLATE)

    assert str(failure.value).startswith(sentence)
    assert client.deleted == ["change set"]


@pytest.mark.parametrize(
    ("status", "expected"), [("", {}), ("REVIEW_IN_PROGRESS", {}), ("CREATE_COMPLETE", {"A": "1"})]
)
def test_parameters_are_those_of_a_stack_that_exists(status: str, expected: dict[str, str]) -> None:
    """A stack in review is only a change set."""
    client = FakeCloudFormation(status=status)
    client.parameters = {"A": "1"}

    assert stack(client).parameters() == expected
