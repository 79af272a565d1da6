"""Promises about access: the smallest roles, and what they lack is named."""

from __future__ import annotations

from typing import Any

import pytest

from worker.opensearch.security import (
    installer_role,
    loader_role,
    missing_permissions,
    roles_mapped_to,
)


def test_the_loader_may_only_write() -> None:
    """Whoever takes over the function can add events, and neither read nor delete one."""
    assert loader_role("cloudtrail") == {
        "cluster_permissions": ["cluster:monitor/main", "indices:data/write/bulk"],
        "index_permissions": [
            {
                "index_patterns": ["cloudtrail-*", "trailsink-files-cloudtrail-*"],
                "allowed_actions": ["indices:admin/create", "indices:data/write/bulk[s]", "indices:data/write/index"],
            },
            {
                "index_patterns": ["trailsink-consumers-cloudtrail"],
                "allowed_actions": ["indices:admin/create", "indices:data/write/bulk[s]", "indices:data/write/index"],
            },
        ],
    }


def test_the_installer_puts_templates_and_policies_and_touches_no_index() -> None:
    """With a retention policy two permissions more than without."""
    template = ["cluster:monitor/main", "indices:admin/index_template/get", "indices:admin/index_template/put"]
    policy = ["cluster:admin/opendistro/ism/policy/get", "cluster:admin/opendistro/ism/policy/write"]

    assert installer_role(retention=False) == {"cluster_permissions": template, "index_permissions": []}
    assert installer_role(retention=True) == {"cluster_permissions": policy + template, "index_permissions": []}


GROUPS = {
    "writing": {"allowed_actions": ["indices:data/write/index", "bulk_on_shards"]},
    "bulk_on_shards": {"allowed_actions": ["indices:data/write/bulk*", "writing"]},  # a cycle
}
ARN = "arn:aws:iam::123456789012:role/loader"


def role(cluster: list[str], index: list[str], pattern: str = "*trail-*") -> dict[str, Any]:
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
            # A role of before the ledger: nothing could be acknowledged.
            [role(["*"], ["*"], "trail-*")],
            ["indices:admin/create", "indices:data/write/bulk[s]", "indices:data/write/index"],
        ),
        (
            [role(["indices:data/write/bulk"], ["*"], "another-*")],
            ["indices:admin/create", "indices:data/write/bulk[s]", "indices:data/write/index"],
        ),
        (
            # Brackets are not a set of characters, as they are in a shell's pattern.
            [role(["indices:data/write/bulk"], ["indices:data/write/bulks", "indices:admin/create"])],
            ["indices:data/write/bulk[s]", "indices:data/write/index"],
        ),
    ],
)
def test_a_permission_that_no_role_grants_is_missing(roles: list[dict[str, Any]], missing: list[str]) -> None:
    """Patterns and action groups grant, as they do in the cluster."""
    assert missing_permissions("trail", roles, GROUPS) == missing


def test_without_a_ledger_its_index_needs_no_permission() -> None:
    """TRAILSINK_LEDGER=false, and a role that somebody wrote by hand."""
    roles = [role(["indices:data/write/bulk"], ["writing", "indices:admin/create"], "trail-*")]

    assert missing_permissions("trail", roles, GROUPS, ledger=False) == []
    assert missing_permissions("trail", roles, GROUPS) != []


def test_a_backend_role_has_the_roles_that_name_it() -> None:
    """By itself, by a pattern, or, on a managed domain, as a user."""
    mappings = {
        "named": {"backend_roles": ["backfill", ARN]},
        "by pattern": {"backend_roles": ["arn:aws:iam::123456789012:role/*"]},
        "as a user": {"users": [ARN], "backend_roles": []},
        "of another role": {"backend_roles": ["arn:aws:iam::123456789012:role/another"], "users": ["loader"]},
        "of no role": {},
    }

    assert roles_mapped_to(mappings, ARN) == ["named", "by pattern", "as a user"]
