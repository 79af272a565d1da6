"""The doctor on the role that reads the bucket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.unit.health.fake_pipeline import Denied, FakePipeline
from worker.health.findings import CheckStatus

ROLE = "arn:aws:iam::210987654321:role/read-trail"


@dataclass
class FakeSts:
    """STS that lets anybody assume any role."""

    requests: list[dict[str, str]] = field(default_factory=list)

    def assume_role(self, **parameters: str) -> dict[str, Any]:
        self.requests.append(parameters)
        return {"Credentials": {}}


def test_without_a_role_there_is_nothing_to_check() -> None:
    """Most pipelines read with their own credentials."""
    assert "role for S3" not in FakePipeline({}).findings()


def test_the_role_that_reads_files_is_named() -> None:
    """The operator sees as whom the bucket is read."""
    sts = FakeSts()

    found = FakePipeline({"sts": sts}, settings={"s3_role_arn": ROLE, "s3_external_id": "x"}).findings()["role for S3"]

    assert (found.status, found.evidence) == (CheckStatus.OK, f"reads files as {ROLE}")
    assert sts.requests == [{"RoleArn": ROLE, "RoleSessionName": "trailsink", "ExternalId": "x"}]


def test_a_role_that_the_operator_may_not_assume_is_not_checked() -> None:
    """It is the loader that has to; the fix says what it needs."""
    found = FakePipeline({"sts": Denied()}, settings={"s3_role_arn": ROLE}).findings()["role for S3"]

    assert found.status is CheckStatus.NOT_CHECKED
    assert "AccessDenied" in found.evidence
    assert found.fix.startswith(f"allow the loader's role sts:AssumeRole on {ROLE}")
