"""The doctor's comparison of a deployed stack with this trailsink: the template and the functions' bundle."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from worker.health.check import check
from worker.health.findings import Judgement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.health.findings import Finding

# docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
_COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
_USABLE = (
    *_COMPLETE,
    "UPDATE_IN_PROGRESS",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE",
    "UPDATE_ROLLBACK_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
)

# Where `trailsink deploy` puts a bundle: the name is the hash of its content.
_DEPLOYED_BUNDLE = re.compile(r"trailsink/([0-9a-f]{64})\.zip")


@dataclass(frozen=True, slots=True)
class StackDrift:
    """A stack and what it would be made from today.

    `status` and `reason` are CloudFormation's. `template` is the stack's own, "" where it may not be read.
    `bundle_key` is the S3 key of the functions' bundle, and
    `functions` the digest of the code that each function runs, by its name, {} where it may not be read. `own_bundle`
    is None when no bundle was built here.
    """

    stack: str
    template: str
    bundle_key: str
    functions: Mapping[str, str]
    own_template: str
    own_bundle: bytes | None
    status: str = "CREATE_COMPLETE"
    reason: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether the stack has its parts: what failed, or is being created or deleted, has not."""
        return self.status in _USABLE

    def findings(self) -> Iterator[Finding]:
        """Run all checks; of a stack without its parts, only its state."""
        yield from self.check_status()
        if self.is_usable:
            yield from self.compare_templates()
            yield from self.compare_bundles()

    @property
    def _upgrade(self) -> str:
        return f"trailsink deploy --stack {self.stack}"

    @check("stack")
    def check_status(self) -> Iterator[Judgement]:
        """Check the state of the stack itself: nothing is known of the parts of one that failed."""
        reason = f": {self.reason.rstrip('.')}" if self.reason else ""
        evidence = f"the stack {self.stack} is {self.status}{reason}"
        if self.status.startswith("DELETE"):
            yield Judgement.fault(evidence, f"trailsink destroy --stack {self.stack}")
        elif self.status == "UPDATE_ROLLBACK_FAILED":
            fix = f"aws cloudformation continue-update-rollback --stack-name {self.stack}, then {self._upgrade}"
            yield Judgement.fault(evidence, fix)
        elif not self.is_usable:
            yield Judgement.fault(evidence, self._upgrade)
        elif self.status not in _COMPLETE:
            yield Judgement.warning(evidence, self._upgrade)
        else:
            yield Judgement.ok(evidence)

    @check("template")
    def compare_templates(self) -> Iterator[Judgement]:
        """Compare the templates, apart from white space."""
        if not self.template:
            yield Judgement.not_checked(f"the template of the stack {self.stack} may not be read")
        elif self.template.split() == self.own_template.split():
            yield Judgement.ok(f"the stack {self.stack} has that of this trailsink")
        else:
            yield Judgement.warning(f"the stack {self.stack} has another one than this trailsink", self._upgrade)

    @check("bundle")
    def compare_bundles(self) -> Iterator[Judgement]:
        """Compare what the functions run with what was uploaded, and with the bundle that is built here.

        Lambda's digest of the code decides. The key only says what was uploaded.
        """
        replaced = self._functions_without(_digest_in(self.bundle_key)) if _digest_in(self.bundle_key) else []
        others = self._functions_without(sha256(self.own_bundle).digest()) if self.own_bundle is not None else []
        if not self.functions:
            yield Judgement.not_checked("the code of the functions may not be read", "lambda:GetFunctionConfiguration")
        elif replaced:
            evidence = f"{', '.join(replaced)} runs other code than {self.bundle_key} names: it was replaced"
            yield Judgement.fault(evidence, f"find out who can write to the bucket of the bundle, then {self._upgrade}")
        elif self.own_bundle is None:
            yield Judgement.not_checked("no bundle is built here to compare with", "trailsink package")
        elif others:
            yield Judgement.warning(f"{', '.join(others)} runs another one than is built here", self._upgrade)
        else:
            yield Judgement.ok("the functions run the one that is built here")

    def _functions_without(self, digest: bytes) -> list[str]:
        expected = b64encode(digest).decode()
        return sorted(name for name, sha in self.functions.items() if sha != expected)


def _digest_in(key: str) -> bytes:
    """Return the digest that a key of `trailsink deploy` names; "" for Terraform's or the operator's own keys."""
    match = _DEPLOYED_BUNDLE.fullmatch(key)
    return bytes.fromhex(match[1]) if match else b""
