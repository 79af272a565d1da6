"""Promises about what functions run: the digest is Lambda's, of each function of the stack."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from worker.deploy.function_code import code_sha256, read_function_code
from worker.errors import SetupError


class FakeAws:
    """A session and its clients: one stack with resources of several types, on two pages."""

    def __init__(self, code: dict[str, str], *, allowed: bool = True) -> None:
        self._code, self._allowed = code, allowed

    def client(self, _service: str) -> FakeAws:
        return self

    def get_paginator(self, _operation: str) -> FakeAws:
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        functions = [
            {"ResourceType": "AWS::Lambda::Function", "PhysicalResourceId": name, "LogicalResourceId": name}
            for name in self._code
        ]
        queue = {"ResourceType": "AWS::SQS::Queue", "PhysicalResourceId": "queue"}
        creating = {"ResourceType": "AWS::Lambda::Function", "LogicalResourceId": "NotYet"}
        pages = [queue, *functions[:1]], [creating, *functions[1:]]
        return [{"StackResourceSummaries": page} for page in pages]

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, str]:  # noqa: N803 - as in boto3
        if not self._allowed:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetFunctionConfiguration")
        return {"CodeSha256": self._code[FunctionName]}


def test_the_digest_has_the_form_of_lambda_s() -> None:
    """Base64, where the key of an upload has hexadecimal digits."""
    assert code_sha256(b"bundle") == "Hm7WXXfWNk7q7Vp0W6XEmFritwDdhdfPfwJ73ylKM/w="


def test_every_function_of_the_stack_is_read() -> None:
    """The custom resources' functions have more permissions than the loader."""
    code = {"loader": "1", "cluster-setup": "2", "bucket-notification": "3"}

    assert read_function_code(cast("Any", FakeAws(code)), "trail") == code


def test_code_that_may_not_be_read_is_one_sentence() -> None:
    """It is not the same as code that is as it should be."""
    with pytest.raises(SetupError, match=r"^The code of the functions of trail cannot be read: AccessDenied: no\.$"):
        read_function_code(cast("Any", FakeAws({"loader": "1"}, allowed=False)), "trail")
