"""Promises about setting a cluster up: in the right order, only our own objects, and a second run changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.opensearch_server import NO_HANDLER, connected, disconnected, missing
from worker.errors import IndexUnavailable, SetupError
from worker.opensearch.schema import VERSION, index_template
from worker.opensearch.setup import SetupOptions, check_template, install
from worker.pipeline.limits import Partition

POLICY = "/_plugins/_ism/policies/trailsink-trail"
TEMPLATE = "/_index_template/trailsink-trail"
LEDGER = "/_index_template/trailsink-files-trail"


@dataclass
class FakeCluster:
    """OpenSearch's API for templates, and for policies with their versions; without `ism`, the plugin is missing."""

    version: dict[str, Any] = field(default_factory=lambda: {"distribution": "opensearch", "number": "3.8.0"})
    ism: bool = True
    templates: dict[str, Any] = field(default_factory=dict)
    policies: dict[str, tuple[dict[str, Any], int]] = field(default_factory=dict)
    refuse: dict[str, int] = field(default_factory=dict)  # path -> status
    requests: list[tuple[str, str, dict[str, list[str]], Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        self.requests.append((method, path, query, body))
        if path in self.refuse:
            kind = {"type": "security_exception", "reason": "no permissions"}
            return self.refuse[path], {"error": kind, "status": self.refuse[path]}
        if path == "/":
            return 200, {"name": "node", "version": self.version}
        if path.startswith("/_plugins/_ism/remove/"):
            return 200, {"updated_indices": 0, "failures": False, "failed_indices": []}
        if path.startswith("/_plugins/_ism/policies/"):
            return self._policy(method, path, query, body)
        if path.startswith("/_index_template"):
            return self._template(method, path, body)
        return 404, {}

    def _policy(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if not self.ism:
            return 400, NO_HANDLER
        existing = self.policies.get(path)
        if method == "GET":
            if existing is None:
                return missing("status_exception")
            # The server adds defaults of its own.
            policy = existing[0]["policy"] | {"last_updated_time": 1_764_000_000_000, "schema_version": 21}
            return 200, {"_id": "trailsink-trail", "_seq_no": existing[1], "_primary_term": 4, "policy": policy}
        if method == "DELETE":
            del self.policies[path]
            return 200, {"_id": "trailsink-trail", "result": "deleted"}
        expected = {"if_seq_no": [str(existing[1])], "if_primary_term": ["4"]} if existing else {}
        if query != expected:
            return 409, {"error": {"type": "version_conflict_engine_exception", "reason": "x"}, "status": 409}
        self.policies[path] = (body, existing[1] + 1 if existing else 0)
        return 201, {"_id": "trailsink-trail"}

    def _template(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "GET":
            name = path.removeprefix("/_index_template").removeprefix("/")
            if name and name not in self.templates:
                return missing()
            listed = [{"name": name, "index_template": template} for name, template in self.templates.items()]
            return 200, {"index_templates": listed}
        if not path.endswith("/_simulate"):
            self.templates[path.rsplit("/", 1)[1]] = body
        return 200, {"acknowledged": True}

    @property
    def written(self) -> list[str]:
        writes = [path for method, path, _, _ in self.requests if method in ("PUT", "POST", "DELETE")]
        return [path for path in writes if not path.endswith("/_simulate")]


def run(cluster: FakeCluster, **options: Any) -> list[str]:
    settings: dict[str, Any] = {"prefix": "trail", "retention_days": 30} | options
    with connected(cluster.answer) as client:
        return list(install(client, SetupOptions(**settings)))


def test_the_policy_is_created_before_the_template() -> None:
    """A policy attaches only to indices created after it: one event in between, and its index is kept for ever."""
    cluster = FakeCluster()

    lines = run(cluster)

    assert cluster.written == [POLICY, TEMPLATE, LEDGER]
    assert lines[2].startswith("Searches: trailsink searches every path of free-form fields; others find exact values")
    assert lines == [
        "Found OpenSearch 3.8.0.",
        "Mapping: profile flat, because OpenSearch 2.19 and newer index free-form fields as flat_object.",
        lines[2],
        "Retention: policy trailsink-trail created, 30 days.",
        f"Index template trailsink-trail version {VERSION} created, for trail-*.",
        "Ledger: index template trailsink-files-trail version 2 created, for trailsink-files-trail-*.",
    ]


def test_only_our_policy_and_our_template_are_written() -> None:
    """For our prefix alone, with the days and replicas of the options."""
    cluster = FakeCluster()

    run(cluster, replicas=0)

    policy, template, _ = (body for method, _, _, body in cluster.requests if method == "PUT")
    assert template["index_patterns"] == ["trail-*"]
    # Not another tool's trail-insights-2026: its indices are not ours to delete.
    assert policy["policy"]["ism_template"][0]["index_patterns"] == ["trail-2*", "trail-undated*"]
    assert policy["policy"]["states"][0]["transitions"][0]["conditions"] == {"min_index_age": "31d"}
    assert template["template"]["settings"]["number_of_replicas"] == 0
    assert template["template"]["mappings"]["properties"]["requestParameters"] == {"type": "flat_object"}


def test_running_it_again_changes_nothing() -> None:
    """Deployment scripts run it every time."""
    cluster = FakeCluster()
    run(cluster)
    before = len(cluster.written)

    lines = run(cluster)

    assert len(cluster.written) == before
    assert lines[3:] == [
        "Retention: policy trailsink-trail already exists, 30 days.",
        f"Index template trailsink-trail version {VERSION} already exists.",
        "Ledger: index template trailsink-files-trail version 2 already exists.",
    ]


def test_another_number_of_days_changes_the_existing_policy_and_no_other() -> None:
    """Without its sequence number ISM refuses a change; with it, nobody else's change is lost."""
    cluster = FakeCluster()
    run(cluster)

    lines = run(cluster, retention_days=90)

    assert "changed to 90 days" in lines[3]
    assert cluster.policies[POLICY][1] == 1
    assert cluster.policies[POLICY][0]["policy"]["states"][0]["transitions"][0]["conditions"] == {
        "min_index_age": "91d"
    }


def test_indices_become_read_only_before_they_are_deleted() -> None:
    """What is older than any late file cannot be overwritten any more, not even with the loader's credentials."""
    cluster = FakeCluster()

    lines = run(cluster, retention_days=90, read_only_days=7)

    policy = cluster.policies[POLICY][0]["policy"]
    assert lines[3] == "Retention: policy trailsink-trail created, 90 days, read-only after 7 days."
    assert [(state["name"], [list(action)[-1] for action in state["actions"]]) for state in policy["states"]] == [
        ("kept", []),
        ("read_only", ["read_only"]),
        ("deleted", ["delete"]),
    ]
    transitions = [step for state in policy["states"] for step in state["transitions"]]
    assert transitions == [
        {"state_name": "read_only", "conditions": {"min_index_age": "7d"}},
        {"state_name": "deleted", "conditions": {"min_index_age": "91d"}},
    ]
    assert run(cluster, retention_days=90, read_only_days=7)[3].endswith(
        "already exists, 90 days, read-only after 7 days."
    )
    assert "changed to 90 days;" in run(cluster, retention_days=90)[3]


def test_indices_that_are_kept_for_ever_can_be_read_only() -> None:
    """Nothing is deleted by that policy."""
    cluster = FakeCluster()

    lines = run(cluster, retention_days=0, read_only_days=7)

    policy = cluster.policies[POLICY][0]["policy"]
    assert lines[3] == "Retention: policy trailsink-trail created, read-only after 7 days."
    assert [state["name"] for state in policy["states"]] == ["kept", "read_only"]
    assert policy["states"][1]["transitions"] == []


def test_another_partition_changes_the_existing_policy() -> None:
    """An index of a month holds events for up to 31 days longer than its age says."""
    cluster = FakeCluster()
    run(cluster)

    lines = run(cluster, partition=Partition.MONTH, force=True)

    assert "changed to 30 days" in lines[3]
    assert cluster.policies[POLICY][0]["policy"]["states"][0]["transitions"][0]["conditions"] == {
        "min_index_age": "61d"
    }


def test_a_policy_of_the_same_days_and_another_age_is_changed() -> None:
    """An older trailsink counted the days from the index's first event."""
    cluster = FakeCluster()
    run(cluster)
    cluster.policies[POLICY][0]["policy"]["states"][0]["transitions"][0]["conditions"]["min_index_age"] = "30d"

    lines = run(cluster)

    assert "changed to 30 days" in lines[3]


def test_without_retention_no_policy_is_created() -> None:
    """Deleting is never the default."""
    cluster = FakeCluster()

    lines = run(cluster, retention_days=0)

    assert cluster.written == [TEMPLATE, LEDGER]
    assert lines[3] == "Retention: not configured; indices are kept."


def test_no_retention_any_more_removes_the_policy() -> None:
    """It went on deleting an audit log, while the output said that indices are kept."""
    cluster = FakeCluster()
    run(cluster, retention_days=365)

    named = run(cluster, retention_days=0, leaves_policy=True)
    removed = run(cluster, retention_days=0)

    assert "stays: Delete indices of trailsink after 365 days" in named[3]
    assert removed[3].startswith("Retention: policy trailsink-trail removed")
    assert cluster.policies == {}


def test_a_server_without_ism_still_gets_its_template() -> None:
    """The plugin is missing from minimal builds; a line says so, and setup goes on."""
    cluster = FakeCluster(ism=False)

    lines = run(cluster)

    assert cluster.written == [TEMPLATE, LEDGER]
    assert "no ISM plugin" in lines[3]


def test_a_serverless_collection_is_asked_neither_for_its_version_nor_for_ism() -> None:
    """It answers neither."""
    cluster = FakeCluster(ism=False)

    lines = run(cluster, serverless=True)

    assert cluster.written == [TEMPLATE, LEDGER]
    assert "/" not in [path for _, path, _, _ in cluster.requests]
    assert cluster.templates["trailsink-trail"]["_meta"]["mapping"] == "flat"
    assert "Serverless has no ISM" in lines[3]


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
def test_a_server_gets_the_mapping_that_is_safe_on_it(*, version: dict[str, Any], compatible: bool) -> None:
    """Before 2.18 a value in a flat_object could hang a node; Elasticsearch has none at all."""
    cluster = FakeCluster(version=version)

    lines = run(cluster)

    kind = cluster.templates["trailsink-trail"]["template"]["mappings"]["properties"]["requestParameters"].get("type")
    assert (kind == "object") is compatible
    assert lines[1].startswith("Mapping: profile compatibility" if compatible else "Mapping: profile flat")


def test_a_template_that_is_not_ours_is_left_alone() -> None:
    """Somebody created it for a purpose, so the operator must decide."""
    cluster = FakeCluster(templates={"trailsink-trail": {"index_patterns": ["other-*"], "template": {}}})

    with pytest.raises(SetupError, match="trailsink did not create it"):
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
    """Events would get a mapping that loses a third of them, and nothing would show it."""
    cluster = FakeCluster(templates={"other": {"index_patterns": pattern, "priority": priority}})

    if refused:
        with pytest.raises(SetupError, match="template other also matches"):
            run(cluster)
    else:
        run(cluster)

    assert (TEMPLATE in cluster.written) is not refused


def own_template(version: int, digest: str = "another") -> dict[str, Any]:
    template = index_template("trail")
    template["_meta"] |= {"version": version, "digest": digest}
    return template


@pytest.mark.parametrize(
    ("version", "text"), [(0, f"upgraded from version 0 to {VERSION}"), (VERSION, "trailsink-trail changed")]
)
def test_an_older_template_of_ours_is_upgraded(version: int, text: str) -> None:
    """Existing indices keep their mapping, later ones get the new one."""
    cluster = FakeCluster(templates={"trailsink-trail": own_template(version)})

    lines = run(cluster)

    assert text in lines[4]
    assert cluster.templates["trailsink-trail"]["_meta"]["digest"] != "another"


def test_a_template_of_a_newer_trailsink_is_left_alone() -> None:
    """A rollback of the function must not roll back the mapping."""
    cluster = FakeCluster(templates={"trailsink-trail": own_template(VERSION + 1)})

    with pytest.raises(SetupError, match="newer trailsink"):
        run(cluster)

    assert TEMPLATE not in cluster.written


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("path", ["/", POLICY, "/_index_template", TEMPLATE])
def test_a_refusal_is_one_sentence(path: str, status: int) -> None:
    """The operator has to change a role, not read a stack trace."""
    cluster = FakeCluster(refuse={path: status})

    with pytest.raises(SetupError, match=f"refuses with {status}.*may not do this") as caught:
        run(cluster)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("info", [{}, {"number": 3}, None])
def test_a_server_that_is_not_opensearch_is_refused(info: Any) -> None:
    """The address of something else, such as a load balancer, is the most common mistake."""
    with pytest.raises(SetupError, match="does not speak OpenSearch"):
        run(FakeCluster(version=info))


def test_a_server_that_does_not_answer_is_one_sentence() -> None:
    """Without a stack trace, too."""
    with disconnected() as client, pytest.raises(SetupError, match="does not answer: no connection"):
        list(install(client, SetupOptions("trail")))


def test_an_existing_template_is_enough_to_load() -> None:
    """`trailsink run` checks it before the first batch."""
    with connected(FakeCluster(templates={"trailsink-trail": own_template(VERSION)}).answer) as client:
        assert check_template(client, "trail") == ""


@pytest.mark.parametrize(
    ("version", "advice"),
    [(VERSION - 1, "Run `trailsink setup`."), (VERSION + 1, "load with the trailsink that installed it.")],
)
def test_a_template_of_another_version_is_a_warning(version: int, advice: str) -> None:
    """An upgraded consumer may come before `trailsink setup`: its events are loaded, and new fields are not found."""
    with connected(FakeCluster(templates={"trailsink-trail": own_template(version)}).answer) as client:
        warning = check_template(client, "trail")

    assert warning.startswith(f"The index template trailsink-trail is of version {version}, and this trailsink has")
    assert warning.endswith(advice)


def test_a_missing_template_stops_the_loader_before_the_first_index() -> None:
    """Its fields would be guessed, and a third of the events lost."""
    with (
        connected(FakeCluster().answer) as client,
        pytest.raises(SetupError, match="no index template trailsink-trail: run `trailsink setup` first"),
    ):
        check_template(client, "trail")


def test_a_role_that_may_not_read_templates_may_still_load() -> None:
    """The smallest role of a loader has no such permission."""
    with connected(FakeCluster(refuse={"/_index_template/trailsink-trail": 403}).answer) as client:
        assert check_template(client, "trail") == ""


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (401, SetupError, "OpenSearch refuses with 401: security_exception; the user or role may not do this."),
        (503, IndexUnavailable, "OpenSearch refuses with 503: security_exception"),
    ],
)
def test_only_a_cluster_that_may_recover_is_waited_for(status: int, error: type[Exception], text: str) -> None:
    """The loader starts while the cluster is down, and does not start with a wrong password."""
    with (
        connected(FakeCluster(refuse={"/_index_template/trailsink-trail": status}).answer) as client,
        pytest.raises(error) as caught,
    ):
        check_template(client, "trail")

    assert str(caught.value) == text


def test_a_foreign_template_is_replaced_when_that_is_asked_for() -> None:
    """It says what it replaces."""
    foreign = {"index_patterns": ["trail-*"], "template": {"mappings": {}}}
    cluster = FakeCluster(templates={"trailsink-trail": foreign})

    lines = run(cluster, force=True)

    assert "Replacing the index template trailsink-trail of somebody else, for trail-*." in lines
    assert cluster.templates["trailsink-trail"]["_meta"]["owner"] == "trailsink"


def test_a_template_that_shadows_ours_is_overtaken_when_that_is_asked_for() -> None:
    """Ours goes above it, and stays there."""
    cluster = FakeCluster(templates={"corp": {"index_patterns": ["trail-*"], "priority": 500}})

    run(cluster, force=True)
    lines = run(cluster)

    assert cluster.templates["trailsink-trail"]["priority"] == 501
    assert lines[-1].endswith("already exists.")


def test_a_template_that_was_edited_is_restored() -> None:
    """Its digest is still ours; the content is not, and decides."""
    cluster = FakeCluster()
    run(cluster)
    cluster.templates["trailsink-trail"]["template"]["mappings"]["properties"]["eventName"] = {"type": "text"}
    cluster.templates["trailsink-trail"]["template"]["mappings"]["properties"]["team"] = {"type": "keyword"}

    lines = run(cluster)

    fields = cluster.templates["trailsink-trail"]["template"]["mappings"]["properties"]
    assert "Index template trailsink-trail restored (eventName); it applies to new indices." in lines
    assert (fields["eventName"]["type"], fields["team"]) == ("keyword", {"type": "keyword"})


def test_the_template_says_which_partition_and_prefix_it_is_for() -> None:
    """Each command that writes is held against it."""
    cluster = FakeCluster()

    run(cluster, partition=Partition.MONTH)

    meta = cluster.templates["trailsink-trail"]["_meta"]
    assert (meta["partition"], meta["prefix"]) == ("month", "trail")
    with pytest.raises(SetupError, match="TRAILSINK_INDEX_PARTITION=month"):
        run(cluster)


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        ({"owner": "ops"}, "run `trailsink setup --force` first"),
        ({"owner": "trailsink", "partition": "month"}, r"Set TRAILSINK_INDEX_PARTITION=month\."),
    ],
)
def test_a_loader_refuses_a_template_that_is_not_its_own(meta: dict[str, str], text: str) -> None:
    """The next index would guess its fields, or hold every event a second time."""
    cluster = FakeCluster(templates={"trailsink-trail": own_template(VERSION) | {"_meta": meta}})

    with connected(cluster.answer) as client, pytest.raises(SetupError, match=text):
        check_template(client, "trail", Partition.DAY)


def test_shards_are_set_once_and_kept() -> None:
    """More than 50 GB a day need more than one, and nobody has to pass it again."""
    cluster = FakeCluster()
    run(cluster, shards=3)
    first = cluster.templates["trailsink-trail"]["template"]["settings"]["number_of_shards"]
    # A server returns what was sent flat nested, and as text.
    settings = {"index": {"codec": "best_compression", "refresh_interval": "10s", "number_of_shards": "3"}}
    cluster.templates["trailsink-trail"]["template"]["settings"] = settings

    lines = run(cluster)

    assert first == 3
    assert lines[-1].endswith("already exists.")
