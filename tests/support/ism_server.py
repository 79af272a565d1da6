"""A stand-in for the ISM plugin in front of a real node: Maven Central has the server's modules, and no such plugin.

It takes policies that the documented schema allows, attaches them to the node's own indices, and shows what each index
follows: its own copy, which stays when the policy changes. Everything else is handed on to the node. It runs no policy.
docs.opensearch.org/latest/im-plugin/ism/api/
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import urllib3

from tests.support.http_server import serving, told
from tests.support.ism_schema import ISM_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.http_server import Given

ISM = "/_plugins/_ism/"
_SETTING = "index.plugins.index_state_management.policy_id"


@dataclass
class IsmServer:
    """The policies by name, and by index the name and the copy of what it follows."""

    node: str
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    attached: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    url: str = ""
    _writes: int = 0

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Given:
        """Answer a request, or hand it on."""
        address = urlsplit(path)
        if not address.path.startswith(ISM):
            return self._hand_on(method, path, headers, body)
        action, _, name = address.path.removeprefix(ISM).partition("/")
        query = parse_qs(address.query)
        match method, action:
            case (("GET" | "PUT" | "DELETE"), "policies"):
                return self._policy(method, name, json.loads(body or b"{}"), query)
            case "GET", "explain":
                return told(200, self._explain(name, shown="show_policy" in query))
            case "POST", "add" | "change_policy" | "remove":
                return told(200, self._change(action, name, json.loads(body or b"{}").get("policy_id", "")))
        return told(400, {"error": f"no handler found for uri [{path}] and method [{method}]", "status": 400})

    def _policy(self, method: str, name: str, document: dict[str, Any], query: dict[str, list[str]]) -> Given:
        if method == "PUT":
            return self._write(name, document, query)
        policy = self.policies.pop(name, None) if method == "DELETE" else self.policies.get(name)
        return told(200, policy) if policy else told(404, {"error": {"type": "status_exception"}, "status": 404})

    def _write(self, name: str, document: dict[str, Any], query: dict[str, list[str]]) -> Given:
        jsonschema.validate(document, ISM_POLICY)
        current = self.policies.get(name)
        if current and query.get("if_seq_no") != [str(current["_seq_no"])]:
            return told(409, {"error": {"type": "version_conflict_engine_exception"}, "status": 409})
        self._writes += 1
        self.policies[name] = {"_id": name, "_seq_no": self._writes, "_primary_term": 1, **document}
        return told(200 if current else 201, self.policies[name])

    def _explain(self, pattern: str, *, shown: bool) -> dict[str, Any]:
        states: dict[str, Any] = {}
        for index in self._indices(pattern):
            name, policy = self.attached.get(index, (None, {}))
            states[index] = {_SETTING: name, "index": index, "policy_id": name, "enabled": bool(name)}
            if name and shown:
                states[index]["policy"] = {"policy_id": name, **policy}
        return states | {"total_managed_indices": len(self.attached.keys() & states.keys())}

    def _change(self, action: str, pattern: str, name: str) -> dict[str, Any]:
        failed, updated = [], 0
        for index in self._indices(pattern):
            if (action == "add") == (index in self.attached):
                reason = "This index already has a policy" if action == "add" else "This index is not being managed"
                failed.append({"index_name": index, "index_uuid": "u", "reason": reason})
                continue
            updated += 1
            if action == "remove":
                del self.attached[index]
            else:
                self.attached[index] = (name, self.policies[name]["policy"])
        return {"updated_indices": updated, "failures": bool(failed), "failed_indices": failed}

    def _indices(self, pattern: str) -> list[str]:
        """The node's indices by their own names: the plugin knows no aliases."""
        rows = urllib3.request("GET", f"{self.node}/_cat/indices/{pattern}?format=json&h=index&expand_wildcards=all")
        names = {row["index"] for row in rows.json()}
        return sorted(name for name in names if any(fnmatchcase(name, part) for part in pattern.split(",")))

    def _hand_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Given:
        kept = {name: value for name, value in headers.items() if name.lower() in ("content-type", "content-encoding")}
        response = urllib3.request(method, self.node + path, headers=kept, body=body or None, retries=False)
        return response.status, response.data, {"Content-Type": response.headers.get("Content-Type", "text/plain")}


@contextmanager
def ism_server(node: str) -> Iterator[IsmServer]:
    """Run one in front of the node at this address; its `url` says where."""
    server = IsmServer(node)
    with serving(server.answer) as server.url:
        yield server
