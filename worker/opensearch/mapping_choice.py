"""Chooses the profile of the mapping: the operator's, else the existing template's, else the best a server takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.errors import SetupError
from worker.opensearch.profiles import Feature, Profile, left_out, profile_of, sample
from worker.opensearch.schema import index_profile, index_template, name_of
from worker.opensearch.template_content import fields_of
from worker.opensearch.template_trial import TemplateTrial, TrialResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opensearchpy import OpenSearch

    from worker.opensearch.server import Server

# dynamic_properties: docs.opensearch.org/latest/mappings/dynamic-properties/
_DYNAMIC_VERSION = (3, 7)

_NEEDED = {Profile.FLAT: Feature.FLAT_OBJECT, Profile.DYNAMIC: Feature.DYNAMIC_PROPERTIES}

_SEARCHES = {
    Profile.FLAT: (
        "trailsink searches every path of free-form fields; others find exact values and starts of values there, and"
        " group by keywords only."
    ),
    Profile.DYNAMIC: (
        "trailsink and others search every path of free-form fields, parts of values included, and group by any path."
    ),
    Profile.COMPATIBILITY: "free-form fields, such as requestParameters, are stored and shown; no search finds them.",
}

_LOSSES = {
    Feature.MATCH_ONLY_TEXT: "error messages are indexed as text",
    Feature.ALIAS: "ECS names, such as event.action, find nothing",
    Feature.COPY_TO: "there is no source.ip",
    Feature.CODEC: "indices are larger",
}


@dataclass(frozen=True, slots=True)
class MappingChoice:
    """A profile, why it was chosen, and what the server refuses of its template."""

    profile: Profile
    why: str
    without: frozenset[Feature] = frozenset()

    @property
    def lines(self) -> Iterator[str]:
        """What to tell the operator."""
        yield f"Mapping: profile {self.profile}, because {self.why}."
        yield f"Searches: {_SEARCHES[self.profile]}"
        if lost := [f"{feature} ({_LOSSES[feature]})" for feature in sorted(self.without) if feature in _LOSSES]:
            yield f"The template leaves out what the server refuses: {', '.join(lost)}."

    def fields_for(self, mappings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that an index with these mappings should have."""
        profile = index_profile(mappings, self.profile)
        return fields_of(index_template("", profile, without=self.without))


def choose_mapping(
    client: OpenSearch, prefix: str, server: Server, meta: Mapping[str, Any], asked: Profile | None
) -> MappingChoice:
    """Choose the profile, and ask the server whether it takes it; `meta` is of our template in the cluster, or {}.

    Raises SetupError when the server cannot have the profile that was asked for, or refuses every one.
    """
    if asked:
        _check_version(server, asked)
    wanted = _wanted(server, meta, asked)
    trial = TemplateTrial(client)
    match trial.result(index_template(prefix, wanted.profile)):
        case TrialResult.ACCEPTED:
            return wanted
        case TrialResult.UNKNOWN:
            return _unasked(server, meta, wanted)
    missing = frozenset(feature for feature in Feature if trial.result(sample(feature)) is TrialResult.REFUSED)
    if asked and _NEEDED[asked] in missing:
        raise SetupError(f"This server refuses {_NEEDED[asked]}, which the profile {asked} needs.")
    choice = _without(wanted, missing)
    if trial.result(index_template(prefix, choice.profile, without=choice.without)) is TrialResult.REFUSED:
        raise SetupError(f"The server refuses the index template: {trial.reason}.")
    return choice


def own_meta(templates: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, Any]:
    """Return the `_meta` of our template among all of a cluster, {} where there is none of ours."""
    meta: dict[str, Any] = templates.get(name_of(prefix), {}).get("_meta") or {}
    return meta if meta.get("owner") == "trailsink" else {}


def expected_template(
    prefix: str,
    server: Server,
    templates: Mapping[str, Mapping[str, Any]],
    mappings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the index template as this trailsink makes it on a server, in the profile of ours among its templates.

    For an index with these mappings, in the profile of the index, if it can be searched as well.
    """
    profile, without = expected_form(server, own_meta(templates, prefix))
    profile = profile if mappings is None else index_profile(mappings, profile)
    return index_template(prefix, profile, without=without)


def expected_form(server: Server, meta: Mapping[str, Any]) -> tuple[Profile, frozenset[Feature]]:
    """Return the profile that a template should have, by its own `_meta`, and what it leaves out.

    A template for a server that could not search free-form fields is outdated once the server can.
    """
    profile, without = profile_of(meta), left_out(meta)
    if profile is None or (profile is Profile.COMPATIBILITY and Feature.FLAT_OBJECT not in without):
        return server.profile, without
    return profile, without


def _check_version(server: Server, asked: Profile) -> None:
    if server.version and (server.compatible or (asked is Profile.DYNAMIC and server.number < _DYNAMIC_VERSION)):
        needed = "3.7" if asked is Profile.DYNAMIC else "2.19"
        found = f"{server.name} {server.version}"
        raise SetupError(f"The profile {asked} needs OpenSearch {needed} or newer, and this server is {found}.")


def _wanted(server: Server, meta: Mapping[str, Any], asked: Profile | None) -> MappingChoice:
    if asked:
        return MappingChoice(asked, "--profile asks for it")
    if server.compatible and server.version:
        return MappingChoice(Profile.COMPATIBILITY, server.why)
    if profile_of(meta) is Profile.DYNAMIC and not (server.version and server.number < _DYNAMIC_VERSION):
        return MappingChoice(Profile.DYNAMIC, "the index template has it already")
    why = "the server accepts flat_object" if server.compatible else server.why
    return MappingChoice(Profile.FLAT, why)


def _unasked(server: Server, meta: Mapping[str, Any], wanted: MappingChoice) -> MappingChoice:
    """Return the choice for a server that does not let its features be tried."""
    if wanted.profile is Profile.FLAT and server.compatible:
        return MappingChoice(Profile.COMPATIBILITY, server.why)
    return MappingChoice(wanted.profile, wanted.why, left_out(meta))


def _without(wanted: MappingChoice, missing: frozenset[Feature]) -> MappingChoice:
    """Return the choice that does without what is missing."""
    needed = _NEEDED.get(wanted.profile)
    if needed not in missing:
        profile, why = wanted.profile, wanted.why
    elif Feature.FLAT_OBJECT not in missing:
        profile, why = Profile.FLAT, f"the server refuses {needed}"
    elif Feature.DYNAMIC_PROPERTIES not in missing:
        profile, why = Profile.DYNAMIC, f"the server refuses {needed}, and takes dynamic_properties"
    else:
        profile, why = Profile.COMPATIBILITY, f"the server refuses {needed}"
    # No other profile than their own needs these two, but a template without a search remembers why.
    unneeded = set() if profile is Profile.COMPATIBILITY else set(_NEEDED.values())
    return MappingChoice(profile, why, missing - unneeded - {Feature.DYNAMIC_PROPERTIES})
