"""The doctor's checks of how the files are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from worker.aws.errors import error_text
from worker.aws.session import role_parameters
from worker.health.check import check
from worker.health.findings import Judgement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.health.aws_facts import AwsFacts
    from worker.settings import Settings


class StoreChecks:
    """The role that reads the bucket, where the settings name one."""

    def __init__(self, settings: Settings, facts: AwsFacts) -> None:
        self._settings, self._facts = settings, facts

    @check("role for S3")
    def role(self) -> Iterator[Judgement]:
        """Check that the role can be assumed. Who runs the doctor may not, where the loader may."""
        role = self._settings.s3_role_arn
        if not role:
            return
        client: Any = self._facts.client("sts")
        try:
            client.assume_role(**role_parameters(role, self._settings.s3_external_id))
        except ClientError as error:
            fix = f"allow the loader's role sts:AssumeRole on {role}, and let its trust policy name that role"
            yield Judgement.not_checked(f"these credentials may not assume {role}: {error_text(error)}", fix)
        else:
            yield Judgement.ok(f"reads files as {role}")
