"""Checks: a name, and whatever their method yields or raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import NoRegionError
from opensearchpy.exceptions import AuthorizationException

from tests.unit.health.fake_pipeline import client_error
from worker.errors import SetupError
from worker.health.check import check
from worker.health.findings import CheckStatus, Finding, Judgement
from worker.health.observe import NotObservedError
from worker.health.snapshot import Unobserved

if TYPE_CHECKING:
    from collections.abc import Iterator


class Checks:
    """Checks of one number."""

    def __init__(self, number: int = 0, error: Exception | None = None) -> None:
        self._number, self._error = number, error

    @check("number")
    def number(self) -> Iterator[Judgement]:
        """Check it."""
        if self._number:
            yield Judgement.ok(str(self._number))
        if self._error:
            raise self._error


def test_a_check_names_what_its_method_yields() -> None:
    """The name is written once."""
    number = Checks(3).number

    assert number.name == "number"
    assert list(number()) == [Finding(CheckStatus.OK, "number", "3")]


def test_a_check_may_find_nothing() -> None:
    """Without a function there is no timeout to compare."""
    assert list(Checks().number()) == []


@pytest.mark.parametrize(
    ("error", "evidence"),
    [
        (client_error("AccessDenied", "not you."), "AccessDenied: not you"),
        (NoRegionError(), "You must specify a region"),
        (SetupError("TRAILSINK_QUEUE_URL is not set."), "TRAILSINK_QUEUE_URL is not set"),
        (NotObservedError(Unobserved("the source queue cannot be checked")), "the source queue cannot be checked"),
    ],
)
def test_a_check_that_fails_is_not_checked_and_says_why(error: Exception, evidence: str) -> None:
    """What it found before stays."""
    assert list(Checks(1, error).number()) == [
        Finding(CheckStatus.OK, "number", "1"),
        Finding(CheckStatus.NOT_CHECKED, "number", evidence),
    ]


def test_a_missing_permission_of_the_cluster_is_the_fix() -> None:
    """An administrator can grant it."""
    reason = "no permissions for [indices:data/read/search] and User [name=ada]"
    error = AuthorizationException(403, "security_exception", {"error": {"reason": reason}})

    (finding,) = Checks(error=error).number()

    assert finding.status is CheckStatus.NOT_CHECKED
    assert finding.fix.startswith("give this user or role indices:data/read/search")


def test_a_mistake_of_ours_is_not_hidden() -> None:
    """Only what AWS, the cluster and the settings can be expected to do is "not checked"."""
    with pytest.raises(ZeroDivisionError):
        list(Checks(error=ZeroDivisionError()).number())
