"""From a query as people type it to OpenSearch's query DSL, by the kind of each field.

OpenSearch's own `query_string` answers wrongly about a flat_object, without an error: a wildcard other than a last `*`
finds nothing, and ranges compare text. The DSL's `term`, `wildcard` and `regexp` are right. So the query is parsed
here, and what no search can answer is refused with one sentence.
docs.opensearch.org/latest/query-dsl/full-text/query-string/
"""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING, Any

from luqum import tree
from luqum.exceptions import ParseError
from luqum.parser import parser

from worker.errors import SetupError
from worker.opensearch.field_kinds import Kind
from worker.opensearch.query_values import ValueTranslator, any_of, refuse, refuse_field, unescape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.opensearch.field_kinds import FieldKinds

    Clause = dict[str, Any]

_EVERYTHING: Clause = {"match_all": {}}
_SYMBOLS = ("&&", "||")

_APPROXIMATE = "An approximate search (~) is not supported. A wildcard or a regular expression finds variants"
_UNSUPPORTED = {
    tree.Boost: "A boost (^) changes the order of results, and events are ordered by time. Leave it out",
    tree.Fuzzy: _APPROXIMATE,
    tree.Proximity: _APPROXIMATE,
}


def translate(query: str, kinds: FieldKinds, *, ignore_case: bool = False) -> Clause:
    """Translate a query in Lucene's syntax to a clause of the DSL; raises SetupError for what cannot be answered.

    `AND` binds more tightly than `OR`, and clauses without an operator are alternatives, as in OpenSearch.
    """
    if not query.strip():
        return _EVERYTHING
    return _Translator(kinds, ignore_case=ignore_case).clause(_parse(query), "")


def _parse(query: str) -> tree.Item:
    try:
        root: tree.Item = parser.parse(query)
    except ParseError as error:
        raise SetupError(f"{_unparsable(str(error))}.") from error
    return root


def _unparsable(reason: str) -> str:
    text = shorten(" ".join(reason.split()), 120, placeholder="...").rstrip(".!")
    return f'The query cannot be parsed: {text}. Values that contain : / ( or spaces need quotes, as in arn:"a:b/c"'


class _Translator:
    """Translates the tree of one query; `field` is the name that a value belongs to, "" for a bare value."""

    def __init__(self, kinds: FieldKinds, *, ignore_case: bool) -> None:
        self._kinds, self._values = kinds, ValueTranslator(kinds, ignore_case=ignore_case)

    def clause(self, node: tree.Item, field: str) -> Clause:
        """Translate a part of the query."""
        if sentence := _UNSUPPORTED.get(type(node)):
            refuse(sentence)
        match node:
            case tree.SearchField():
                return self._field(node)
            case tree.Group() | tree.FieldGroup() | tree.Plus():
                return self.clause(node.children[0], field)
            case tree.BaseOperation() | tree.Not() | tree.Prohibit():
                return self._combine(node, field)
            case _:
                return self._value(node, field)

    def _combine(self, node: tree.Item, field: str) -> Clause:
        match node:
            case tree.AndOperation():
                return {"bool": {"filter": [self.clause(child, field) for child in node.children]}}
            case tree.OrOperation():
                return any_of([self.clause(child, field) for child in node.children])
            case tree.UnknownOperation():
                return self._alternatives(node.children, field)
            case _:
                return {"bool": {"must_not": [self.clause(node.children[0], field)]}}

    def _alternatives(self, children: Iterable[tree.Item], field: str) -> Clause:
        """Combine clauses without an operator: any of them, unless some have a + or a -."""
        required, excluded, optional = [], [], []
        for child in children:
            if isinstance(child, tree.Word) and (child.value in _SYMBOLS or child.value[:1] == "!"):
                refuse("Use AND, OR and NOT in place of &&, || and !")
            if isinstance(child, (tree.Not, tree.Prohibit)):
                excluded.append(self.clause(child.children[0], field))
            elif isinstance(child, tree.Plus):
                required.append(self.clause(child, field))
            else:
                optional.append(self.clause(child, field))
        clauses: dict[str, Any] = {"must_not": excluded} if excluded else {}
        if required:
            clauses["filter"] = required
        elif optional:
            clauses |= {"should": optional, "minimum_should_match": 1}
        return {"bool": clauses}

    # Fields

    def _field(self, node: tree.SearchField) -> Clause:
        name, value = unescape(node.name), node.children[0]
        if isinstance(value, tree.SearchField):  # the grammar takes a:b:c for fields in fields
            refuse(_unparsable(f"{node.name}:{value.name}: has two colons"))
        if isinstance(value, tree.Prohibit | tree.Plus):
            sign = "-" if isinstance(value, tree.Prohibit) else "+"
            refuse(f"A value that starts with {sign} needs a backslash before it, or quotes")
        if name == "_exists_":
            return self._exists(unescape(str(value).strip().strip('"')))
        if name == "*":
            return _EVERYTHING if str(value).strip() == "*" else self.clause(value, "")
        if "*" in name or "?" in name:
            refuse(f"A wildcard in the name of a field is not supported: {name}")
        return self.clause(value, name)

    def _value(self, node: tree.Item, field: str) -> Clause:
        if not field:
            return self._bare(node)
        if isinstance(node, tree.Word) and node.value == "*":
            return self._exists(field)
        return self._values.clause(node, field)

    def _bare(self, node: tree.Item) -> Clause:
        if isinstance(node, tree.Word) and node.value == "*":
            return _EVERYTHING
        if not isinstance(node, tree.Word | tree.Phrase | tree.Regex):
            refuse("A range needs a field, as in eventTime:[2026-01-01 TO 2026-01-31]")
        return any_of([self._values.bare_clause(node, name) for name in self._kinds.bare])

    def _exists(self, field: str) -> Clause:
        kind = self._kinds.kind(field)
        if field.startswith("_"):
            return {"exists": {"field": field}}
        if kind is Kind.OBJECT:
            return any_of([self._exists(name) for name in self._kinds.leaves(field)])
        if kind in (Kind.UNKNOWN, Kind.STORED):
            refuse_field(self._kinds, field)
        if self._kinds.is_free_form_root(field):
            return any_of([{"exists": {"field": name}} for name in self._kinds.searched(field)])
        return self._path_exists(field) if kind is Kind.FREE_FORM else {"exists": {"field": field}}

    def _path_exists(self, path: str) -> Clause:
        """Return the clause for events with a value at a path of a free-form member, or below it.

        What `exists` finds below a flat_object changes with the server's version. A wildcard over the values of this
        path, and over the paths below it, finds the same on each. Where each path is a keyword, a sub-field of it puts
        the names of the objects above it into `_field_names`.
        """
        clauses: list[Clause] = []
        if self._kinds.is_flat(path):
            clauses = [{"wildcard": {name: {"value": "*"}}} for name in (path, f"{path}.*")]
        if self._kinds.has_keyword_paths(path):
            clauses.append({"term": {"_field_names": {"value": path}}})
        return any_of(clauses)
