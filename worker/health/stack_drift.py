"""The doctor's comparison of a deployed stack with this trailsink: the template and the function's bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from worker.health.check import check
from worker.health.findings import Judgement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.health.findings import Finding

# Where `trailsink deploy` puts a bundle: the name is the hash of its content.
_DEPLOYED_BUNDLE = re.compile(r"trailsink/[0-9a-f]{64}\.zip")


@dataclass(frozen=True, slots=True)
class StackDrift:
    """A stack and what it would be made from today.

    `template` is the stack's own, "" where it may not be read, and `bundle_key` the S3 key of the function's bundle.
    `own_bundle` is None when no bundle was built here.
    """

    stack: str
    template: str
    bundle_key: str
    own_template: str
    own_bundle: bytes | None

    def findings(self) -> Iterator[Finding]:
        """Run both checks."""
        yield from self.compare_templates()
        yield from self.compare_bundles()

    @property
    def _upgrade(self) -> str:
        return f"trailsink deploy --stack {self.stack}"

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
        """Compare the bundles by their hash."""
        key = self.bundle_key
        if not _DEPLOYED_BUNDLE.fullmatch(key):  # Terraform's, or the operator's own
            yield Judgement.not_checked(f"the function runs {key}, which `trailsink deploy` did not upload")
        elif self.own_bundle is None:
            yield Judgement.not_checked(f"the function runs {key}; none is built here to compare", "trailsink package")
        elif sha256(self.own_bundle).hexdigest() in key:
            yield Judgement.ok("the function runs the one that is built here")
        else:
            yield Judgement.warning(f"the function runs {key}, not the one that is built here", self._upgrade)
