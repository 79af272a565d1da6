"""The smallest roles, as the README lists them."""

from __future__ import annotations

import re
from pathlib import Path

from worker.access import installer_role, loader_role

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

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
