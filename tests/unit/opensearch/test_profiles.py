"""Promises about the profiles of the mapping: each indexes what the others do, as its server can."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.refusing_server import used
from worker.opensearch.profiles import (
    Feature,
    Profile,
    hide_path_field,
    left_out,
    profile_of,
    root_of_values,
    sample,
    values_field,
)
from worker.opensearch.schema import index_profile, index_template
from worker.opensearch.template_content import changed_parts
from worker.pipeline.searchable import FREE_FORM_ROOTS


def mappings(profile: Profile, *without: Feature) -> dict[str, Any]:
    body: dict[str, Any] = index_template("x", profile, without=frozenset(without))["template"]["mappings"]
    return body


def test_the_dynamic_profile_has_a_field_for_each_path_and_one_for_all_values() -> None:
    """A search that names no path needs the second."""
    dynamic = mappings(Profile.DYNAMIC)

    assert set(dynamic["dynamic_properties"]) == {f"{root}.*" for root in FREE_FORM_ROOTS}
    for root in FREE_FORM_ROOTS:
        assert dynamic["properties"][root] == {"type": "object", "dynamic": True, "disable_objects": True}
        assert dynamic["dynamic_properties"][f"{root}.*"]["copy_to"] == values_field(root)
    values = dynamic["properties"]["trailsink"]["properties"]["values"]["properties"]
    assert set(values) == FREE_FORM_ROOTS


def test_what_is_too_long_for_a_term_is_refused_in_each_profile() -> None:
    """With ignore_above it would be accepted, not be found, and not be marked."""
    dynamic = mappings(Profile.DYNAMIC)

    fields = [*dynamic["dynamic_properties"].values(), dynamic["properties"]["trailsink"]["properties"]["values"]]
    assert "ignore_above" not in set().union(*map(used, fields))


def test_profiles_differ_in_free_form_fields_only() -> None:
    """Everything else is searched alike, whichever an index has."""
    flat, dynamic = mappings(Profile.FLAT)["properties"], mappings(Profile.DYNAMIC)["properties"]

    differing = {name for name in flat if flat[name] != dynamic[name]}

    assert differing == FREE_FORM_ROOTS | {"trailsink"}
    assert set(flat) == set(dynamic)


@pytest.mark.parametrize("profile", list(Profile))
def test_a_template_names_its_profile(profile: Profile) -> None:
    """Later runs, the doctor and whoever looks at an index find it there."""
    template = index_template("x", profile)

    assert profile_of(template["_meta"]) is profile
    assert profile_of(template["template"]["mappings"]["_meta"]) is profile


@pytest.mark.parametrize("feature", [*Feature])
def test_a_template_without_a_feature_does_not_use_it(feature: Feature) -> None:
    """A server that refuses it would refuse the template."""
    profile = Profile.DYNAMIC if feature is Feature.FLAT_OBJECT else Profile.FLAT

    template = index_template("x", profile, without={feature})["template"]

    assert str(feature) not in used(template)
    assert str(feature) in used(sample(feature)["template"])


def test_a_field_without_its_copies_is_left_out() -> None:
    """`source.ip` would exist and find nothing."""
    source = mappings(Profile.FLAT, Feature.COPY_TO)["properties"]["source"]

    assert set(source["properties"]) == {"address"}


def test_a_template_of_another_profile_is_no_copy_of_it() -> None:
    """Somebody who takes the paths out of it changes what can be found."""
    template = index_template("x", Profile.DYNAMIC)
    del template["template"]["mappings"]["dynamic_properties"]

    assert changed_parts(index_template("x", Profile.DYNAMIC), template) == ["dynamic_properties"]


@pytest.mark.parametrize(
    ("own", "current", "expected"),
    [
        ("flat", Profile.DYNAMIC, Profile.FLAT),
        ("dynamic", Profile.FLAT, Profile.DYNAMIC),
        ("compatibility", Profile.FLAT, Profile.FLAT),
        ("flat", Profile.COMPATIBILITY, Profile.COMPATIBILITY),
        (None, Profile.DYNAMIC, Profile.DYNAMIC),
        ("nonsense", Profile.FLAT, Profile.FLAT),
    ],
)
def test_an_index_is_held_against_its_own_profile_if_it_is_searched_as_well(
    own: str | None, current: Profile, expected: Profile
) -> None:
    """Whoever creates an index chooses what its mapping says of itself."""
    assert index_profile({"_meta": {"profile": own}} if own else {}, current) is expected


def test_what_is_left_out_is_read_from_the_template() -> None:
    """A name of a newer trailsink is no reason to fail."""
    assert left_out({"without": ["alias", "something new"]}) == {Feature.ALIAS}
    assert left_out({}) == frozenset()


def test_a_field_of_values_belongs_to_its_root() -> None:
    """Warnings name what people know."""
    assert root_of_values(values_field("requestParameters")) == "requestParameters"
    assert root_of_values("eventName") == "eventName"


def test_the_sub_field_of_paths_has_a_name_that_nobody_can_guess() -> None:
    """A caller could put a parameter of that name first, and the index would refuse what comes later."""
    names = set()
    for _ in range(2):
        template = index_template("x", Profile.DYNAMIC)
        hide_path_field(template, {})
        (name,) = {
            name
            for field in template["template"]["mappings"]["dynamic_properties"].values()
            for name in field["fields"]
        }
        names.add(name)
        again = index_template("x", Profile.DYNAMIC)
        hide_path_field(again, template)

        assert again == template
        assert changed_parts(index_template("x", Profile.DYNAMIC), template) == []

    assert len(names) == 2
    assert all(len(name) > 8 for name in names)


def test_a_template_without_such_a_field_needs_no_name() -> None:
    """The other profiles have none."""
    template = index_template("x", Profile.FLAT)
    hide_path_field(template, index_template("x", Profile.DYNAMIC))

    assert template == index_template("x", Profile.FLAT)
