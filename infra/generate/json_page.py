"""The page of JSON documents, from the structs that describe them."""

from __future__ import annotations

import inspect
import types
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from infra.generate.json_documents import (
    Costs,
    Coverage,
    CrashLine,
    Day,
    Deployment,
    Discarded,
    End,
    Explained,
    Exported,
    Failed,
    FilterEnd,
    FilterEvent,
    FilterRule,
    FilterSelector,
    FiltersLine,
    Finding,
    Group,
    HoldStatus,
    Imported,
    MessageLine,
    NewFinding,
    ObjectLine,
    Plan,
    Reindexed,
    RuleHits,
    Status,
    UnsentLine,
    VerifyResult,
)
from infra.generate.markdown import page, table
from worker.boards.report_values import BoardReport
from worker.dlq.redrive import RedriveReport
from worker.dlq.views import GroupView, LetterDetail, LetterView

if TYPE_CHECKING:
    from collections.abc import Iterable

# What each command prints. The structs that these refer to follow them.
_GROUPS: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "trailsink status": (Status,),
    "trailsink doctor": (Finding,),
    "trailsink deploy": (Deployment,),
    "trailsink backfill": (Plan, Day, Failed, End),
    "trailsink dlq": (LetterView, GroupView, LetterDetail, RedriveReport, Discarded, Exported, Imported),
    "trailsink filter test": (FilterSelector, FilterEvent, FilterRule, FilterEnd),
    "trailsink cost": (Costs,),
    "trailsink reindex": (Reindexed,),
    "trailsink search": (Group,),
    "trailsink explain": (Explained,),
    "trailsink verify": (VerifyResult,),
    "trailsink hold list": (HoldStatus,),
    "trailsink detect": (Coverage, RuleHits, NewFinding),
    "trailsink report": (BoardReport,),
    "The log": (ObjectLine, MessageLine, UnsentLine, CrashLine, FiltersLine),
}

_CONTAINERS: dict[object, str] = {
    list: "list of {0}",
    tuple: "pair of {0} and {1}",
    dict: "object; its values are {1}s",
}
_NAMES: dict[object, str] = {
    Any: "anything",
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    date: "day",
    datetime: "time",
    type(None): "null",
}


def json_page() -> str:
    """Return docs/reference/json.md."""
    introduction = (
        "With `--json`, commands print one document per line. Existing members are not removed or renamed. Times are in"
        " ISO 8601. The log also has a line with the message `batch` after each batch. Its members are the"
        " [metrics](metrics.md), and `ignored`: the number of messages that announce nothing, by cause."
        " With filters, `filtered` is the number of records that each selector left out."
    )
    parts = []
    shown: list[type[msgspec.Struct]] = []
    for title, structs in _GROUPS.items():
        new = [struct for struct in _with_members(structs) if struct not in shown]
        shown += new
        parts.append("\n\n".join([f"## {title}", *map(_section, new)]))
    return page("JSON documents", introduction, *parts)


def _with_members(structs: Iterable[type[msgspec.Struct]]) -> list[type[msgspec.Struct]]:
    """Return structs, each followed by those that its members are of."""
    found: list[type[msgspec.Struct]] = []
    for struct in structs:
        members = _structs_in(get_type_hints(struct).values())
        found += [one for one in (struct, *_with_members(members)) if one not in found]
    return found


def _structs_in(hints: Iterable[object]) -> list[type[msgspec.Struct]]:
    found: list[type[msgspec.Struct]] = []
    for hint in hints:
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            found.append(hint)
        else:
            found += _structs_in(get_args(hint))
    return found


def _section(struct: type[msgspec.Struct]) -> str:
    tag = struct.__struct_config__.tag
    rows = [(f"`{struct.__struct_config__.tag_field}`", f"`{tag}`", "")] if isinstance(tag, str) else []
    hints = get_type_hints(struct, include_extras=True)
    for name, encoded in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
        kind, meaning = hints[name], ""
        if get_origin(kind) is Annotated:
            kind, metadata = get_args(kind)
            meaning = metadata.description
        rows.append((f"`{encoded}`", _type_name(kind), meaning))
    return f"### {struct.__name__}\n\n{inspect.getdoc(struct)}\n\n" + table(("member", "type", "meaning"), rows)


def _type_name(kind: object) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ", ".join(f"`{member.value}`" for member in kind)
    names = [_type_name(argument) for argument in arguments]
    if origin in (Union, types.UnionType):
        return " or ".join(names)
    if origin in _CONTAINERS:
        return _CONTAINERS[origin].format(*names)
    return _NAMES.get(kind) or f"[{kind.__name__}](#{kind.__name__.lower()})"  # type: ignore[attr-defined] # a struct
