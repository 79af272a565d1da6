"""Promises about a filter that leaves nothing of a kind of file: it is refused, with what to do instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.cloudtrail.filters.coverage import check_coverage
from worker.cloudtrail.filters.selectors import parse_selectors
from worker.errors import SetupError


def check(*selectors: dict[str, dict[str, list[str]]]) -> None:
    document: list[dict[str, Any]] = [
        {"Name": str(number), "FieldSelectors": [{"Field": field} | rule for field, rule in fields.items()]}
        for number, fields in enumerate(selectors)
    ]
    check_coverage(parse_selectors(json.dumps(document).encode(), "noise.json"), "noise.json")


MANAGEMENT, DATA = {"Equals": ["Management"]}, {"Equals": ["Data"]}
READS, WRITES = {"Equals": ["true"]}, {"Equals": ["false"]}


@pytest.mark.parametrize(
    ("selectors", "kind"),
    [
        pytest.param([{"eventCategory": MANAGEMENT}, {"eventCategory": DATA}], "CloudTrail", id="both categories"),
        pytest.param([{"eventCategory": {"Equals": ["Management", "Data"]}}], "CloudTrail", id="in one selector"),
        pytest.param([{"readOnly": READS}, {"readOnly": WRITES}], "CloudTrail", id="reads and writes"),
        pytest.param([{"managementEvent": {"StartsWith": ["t", "f"]}}], "CloudTrail", id="by the start"),
        pytest.param([{"eventSource": {"EndsWith": [".amazonaws.com"]}}], "CloudTrail", id="every source"),
        pytest.param([{"eventVersion": {"StartsWith": ["1."]}}], "CloudTrail", id="every version"),
        pytest.param([{"eventCategory": {"Equals": ["Insight"]}}], "CloudTrail-Insight", id="Insights"),
        pytest.param([{"readOnly": {"NotEquals": ["true"]}}], "CloudTrail-Insight", id="they have no such member"),
        pytest.param(
            [{"eventCategory": {"Equals": ["NetworkActivity"]}}], "CloudTrail-NetworkActivity", id="network activity"
        ),
        pytest.param([{"eventCategory": {"NotEquals": ["Management"]}}], "CloudTrail-Insight", id="all but one"),
    ],
)
def test_a_filter_that_leaves_nothing_of_a_kind_is_refused(selectors: list[Any], kind: str) -> None:
    """Whoever pastes the selectors of a trail says what to keep, and would lose exactly that."""
    with pytest.raises(SetupError) as caught:
        check(*selectors)

    assert f"every event of {kind} files" in str(caught.value)
    assert str(caught.value).startswith("noise.json: ")


@pytest.mark.parametrize(
    "selectors",
    [
        pytest.param([{"eventCategory": DATA}], id="data events, beside management events"),
        pytest.param([{"readOnly": READS}], id="writes only"),
        pytest.param([{"eventSource": {"Equals": ["kms.amazonaws.com"]}}], id="one source"),
        pytest.param([{"eventName": {"NotEquals": ["ConsoleLogin"]}}], id="all but one event"),
        pytest.param([{"eventCategory": MANAGEMENT, "eventName": {"StartsWith": ["Describe"]}}], id="some names"),
        pytest.param(
            [{"eventCategory": MANAGEMENT, "readOnly": READS}, {"eventCategory": DATA}], id="writes of one category"
        ),
        pytest.param([{"eventType": {"Equals": ["AwsApiCall", "AwsServiceEvent"]}}], id="the console is kept"),
        pytest.param([{"userIdentity.arn": {"StartsWith": ["arn:"]}}], id="services have no ARN"),
    ],
)
def test_a_filter_that_leaves_something_is_taken(selectors: list[Any]) -> None:
    """How much noise is too much is the operator's to say."""
    check(*selectors)
