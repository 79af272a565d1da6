"""Promises about the fields that a selector can name: those that a record can have, and a hint for the others."""

from __future__ import annotations

import pytest

from worker.cloudtrail.filters.fields import CHOSEN_BY_CALLERS, DOCUMENTED, FREE_FORM, SCALARS, field_problem
from worker.opensearch.schema import index_template
from worker.pipeline.searchable import KNOWN_ROOTS


def test_every_member_of_a_record_can_be_named() -> None:
    """What is searched can be left out; the lists of the two must not drift apart."""
    roots = {name.partition(".")[0] for name in (*SCALARS, *DOCUMENTED, *FREE_FORM)}

    assert roots == set(KNOWN_ROOTS)
    assert set(CHOSEN_BY_CALLERS) <= roots


@pytest.mark.parametrize("root", ["userIdentity", "resources", "tlsDetails", "addendum", "timeWindow"])
def test_every_field_that_is_searched_by_its_path_can_be_named(root: str) -> None:
    """The template follows AWS's documentation, and so do the selectors."""
    properties = index_template("x")["template"]["mappings"]["properties"][root]

    assert [path for path in leaf_paths(properties, root) if field_problem(path)] == []


def leaf_paths(field: dict[str, object], path: str) -> list[str]:
    match field:
        case {"properties": dict(children)}:
            return [leaf for name, child in children.items() for leaf in leaf_paths(child, f"{path}.{name}")]
        case _:
            return [path]


@pytest.mark.parametrize("field", ["eventName", "requestParameters.a.b", "additionalEventData.x", "resources.ARN"])
def test_a_path_that_a_record_can_have_is_no_problem(field: str) -> None:
    """Free-form members have any path."""
    assert field_problem(field) == ""


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("eventname", "is no field of a record; did you mean eventName?"),
        ("resources.arn", "is no field of a record; did you mean resources.ARN?"),
        ("eventName.x", "is no field of a record: eventName has no members"),
        ("userIdentity", "is an object; name one of its members"),
        ("userIdentity.sessionContext", "is an object; name one of its members"),
        ("requestParameters", "is an object; name one of its members"),
        ("requestParameters.a..b", "has an empty part"),
        ("@timestamp", "is no field of a record"),
        ("trailsink.object", "is no field of a record"),
        ("", "is no field of a record"),
    ],
)
def test_a_path_that_no_record_has_is_named_with_what_may_be_meant(field: str, problem: str) -> None:
    """A typing error would leave out nothing, or with NotEquals everything."""
    assert field_problem(field) == problem
