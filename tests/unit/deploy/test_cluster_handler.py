"""Promises about the cluster's set-up: what may pass is retried, and what an operator has to change is not."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    ConnectionTimeout,
    RequestError,
    SSLError,
    TransportError,
)
from opensearchpy.exceptions import ConnectionError as NoConnection

from worker.deploy.cluster_handler import ClusterVariables, is_transient
from worker.deploy.custom_resource import read_variables
from worker.settings import Settings

NO_SECRET = ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue")


@pytest.mark.parametrize(
    ("cause", "transient"),
    [
        (AuthorizationException(403, "security_exception"), True),
        (TransportError(429, "too_many_requests"), True),
        (TransportError(502, ""), True),
        (TransportError(503, ""), True),
        (TransportError(504, ""), True),
        (NoConnection("N/A", "refused"), True),
        (ConnectionTimeout("TIMEOUT", "timed out"), True),
        (SSLError("N/A", "certificate verify failed"), False),
        (RequestError(400, "illegal_argument_exception"), False),
        (TransportError(500, ""), False),
        (ValueError("no URL"), False),
        (None, False),
    ],
)
def test_a_new_domain_is_retried_and_a_wrong_setting_is_not(cause: BaseException | None, transient: bool) -> None:  # noqa: FBT001
    """A domain refuses everyone for minutes after its creation; a certificate does not become right by waiting."""
    assert [is_transient(cause, seconds) for seconds in (0, 61, 3000)] == [transient] * 3


@pytest.mark.parametrize("cause", [AuthenticationException(401, ""), NO_SECRET, NoCredentialsError()])
def test_credentials_are_retried_for_a_minute(cause: BaseException) -> None:
    """A new domain does not know its master user yet; a wrong password must not cost an hour."""
    assert [is_transient(cause, seconds) for seconds in (0, 59, 61)] == [True, True, False]


@pytest.mark.parametrize(("replicas", "expected"), [("", None), ("0", 0), ("2", 2)])
def test_the_environment_has_what_no_setting_has(
    monkeypatch: pytest.MonkeyPatch, replicas: str, expected: int | None
) -> None:
    """Without replicas, those of an existing template are kept."""
    monkeypatch.setenv("TRAILSINK_REPLICAS", replicas)
    monkeypatch.setenv("TRAILSINK_LOADER_ROLE_ARN", "arn:role")

    variables = read_variables(ClusterVariables)

    assert (variables.replicas, variables.loader_role_arn) == (expected, "arn:role")
    assert not set(ClusterVariables.__struct_fields__) & set(Settings.model_fields)
