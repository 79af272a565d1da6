"""Whether credentials may do what a change needs, by IAM's own simulation: before CloudFormation tries, and rolls back.

A simulation sees the principal's policies, its boundary and the organisation's, but no session policy and no policy of
a resource. So it is told to people, and never decides.
docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_code, error_text
from worker.deploy.needs import Need
from worker.deploy.policies import iam_policy
from worker.deploy.stack_change import Replacement
from worker.deploy.stack_needs import BY_TYPE, COMMAND, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from boto3 import Session

    from worker.deploy.policies import Places
    from worker.deploy.stack_change import StackChange


class IAMClient(Protocol):
    """boto3's client of IAM, as it is used here."""

    def get_role(self, *, RoleName: str) -> Any:  # noqa: ANN401, N803 - boto3's own
        """Describe a role."""

    def get_paginator(self, name: str, /) -> Any:  # noqa: ANN401 - boto3's own
        """Return what asks for page after page."""


# Stands for a name that CloudFormation has yet to choose.
_ANY_NAME = "preflight"


class NotSimulated(Exception):  # noqa: N818 - no fault of anybody's: it cannot be known
    """The simulation cannot be asked; the text says why, without the end's full stop."""


@dataclass(slots=True)
class Rights:
    """What a simulation says: the number of allowed actions, the denied ones by resource, and what depends on more."""

    allowed: int = 0
    denied: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def change_actions(changes: Iterable[StackChange]) -> dict[str, tuple[str, ...]]:
    """Return what changes of a stack need, by resource; one that only modifies creates and deletes nothing."""
    tables = []
    for change in changes:
        table = BY_TYPE.get(change.resource_type, {})
        if change.action == "Modify" and change.replacement is Replacement.NO:
            table = {
                resource: tuple(action for action in actions if not action.partition(":")[2].startswith(_WHOLE))
                for resource, actions in table.items()
            }
        tables.append(table)
    return merged(*tables)


_WHOLE = ("Create", "Delete")


def simulate_change(
    session: Session, caller: str, changes: Sequence[StackChange], places: Places, service_role: str = ""
) -> Iterator[tuple[str, Rights]]:
    """Yield each principal with its rights for a change: the caller, and the role that CloudFormation acts with.

    Raises NotSimulated.
    """
    iam: IAMClient = session.client("iam")
    resources = change_actions(changes)
    principal = principal_arn(iam, caller)
    if not service_role:
        yield principal, _simulate(iam, principal, merged(COMMAND, resources), places)
        return
    yield principal, _simulate(iam, principal, COMMAND, places, pass_role=service_role)
    yield service_role, _simulate(iam, service_role, resources, places)


def principal_arn(iam: IAMClient, caller: str) -> str:
    """Return the ARN of the user or the role behind a caller's identity; raises NotSimulated."""
    _, _, service, _, account, resource = caller.split(":", 5)
    kind, _, name = resource.partition("/")
    if service == "iam" and kind == "user":
        return caller
    if kind != "assumed-role":
        raise NotSimulated(f"{caller} is neither a user nor a role of IAM")
    role = name.partition("/")[0]
    try:
        # A session's ARN lacks the path of its role.
        return str(iam.get_role(RoleName=role)["Role"]["Arn"])
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and error_code(error) == "AccessDenied":
            return f"{caller.partition(':sts:')[0]}:iam::{account}:role/{role}"
        raise NotSimulated(error_text(error)) from error


class _Simulation:
    """Simulates actions of one principal, and collects what was said."""

    def __init__(self, iam: IAMClient, principal: str, region: str) -> None:
        self._iam, self._principal, self._region = iam, principal, region
        self.rights = Rights()

    def ask(self, actions: list[str], resource: str, passed_to: str = "lambda") -> None:
        """Simulate actions on a resource; one with a wildcard stands for a name. Raises NotSimulated."""
        pages = self._iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=self._principal,
            ActionNames=actions,
            ResourceArns=[resource if resource == "*" else resource.replace("*", _ANY_NAME)],
            ContextEntries=_context(self._region, passed_to),
        )
        try:
            results = [result for page in pages for result in page["EvaluationResults"]]
        except (ClientError, BotoCoreError) as error:
            raise NotSimulated(error_text(error)) from error
        for result in results:
            action, decision = result["EvalActionName"], result["EvalDecision"]
            if decision == "allowed":
                self.rights.allowed += 1
            elif decision == "implicitDeny" and result.get("MissingContextValues"):
                self.rights.unknown.append(action)
            else:
                self.rights.denied.setdefault(resource, []).append(action)


def _simulate(
    iam: IAMClient, principal: str, actions: dict[str, tuple[str, ...]], places: Places, pass_role: str = ""
) -> Rights:
    """Simulate each action on a resource of its kind; raises NotSimulated."""
    simulation = _Simulation(iam, principal, places.region)
    for statement in iam_policy(Need("", actions), places)["Statement"]:
        resource = statement["Resource"]
        simulation.ask(statement["Action"], resource if isinstance(resource, str) else resource[0])
    if pass_role:
        simulation.ask(["iam:PassRole"], pass_role, "cloudformation")
    return simulation.rights


def _context(region: str, passed_to: str) -> list[dict[str, Any]]:
    """Return what a request of CloudFormation says of itself: policies often ask for the region and the service.

    docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    values = {
        "aws:RequestedRegion": ("string", region),
        "iam:PassedToService": ("string", f"{passed_to}.amazonaws.com"),
        "aws:CalledVia": ("stringList", "cloudformation.amazonaws.com"),
    }
    return [
        {"ContextKeyName": name, "ContextKeyType": kind, "ContextKeyValues": [value]}
        for name, (kind, value) in values.items()
    ]
