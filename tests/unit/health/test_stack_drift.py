"""A deployed stack against this trailsink."""

from __future__ import annotations

from hashlib import sha256

import pytest

from worker.health.findings import CheckStatus, Finding
from worker.health.stack_drift import StackDrift

BUNDLE = b"a bundle"
KEY = f"trailsink/{sha256(BUNDLE).hexdigest()}.zip"


def compare(template: str = "A: 1\n", key: str = KEY, bundle: bytes | None = BUNDLE) -> dict[str, Finding]:
    drift = StackDrift("prod", template, key, "A:  1", bundle)
    return {finding.check: finding for finding in drift.findings()}


def test_a_stack_of_this_trailsink_is_well() -> None:
    """White space is no difference: CloudFormation may return the template in another layout."""
    assert compare() == {
        "template": Finding(CheckStatus.OK, "template", "the stack prod has that of this trailsink"),
        "bundle": Finding(CheckStatus.OK, "bundle", "the function runs the one that is built here"),
    }


@pytest.mark.parametrize(
    ("template", "status", "fix"),
    [("A: 2", "warning", "trailsink deploy --stack prod"), ("", "not checked", "")],
)
def test_another_template_is_a_warning(template: str, status: str, fix: str) -> None:
    """It works, and lacks what this trailsink would create."""
    finding = compare(template=template)["template"]

    assert (finding.status, finding.fix) == (status, fix)


@pytest.mark.parametrize(
    ("key", "bundle", "status", "fix"),
    [
        (KEY, b"another", "warning", "trailsink deploy --stack prod"),
        (KEY, None, "not checked", "trailsink package"),
        ("modules/lambda.zip", BUNDLE, "not checked", ""),
        ("", BUNDLE, "not checked", ""),
    ],
)
def test_another_bundle_is_a_warning_where_it_can_be_compared(
    key: str, bundle: bytes | None, status: str, fix: str
) -> None:
    """Only `trailsink deploy` names a bundle by its hash."""
    finding = compare(key=key, bundle=bundle)["bundle"]

    assert (finding.status, finding.fix) == (status, fix)
