"""A deployed stack against this trailsink."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest

from worker.health.findings import CheckStatus, Finding
from worker.health.stack_drift import StackDrift

BUNDLE = b"a bundle"
KEY = f"trailsink/{sha256(BUNDLE).hexdigest()}.zip"


def running(*bundles: bytes) -> dict[str, str]:
    """Functions that run these bundles, as Lambda describes them."""
    return {f"prod-{n}": b64encode(sha256(bundle).digest()).decode() for n, bundle in enumerate(bundles)}


def compare(
    template: str = "A: 1\n",
    key: str = KEY,
    bundle: bytes | None = BUNDLE,
    functions: dict[str, str] | None = None,
) -> dict[str, Finding]:
    code = running(BUNDLE, BUNDLE, BUNDLE) if functions is None else functions
    drift = StackDrift("prod", template, key, code, "A:  1", bundle)
    return {finding.check: finding for finding in drift.findings()}


def test_a_stack_of_this_trailsink_is_well() -> None:
    """White space is no difference: CloudFormation may return the template in another layout."""
    assert compare() == {
        "stack": Finding(CheckStatus.OK, "stack", "the stack prod is CREATE_COMPLETE"),
        "template": Finding(CheckStatus.OK, "template", "the stack prod has that of this trailsink"),
        "bundle": Finding(CheckStatus.OK, "bundle", "the functions run the one that is built here"),
    }


@pytest.mark.parametrize(
    ("template", "status", "fix"),
    [("A: 2", "warning", "trailsink deploy --stack prod"), ("", "not checked", "")],
)
def test_another_template_is_a_warning(template: str, status: str, fix: str) -> None:
    """It works, and lacks what this trailsink would create."""
    finding = compare(template=template)["template"]

    assert (finding.status, finding.fix) == (status, fix)


OTHER = b"another"
OTHER_KEY = f"trailsink/{sha256(OTHER).hexdigest()}.zip"


@pytest.mark.parametrize(
    ("key", "bundle", "functions", "status", "fix"),
    [
        (OTHER_KEY, BUNDLE, running(OTHER, OTHER), "warning", "trailsink deploy --stack prod"),
        (KEY, None, running(BUNDLE), "not checked", "trailsink package"),
        (KEY, BUNDLE, {}, "not checked", "lambda:GetFunctionConfiguration"),
        ("modules/lambda.zip", BUNDLE, running(BUNDLE, BUNDLE), "ok", ""),
        ("modules/lambda.zip", BUNDLE, running(BUNDLE, OTHER), "warning", "trailsink deploy --stack prod"),
        ("", BUNDLE, running(OTHER), "warning", "trailsink deploy --stack prod"),
    ],
)
def test_another_bundle_is_a_warning(
    key: str, bundle: bytes | None, functions: dict[str, str], status: str, fix: str
) -> None:
    """What the functions run decides, whoever has deployed them: Terraform's keys name no hash."""
    finding = compare(key=key, bundle=bundle, functions=functions)["bundle"]

    assert (finding.status, finding.fix) == (status, fix)


@pytest.mark.parametrize("bundle", [BUNDLE, None])
def test_code_that_is_not_what_its_key_names_is_a_fault(bundle: bytes | None) -> None:
    """Somebody has replaced the uploaded object before Lambda read it. One function of three is enough."""
    finding = compare(bundle=bundle, functions=running(BUNDLE, BUNDLE, OTHER))["bundle"]

    assert finding.status is CheckStatus.FAULT
    assert finding.evidence == f"prod-2 runs other code than {KEY} names: it was replaced"


@pytest.mark.parametrize(
    ("status", "verdict", "fix"),
    [
        ("ROLLBACK_COMPLETE", "fault", "trailsink deploy --stack prod"),
        ("CREATE_FAILED", "fault", "trailsink deploy --stack prod"),
        ("CREATE_IN_PROGRESS", "fault", "trailsink deploy --stack prod"),
        (
            "UPDATE_ROLLBACK_FAILED",
            "fault",
            "aws cloudformation continue-update-rollback --stack-name prod, then trailsink deploy --stack prod",
        ),
        ("DELETE_FAILED", "fault", "trailsink destroy --stack prod"),
        ("UPDATE_ROLLBACK_COMPLETE", "warning", "trailsink deploy --stack prod"),
    ],
)
def test_a_stack_that_failed_is_said_first(status: str, verdict: str, fix: str) -> None:
    """A stack that was rolled back has no queue: the one of the environment is somebody else's."""
    drift = StackDrift("prod", "A: 1", KEY, running(BUNDLE), "A: 1", BUNDLE, status, "No bucket.")

    finding, *others = drift.findings()

    assert (finding.status, finding.check, finding.fix) == (verdict, "stack", fix)
    assert finding.evidence == f"the stack prod is {status}: No bucket"
    assert bool(others) is (verdict == "warning")
