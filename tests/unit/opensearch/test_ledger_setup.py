"""Promises about the ledger's setup: a strict template of its own, and nothing of it is deleted unless asked for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.opensearch_server import NO_HANDLER, connected, missing
from worker.errors import SetupError
from worker.opensearch.ledger_setup import LedgerOptions, install_ledger
from worker.opensearch.schema import ledger_template
from worker.pipeline.ledger import LedgerEntry

NAME = "trailsink-files-trail"


class FakeCluster:
    """A cluster's index templates and policies; without `ism`, it has no policies."""

    def __init__(self, *, ism: bool = True) -> None:
        self.ism = ism
        self.templates: dict[str, Any] = {}
        self.policies: dict[str, Any] = {}
        self.written: list[str] = []

    def answer(self, method: str, path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        is_policy, name = path.startswith("/_plugins"), path.rpartition("/")[2]
        if is_policy and not self.ism:
            return 400, NO_HANDLER
        stored = self.policies if is_policy else self.templates
        if method == "PUT":
            self.written.append(path)
            stored[name] = body
            return 200, {}
        if method in {"POST", "DELETE"}:
            self.written.append(path)
            stored.pop(name, None)
            return 200, {}
        if "/explain/" not in path and name not in stored:
            return missing()
        return 200, self._read_policy(path, name) if is_policy else self._read_template(name)

    def _read_policy(self, path: str, name: str) -> dict[str, Any]:
        if "/explain/" in path:
            return {f"{NAME}-2026-01": {"index.plugins.index_state_management.policy_id": NAME}}
        return {"_seq_no": 1, "_primary_term": 1, **self.policies[name]}

    def _read_template(self, name: str) -> dict[str, Any]:
        stored = self.templates
        body = stored[name].get("template", {})
        # The server nests them, as text.
        index = {name.removeprefix("index."): str(value) for name, value in body.get("settings", {}).items()}
        template = stored[name] | {"template": body | {"settings": {"index": index}}}
        return {"index_templates": [{"name": name, "index_template": template}]}


def run(cluster: FakeCluster, remover: str = "", **options: Any) -> list[str]:
    with connected(cluster.answer) as client:
        return list(install_ledger(client, LedgerOptions("trail", **options), remover=remover))


def test_the_template_takes_exactly_what_an_entry_holds() -> None:
    """It is strict: a member that it does not know would hold back every file."""
    properties = ledger_template("trail")["template"]["mappings"]["properties"]

    assert set(properties) == set(LedgerEntry.__struct_fields__)
    assert ledger_template("trail")["template"]["mappings"]["dynamic"] == "strict"
    assert ledger_template("trail")["index_patterns"] == [f"{NAME}-*"]


def test_it_is_created_once_and_kept_for_ever() -> None:
    """The ledger outlives the events: it is the proof that they were there."""
    cluster = FakeCluster()

    first, second = run(cluster), run(cluster)

    assert first == [f"Ledger: index template {NAME} version 2 created, for {NAME}-*."]
    assert second == [f"Ledger: index template {NAME} version 2 already exists."]
    assert cluster.written == [f"/_index_template/{NAME}"]


def test_replicas_are_kept_when_they_are_not_passed_again() -> None:
    """An upgrade must not make a cluster of one node yellow."""
    cluster = FakeCluster()
    run(cluster, replicas=0)

    lines = run(cluster)

    assert lines == [f"Ledger: index template {NAME} version 2 already exists."]


def test_a_number_of_days_has_a_policy_before_the_template() -> None:
    """A policy attaches only to indices that are created after it; a month's index holds 31 days."""
    cluster = FakeCluster()

    first, again, changed = run(cluster, days=400), run(cluster, days=400), run(cluster, days=500)

    assert first[0] == f"Ledger: policy {NAME} created, 400 days."
    assert again[0] == f"Ledger: policy {NAME} already exists, 400 days."
    assert changed[0].startswith(f"Ledger: policy {NAME} changed to 500 days")
    assert cluster.written[0] == f"/_plugins/_ism/policies/{NAME}"
    policy = cluster.policies[NAME]["policy"]
    assert policy["states"][0]["transitions"][0]["conditions"] == {"min_index_age": "531d"}
    assert f"{NAME}-2*" in policy["ism_template"][0]["index_patterns"]


def test_a_template_that_was_edited_is_restored() -> None:
    """Its digest is still ours; the content is not, and decides, as for the events' own template."""
    cluster = FakeCluster()
    run(cluster)
    fields = cluster.templates[NAME]["template"]["mappings"]["properties"]
    fields["object"] = {"type": "text"}
    fields["team"] = {"type": "keyword"}

    first, second = run(cluster), run(cluster)

    assert first == [f"Ledger: index template {NAME} restored (object); it applies to new indices."]
    assert second == [f"Ledger: index template {NAME} version 2 already exists."]
    fields = cluster.templates[NAME]["template"]["mappings"]["properties"]
    assert fields["object"] == ledger_template("trail")["template"]["mappings"]["properties"]["object"]
    assert fields["team"] == {"type": "keyword"}


def test_no_days_remove_the_policy_that_deletes() -> None:
    """It was left, and would have deleted the proof; one that nobody mentioned stays and is named."""
    cluster = FakeCluster()
    run(cluster, days=400)

    named, removed, after = run(cluster, remover="A=0"), run(cluster), run(cluster)

    assert named[0].startswith(f"Ledger: the policy {NAME} stays: Delete indices of trailsink after 400 days")
    assert named[0].endswith(". A=0 removes it.")
    assert removed[0].startswith(f"Ledger: policy {NAME} removed")
    assert cluster.policies == {}
    assert f"/_plugins/_ism/remove/{NAME}-2026-01" in cluster.written
    assert len(after) == 1


@pytest.mark.parametrize("serverless", [True, False])
def test_a_server_without_policies_still_gets_the_template(*, serverless: bool) -> None:
    """Its ledger is kept."""
    cluster = FakeCluster(ism=False)

    lines = run(cluster, days=400, serverless=serverless)

    assert lines == [f"Ledger: index template {NAME} version 2 created, for {NAME}-*."]


def test_a_template_of_somebody_else_is_left_alone() -> None:
    """Somebody created it for a purpose, so the operator must decide."""
    cluster = FakeCluster()
    cluster.templates[NAME] = {"index_patterns": ["other-*"]}

    with pytest.raises(SetupError, match="trailsink did not create it"):
        run(cluster)

    assert cluster.written == []


def test_force_replaces_the_template_of_somebody_else() -> None:
    """As trailsink doctor advises, and as for the events' own template."""
    cluster = FakeCluster()
    cluster.templates[NAME] = {"index_patterns": ["other-*"]}

    lines = run(cluster, force=True)

    assert lines == [
        f"Ledger: replacing the index template {NAME} of somebody else.",
        f"Ledger: index template {NAME} version 2 created, for {NAME}-*.",
    ]
    assert cluster.templates[NAME]["index_patterns"] == [f"{NAME}-*"]


def test_a_template_of_a_newer_trailsink_is_left_alone() -> None:
    """A rollback of the function must not roll back the ledger."""
    cluster = FakeCluster()
    cluster.templates[NAME] = ledger_template("trail")
    cluster.templates[NAME]["_meta"]["version"] = 99

    with pytest.raises(SetupError, match="newer trailsink"):
        run(cluster)

    assert cluster.written == []


class OldCluster(FakeCluster):
    """A cluster whose ledger is of the version before selectors; `allowed` says whether its fields may be changed."""

    def __init__(self, *, allowed: bool) -> None:
        super().__init__()
        self.allowed = allowed
        template = ledger_template("trail")
        template["_meta"] |= {"version": 1}
        properties = template["template"]["mappings"]["properties"]
        self.fields = {name: field for name, field in properties.items() if name not in {"selectors", "filtered_by"}}
        self.templates[NAME] = template
        self.added: dict[str, Any] = {}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if not path.endswith("/_mapping"):
            return super().answer(method, path, query, body)
        if not self.allowed:
            return 403, {"error": {"type": "security_exception"}, "status": 403}
        if method == "PUT":
            self.added[path.split("/")[1]] = body["properties"]
            return 200, {}
        return 200, {f"{NAME}-2026-11": {"mappings": {"properties": self.fields}}}


def test_indices_of_an_older_version_get_the_new_fields() -> None:
    """They are strict: with a filter set, each file would go back to the queue until next month."""
    cluster = OldCluster(allowed=True)

    lines = run(cluster)

    assert set(cluster.added[f"{NAME}-2026-11"]) == {"selectors", "filtered_by"}
    assert lines[0] == f"Ledger: fields were added to {NAME}-2026-11: selectors, filtered_by."
    assert cluster.templates[NAME]["_meta"]["version"] == 2


def test_a_role_that_may_not_add_fields_is_told_what_that_means() -> None:
    """The template is put all the same: next month's index has the fields."""
    cluster = OldCluster(allowed=False)

    lines = run(cluster)

    assert "may not add fields" in lines[0]
    assert "indices:admin/mapping/put" in lines[0]
    assert cluster.templates[NAME]["_meta"]["version"] == 2
