"""The smallest roles, as the README lists them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from worker.opensearch.security import installer_role, loader_role, missing_permissions, roles_mapped_to

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")

# Nobody needs it to load; it lets an operator ask the cluster who it is with the loader's own password.
GREETING = "cluster:monitor/main"


def listed(beginning: str, end: str) -> set[str]:
    """The permissions that the README lists in between; `/put` is short for the one before, with another end."""
    text = README[README.index(beginning) :]
    names: list[str] = []
    for name in re.findall(r"`((?:cluster:|indices:|/)[\w/:\[\]]+)`", text[: text.index(end)]):
        names.append(names[-1].rpartition("/")[0] + name if name.startswith("/") else name)
    return set(names)


def test_the_readme_lists_what_the_loader_is_granted() -> None:
    """Whoever keeps roles by hand copies them from there."""
    role = loader_role("cloudtrail")

    granted = {*role["cluster_permissions"], *role["index_permissions"][0]["allowed_actions"]}

    assert listed("In the cluster:", "`trailsink setup` needs") - {GREETING} == granted - {GREETING}


def test_the_readme_lists_what_the_installer_needs() -> None:
    """With the index template alone, and with a retention policy."""
    plain = set(installer_role(retention=False)["cluster_permissions"])
    whole = set(installer_role(retention=True)["cluster_permissions"])

    assert listed("`trailsink setup` needs", "with retention") == plain
    assert listed("`trailsink setup` needs", "`trailsink dlq`") == whole


GROUPS = {
    "writing": {"allowed_actions": ["indices:data/write/index", "bulk_on_shards"]},
    "bulk_on_shards": {"allowed_actions": ["indices:data/write/bulk*", "writing"]},  # and round again
}
ARN = "arn:aws:iam::123456789012:role/loader"


def role(cluster: list[str], index: list[str], pattern: str = "trail-*") -> dict[str, Any]:
    part = {"index_patterns": [pattern], "allowed_actions": index}
    return {"cluster_permissions": cluster, "index_permissions": [part]}


@pytest.mark.parametrize(
    ("roles", "missing"),
    [
        ([loader_role("trail")], []),
        ([role(["*"], ["*"], "*")], []),
        ([role(["indices:data/write/*"], ["writing", "indices:admin/create"])], []),
        ([role(["indices:data/write/bulk"], []), role([], ["indices:*"])], []),
        ([role(["indices:data/write/bulk"], ["writing"])], ["indices:admin/create"]),
        ([role([], ["indices:*"])], ["indices:data/write/bulk"]),
        (
            [role(["indices:data/write/bulk"], ["*"], "another-*")],
            ["indices:admin/create", "indices:data/write/bulk[s]", "indices:data/write/index"],
        ),
        (
            # A bracket is no choice of letters, as it would be in a shell's pattern.
            [role(["indices:data/write/bulk"], ["indices:data/write/bulks", "indices:admin/create"])],
            ["indices:data/write/bulk[s]", "indices:data/write/index"],
        ),
    ],
)
def test_what_no_role_grants_is_missing(roles: list[dict[str, Any]], missing: list[str]) -> None:
    """Patterns and action groups grant, as they do in the cluster."""
    assert missing_permissions("trail", roles, GROUPS) == missing


def test_a_backend_role_has_the_roles_that_name_it() -> None:
    """By itself, by a pattern, or, on a managed domain, as a user."""
    mappings = {
        "named": {"backend_roles": ["backfill", ARN]},
        "by pattern": {"backend_roles": ["arn:aws:iam::123456789012:role/*"]},
        "as a user": {"users": [ARN], "backend_roles": []},
        "of others": {"backend_roles": ["arn:aws:iam::123456789012:role/another"], "users": ["loader"]},
        "of nobody": {},
    }

    assert roles_mapped_to(mappings, ARN) == ["named", "by pattern", "as a user"]
