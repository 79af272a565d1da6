"""Promises about removal: only trailsink's own objects are deleted, and a second run finds nothing to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.opensearch_server import NO_HANDLER, connected, disconnected, missing
from worker.errors import SetupError
from worker.opensearch.security import API
from worker.opensearch.teardown import PrefixIndices, indices_of, uninstall

OBJECTS = (
    "/_index_template/trailsink-trail",
    "/_plugins/_ism/policies/trailsink-trail",
    f"{API}/rolesmapping/trailsink-loader-trail",
    f"{API}/roles/trailsink-loader-trail",
)


@dataclass
class FakeCluster:
    """Indices with their numbers of documents, and other objects by their paths; `plugins` says whether it has any."""

    indices: dict[str, str | None] = field(default_factory=dict)
    objects: set[str] = field(default_factory=set)
    plugins: bool = True
    refuse: str = ""  # a path

    def answer(self, method: str, path: str, query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        if path == self.refuse:
            return 403, {"error": {"type": "security_exception", "reason": "no"}, "status": 403}
        if path.startswith("/_cat/indices/"):
            assert query["format"] == ["json"]
            return 200, [{"index": name, "docs.count": count} for name, count in self.indices.items()]
        if path.startswith("/_plugins/") and not self.plugins:
            return 400, NO_HANDLER
        if path == f"{API}/roles" and method == "GET":
            return 200, {}
        if path.removeprefix("/") in self.indices:
            del self.indices[path.removeprefix("/")]
        elif path in self.objects:
            self.objects.remove(path)
        else:
            return missing()
        return 200, {"acknowledged": True}


def remove(cluster: FakeCluster) -> list[str]:
    with connected(cluster.answer) as client:
        return list(uninstall(client, "trail", indices_of(client, "trail")))


def test_only_indices_with_our_names_are_counted() -> None:
    """Other tools' indices can start with the same prefix, and a closed index has no number of documents."""
    others: dict[str, str | None] = {
        "trail-insights-2026": "7",
        "trail-2026-03-01-copy": "7",
        "trail-2026-03-01x": "7",
        "trail-x": "7",
        "trail-undated-x": "7",
        "trail-undated-2026-03-01-copy": "7",
    }
    own: dict[str, str | None] = {
        "trail-2026-03-02": "1000",
        "trail-2026-03-01": "20",
        "trail-2026-04": None,
        "trail-undated": "1",
        "trail-undated-2026-03-01": "1",
        "trail-undated-2026-03": "1",
    }

    with connected(FakeCluster(others | own).answer) as client:
        indices = indices_of(client, "trail")

    assert indices == PrefixIndices(tuple(sorted(own)), 1_023, 1)


def test_everything_of_ours_is_deleted_and_nothing_else() -> None:
    """Events, template, policy, role and mapping; a second run has nothing to delete."""
    cluster = FakeCluster(
        {"trail-2026-03-01": "1500", "trail-2026-03-02": "1", "trail-insights-2026": "7"},
        {*OBJECTS, "/_index_template/other"},
    )

    first, second = remove(cluster), remove(cluster)

    assert first == [
        "2 indices with 1,501 events are deleted.",
        "The index template trailsink-trail is deleted.",
        "The retention policy trailsink-trail is deleted.",
        "The mapping of the role trailsink-loader-trail is deleted.",
        "The role trailsink-loader-trail is deleted.",
    ]
    assert second == ["0 indices with 0 events are deleted."]
    assert (cluster.indices, cluster.objects) == ({"trail-insights-2026": "7"}, {"/_index_template/other"})


def test_what_runs_beside_the_loader_leaves_nothing_behind() -> None:
    """Findings and verdicts name accounts, and a role that nobody needs is one that is abused."""
    own = ("consumers", "verdicts", "findings", "detect")
    roles = [
        f"{API}/{kind}/trailsink-{name}-trail" for name in ("verify", "detect") for kind in ("roles", "rolesmapping")
    ]
    cluster = FakeCluster({}, {*(f"/trailsink-{name}-trail" for name in own), *roles})

    lines = remove(cluster)

    assert cluster.objects == set()
    assert "The role trailsink-verify-trail is deleted." in lines
    assert "The mapping of the role trailsink-detect-trail is deleted." in lines


def test_a_server_without_plugins_has_neither_policies_nor_roles() -> None:
    """Its own kind of refusal means that there is nothing to delete."""
    cluster = FakeCluster(objects={OBJECTS[0]}, plugins=False)

    assert remove(cluster) == [
        "0 indices with 0 events are deleted.",
        "The index template trailsink-trail is deleted.",
    ]


def test_a_refusal_in_the_middle_says_that_the_command_can_be_repeated() -> None:
    """The rest stays, and the next run deletes it."""
    cluster = FakeCluster(objects=set(OBJECTS), refuse=OBJECTS[1])

    with pytest.raises(SetupError, match="The cluster could not be cleared: it refuses with 403") as caught:
        remove(cluster)

    assert str(caught.value).endswith(". Run the command again.")
    assert cluster.objects == set(OBJECTS[1:])


def test_a_cluster_that_does_not_answer_is_one_sentence() -> None:
    """Nothing is known about its indices, so nothing is deleted."""
    with disconnected() as client, pytest.raises(SetupError) as caught:
        indices_of(client, "trail")

    assert str(caught.value) == "The indices trail-* cannot be listed: no connection."
