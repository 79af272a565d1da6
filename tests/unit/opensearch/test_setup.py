"""Promises about setting a cluster up: in the right order, only what is ours, and twice changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.http_server import serving, told
from worker.errors import SetupError
from worker.opensearch.client import Client
from worker.opensearch.schema import VERSION, index_template
from worker.opensearch.setup import SetupOptions, install

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

POLICY = "/_plugins/_ism/policies/trailsink-trail"
TEMPLATE = "/_index_template/trailsink-trail"


@dataclass
class FakeCluster:
    """What OpenSearch's setup API does: templates, and policies with their version; `ism` says whether it has any."""

    version: dict[str, Any] = field(default_factory=lambda: {"distribution": "opensearch", "number": "3.8.0"})
    ism: bool = True
    templates: dict[str, Any] = field(default_factory=dict)
    policies: dict[str, tuple[dict[str, Any], int]] = field(default_factory=dict)
    refuse: dict[str, int] = field(default_factory=dict)  # path -> status
    asked: list[tuple[str, str, dict[str, list[str]], Any]] = field(default_factory=list)

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        self.asked.append((method, path, query, body))
        if path in self.refuse:
            kind = {"type": "security_exception", "reason": "no permissions"}
            return self.refuse[path], {"error": kind, "status": self.refuse[path]}
        if path == "/":
            return 200, {"name": "node", "version": self.version}
        if path.startswith("/_plugins/_ism/policies/"):
            return self._policy(method, path, query, body)
        if path.startswith("/_index_template"):
            return self._template(method, path, body)
        return 404, {}

    def _policy(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if not self.ism:
            return 400, {"error": f"no handler found for uri [{path}] and method [{method}]"}
        there = self.policies.get(path)
        if method == "GET":
            if there is None:
                return 404, {"error": {"type": "status_exception", "reason": "Policy not found"}, "status": 404}
            # The server gives defaults of its own beside what it was given.
            policy = there[0]["policy"] | {"last_updated_time": 1_764_000_000_000, "schema_version": 21}
            return 200, {"_id": "trailsink-trail", "_seq_no": there[1], "_primary_term": 4, "policy": policy}
        expected = {"if_seq_no": [str(there[1])], "if_primary_term": ["4"]} if there else {}
        if query != expected:
            return 409, {"error": {"type": "version_conflict_engine_exception", "reason": "x"}, "status": 409}
        self.policies[path] = (body, there[1] + 1 if there else 0)
        return 201, {"_id": "trailsink-trail"}

    def _template(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "GET":
            all_ = [{"name": name, "index_template": template} for name, template in self.templates.items()]
            return 200, {"index_templates": all_}
        self.templates[path.rsplit("/", 1)[1]] = body
        return 200, {"acknowledged": True}

    @property
    def written(self) -> list[str]:
        return [path for method, path, _, _ in self.asked if method in ("PUT", "POST", "DELETE")]


def listening(cluster: FakeCluster) -> AbstractContextManager[str]:
    """Serve a cluster over HTTP."""
    return serving(
        lambda method, path, _, body: told(*cluster.answer(method, path, json.loads(body) if body else None))
    )


def run(cluster: FakeCluster, **wanted: Any) -> list[str]:
    options: dict[str, Any] = {"prefix": "trail", "retention_days": 30} | wanted
    with listening(cluster) as url:
        client = Client(url, sign_in=lambda: None, ca_file=None, seconds=5).connect()
        try:
            return list(install(client, SetupOptions(**options)))
        finally:
            client.close()


def test_the_policy_is_there_before_the_template() -> None:
    """A policy attaches only to indices made after it: one event in between, and its index is kept for ever."""
    cluster = FakeCluster()

    lines = run(cluster)

    assert cluster.written == [POLICY, TEMPLATE]
    assert lines == [
        "Found OpenSearch 3.8.0.",
        "Mapping: full, because OpenSearch 2.19 and newer index free-form fields as flat_object.",
        "Retention: policy trailsink-trail made, 30 days.",
        f"Index template trailsink-trail version {VERSION} made, for trail-*.",
    ]


def test_what_is_written_is_our_policy_and_our_template() -> None:
    """For our prefix alone, with the days and replicas that were asked for."""
    cluster = FakeCluster()

    run(cluster, replicas=0)

    policy, template = (body for method, _, _, body in cluster.asked if method == "PUT")
    assert policy["policy"]["ism_template"][0]["index_patterns"] == template["index_patterns"] == ["trail-*"]
    assert policy["policy"]["states"][0]["transitions"][0]["conditions"] == {"min_index_age": "30d"}
    assert template["template"]["settings"]["number_of_replicas"] == 0
    assert template["template"]["mappings"]["properties"]["requestParameters"] == {"type": "flat_object"}


def test_running_it_again_changes_nothing() -> None:
    """It is in everybody's deployment script."""
    cluster = FakeCluster()
    run(cluster)
    before = len(cluster.written)

    lines = run(cluster)

    assert len(cluster.written) == before
    assert lines[2:] == [
        "Retention: policy trailsink-trail is there already, 30 days.",
        f"Index template trailsink-trail version {VERSION} is there already.",
    ]


def test_another_number_of_days_changes_the_policy_that_is_there_and_no_other() -> None:
    """Without its sequence number ISM refuses a change; with it, nobody else's change is lost."""
    cluster = FakeCluster()
    run(cluster)

    lines = run(cluster, retention_days=90)

    assert "changed to 90 days" in lines[2]
    assert cluster.policies[POLICY][1] == 1
    assert cluster.policies[POLICY][0]["policy"]["states"][0]["transitions"][0]["conditions"] == {
        "min_index_age": "90d"
    }


def test_without_retention_no_policy_is_made() -> None:
    """Deleting is never the default."""
    cluster = FakeCluster()

    lines = run(cluster, retention_days=0)

    assert cluster.written == [TEMPLATE]
    assert lines[2] == "Retention: none asked for; indices are kept."


def test_a_server_without_ism_gets_its_template_all_the_same() -> None:
    """The plugin is missing from minimal builds; the operator is told, and can go on."""
    cluster = FakeCluster(ism=False)

    lines = run(cluster)

    assert cluster.written == [TEMPLATE]
    assert "no ISM plugin" in lines[2]


def test_a_serverless_collection_is_asked_neither_what_it_is_nor_for_ism() -> None:
    """It answers neither."""
    cluster = FakeCluster(ism=False)

    lines = run(cluster, serverless=True)

    assert cluster.written == [TEMPLATE]
    assert "/" not in [path for _, path, _, _ in cluster.asked]
    assert cluster.templates["trailsink-trail"]["_meta"]["mapping"] == "compatibility"
    assert "Serverless has no ISM" in lines[2]


@pytest.mark.parametrize(
    ("version", "compatible"),
    [
        ({"number": "7.10.2", "build_flavor": "oss"}, True),
        ({"number": "8.19.0", "build_flavor": "default"}, True),
        ({"distribution": "opensearch", "number": "1.3.20"}, True),
        ({"distribution": "opensearch", "number": "2.11.0"}, True),
        ({"distribution": "opensearch", "number": "2.18.9"}, True),
        ({"distribution": "opensearch", "number": "7.10.2"}, True),
        ({"distribution": "opensearch", "number": "2.19.0"}, False),
        ({"distribution": "opensearch", "number": "2.19.1-SNAPSHOT"}, False),
        ({"distribution": "opensearch", "number": "3.8.0"}, False),
        ({"distribution": "opensearch", "number": "4.0.0"}, False),
    ],
)
def test_a_server_gets_the_mapping_that_it_can_be_trusted_with(*, version: dict[str, Any], compatible: bool) -> None:
    """Before 2.18 a value in a flat_object could hang a node; Elasticsearch has none at all."""
    cluster = FakeCluster(version=version)

    lines = run(cluster)

    kind = cluster.templates["trailsink-trail"]["template"]["mappings"]["properties"]["requestParameters"].get("type")
    assert (kind == "object") is compatible
    assert lines[1].startswith("Mapping: compatibility" if compatible else "Mapping: full")


def test_a_template_that_is_not_ours_is_left_alone() -> None:
    """Somebody made it for a purpose; the operator has to decide."""
    cluster = FakeCluster(templates={"trailsink-trail": {"index_patterns": ["other-*"], "template": {}}})

    with pytest.raises(SetupError, match="trailsink did not make"):
        run(cluster)

    assert TEMPLATE not in cluster.written


@pytest.mark.parametrize(
    ("pattern", "priority", "refused"),
    [
        (["trail-*"], 200, True),
        (["trail-*"], 500, True),
        (["*"], 200, True),
        (["other-*", "tr*"], 900, True),
        (["trail-*"], 199, False),
        (["*"], 0, False),
        (["trails-*"], 500, False),
        (["other-*"], 500, False),
    ],
)
def test_a_template_that_would_win_over_ours_is_refused(*, pattern: list[str], priority: int, refused: bool) -> None:
    """Then events would be indexed with a mapping that loses a third of them, and all would look well."""
    cluster = FakeCluster(templates={"theirs": {"index_patterns": pattern, "priority": priority}})

    if refused:
        with pytest.raises(SetupError, match="theirs"):
            run(cluster)
    else:
        run(cluster)

    assert (TEMPLATE in cluster.written) is not refused


def ours(version: int, digest: str = "another") -> dict[str, Any]:
    template = index_template("trail")
    template["_meta"] |= {"version": version, "digest": digest}
    return template


@pytest.mark.parametrize(
    ("version", "said"), [(0, f"upgraded from version 0 to {VERSION}"), (VERSION, "trailsink-trail changed")]
)
def test_an_older_template_of_ours_is_upgraded(version: int, said: str) -> None:
    """Old indices keep their mapping; new ones get the new."""
    cluster = FakeCluster(templates={"trailsink-trail": ours(version)})

    lines = run(cluster)

    assert said in lines[-1]
    assert cluster.templates["trailsink-trail"]["_meta"]["digest"] != "another"


def test_a_template_of_a_newer_trailsink_is_left_alone() -> None:
    """A rollback of the function must not roll the mapping back."""
    cluster = FakeCluster(templates={"trailsink-trail": ours(VERSION + 1)})

    with pytest.raises(SetupError, match="newer trailsink"):
        run(cluster)

    assert TEMPLATE not in cluster.written


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("path", ["/", POLICY, "/_index_template", TEMPLATE])
def test_a_refusal_is_one_sentence(path: str, status: int) -> None:
    """The operator has to change a role, not to read a stack trace."""
    cluster = FakeCluster(refuse={path: status})

    with pytest.raises(SetupError, match=f"refuses with {status}.*may not do this") as caught:
        run(cluster)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("info", [{}, {"number": 3}, None])
def test_what_is_no_opensearch_is_told_so(info: Any) -> None:
    """An address of something else, a load balancer say, is the commonest mistake."""
    with pytest.raises(SetupError, match="does not speak OpenSearch"):
        run(FakeCluster(version=info))


def test_a_server_that_does_not_answer_is_told_so() -> None:
    """One sentence again."""
    with listening(FakeCluster()) as url:
        pass
    client = Client(url, sign_in=lambda: None, ca_file=None, seconds=5).connect()

    with pytest.raises(SetupError, match="does not answer: no connection"):
        list(install(client, SetupOptions("trail")))
