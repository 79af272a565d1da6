"""Promises about the profile that setup chooses: what the server can do decides, and what it cannot do is named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.opensearch_server import connected
from tests.support.refusing_server import RefusingServer
from worker.errors import SetupError
from worker.opensearch.mapping_choice import expected_form, own_meta
from worker.opensearch.profiles import Feature, Profile
from worker.opensearch.server import SERVERLESS, Server
from worker.opensearch.setup import SetupOptions, install

# docs.aws.amazon.com/opensearch-service/latest/developerguide/optimized-log-analytics-prerequisites.html
OPTIMIZED = {"flat_object", "alias", "dynamic_properties"}

NAME = "trailsink-trail"
MODERN = Server("OpenSearch", "3.9.0", False, "")
OLD = Server("OpenSearch", "2.11.0", True, "")


def run(server: RefusingServer, **options: Any) -> list[str]:
    with connected(server.answer) as client:
        return list(install(client, SetupOptions("trail", ledger=False, **options)))


def mapping(server: RefusingServer) -> dict[str, Any]:
    mappings: dict[str, Any] = server.templates[NAME]["template"]["mappings"]
    return mappings


def test_the_optimized_engine_gets_a_template_without_what_it_lacks() -> None:
    """Its version says 3.9, and its field types do not: a template that it refuses would stop the deployment."""
    server = RefusingServer(OPTIMIZED)

    lines = run(server)

    properties = mapping(server)["properties"]
    assert properties["requestParameters"] == {"type": "object", "enabled": False}
    assert "cloud" not in properties
    assert properties["source"] == {"properties": {"ip": {"type": "ip", "ignore_malformed": True}}}
    assert properties["errorMessage"]["type"] == "text"
    assert server.templates[NAME]["_meta"]["without"] == ["alias", "flat_object"]
    assert lines[1:4] == [
        "Mapping: profile compatibility, because the server refuses flat_object.",
        "Searches: free-form fields, such as requestParameters, are stored and shown; no search finds them.",
        "The template leaves out what the server refuses: alias (ECS names, such as event.action, find nothing).",
    ]


@pytest.mark.parametrize(
    ("lacks", "profile", "line"),
    [
        (set(), "flat", "Mapping: profile flat, because the server accepts flat_object."),
        ({"flat_object"}, "dynamic", "refuses flat_object, and takes dynamic_properties."),
        ({"flat_object", "dynamic_properties"}, "compatibility", "because the server refuses flat_object."),
    ],
)
def test_serverless_gets_the_best_profile_that_it_takes(lacks: set[str], profile: str, line: str) -> None:
    """It reports no version, and simulates nothing: an index that is deleted again shows what it takes."""
    server = RefusingServer(lacks, simulates=False)

    lines = run(server, serverless=True)

    assert server.templates[NAME]["_meta"]["mapping"] == profile
    assert line in lines[1]
    assert server.indices == set()
    assert ("PUT", "/") not in server.requests


def test_a_server_that_lets_nothing_be_tried_is_chosen_for_by_its_version() -> None:
    """The smallest role for setup may put templates, and neither simulate them nor make indices."""
    modern, serverless = RefusingServer(set(), forbids=True), RefusingServer(set(), forbids=True)

    run(modern)
    run(serverless, serverless=True)

    assert modern.templates[NAME]["_meta"]["mapping"] == "flat"
    assert serverless.templates[NAME]["_meta"]["mapping"] == "compatibility"


@pytest.mark.parametrize("feature", ["match_only_text", "copy_to", "index.codec", "alias"])
def test_what_a_server_lacks_is_left_out_and_named(feature: str) -> None:
    """Each is a convenience; none is worth doing without an index."""
    server = RefusingServer({feature})

    lines = run(server)

    assert server.templates[NAME]["_meta"]["without"] == [feature]
    assert mapping(server)["properties"]["requestParameters"] == {"type": "flat_object"}
    assert any(line.startswith(f"The template leaves out what the server refuses: {feature} (") for line in lines)


def test_a_template_that_is_refused_for_something_else_stops_setup() -> None:
    """Whatever it is, indices without our template would guess their fields."""
    server = RefusingServer({"keyword"})

    with pytest.raises(SetupError, match=r"refuses the index template: No handler for \[keyword\]"):
        run(server)

    assert server.templates == {}


def test_the_profile_that_was_chosen_is_kept() -> None:
    """A deployment that runs setup again must not change what analysts type."""
    server = RefusingServer(set())
    first = run(server, profile=Profile.DYNAMIC)

    second = run(server)

    assert first[1] == "Mapping: profile dynamic, because --profile asks for it."
    assert second[1] == "Mapping: profile dynamic, because the index template has it already."
    assert any("already exists" in line for line in second)
    assert mapping(server)["_meta"]["profile"] == "dynamic"
    assert set(mapping(server)["dynamic_properties"]) >= {"requestParameters.*", "responseElements.*"}


def test_the_profile_can_be_changed_back() -> None:
    """Indices that exist keep theirs."""
    server = RefusingServer(set())
    run(server, profile=Profile.DYNAMIC)

    lines = run(server, profile=Profile.FLAT)

    assert any(line.endswith("changed; it applies to new indices.") for line in lines)
    assert "dynamic_properties" not in mapping(server)
    assert "values" not in mapping(server)["properties"]["trailsink"]["properties"]


@pytest.mark.parametrize(
    ("server", "profile", "sentence"),
    [
        (
            RefusingServer(set(), "3.6.0"),
            Profile.DYNAMIC,
            "dynamic needs OpenSearch 3.7 or newer, and .* OpenSearch 3.6",
        ),
        (RefusingServer(set(), "2.11.0"), Profile.FLAT, "flat needs OpenSearch 2.19 or newer, and .* OpenSearch 2.11"),
        (RefusingServer({"dynamic_properties"}), Profile.DYNAMIC, "refuses dynamic_properties, which the profile"),
        (RefusingServer({"flat_object"}), Profile.FLAT, "refuses flat_object, which the profile flat needs"),
    ],
)
def test_a_profile_that_the_server_cannot_have_is_refused(
    server: RefusingServer, profile: Profile, sentence: str
) -> None:
    """Another one in its place would answer other questions than the operator expects."""
    with pytest.raises(SetupError, match=sentence):
        run(server, profile=profile)

    assert server.templates == {}


def test_a_dynamic_template_on_a_server_that_lacks_it_now_becomes_flat() -> None:
    """As after a restore into an older cluster."""
    server = RefusingServer(set())
    run(server, profile=Profile.DYNAMIC)
    server.number = "3.4.0"

    lines = run(server)

    assert lines[1].startswith("Mapping: profile flat")


@pytest.mark.parametrize(
    ("server", "meta", "expected"),
    [
        (MODERN, {}, Profile.FLAT),
        (OLD, {}, Profile.COMPATIBILITY),
        (SERVERLESS, {}, Profile.COMPATIBILITY),
        (MODERN, {"mapping": "dynamic"}, Profile.DYNAMIC),
        (MODERN, {"mapping": "compatibility"}, Profile.FLAT),
        (MODERN, {"mapping": "compatibility", "without": ["flat_object"]}, Profile.COMPATIBILITY),
        (SERVERLESS, {"mapping": "flat"}, Profile.FLAT),
    ],
)
def test_the_template_says_which_profile_it_has(server: Server, meta: dict[str, Any], expected: Profile) -> None:
    """The doctor asks no server for its features; a server that was upgraded can have a better profile."""
    profile, without = expected_form(server, meta)

    assert profile is expected
    assert without == {Feature(name) for name in meta.get("without", ())}


def test_what_another_owner_wrote_into_a_template_says_nothing() -> None:
    """Its profile is not one of ours."""
    theirs = {"_meta": {"mapping": "dynamic"}}

    assert own_meta({NAME: theirs}, "trail") == {}
    assert own_meta({NAME: {"_meta": {"owner": "trailsink", "mapping": "flat"}}}, "trail")["mapping"] == "flat"
    assert own_meta({}, "trail") == {}
