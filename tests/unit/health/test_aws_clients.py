"""The clients of health checks: created once, and only where requests can be signed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.config import Config
from botocore.exceptions import NoCredentialsError

from tests.unit.health.fake_pipeline import FakeSession, client_error
from worker.errors import SetupError
from worker.health.aws_clients import AwsClients


def make_clients(session: FakeSession) -> AwsClients:
    return AwsClients(lambda: cast("Any", session), Config())


def test_a_client_is_created_once_whichever_thread_asks() -> None:
    """Creating one takes tens of milliseconds, and a session is not thread-safe."""
    session = FakeSession({})
    clients = make_clients(session)

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(clients, ["sqs", "s3"] * 20))

    assert sorted(session.created) == ["s3", "sqs"]
    assert len({id(client) for client in created}) == 2


def test_without_credentials_there_is_no_client() -> None:
    """The error says so, instead of one per request."""
    session = FakeSession({}, has_credentials=False)
    clients = make_clients(session)

    for ask in (clients.sign_in, lambda: clients("sqs")):
        with pytest.raises(NoCredentialsError):
            ask()

    assert session.created == []


def test_a_session_that_could_not_be_opened_is_opened_again() -> None:
    """With --watch, somebody may set the region or renew the credentials meanwhile."""
    session, failures = FakeSession({}), [SetupError("No AWS region is set.")]

    def open_session() -> Any:
        if failures:
            raise failures.pop()
        return session

    clients = AwsClients(open_session, Config())
    with pytest.raises(SetupError):
        clients.sign_in()

    clients("sqs")

    assert session.created == ["sqs"]


@pytest.mark.parametrize(("may_assume", "used"), [(True, "role"), (False, "own")])
def test_the_bucket_is_looked_at_as_the_loader_does(may_assume: bool, used: str) -> None:  # noqa: FBT001
    """By the role that reads it; by the own credentials where those may not assume it."""
    sessions = {"own": FakeSession({}), "role": FakeSession({})}

    def get_frozen_credentials() -> None:
        if not may_assume:
            raise client_error("AccessDenied", "may not assume it", "AssumeRole")

    credentials = SimpleNamespace(get_frozen_credentials=get_frozen_credentials)
    sessions["role"].get_credentials = lambda: credentials  # type: ignore[method-assign]
    clients = AwsClients(lambda: cast("Any", sessions["own"]), Config(), lambda: cast("Any", sessions["role"]))

    clients("sqs")
    clients("s3")

    assert "sqs" in sessions["own"].created
    assert [name for name, session in sessions.items() if "s3" in session.created] == [used]
