"""A server that lacks some of the features of our templates, and says so as OpenSearch does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.opensearch_server import NO_HANDLER, missing

FORBIDDEN = (403, {"error": {"type": "security_exception", "reason": "no permissions"}, "status": 403})


@dataclass
class RefusingServer:
    """OpenSearch's API for templates and indices; `lacks` names field types, parameters and settings it has not.

    Without `simulates`, it has no simulation of templates, as Serverless; with `forbids`, this user may not try any.
    """

    lacks: set[str]
    number: str = "3.9.0"
    simulates: bool = True
    forbids: bool = False
    templates: dict[str, Any] = field(default_factory=dict)
    indices: set[str] = field(default_factory=set)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        self.requests.append((method, path))
        if path == "/":
            return 200, {"version": {"distribution": "opensearch", "number": self.number}}
        if path == "/_index_template/_simulate":
            if not self.simulates:
                return 404, NO_HANDLER
            return self._check(body["template"]) or (200, {"template": body["template"]})
        if path.startswith("/_index_template"):
            return self._template(method, path, body)
        if path.startswith("/_plugins/"):
            return 400, NO_HANDLER
        return self._index(method, path.strip("/"), body)

    def _template(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        name = path.removeprefix("/_index_template").strip("/")
        if method == "GET":
            if name and name not in self.templates:
                return missing()
            listed = [{"name": name, "index_template": template} for name, template in self.templates.items()]
            return 200, {"index_templates": listed}
        refused = self._check(body["template"], trying=False)
        if not refused:
            self.templates[name] = body
        return refused or (200, {"acknowledged": True})

    def _index(self, method: str, name: str, body: Any) -> tuple[int, Any]:
        if method == "PUT":
            refused = self._check(body)
            if not refused:
                self.indices.add(name)
            return refused or (200, {"acknowledged": True})
        if method == "DELETE" and name in self.indices:
            self.indices.remove(name)
            return 200, {"acknowledged": True}
        return missing("index_not_found_exception")

    def _check(self, template: dict[str, Any], *, trying: bool = True) -> tuple[int, Any] | None:
        """The refusal of a template; None when the server has all that it needs."""
        if trying and self.forbids:
            return FORBIDDEN
        refused = sorted(self.lacks & used(template))
        if not refused:
            return None
        cause = {"type": "mapper_parsing_exception", "reason": f"No handler for [{refused[0]}]"}
        outer = {"type": "illegal_argument_exception", "reason": "template after composition is invalid"}
        return 400, {"error": outer | {"caused_by": cause}, "status": 400}


def used(node: Any) -> set[str]:
    """What a template uses: the names of its settings and parameters, and the types of its fields."""
    if isinstance(node, dict):
        types = {node["type"]} if isinstance(node.get("type"), str) else set()
        return types | set(node) | set().union(*map(used, node.values()))
    return set().union(*map(used, node)) if isinstance(node, list) else set()
