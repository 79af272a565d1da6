"""CloudFormation: checks before, a change set in words, the stack's progress, and the first cause when it fails."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import ParameterTypeDef, StackEventTypeDef


_POLL_SECONDS = 2.0


# A change set is made in seconds; a stack with a new OpenSearch domain takes up to half an hour.
_CHANGE_SET_SECONDS = 300.0


_STACK_SECONDS = 3_600.0


# What CloudFormation says of resources that were stopped because another one failed.
_CONSEQUENCES = ("Resource creation cancelled", "Resource update cancelled", "The following resource(s) failed")


_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True, slots=True)
class StackChange:
    """One line of a change set: what happens to which resource; `replaced` when it is made anew."""

    action: str
    name: str
    kind: str
    replaced: bool

    def __str__(self) -> str:
        words = {"Add": "make", "Modify": "change", "Remove": "remove", "Import": "adopt"}
        anew = ", replacing it" if self.replaced else ""
        return f"{words.get(self.action, self.action)} {self.name} ({self.kind}){anew}"


@dataclass(frozen=True, slots=True)
class StackEvent:
    """One event of a stack."""

    name: str
    kind: str
    status: str
    why: str


class Stack:
    """One CloudFormation stack, there or not."""

    def __init__(self, client: CloudFormationClient, name: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client, self.name, self._sleep = client, name, sleep
        self._change_set = ""  # the last one that was proposed

    def status(self) -> str:
        """Return the stack's status, "" when there is none."""
        try:
            return self._client.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" in error_text(error):
                return ""
            raise SetupError(f"The stack {self.name} cannot be looked at: {error_text(error)}.") from error
        except BotoCoreError as error:
            raise SetupError(f"CloudFormation does not answer: {error_text(error)}.") from error

    def outputs(self) -> dict[str, str]:
        """Return the stack's outputs by name."""
        stack = self._client.describe_stacks(StackName=self.name)["Stacks"][0]
        return {one.get("OutputKey", ""): one.get("OutputValue", "") for one in stack.get("Outputs", [])}

    def propose(self, url: str, parameters: Mapping[str, str], template_parameters: set[str]) -> list[StackChange]:
        """Make a change set; returns its changes, [] (and no change set) when there is nothing to change.

        `url` is the template's in S3: in a request, CloudFormation takes 51,200 bytes at most. Parameters that are not
        given keep the value that the stack has, or the template's default.
        """
        status = self.status()
        exists = status not in ("", "REVIEW_IN_PROGRESS")
        self._change_set = f"trailsink-{uuid4().hex[:12]}"
        try:
            self._client.create_change_set(
                StackName=self.name,
                ChangeSetName=self._change_set,
                ChangeSetType="UPDATE" if exists else "CREATE",
                TemplateURL=url,
                Parameters=self._parameters(parameters, template_parameters, exists=exists),
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            )
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"CloudFormation refuses the template: {error_text(error)}.") from error
        return self._changes()

    def _parameters(self, given: Mapping[str, str], known: set[str], *, exists: bool) -> list[ParameterTypeDef]:
        unknown = set(given) - known
        if unknown:
            raise SetupError(f"The template has no parameter {', '.join(sorted(unknown))}.")
        asked: list[ParameterTypeDef] = [
            {"ParameterKey": name, "ParameterValue": value} for name, value in sorted(given.items())
        ]
        if exists:
            stack = self._client.describe_stacks(StackName=self.name)["Stacks"][0]
            kept = {one.get("ParameterKey", "") for one in stack.get("Parameters", [])} & known - set(given)
            asked += [{"ParameterKey": name, "UsePreviousValue": True} for name in sorted(kept)]
        return asked

    def _changes(self) -> list[StackChange]:
        until = time.monotonic() + _CHANGE_SET_SECONDS
        while time.monotonic() < until:
            found = self._client.describe_change_set(StackName=self.name, ChangeSetName=self._change_set)
            status, why = found["Status"], found.get("StatusReason", "")
            if status == "CREATE_COMPLETE":
                resources = [change.get("ResourceChange", {}) for change in found.get("Changes", [])]
                return [
                    StackChange(
                        one.get("Action", ""),
                        one.get("LogicalResourceId", ""),
                        one.get("ResourceType", ""),
                        one.get("Replacement") == "True",
                    )
                    for one in resources
                ]
            if status == "FAILED":
                self.withdraw()
                if any(text in why for text in _NO_CHANGES):
                    return []
                raise SetupError(f"The change set failed: {why.rstrip('.')}.")
            self._sleep(_POLL_SECONDS)
        raise SetupError("CloudFormation did not finish the change set in five minutes.")

    def withdraw(self) -> None:
        """Delete the change set that was proposed, and a stack that never became more than a proposal."""
        try:
            self._client.delete_change_set(StackName=self.name, ChangeSetName=self._change_set)
            if self.status() == "REVIEW_IN_PROGRESS":
                self._client.delete_stack(StackName=self.name)
        except (ClientError, BotoCoreError):
            return  # it does no harm there

    def execute(self) -> Iterator[StackEvent]:
        """Carry the change set out, yielding what happens; raises SetupError with the first cause when it fails."""
        seen = self._seen()
        self._client.execute_change_set(StackName=self.name, ChangeSetName=self._change_set)
        yield from self.follow(seen)

    def delete(self) -> Iterator[StackEvent]:
        """Delete the stack, yielding what happens; raises SetupError with the first cause when it fails."""
        seen = self._seen()
        name = self._client.describe_stacks(StackName=self.name)["Stacks"][0].get("StackId", self.name)
        self._client.delete_stack(StackName=self.name)
        yield from self.follow(seen, stack=name)

    def follow(self, seen: set[str], *, stack: str = "") -> Iterator[StackEvent]:
        """Yield the events that are not in `seen` until the stack rests."""
        failures: list[StackEvent] = []
        until = time.monotonic() + _STACK_SECONDS
        while time.monotonic() < until:
            events = [one for one in reversed(self._events(stack or self.name)) if one["EventId"] not in seen]
            ended = {one.get("LogicalResourceId") for one in events if _rests(one.get("ResourceStatus", ""))}
            for event in events:
                seen.add(event["EventId"])
                progress = _progress(event)
                if progress.status.endswith("_FAILED"):
                    failures.append(progress)
                if _rests(progress.status) or progress.name not in ended:  # what begins and ends at once is said once
                    yield progress
                if event.get("PhysicalResourceId") == event["StackId"] and _rests(progress.status):
                    return self._judge(progress.status, failures)
            self._sleep(_POLL_SECONDS)
        raise SetupError(f"The stack {self.name} is still busy after an hour; run the command again to go on watching.")

    def _judge(self, status: str, failures: list[StackEvent]) -> None:
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"):
            return
        causes = [one for one in failures if not one.why.startswith(_CONSEQUENCES)] or failures
        first = f"{causes[0].name} ({causes[0].kind}): {causes[0].why.rstrip('.')}" if causes else "no cause was told"
        raise SetupError(f"The stack {self.name} ended as {status}. It began with {first}.")

    def _seen(self) -> set[str]:
        try:
            return {event["EventId"] for event in self._events(self.name)}
        except SetupError:
            return set()

    def _events(self, stack: str) -> list[StackEventTypeDef]:
        try:
            pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack)
            return [event for page in pages for event in page["StackEvents"]]
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The events of the stack {self.name} cannot be read: {error_text(error)}.") from error


def _rests(status: str) -> bool:
    return not status.endswith("_IN_PROGRESS")


def _progress(event: StackEventTypeDef) -> StackEvent:
    return StackEvent(
        event.get("LogicalResourceId", ""),
        event.get("ResourceType", ""),
        event.get("ResourceStatus", ""),
        event.get("ResourceStatusReason", ""),
    )
