"""Promises about the deployer's rights: what IAM denies is named before CloudFormation tries; nothing is guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import boto3
import pytest

from tests.support.http_server import serving
from worker.deploy.policies import Places
from worker.deploy.preflight import NotSimulated, change_actions, principal_arn, simulate_change
from worker.deploy.stack_change import Replacement, StackChange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.http_server import Given

ACCOUNT = "111111111111"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Ops_0123456789abcdef"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/AWSReservedSSO_Ops_0123456789abcdef/ada"
PLACES = Places(region="eu-west-1", account=ACCOUNT, stack="audit", queue="audit")
QUEUE = StackChange("Add", "Queue", "AWS::SQS::Queue")


class FakeIam:
    """IAM over HTTP: answers GetRole, and a simulation with what is denied or depends on conditions."""

    def __init__(self, *, denied: dict[str, str] | None = None, unknown: str = "", refusal: str = "") -> None:
        self.denied, self.unknown, self.refusal = denied or {}, unknown, refusal
        self.simulated: list[dict[str, list[str]]] = []

    def answer(self, _method: str, _path: str, _headers: object, body: bytes) -> Given:
        request = parse_qs(body.decode())
        action = request["Action"][0]
        if action == self.refusal:
            error = f"<Code>AccessDenied</Code><Message>not authorized to perform: iam:{action}</Message>"
            return 403, f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode(), {}
        if action == "GetRole":
            members = f"<Path>/</Path><RoleName>x</RoleName><RoleId>x</RoleId><Arn>{ROLE}</Arn>"
            return self._result(action, f"<Role>{members}<CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>")
        self.simulated.append(request)
        names = [value[0] for name, value in request.items() if name.startswith("ActionNames.")]
        members = "".join(self._evaluate(name) for name in names)
        return self._result(action, f"<EvaluationResults>{members}</EvaluationResults><IsTruncated>false</IsTruncated>")

    def _evaluate(self, name: str) -> str:
        decision = self.denied.get(name) or ("implicitDeny" if name == self.unknown else "allowed")
        missing = "<MissingContextValues><member>aws:RequestTag/team</member></MissingContextValues>"
        context = missing if name == self.unknown else ""
        return (
            f"<member><EvalActionName>{name}</EvalActionName><EvalDecision>{decision}</EvalDecision>{context}</member>"
        )

    @staticmethod
    def _result(action: str, members: str) -> Given:
        assert escape(action) == action
        text = f"<{action}Response><{action}Result>{members}</{action}Result></{action}Response>"
        return 200, text.encode(), {"Content-Type": "text/xml"}


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A session of boto3 whose IAM is `fake`, which a test may replace."""
    state: dict[str, FakeIam] = {"fake": FakeIam()}

    def answer(method: str, path: str, headers: object, body: bytes) -> Given:
        return state["fake"].answer(method, path, headers, body)

    with serving(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", url)
        made: Any = boto3.Session("key", "secret", region_name="eu-west-1")
        made.state = state
        yield made


def test_what_is_denied_is_named_with_its_resource(session: Any) -> None:
    """The reader pastes a statement, and goes on."""
    session.state["fake"] = FakeIam(denied={"sqs:CreateQueue": "implicitDeny", "s3:PutObject": "explicitDeny"})

    ((principal, rights),) = simulate_change(session, SESSION, [QUEUE], PLACES)

    assert principal == ROLE
    assert rights.denied == {
        f"arn:aws:sqs:eu-west-1:{ACCOUNT}:audit": ["sqs:CreateQueue"],
        f"arn:aws:s3:::trailsink-code-{ACCOUNT}-eu-west-1*/*": ["s3:PutObject"],
    }
    assert rights.unknown == []
    assert rights.allowed > 15


def test_a_simulation_names_real_resources_and_the_region(session: Any) -> None:
    """A policy for `audit-*` says nothing of the resource `*`, and many companies allow some regions only."""
    list(simulate_change(session, SESSION, [StackChange("Add", "F", "AWS::Lambda::Function")], PLACES))

    requests = session.state["fake"].simulated
    arns = {request["ResourceArns.member.1"][0] for request in requests}
    assert f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:audit-preflight" in arns
    assert {request["ContextEntries.member.1.ContextKeyValues.member.1"][0] for request in requests} == {"eu-west-1"}


def test_a_denial_that_hangs_on_a_condition_is_not_called_one(session: Any) -> None:
    """The simulation lacks the tags that CloudFormation sends."""
    session.state["fake"] = FakeIam(unknown="sqs:CreateQueue")

    ((_, rights),) = simulate_change(session, SESSION, [QUEUE], PLACES)

    assert (rights.denied, rights.unknown) == ({}, ["sqs:CreateQueue"])


def test_with_a_service_role_each_is_asked_what_it_does(session: Any) -> None:
    """CloudFormation acts as the role; the caller only passes it."""
    service_role = f"arn:aws:iam::{ACCOUNT}:role/cloudformation"

    principals = [principal for principal, _ in simulate_change(session, SESSION, [QUEUE], PLACES, service_role)]

    by_principal: dict[str, set[str]] = {ROLE: set(), service_role: set()}
    for request in session.state["fake"].simulated:
        actions = {value[0] for name, value in request.items() if name.startswith("ActionNames.")}
        by_principal[request["PolicySourceArn"][0]] |= actions
    assert principals == [ROLE, service_role]
    assert "sqs:CreateQueue" in by_principal[service_role] - by_principal[ROLE]
    assert {"iam:PassRole", "cloudformation:CreateChangeSet"} <= by_principal[ROLE] - by_principal[service_role]


def test_where_the_simulation_is_denied_the_cause_is_the_answer(session: Any) -> None:
    """It blocks nobody."""
    session.state["fake"] = FakeIam(refusal="SimulatePrincipalPolicy")

    with pytest.raises(NotSimulated, match=r"iam:SimulatePrincipalPolicy"):
        list(simulate_change(session, SESSION, [QUEUE], PLACES))


@pytest.mark.parametrize(
    ("caller", "refusal", "expected"),
    [
        (f"arn:aws:iam::{ACCOUNT}:user/people/ada", "", f"arn:aws:iam::{ACCOUNT}:user/people/ada"),
        (SESSION, "", ROLE),
        # Without iam:GetRole, the path is not known: most roles have none.
        (f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/ops/x", "GetRole", f"arn:aws-cn:iam::{ACCOUNT}:role/ops"),
    ],
)
def test_a_caller_is_a_user_or_the_role_of_its_session(session: Any, caller: str, refusal: str, expected: str) -> None:
    """The simulation takes no session."""
    session.state["fake"] = FakeIam(refusal=refusal)

    assert principal_arn(session.client("iam"), caller) == expected


@pytest.mark.parametrize("name", ["root", "federated-user/ada"])
def test_others_cannot_be_simulated(session: Any, name: str) -> None:
    """It is said, and nothing is claimed."""
    with pytest.raises(NotSimulated, match="neither a user nor a role of IAM"):
        principal_arn(session.client("iam"), f"arn:aws:iam::{ACCOUNT}:{name}")


def test_a_modification_creates_and_deletes_nothing() -> None:
    """Unless it replaces the resource."""
    modified = StackChange("Modify", "Queue", "AWS::SQS::Queue")
    replaced = StackChange("Modify", "Queue", "AWS::SQS::Queue", Replacement.PERHAPS)

    assert "sqs:SetQueueAttributes" in change_actions([modified])["queues"]
    assert not {"sqs:CreateQueue", "sqs:DeleteQueue"} & set(change_actions([modified])["queues"])
    assert {"sqs:CreateQueue", "sqs:DeleteQueue"} <= set(change_actions([modified, replaced])["queues"])
    assert change_actions([StackChange("Add", "X", "AWS::Something::New")]) == {}
