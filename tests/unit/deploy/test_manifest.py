"""Promises about a bundle's manifest: the parameters follow from the code, and never the other way round."""

from __future__ import annotations

import io
import zipfile
from contextlib import nullcontext

import pytest

from worker.deploy.bundle import bundle_of
from worker.deploy.manifest import PATH, BundleManifest, check_parameters, check_target, read_manifest
from worker.deploy.template import BUNDLE
from worker.errors import SetupError

MANIFEST = BundleManifest("x86_64", "3.11", "0.1.0")


def bundle(name: str = PATH, content: bytes = MANIFEST.encode()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def test_a_bundle_says_what_it_is_for() -> None:
    """And sets both parameters."""
    assert read_manifest(bundle(), "b.zip") == MANIFEST
    assert check_parameters(MANIFEST, {"RetentionDays": "31"}) == {
        "RetentionDays": "31", "Architecture": "x86_64", "Runtime": "python3.11",
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"root:x:0:0", bundle("other.txt"), bundle(content=b"{}"), bundle(content=b"no")])
def test_what_is_no_bundle_is_refused(content: bytes) -> None:
    """A password file was uploaded, and the stack hung."""
    with pytest.raises(SetupError, match=r"b\.zip is no bundle of trailsink"):
        read_manifest(content, "b.zip")


@pytest.mark.parametrize("parameters", [{"Architecture": "arm64"}, {"Runtime": "python3.13"}])
def test_parameters_that_contradict_the_bundle_are_refused(parameters: dict[str, str]) -> None:
    """The function would not start."""
    with pytest.raises(SetupError, match=r"The bundle is for x86_64 and Python 3\.11"):
        check_parameters(MANIFEST, parameters)


STACK = {"Architecture": "arm64", "Runtime": "python3.13", "ScheduledCodeKey": "trailsink/s.zip"}
OTHER = {"Architecture": "x86_64", "Runtime": "python3.13"}


@pytest.mark.parametrize(
    ("parameters", "existing", "code", "scheduled", "refused"),
    [
        ({"RetentionDays": "31"}, STACK, None, None, ""),
        ({"Architecture": "arm64"}, STACK, None, None, ""),
        (OTHER, {}, b"code", None, ""),  # a new stack
        (OTHER, STACK, b"code", b"scheduled", ""),
        (OTHER, STACK | {"ScheduledCodeKey": ""}, b"code", None, ""),
        ({"Runtime": "python3.12"}, STACK, None, None, "so Runtime cannot change without a bundle"),
        (OTHER, STACK, None, b"scheduled", "so Architecture cannot change without a bundle"),
        (OTHER, STACK, b"code", None, "scheduled functions is for arm64 and python3.13"),
    ],
)
def test_no_function_gets_the_code_of_another_processor(
    parameters: dict[str, str], existing: dict[str, str], code: bytes | None, scheduled: bytes | None, refused: str
) -> None:
    """It would end at its first import, each time."""
    with pytest.raises(SetupError, match=refused) if refused else nullcontext():
        check_target(parameters, existing, code=code, scheduled_code=scheduled)


def test_the_bundle_of_a_stack_is_that_of_its_processor() -> None:
    """An upgrade without --bundle must not bring another one."""
    assert bundle_of({}) == BUNDLE
    assert bundle_of(OTHER | {"Runtime": "python3.11"}).name == "trailsink-x86_64-py311.zip"
