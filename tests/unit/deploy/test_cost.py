"""Promises about the cost that a plan shows: it is that of the table in docs/sizing.md."""

from __future__ import annotations

import pytest

from worker.deploy.cost import describe_cost, monthly_cost, storage_cost
from worker.deploy.template import parameter_defaults, template_text

DEFAULTS = parameter_defaults(template_text())
LARGE = {"DomainInstanceType": "r7g.large.search", "DomainInstanceCount": "3", "DomainVolumeGigabytes": "600"}


@pytest.mark.parametrize(
    ("parameters", "cost"),
    [
        ({}, 73),
        ({"DomainInstanceType": "t3.medium.search", "DomainVolumeGigabytes": "10"}, 55),
        (LARGE, 585),
        (
            {"DomainInstanceType": "r7g.2xlarge.search", "DomainInstanceCount": "6", "DomainVolumeGigabytes": "100"},
            2999,
        ),
        ({"DomainMasterType": "r7g.large.search"}, 439),
        ({"Destination": "url"}, 0),
        ({"DomainInstanceType": "m7g.large.search"}, None),
        ({"DomainMasterType": "m7g.large.search"}, None),
    ],
)
def test_a_month_costs_what_the_formula_says(parameters: dict[str, str], cost: int | None) -> None:
    """Nobody wants to find a price in the bill."""
    found = monthly_cost(DEFAULTS | parameters)

    assert (None if found is None else round(found)) == cost


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({}, DEFAULTS, "about $73 a month"),
        (
            DEFAULTS,
            DEFAULTS | LARGE,
            "docs/sizing.md. Before, it was about $73.",
        ),
        (DEFAULTS | {"Destination": "url"}, DEFAULTS | {"Destination": "url"}, ""),
        ({}, DEFAULTS | {"DomainInstanceType": "m7g.large.search"}, "without a price"),
    ],
)
def test_the_plan_says_what_changes(before: dict[str, str], after: dict[str, str], text: str) -> None:
    """An update that makes the domain larger is as dear as a new one."""
    sentence = describe_cost(before, after)

    assert text in sentence
    assert bool(text) == bool(sentence)


def test_storage_costs_what_the_sizing_says() -> None:
    """A million events a day for 90 days without replicas take 75 GB."""
    assert round(storage_cost(1_000_000, 90, 0, price=1.0)) == 75
    assert storage_cost(1_000_000, 90, 1, price=0.5, size=2.0) == 2 * storage_cost(1_000_000, 90, 0, price=1.0)
