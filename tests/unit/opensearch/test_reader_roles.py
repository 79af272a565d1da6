"""Promises about readers' roles: the accounts that were named, and nothing that writes or sees more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.opensearch_server import NO_HANDLER, connected, missing
from worker.errors import SetupError
from worker.opensearch.reader_roles import accounts_of_unit, reader_name, reader_role
from worker.opensearch.roles import grant_role

API = "/_plugins/_security/api"
OWN, OTHER = "111111111111", "222222222222"


def test_a_role_reads_the_named_accounts_only() -> None:
    """The filter is on every index of the prefix; the ledger and the findings are not opened."""
    (permission,) = reader_role("trail", [OTHER, OWN, OWN])["index_permissions"]

    assert permission["index_patterns"] == ["trail-*"]
    assert json.loads(permission["dls"]) == {"terms": {"recipientAccountId": [OWN, OTHER]}}
    assert not [action for action in permission["allowed_actions"] if "write" in action or action.endswith("admin/*")]


@pytest.mark.parametrize(("accounts", "words"), [([], "No account"), (["12"], "12 is no account id"), (["*"], "is no")])
def test_a_role_without_accounts_is_refused(accounts: list[str], words: str) -> None:
    """An empty filter would see nothing, and a wrong one what nobody knows."""
    with pytest.raises(SetupError, match=words.replace("*", r"\*")):
        reader_role("trail", accounts)


def test_a_unit_is_what_aws_prints() -> None:
    """The command of the AWS CLI that lists its accounts."""
    text = json.dumps({"Accounts": [{"Id": OWN, "Name": "payments"}, {"Id": OTHER}]})

    assert accounts_of_unit(text) == [OWN, OTHER]
    for broken in ("", "[]", '{"Accounts": [1]}', '{"Accounts": {}}'):
        with pytest.raises(SetupError):
            accounts_of_unit(broken)


def test_a_team_s_name_is_a_part_of_the_role_s() -> None:
    """Two teams, and two prefixes, have roles of their own."""
    assert reader_name("trail", "payments") == "trailsink-reader-trail-payments"
    for name in ("", "a/b", "Payments", "../roles"):
        with pytest.raises(SetupError):
            reader_name("trail", name)


def test_a_role_is_put_and_mapped_and_changed_when_accounts_change() -> None:
    """Others who are mapped keep it; a second run with the same accounts changes nothing."""
    roles: dict[str, Any] = {}
    mapping: dict[str, Any] = {"backend_roles": ["others"], "reserved": False}

    def answer(method: str, path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        name = path.rpartition("/")[2]
        if path == f"{API}/roles":
            return 200, roles
        if method == "GET":
            return (200, {name: mapping}) if mapping else missing()
        (roles if "/roles/" in path else mapping).update({name: body} if "/roles/" in path else body)
        return 200, {}

    with connected(answer) as client:
        first = list(grant_role(client, "r", reader_role("trail", [OWN]), ["team"]))
        second = list(grant_role(client, "r", reader_role("trail", [OWN]), ["team"]))
        third = list(grant_role(client, "r", reader_role("trail", [OTHER]), []))

    assert first == ["Access: role r created.", "Access: team has the role now."]
    assert second == ["Access: role r already exists.", "Access: team already has the role."]
    assert third == ["Access: role r changed back to what it needs."]
    assert mapping["backend_roles"] == ["others", "team"]
    assert OTHER in roles["r"]["index_permissions"][0]["dls"]


def test_without_access_control_nothing_is_promised() -> None:
    """A role that nothing enforces would be a lie."""
    with connected(lambda *_: (400, NO_HANDLER)) as client, pytest.raises(SetupError, match="anyone who may search"):
        list(grant_role(client, "r", reader_role("trail", [OWN]), []))
