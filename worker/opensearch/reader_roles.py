"""Reader roles for teams: each sees the events of its own accounts and no others, by document-level security.

docs.opensearch.org/latest/security/access-control/document-level-security/
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from worker.cloudtrail.keys import ACCOUNT
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEAM = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")

# What `trailsink search`, aggregations and Dashboards ask of the indices; nothing that writes.
_READS = [
    "indices:admin/get",
    "indices:admin/mappings/get",
    "indices:admin/resolve/index",
    "indices:data/read/field_caps*",
    "indices:data/read/get*",
    "indices:data/read/mget*",
    "indices:data/read/msearch*",
    "indices:data/read/search*",
]
_CLUSTER = [
    "cluster:monitor/main",
    "indices:data/read/mget",
    "indices:data/read/msearch",
    "indices:data/read/scroll",
    "indices:data/read/scroll/clear",
]


def reader_name(prefix: str, team: str) -> str:
    """Return the name of a team's role; raises SetupError for a team that cannot be a part of it."""
    if not _TEAM.fullmatch(team):
        raise SetupError(f"{team} is no name of a team: use lower-case letters, digits, - and _.")
    return f"trailsink-reader-{prefix}-{team}"


def reader_role(prefix: str, accounts: Iterable[str]) -> dict[str, Any]:
    """Return the role that reads the events that CloudTrail delivered to these accounts.

    `recipientAccountId` decides. An event between two accounts is delivered to both, each in a record of its own.
    """
    numbers = sorted(set(accounts))
    if not numbers:
        raise SetupError("No account is named: a role without accounts would see nothing.")
    if wrong := next((number for number in numbers if not ACCOUNT.fullmatch(number)), ""):
        raise SetupError(f"{wrong} is no account id of 12 digits.")
    query = {"terms": {"recipientAccountId": numbers}}
    permission = {"index_patterns": [f"{prefix}-*"], "dls": json.dumps(query), "allowed_actions": _READS}
    return {"cluster_permissions": _CLUSTER, "index_permissions": [permission]}


def accounts_of_unit(text: str) -> list[str]:
    """Return the ids in what `aws organizations list-accounts-for-parent` printed; raises SetupError."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise SetupError(f"The file of the organizational unit is no JSON: {error}.") from error
    match document:
        case {"Accounts": [*accounts]} if all(isinstance(account, dict) and "Id" in account for account in accounts):
            return [str(account["Id"]) for account in accounts]
    raise SetupError(
        "The file has no list of Accounts with an Id each: write it with aws organizations list-accounts-for-parent."
    )
